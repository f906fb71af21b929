"""Folders that hold a SentencePiece model: Llama 2's, T5's, XLM-RoBERTa's, Marian's.

The file says how a text becomes pieces. What goes around a text, which further tokens there are and whether the ids
are others than in the file, the class of the tokenizer says, which `tokenizer_config.json` or `config.json` names:
`SENTENCEPIECE_FAMILIES` has a row for each. A new family is one row. A file without a folder around it encodes as
SentencePiece itself does, with nothing around the text.

Prerequisites: `sentencepiece.py`, `files.py`, `added_tokens.py`. Next: `auto.py`.
Source: the classes of tokenizers in github.com/huggingface/transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from ..files import read_bounded
from ..files.atomic_file import atomic_write
from ..files.json_file import MAX_JSON_BYTES
from .added_tokens import further_tokens
from .files import CONFIG, SavedTokenizer, about, member, read_class, read_config, read_json, write_config
from .sentencepiece import SentencePieceTokenizer
from .sentencepiece_file import Pieces, read_pieces
from .special import AddedToken, SpecialTokens
from .template import Template

__all__ = ["MODEL_FILES", "SENTENCEPIECE_FAMILIES", "SUFFIXES", "SentencePieceFamily", "SentencePieceFolder",
           "model_file"]

MODEL_FILES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "source.spm")
SUFFIXES = (".model", ".spm")
_MARIAN_VOCAB = "vocab.json"
_MARIAN_FILES = ("source.spm", "target.spm", _MARIAN_VOCAB)


@dataclass(frozen=True)
class SentencePieceFamily:
    """What a class of tokenizers adds to its SentencePiece model.

    Attributes:
        before, after: roles of the tokens that go before and after every text.
        switches: tokenizer_config.json says by add_bos_token and add_eos_token what goes around a text; these are
            their values where it does not.
        roles: who plays which role where no file says otherwise.
        n_extra: how many tokens "<extra_id_0>", … follow the pieces, the highest number first.
        shifted: the ids begin with <s>, <pad>, </s> and <unk>, whatever the file says, and end with <mask>.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    switches: tuple[bool, bool] | None = None
    roles: tuple[tuple[str, str], ...] = ()
    n_extra: int = 0
    shifted: bool = False


_T5 = SentencePieceFamily(after=("eos_token",), n_extra=100, roles=(
    ("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>")))
_LLAMA = SentencePieceFamily(switches=(True, False), roles=(
    ("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")))
_GEMMA = SentencePieceFamily(switches=(True, False), roles=(
    ("bos_token", "<bos>"), ("eos_token", "<eos>"), ("unk_token", "<unk>"), ("pad_token", "<pad>")))
_XLM_ROBERTA = SentencePieceFamily(before=("bos_token",), after=("eos_token",), shifted=True, roles=(
    ("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>"), ("cls_token", "<s>"),
    ("sep_token", "</s>"), ("mask_token", "<mask>")))
_MARIAN = SentencePieceFamily(after=("eos_token",), roles=(
    ("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>")))

SENTENCEPIECE_FAMILIES = {  # by the name of the class, or of the model's type
    "T5Tokenizer": _T5, "t5": _T5, "mt5": _T5, "umt5": _T5,
    "LlamaTokenizer": _LLAMA, "llama": _LLAMA, "mistral": _LLAMA, "mixtral": _LLAMA,
    "GemmaTokenizer": _GEMMA, "gemma": _GEMMA, "gemma2": _GEMMA, "gemma3_text": _GEMMA,
    "XLMRobertaTokenizer": _XLM_ROBERTA, "xlm-roberta": _XLM_ROBERTA,
    "MarianTokenizer": _MARIAN, "marian": _MARIAN,
}


def model_file(saved: SavedTokenizer) -> str | None:
    """The name of the SentencePiece model that a folder holds, or None."""
    return next(filter(saved.has, MODEL_FILES), None)


class SentencePieceFolder(SentencePieceTokenizer):
    """A SentencePiece model with what its folder adds; `save` writes `tokenizer.json`.

    Of a Marian folder it writes the folder's own files, as transformers has no other way to open one.

    Attributes:
        own_files: these files by name, with what they hold; empty otherwise.
    """

    own_files: Mapping[str, bytes] = {}

    @classmethod
    def matches(cls, saved: SavedTokenizer) -> bool:
        """Whether the folder has a SentencePiece model and no `tokenizer.json`."""
        return model_file(saved) is not None

    @classmethod
    def _read(cls, saved: SavedTokenizer) -> SentencePieceFolder:
        return cls.from_file(saved.path / (model_file(saved) or MODEL_FILES[0]))

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> SentencePieceFolder:
        """Read a `.model` or `.spm` file, and what the folder around it says of it.

        Args:
            path: the file. Of a Marian folder, "source.spm" encodes what is translated, "target.spm" translations.
        """
        path = Path(path)
        name = read_class(path.parent)
        if name is not None and name not in SENTENCEPIECE_FAMILIES:
            raise ValueError(f"{path.parent}: the tokenizer_class, or the model's type, is {name!r:.100}, which is "
                             f"none of those that are known: {', '.join(SENTENCEPIECE_FAMILIES)}")
        family = SENTENCEPIECE_FAMILIES.get(name or "", SentencePieceFamily())
        found = about(path, cls._of_family, read_pieces(path), family, SavedTokenizer(path.parent))
        if family is _MARIAN and path.name == _MARIAN_FILES[0]:
            found.own_files = {file.name: read_bounded(file, MAX_JSON_BYTES, "a file of a tokenizer")
                               for file in map(path.with_name, _MARIAN_FILES) if file.is_file()}
        return found

    def save(self, folder: str | PathLike[str]) -> None:
        """Write what `AutoTokenizer` opens."""
        if not self.own_files:
            super().save(folder)
            return
        write_config(folder, self.special, self.chat_template, "MarianTokenizer", _MARIAN_VOCAB)
        for name, data in self.own_files.items():
            with atomic_write(Path(folder) / name) as file:
                file.write(data)

    @classmethod
    def _of_family(cls, pieces: Pieces, family: SentencePieceFamily, saved: SavedTokenizer) -> SentencePieceFolder:
        config = read_config(saved.path) or {}
        roles = {**dict(family.roles or pieces.roles), **(saved.roles or {})}
        ids = _ids(pieces, family, saved)
        known = dict(ids) if ids is not None else {piece: i for i, piece in enumerate(pieces.pieces)}
        names = [f"<extra_id_{i}>" for i in reversed(range(member(config, "extra_ids", int, family.n_extra)))]
        tokens = {token.content: token for token in further_tokens(saved.path, roles)}
        first = max(known.values()) + 1
        for name in [*pieces.of_type(2, 3), *roles.values(), *names]:
            if name not in tokens and name in names and name not in known:
                known[name] = first
                first += 1
            if name not in tokens and name in known:
                tokens[name] = AddedToken(name, known[name])
        special = SpecialTokens.from_file(tokens.values(), roles)
        before, after = family.before, family.after
        if family.switches is not None:
            add_bos, add_eos = (member(config, f"add_{role}_token", bool, default)
                                for role, default in zip(("bos", "eos"), family.switches))
            before, after = ("bos_token",) * add_bos, ("eos_token",) * add_eos
        around = [[special.roles.get(role, f"a {role}") for role in side] for side in (before, after)]
        second = (around[1], 0) if family.shifted else None
        return cls(pieces, special, about(saved.path / CONFIG, Template.around, *around, special.ids, second), ids)


def _ids(pieces: Pieces, family: SentencePieceFamily, saved: SavedTokenizer) -> Mapping[str, int] | None:
    """The id of each piece, where it is not its place."""
    if family is _MARIAN or saved.has(_MARIAN_VOCAB):
        vocab: Any = read_json(saved.path / _MARIAN_VOCAB)
        return about(saved.path / _MARIAN_VOCAB, lambda: {token: member(vocab, token, int) for token in vocab})
    if family.shifted:
        first = ["<s>", "<pad>", "</s>", "<unk>"]
        rest = [piece for piece in pieces.pieces if piece not in first]
        return {piece: i for i, piece in enumerate([*first, *rest, "<mask>"])}
    return None

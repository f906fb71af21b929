"""`SentencePieceTokenizer`: Unigram or BPE with spaces as signs, and SentencePiece's own normalisation.

A SentencePiece model works on the whole text. Spaces are written as "▁", one is put before the text, and no other step
splits it. `tokenizer.json` can say all of that, so `save` writes one; but the table of normalisation is applied there
in Hugging Face's way (`charsmap.py`), which differs on rare sequences of characters.

Prerequisites: `sentencepiece_file.py`, `pipeline.py`, `charsmap.py`. Next: `sentencepiece_folder.py`.
Source: normalizer.cc, unigram_model.cc and bpe_model.cc of github.com/google/sentencepiece.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any, Self

from .base import as_list
from .character_bpe import BPE, merges_by_score
from .charsmap import read_charsmap
from .model import Model
from .pipeline import PipelineTokenizer
from .sentencepiece_file import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, Pieces
from .special import AddedToken, SpecialTokens
from .template import Template
from .unigram import Unigram

__all__ = ["SentencePieceTokenizer"]


_ALL = 1 << 16  # more spaces than stand before a text


class SentencePieceTokenizer(PipelineTokenizer):
    """A SentencePiece model.

    Args:
        pieces: what the model holds.
        special_tokens: names and ids of special tokens that it lacks; or all of them, as `SpecialTokens`.
        template: what `encode` puts before and after a text.
        ids: the id of each piece, where it is not its place.

    >>> pieces = Pieces(["<unk>", "▁", "a", "b", "▁a"], [0, -3, -1, -1, -1.5], [2, 1, 1, 1, 1])
    >>> tok = SentencePieceTokenizer(pieces)
    >>> tok.encode(" ab  a"), tok.decode([4, 3, 4])
    ([4, 3, 4], 'ab a')
    """

    def __init__(self, pieces: Pieces, special_tokens: Mapping[str, int] | SpecialTokens = {},
                 template: Template = Template(), ids: Mapping[str, int] | None = None) -> None:
        if not len(pieces.pieces) == len(pieces.scores) == len(pieces.types):
            raise ValueError(f"there are {len(pieces.pieces)} pieces, {len(pieces.scores)} scores and "
                             f"{len(pieces.types)} types, expected as many of each")
        self.pieces, self.ids_of_pieces = pieces, None if ids is None else dict(ids)
        model = _model(pieces, ids)
        special = special_tokens
        if not isinstance(special, SpecialTokens):
            special = _special(pieces, special, model)
        self.sign = "▁" if pieces.escape_whitespaces else " "
        super().__init__(model, special, _normalizer(pieces, self.sign), None, _decoder(pieces, self.sign), template)
        self.model = self.model.without(set(pieces.pieces) - set(pieces.of_type(NORMAL, USER_DEFINED)))
        self._charsmap = read_charsmap(pieces.charsmap).by_longest if pieces.charsmap else str
        kept = sorted(pieces.of_type(USER_DEFINED), key=len, reverse=True)
        self._kept = re.compile(f"({'|'.join(map(re.escape, kept))})") if kept else None
        self._normalize_text = self._as_sentencepiece

    def _as_sentencepiece(self, text: str) -> str:
        if self._kept is None:
            text = self._charsmap(text)
        else:  # pieces of the user's own are found in the text as it came
            text = "".join([part if i % 2 else self._charsmap(part) for i, part in enumerate(self._kept.split(text))])
        if self.pieces.remove_extra_whitespaces:
            text = re.sub("  +", " ", text.lstrip(" "))
        if not text:
            return ""
        text = self.sign * self.pieces.add_dummy_prefix + text.replace(" ", self.sign)
        return text.rstrip(self.sign) if self.pieces.remove_extra_whitespaces else text

    def _with_special(self, special: SpecialTokens) -> Self:
        return type(self)(self.pieces, special, self.template, self.ids_of_pieces)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text that `ids` stand for, without the space that was put before it."""
        return super().decode(as_list(ids), skip_special_tokens)


def _model(pieces: Pieces, ids: Mapping[str, int] | None) -> Model:
    entries = list(zip(pieces.pieces, pieces.scores, pieces.types))
    vocab = dict(ids) if ids is not None else {piece: i for i, piece in enumerate(pieces.pieces)}
    unknown = next(iter(pieces.of_type(UNKNOWN)), None)
    if len(set(pieces.pieces)) < len(pieces.pieces):
        raise ValueError("a piece is given twice")
    if pieces.algorithm == "bpe":
        merges, ranks = merges_by_score({piece: score for piece, score, kind in entries
                                         if kind in (NORMAL, USER_DEFINED)})
        return BPE(vocab, merges, unknown, byte_fallback=pieces.byte_fallback, fuse_unk=True, ranks=ranks,
                   whole=pieces.of_type(USER_DEFINED))
    if pieces.algorithm != "unigram":
        raise ValueError(f"the algorithm is {pieces.algorithm!r}; unigram and bpe can be read")
    normal = [score for _, score, kind in entries if kind == NORMAL]
    highest = max(normal, default=0.0)
    scored = [(piece, len(piece.encode("utf-8")) * highest - 0.1 if kind == USER_DEFINED else score)
              for piece, score, kind in entries]
    return Unigram(scored, None if unknown is None else vocab.get(unknown), pieces.byte_fallback,
                   min(normal, default=0.0), ids, four_bytes=True)


def _special(pieces: Pieces, more: Mapping[str, int], model: Model) -> SpecialTokens:
    tokens = [AddedToken(piece, model.vocab[piece]) for piece in pieces.of_type(UNKNOWN, CONTROL)
              if piece in model.vocab]
    known = {token.content for token in tokens}
    tokens += [AddedToken(name, i) for name, i in more.items() if name not in known]
    roles = {role: name for role, name in pieces.roles if name in {token.content for token in tokens}}
    return SpecialTokens(tokens, roles or None)


def _normalizer(pieces: Pieces, sign: str) -> dict[str, Any]:
    """The same normalisation as `tokenizer.json` can say it."""
    steps: list[dict[str, Any]] = []
    if pieces.charsmap:
        steps.append({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(pieces.charsmap).decode("ascii")})
    if pieces.remove_extra_whitespaces:
        steps += [{"type": "Replace", "pattern": {"Regex": pattern}, "content": content}
                  for pattern, content in ((r"\A +", ""), (rf"[ {sign}]+\z", ""), (" {2,}", " "))]
    if pieces.add_dummy_prefix:
        steps.append({"type": "Prepend", "prepend": sign})
    if sign != " ":
        steps.append({"type": "Replace", "pattern": {"String": " "}, "content": sign})
    return {"type": "Sequence", "normalizers": steps}


def _decoder(pieces: Pieces, sign: str) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"type": "Replace", "pattern": {"String": sign}, "content": " "}]
    if pieces.of_type(BYTE):
        steps.append({"type": "ByteFallback"})
    steps.append({"type": "Fuse"})
    if pieces.add_dummy_prefix or pieces.remove_extra_whitespaces:
        start = _ALL if pieces.remove_extra_whitespaces else 1
        steps.append({"type": "Strip", "content": " ", "start": start, "stop": 0})
    return {"type": "Sequence", "decoders": steps}

"""The tokenizer in a GGUF file, as the `tokenizer.json` that says the same.

A GGUF file lists tokens, their types and the merges or scores, and names the rest: the kind of tokenizer, and how text
is cut. What such a name stands for is written out here, and the result is read as any other tokenizer.json.

Prerequisites: `files.py`, `patterns.py`, pretrained/gguf_file.py. Next: `auto.py`.
Source: github.com/ggml-org/llama.cpp (src/llama-vocab.cpp), which gives the names their meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from os import PathLike
from typing import Any

from ..pretrained.gguf_file import GGUFFile
from .files import TOKENIZER, SavedTokenizer, about, member
from .patterns import PATTERNS

__all__ = ["KINDS", "PRE_TOKENIZERS", "GGUFTokenizer"]

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # types of tokens
ROLES = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "sep_token": "seperator",  # spelt so there
         "pad_token": "padding", "cls_token": "cls", "mask_token": "mask"}

MAX_CHARACTERS = 1 << 27  # the squares of the tokens' lengths, added up; Llama 2 has 2 million

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def _split(name: str) -> dict[str, Any]:
    """Byte-level BPE that cuts by one of our patterns."""
    split = {"type": "Split", "pattern": {"Regex": PATTERNS[name]}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, {**_BYTE_LEVEL, "use_regex": False}]}


_DIGITS = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTE_LEVEL]}
_GPT2: dict[str, Any] = {"pre_tokenizer": _BYTE_LEVEL}
_LLAMA3: dict[str, Any] = {"pre_tokenizer": _split("llama3"), "ignore_merges": True, "add_bos": True}
_QWEN2: dict[str, Any] = {"pre_tokenizer": _split("qwen2"), "normalizer": {"type": "NFC"}}

# `tokenizer.ggml.pre` -> what it stands for: the pre_tokenizer, and where they differ from the usual the normalizer,
# whether whole tokens go before merges, and whether a text begins and ends with the bos and eos tokens.
PRE_TOKENIZERS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("default", "gpt-2", "phi-2", "olmo", "mpt", "jina-es", "jina-de"), _GPT2),
    "roberta-bpe": _GPT2 | {"add_bos": True, "add_eos": True},
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "smaug-bpe", "falcon3", "pixtral"), _LLAMA3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "megrez"), _QWEN2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell"), {"pre_tokenizer": _DIGITS}),
    "gpt-4o": {"pre_tokenizer": _split("o200k")},
}


class _Vocabulary:
    """What the settings of a GGUF file say of its tokens, checked.

    Attributes:
        tokens, types: by id.
        special: the ids of tokens that no text becomes.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.tokens: list[str] = self.list("tokens", str)
        self.types: list[int] = self.list("token_type", int) if self.has("token_type") else [NORMAL] * len(self.tokens)
        if len(self.types) != len(self.tokens):
            raise ValueError(f"there are {len(self.tokens):,} tokens and {len(self.types):,} types of tokens")
        self.special = [i for i, kind in enumerate(self.types) if kind in (UNKNOWN, CONTROL)]

    def has(self, name: str) -> bool:
        """Whether there is a setting of the tokenizer."""
        return f"tokenizer.ggml.{name}" in self.settings

    def get(self, name: str, kind: type, *default: Any) -> Any:
        """A setting of the tokenizer, of that type."""
        return member(self.settings, f"tokenizer.ggml.{name}", kind, *default)

    def list(self, name: str, kind: type) -> list[Any]:
        """A setting that is a list of values of that type."""
        found = self.get(name, list)
        if not all(type(value) is kind for value in found):
            raise ValueError(f"tokenizer.ggml.{name} does not hold {kind.__name__} alone")
        return found

    def name(self, role: str) -> str | None:
        """The token that plays a role, or None."""
        token_id = self.get(f"{ROLES[role]}_token_id", int, None)
        return self.tokens[token_id] if token_id is not None and 0 <= token_id < len(self.tokens) else None

    def around(self, add_bos: bool, add_eos: bool) -> dict[str, Any] | None:
        """The post_processor that puts the bos token before each text, and the eos token after it, where the file says
        so, or where the kind of tokenizer does and the file says nothing."""
        return self.between("bos_token" if self.get("add_bos_token", bool, add_bos) else None,
                            "eos_token" if self.get("add_eos_token", bool, add_eos) else None)

    def between(self, before: str | None, after: str | None) -> dict[str, Any] | None:
        """The post_processor that puts each text between two tokens, given by their roles."""
        named = [name for role in (before, after) if role and (name := self.name(role)) is not None]
        if not named:
            return None
        first = [{"SpecialToken": {"id": name, "type_id": 0}} for name in named[:1] if before]
        last = [{"SpecialToken": {"id": name, "type_id": 0}} for name in named[-1:] if after]
        one = [*first, {"Sequence": {"id": "A", "type_id": 0}}, *last]
        two = [*first, {"Sequence": {"id": "B", "type_id": 1}}, *last]
        return {"type": "TemplateProcessing", "single": one, "pair": one + two,
                "special_tokens": {name: {"id": name, "ids": [self.tokens.index(name)], "tokens": [name]}
                                   for name in named}}

    def document(self, model: dict[str, Any], **steps: Any) -> dict[str, Any]:
        """A whole tokenizer.json of a model and the steps around it."""
        added = [{"id": i, "content": self.tokens[i], "single_word": False, "lstrip": False, "rstrip": False,
                  "normalized": False, "special": kind != USER_DEFINED}
                 for i, kind in enumerate(self.types) if kind in (UNKNOWN, CONTROL, USER_DEFINED)]
        return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
                "pre_tokenizer": None, "post_processor": None, "decoder": None, **steps, "model": model}


def _byte_level(vocab: _Vocabulary) -> dict[str, Any]:
    """Kind gpt2: byte-level BPE, tokens in GPT-2's alphabet of bytes."""
    name = vocab.get("pre", str, "default")
    if name not in PRE_TOKENIZERS:
        raise ValueError(f"tokenizer.ggml.pre is {name!r:.80}, which is not read; read are "
                         f"{', '.join(PRE_TOKENIZERS)}")
    kind = PRE_TOKENIZERS[name]
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
             "ignore_merges": kind.get("ignore_merges", False),
             "vocab": {token: i for i, token in enumerate(vocab.tokens) if vocab.types[i] != UNUSED},
             "merges": vocab.list("merges", str)}
    return vocab.document(model, pre_tokenizer=kind["pre_tokenizer"], normalizer=kind.get("normalizer"),
                          post_processor=vocab.around(kind.get("add_bos", False), kind.get("add_eos", False)),
                          decoder=_BYTE_LEVEL)


def _merges(vocab: Mapping[str, int], scores: list[float]) -> list[list[str]]:
    """The merges that build the tokens of a SentencePiece vocabulary: of a token with a better score first; of one
    token, from parts with the lowest ids first."""
    found = []
    for token, i in vocab.items():
        parts = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        pairs = [(vocab[left], vocab[right], left, right) for left, right in parts if left in vocab and right in vocab]
        found += [(-scores[i], order, left, right) for order, (_, _, left, right) in enumerate(sorted(pairs))]
    found.sort(key=lambda merge: merge[0])
    return [[left, right] for _, _, left, right in found]


def _sentencepiece_bpe(vocab: _Vocabulary) -> dict[str, Any]:
    """Kind llama: BPE over characters with "▁" for a space, and a token for each byte."""
    scores = vocab.list("scores", float)
    if len(scores) != len(vocab.tokens):
        raise ValueError(f"there are {len(vocab.tokens):,} tokens and {len(scores):,} scores")
    if sum(len(token) ** 2 for token in vocab.tokens) > MAX_CHARACTERS:  # each token is cut in two at every place
        raise ValueError("the tokens are longer than those of any SentencePiece vocabulary")
    made = {token: i for i, token in enumerate(vocab.tokens) if vocab.types[i] == NORMAL}
    model = {"type": "BPE", "dropout": None, "unk_token": vocab.name("unk_token"), "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
             "vocab": {token: i for i, token in enumerate(vocab.tokens)}, "merges": _merges(made, scores)}
    prefix = vocab.get("add_space_prefix", bool, True)
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    back = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
    if prefix:
        back.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    first = [{"type": "Prepend", "prepend": "▁"}] * prefix
    return vocab.document(
        model, normalizer={"type": "Sequence", "normalizers": [*first, spaces]},
        post_processor=vocab.around(True, False), decoder={"type": "Sequence", "decoders": back})


def _word_piece(vocab: _Vocabulary) -> dict[str, Any]:
    """Kind bert: WordPiece. The file marks the beginning of a word by "▁", tokenizer.json the rest of it by "##"."""
    def spelt(i: int) -> str:
        token = vocab.tokens[i]
        if vocab.types[i] != NORMAL or token.startswith("[") and token.endswith("]"):
            return token
        return token.removeprefix("▁") if token.startswith("▁") else f"##{token}"

    tokens = {spelt(i): i for i in range(len(vocab.tokens))}
    lower = all(token == token.lower() for token, i in tokens.items() if vocab.types[i] == NORMAL)
    model = {"type": "WordPiece", "unk_token": vocab.name("unk_token") or "[UNK]", "continuing_subword_prefix": "##",
             "max_input_chars_per_word": 100, "vocab": tokens}
    return vocab.document(
        model, normalizer={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                           "strip_accents": None, "lowercase": lower},
        pre_tokenizer={"type": "BertPreTokenizer"}, post_processor=vocab.between("cls_token", "sep_token"),
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True})


KINDS: dict[str, Callable[[_Vocabulary], dict[str, Any]]] = {  # `tokenizer.ggml.model`
    "gpt2": _byte_level, "llama": _sentencepiece_bpe, "bert": _word_piece,
}


class GGUFTokenizer(SavedTokenizer):
    """The tokenizer of a GGUF file. Takes the place of the folder that `SavedTokenizer` reads.

    Args:
        file: the path of the file.
    """

    def __init__(self, file: str | PathLike[str]) -> None:
        super().__init__(file)
        self.settings = GGUFFile(self.path).settings

    def has(self, name: str) -> bool:
        """Whether it has a file of that name: a tokenizer.json and nothing else."""
        return name == TOKENIZER

    @cached_property
    def _vocabulary(self) -> _Vocabulary:
        return about(self.path, _Vocabulary, self.settings)

    @cached_property
    def document(self) -> Any:
        """The tokenizer.json."""
        kind = about(self.path, member, self.settings, "tokenizer.ggml.model", str)
        if kind not in KINDS:
            raise ValueError(f"{self.path}: tokenizer.ggml.model is {kind!r:.80}, which is not read; read are "
                             f"{', '.join(KINDS)}")
        return about(self.path, KINDS[kind], self._vocabulary)

    @cached_property
    def roles(self) -> dict[str, str] | None:
        """Who plays which role."""
        names = {role: about(self.path, self._vocabulary.name, role) for role in ROLES}
        return {role: name for role, name in names.items() if name is not None}

    @cached_property
    def chat_template(self) -> str | None:
        """The chat template, if there is one."""
        return about(self.path, member, self.settings, "tokenizer.chat_template", str, None)

"""Tokenizers of every kind, trained on `corpus` by Hugging Face's library, and the steps that go with them."""

from __future__ import annotations

import functools
import json
import random
from typing import Any

from tokenizer_texts import corpus, random_texts

MULTILINGUAL = [
    "The quick brown fox, jumped over 12 dogs!", "El niño comió piñas.", "Привет, мир. Ещё раз?", "日本語のテキスト。",
    "你好，世界", "한국어 텍스트", "नमस्ते दुनिया", "Ελληνικά Σίσυφος ΣΑΣ", "ﬁne Å ½ x²", "don't do not I'm n't 's",
    "e\u0301\u0323a", "مرحبا بالعالم", "สวัสดี", "👩\u200d👩\u200d👧 😀", "Straße İstanbul", "7\u0f79",
    " <s>Hello</s>  word <unk>x", "ab Hello ÑANDÚ",
]
SPECIAL = ["<unk>", "<s>", "</s>", "[UNK]", "[CLS]", "[SEP]"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def step(kind: str, **settings: Any) -> dict[str, Any]:
    return {"type": kind, **settings}


def sequence(name: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", name: list(steps)}


def replace(content: str, **pattern: str) -> dict[str, Any]:
    return step("Replace", pattern=pattern, content=content)


def split(behavior: str, invert: bool = False, **pattern: str) -> dict[str, Any]:
    return step("Split", pattern=pattern, behavior=behavior, invert=invert)


def metaspace(scheme: str, split: bool = True) -> dict[str, Any]:
    return step("Metaspace", replacement="▁", prepend_scheme=scheme, split=split)


BYTE_LEVEL = step("ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
BEHAVIORS = ["Removed", "Isolated", "Contiguous", "MergedWithPrevious", "MergedWithNext"]

NORMALIZERS: list[dict[str, Any] | None] = [
    None, *map(step, ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel"]),
    sequence("normalizers", step("NFD"), step("StripAccents"), step("Lowercase")),
    *[step("Strip", strip_left=left, strip_right=right) for left in (True, False) for right in (True, False)],
    step("Prepend", prepend="▁"), replace("▁", String=" "), replace(" ", Regex=" {2,}"), replace('"', Regex="(``|'')"),
    sequence("normalizers", step("Prepend", prepend="▁"), replace("▁", String=" ")),
    *[step("BertNormalizer", clean_text=clean, handle_chinese_chars=chinese, strip_accents=strip, lowercase=lower)
      for clean, chinese, strip, lower in ((True, True, None, True), (True, True, None, False),
                                           (True, False, False, True), (False, True, True, False))],
]
PRE_TOKENIZERS: list[dict[str, Any] | None] = [
    None, *map(step, ["BertPreTokenizer", "Whitespace", "WhitespaceSplit", "UnicodeScripts"]),
    step("ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True),
    step("ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False),
    step("CharDelimiterSplit", delimiter=" "), step("Digits", individual_digits=False),
    step("Digits", individual_digits=True), *map(metaspace, ["always", "first", "never"]), metaspace("always", False),
    step("Metaspace", replacement="▁", add_prefix_space=True), step("FixedLength", length=3),
    sequence("pretokenizers", step("WhitespaceSplit"), metaspace("first")),
    sequence("pretokenizers", step("Punctuation", behavior="Contiguous"), BYTE_LEVEL,
             step("Digits", individual_digits=False), split("Isolated", Regex="[0-9][0-9][0-9]")),  # Falcon's
    *[step("Punctuation", behavior=behavior) for behavior in BEHAVIORS],
    *[split(behavior, invert, Regex=r"\s+|[aeiou]") for behavior in BEHAVIORS for invert in (False, True)],
    *[split(behavior, String=" ") for behavior in BEHAVIORS], split("Isolated", String=""),
    split("MergedWithPrevious", Regex="(?=[A-Z])"), split("MergedWithNext", Regex="(?=[A-Z])"),
]
DECODERS: list[dict[str, Any] | None] = [
    None, BYTE_LEVEL, step("WordPiece", prefix="##", cleanup=True), step("WordPiece", prefix="##", cleanup=False),
    metaspace("always"), metaspace("never"), step("ByteFallback"), step("Fuse"),
    step("Strip", content=" ", start=1, stop=1), replace(" ", String="▁"), step("BPEDecoder", suffix="</w>"),
    step("CTC", pad_token="<pad>", word_delimiter_token="|", cleanup=True),
    sequence("decoders", replace(" ", String="▁"), step("ByteFallback"), step("Fuse"),
             step("Strip", content=" ", start=1, stop=0)),
]


@functools.cache
def models() -> dict[str, dict[str, Any]]:
    """The model step of each kind of tokenizer, with each of its settings."""
    import tokenizers as hf
    pre, trainers = hf.pre_tokenizers, hf.trainers

    def train(model: Any, trainer: Any, splitter: Any) -> dict[str, Any]:
        tokenizer = hf.Tokenizer(model)
        tokenizer.pre_tokenizer = splitter
        tokenizer.train_from_iterator([*MULTILINGUAL * 3, corpus()[:20_000]], trainer)
        return dict(json.loads(tokenizer.to_str())["model"])

    def bpe(splitter: Any, size: int = 900, special: list[str] = SPECIAL, **settings: Any) -> dict[str, Any]:
        more = {key: value for key, value in settings.items() if key in ("end_of_word_suffix",
                                                                         "continuing_subword_prefix")}
        trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False, **more)
        return train(hf.models.BPE(unk_token="<unk>"), trainer, splitter) | settings

    plain = bpe(pre.Metaspace())
    word_piece = train(hf.models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer(
        vocab_size=900, special_tokens=SPECIAL, show_progress=False), pre.BertPreTokenizer())
    unigram = train(hf.models.Unigram(), trainers.UnigramTrainer(
        vocab_size=900, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False), pre.Metaspace())
    alphabet = trainers.BpeTrainer(vocab_size=900, special_tokens=SPECIAL, show_progress=False,
                                   initial_alphabet=pre.ByteLevel.alphabet())
    return {
        "BPE": plain, "BPE, fused": plain | {"fuse_unk": True}, "BPE, dropping": plain | {"unk_token": None},
        "BPE, whole words first": plain | {"ignore_merges": True},
        "BPE, suffix": bpe(pre.WhitespaceSplit(), end_of_word_suffix="</w>"),
        "BPE, prefix": bpe(pre.WhitespaceSplit(), continuing_subword_prefix="##"),
        "BPE, bytes": bpe(pre.Metaspace(), 1100, SPECIAL + BYTES, byte_fallback=True),
        "BPE, byte-level": train(hf.models.BPE(), alphabet, pre.ByteLevel(add_prefix_space=False)),
        "Unigram": unigram,
        "Unigram, bytes": unigram | {"byte_fallback": True,
                                     "vocab": unigram["vocab"] + [[byte, -20.0] for byte in BYTES]},
        "WordPiece": word_piece, "WordPiece, short words": word_piece | {"max_input_chars_per_word": 6},
        "WordLevel": train(hf.models.WordLevel(unk_token="[UNK]"), trainers.WordLevelTrainer(
            vocab_size=600, special_tokens=SPECIAL, show_progress=False), pre.WhitespaceSplit()),
    }


def document(kind: str, normalizer: Any = None, pre_tokenizer: Any = None, decoder: Any = None,
             **words: bool) -> dict[str, Any]:
    """A `tokenizer.json`, with added words of which `words` says whether they are looked for after normalisation."""
    model = models()[kind]
    vocab = model["vocab"]
    ids = vocab if isinstance(vocab, dict) else {piece: i for i, (piece, _) in enumerate(vocab)}
    entries = [(name, ids[name], True, False) for name in SPECIAL]
    new = [(name, normalized) for name, normalized in words.items() if name not in ids]
    entries += [(name, max(ids.values()) + i, False, normalized) for i, (name, normalized) in enumerate(new, 1)]
    added = [{"id": token_id, "content": name, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": normalized, "special": special} for name, token_id, special, normalized in entries]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": None, "decoder": decoder, "model": model}


def texts(n: int, seed: int) -> list[str]:
    """Random and multilingual texts, and mixtures of words."""
    rng = random.Random(seed)
    words = " ".join(MULTILINGUAL).split() + corpus().split()[:300]
    gaps = [" ", " ", "  ", "", "\n"]
    mixed = ["".join(rng.choice(words) + rng.choice(gaps) for _ in range(8)) for _ in range(n // 2)]
    return [*random_texts(n, seed), *mixed, *MULTILINGUAL, " ".join(MULTILINGUAL), "", " "]

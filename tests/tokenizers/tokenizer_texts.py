"""Texts that tokenizers get wrong, and small tokenizers to try them on."""

from __future__ import annotations

import functools
import random

from hypothesis import settings
from hypothesis import strategies as st

from tinygpt.tokenizers import ByteBPE

SPECIAL = ["<|endoftext|>", "<|end|>", "<s>", "</s>", "<pad>", "<mask>"]
PIECES = [
    " ", "  ", "\n", "\r\n", "\t", "\x0b", "\x1c", "\x85", "\xa0", "\u2028", "\u3000", "\u180e", "\u200b", "\ufeff",
    "a", "b", "Z", " the", "Hello", "don't", "'s", "'S", "'ſ", "'ll", "'LL", "'", "K", "ß", "é", "e\u0301", "ǅ", "ʰ",
    "1", "12345", "²", "Ⅷ", "٣", "!", "...", "/", "-", "_", "<|", "日本語", "中", "한", "ไทย", "नमस्ते", "😀",
    "👩\u200d👩\u200d👧", "🇪🇸", "\u0301", "\u0378", "\u0558", "\U000323b0", "\U0003f231", "𝒳", "\U0001e6c0",
    "\x00", "\x7f", "\ud7ff",
    "\ue000", "\uffff", "\U00010000", "\U0010ffff", *SPECIAL,
]

quick = settings(deadline=None, derandomize=True, max_examples=150)

awkward_text = st.lists(st.one_of(st.sampled_from(PIECES), st.characters(exclude_categories=["Cs"])),
                        max_size=12).map("".join)


def random_texts(n: int, seed: int = 0, length: int = 15) -> list[str]:
    """`n` random strings: mostly awkward pieces, the rest any code point that is no surrogate."""
    rng = random.Random(seed)

    def piece() -> str:
        if rng.random() < 0.7:
            return rng.choice(PIECES)
        return chr(rng.choice([rng.randrange(0x80), rng.randrange(0x3000), rng.randrange(0xD800),
                               rng.randrange(0xE000, 0x10000), rng.randrange(0x10000, 0x110000)]))

    return ["".join(piece() for _ in range(rng.randrange(length))) for _ in range(n)]


SCRIPTS = [  # first and last code point of the letters, and what stands between words
    (0x61, 0x7a, " "), (0xc0, 0x17f, " "), (0x370, 0x3ff, " "), (0x400, 0x45f, " "), (0x531, 0x586, " "),
    (0x5d0, 0x5ea, " "), (0x621, 0x64a, " "), (0x905, 0x94d, " "), (0x985, 0x9cd, " "), (0xb85, 0xbcd, " "),
    (0xe01, 0xe4e, ""), (0x10d0, 0x10fa, " "), (0x1200, 0x135a, "\u1361"), (0x1780, 0x17d3, "\u200b"),
    (0x1e00, 0x1eff, " "), (0x3041, 0x3096, ""), (0x30a1, 0x30fa, "・"), (0x4e00, 0x9fff, ""), (0xac00, 0xd7a3, " "),
    (0xff01, 0xff5e, "\u3000"), (0x20000, 0x2a6df, ""), (0x1f300, 0x1faff, " ")]
ENDS = [*".!?,;:", "。", "、", "؟", "।", "…", "—", "»", "\n", " 42 ", "'s ", "٣", "५", "\u0301", "\u200d", "\xa0"]


def multilingual_texts(n: int, seed: int = 0) -> list[str]:
    """`n` sentences of made-up words, each in the letters of a script or two."""
    rng = random.Random(seed)

    def sentence() -> str:
        text = ""
        for first, last, space in rng.sample(SCRIPTS, rng.choice([1, 1, 1, 2])):
            words = ["".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 8)))
                     for _ in range(rng.randint(1, 6))]
            text += space.join(word.title() if rng.random() < 0.2 else word for word in words) + rng.choice(ENDS)
        return text

    return [sentence() for _ in range(n)]


@functools.cache
def corpus() -> str:
    """Some words of several languages, often repeated, and awkward strings."""
    rng = random.Random(7)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(1, 7))) for _ in range(300)]
    words += ["Ñandú", "corazón", "学生", "日本", "привет", "don't", "they're", "2024", "def", "return", "😀"]
    return " ".join(rng.choices(words, k=4000)) + "".join(random_texts(200, seed=3))


@functools.cache
def trained(pattern: str = "gpt2", vocab_size: int = 700) -> ByteBPE:
    """A tokenizer trained on `corpus`, with special tokens."""
    return ByteBPE.train(corpus(), vocab_size, SPECIAL, pattern)

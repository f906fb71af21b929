"""Classes of characters by the older versions of Unicode that Hugging Face's BERT steps still use.

Its split patterns follow Unicode 16 (`unicode_classes.py`), but what tells punctuation, accents and controls follows
Unicode 8. A character that is younger is none of these to it, and must be none here, or ids would differ.

Source: found by asking `tokenizers` 0.23 about every character.
Prerequisites: nothing. Next: `normalizers.py`, `pre_tokenizers.py`.
"""

from __future__ import annotations

from functools import cache

__all__ = ["ranges", "in_set", "removal"]

# For each class its ranges in order: the gap since the range before, and the length if it is not 1, in hexadecimal.
_RANGES = {
    # ASCII's punctuation and symbols, and category P
    "punctuation": """
    21.f a.7 1a.6 1a.4 22 5 3 a.2 3 3 2be 8 1d2.6 29.2 33 1 2 2 2c.2 14.2 1.2 d 2.2 4a.4 66 2b.e e9.3 36.f 1f 105.2 a
    17f 303 5a a.2 a8.f 1 25.4 47 4a.5 4.2 6f.6 ab 264.9 97 26c.2 2c.2 4e.3 47.2 9d.3 1.3 25.b 139.2 d8.2 80.7 1.6 ac.7
    9b.4 3b.5 3e.2 40.8 b 33c.18 8.14 1.d 1.c 1e.2 e.2 279.4 1d.2 43d.e 4f.2 1f.a 193.16 3f.4 20.2 2fb.4 1.2 70 8f.2f
    1.13 1be.3 4.a 2.c 10 c 62 5a 7402.2 10d.3 63 a 73.6 17c.4 56.2 28.3 1 31.2 2f 61.d 10.2 7c.4 7e.2 10.2 f9 5152.2
    d0.a 16.23 1.e 1 4 1.2 95.3 1.6 1.4 a.2 3.2 1a.3 1 1b 1 1.7 19a.3 29c 30 19e 2e7 c7 1f 110.9 26 70.7 42.7 59.4
    4aa.7 6d.2 1.4 7e.4 30.2 4f.5 3 d 1.3 58.6 6b 21c fa.17 69.3 f8.3 d31.5 45f9.2 85 41.5 8 515a 1de7.5
    """,
    # category Mn; what NFD decomposes is left out, since it is asked for after NFD
    "accents": """
    300.40 2 2.2b 113.5 109.2d 1 1.2 1.2 1 48.b 30.15 10 65.7 2.6 2.2 1.4 23 1e.1b 5b.b 3a.9 22.4 1.9 1.3 1.5 2b.3
    87.20 37 1 4.8 4 3.7 a.2 1d 3a 4.4 8 14.2 1d.2 39 4.2 4.2 2.3 3 1e.2 3 b.2 39 4.5 1.2 4 14.2 1d 3a 2 1.4 8 8 b.2 1e
    3d c 32 3d.3 5.2 2.4 7.2 b.2 1d 3a 2 6 5.2 14.2 1d 3f.4 8 14.2 66 7.3 1 5a 2.7 c.8 62 2.6 1.2 b.6 4a.2 1b 1 1 37.2
    1 2 1.6 1 1.3 1.2 5.6 1.4 1.4 1.4 1.4 1.4 1.c 1.3 9 66.4 1.6 1.2 2.2 19.2 4.3 10.4 d 2.2 6 f 2bf.3 3b2.3 1d.3 1d.2
    1e.2 40.2 1.7 8 2.b 9 2d.3 9b 76.3 4.2 9 6.3 db.2 2 3a 1.7 1 1 2.8 6.a 2 30.e 42.4 30 1.5 1 5 28.9 c.2 20.4 2.2 1.3
    38 1.2 3 1.3 3a.8 2.2 98.3 1.d 1.7 4 6 3.2 c6.36 6.4 2d0.d 4 3.c bfe.3 8d 60.20 22a.4 6b.2 75d4 4.a 20.2 50.2 110 3
    4 19.2 9d 1b.12 34.8 19.b 2e.3 30 2.4 2 28 43.6 2.2 2.2 c 8 2f 33 1.3 2.2 5.2 1 2a.2 8 ee 2 4 4f30 2e1.10 10.10 3cd
    e2 95.5 686.3 1.2 5.4 28.3 4 a5.2 51a 36.f 38.3 31.4 2.2 45.3 24.5 1 2.5 3e c.2 34.9 b.3 62.3 2 1.2 a7 3.8 15.2 3a
    3 25.7 3.5 13e.6 1 4.2 1.2 ee.4 6.2 1.2 1b.2 55.8 2 1.2 6a 1 2.6 1 65.3 2.4 1.5 53c4.5 3b.7 458.4 4d0a.2 14c8.3
    11.8 2.7 1e.4 94.3 7bb.37 4.32 8 e 16.5 1.f e20.7 c1829.f0
    """,
    # categories Cc, Cf and Co, and U+FFFD; the whitespace that is left out here is made a space
    "controls": """
    0.9 2.2 1.12 5f.21 d 552.6 16 c0 31 10fe 7fc.5 1a.5 31.5 1.a bf90.1900 5ff f9.3 1 10bf abe2.4 14cf.8 c2e86 1e.60
    ff80.fffe 2.fffe
    """,
    # category M
    "marks": """
    300.70 113.7 107.2d 1 1.2 1.2 1 48.b 30.15 10 65.7 2.6 2.2 1.4 23 1e.1b 5b.b 3a.9 22.4 1.9 1.3 1.5 2b.3 78.e 1.21
    36.3 1.12 1.7 a.2 1d.3 38 1.7 2.2 2.3 9 a.2 1d.3 38 1.5 4.2 2.3 3 1e.2 3 b.3 38 1.8 1.3 1.3 14.2 1d.3 38 1.7 2.2
    2.3 8.2 a.2 1e 3b.5 3.3 1.4 9 28.4 3a.7 1.3 1.4 7.2 b.2 1d.3 38 1.7 1.3 1.4 7.2 b.2 1d.3 3a.7 1.3 1.4 9 a.2 1e.2 46
    4.6 1 1.8 12.2 3d 2.7 c.8 62 2.6 1.2 b.6 4a.2 1b 1 1 4.2 31.14 1.2 5.b 1.24 9 64.14 17.4 4.3 1.3 2.7 3.4 d.c 1 a.4
    2bf.3 3b2.3 1d.3 1d.2 1e.2 40.20 9 2d.3 77.2 22 76.c 4.c db.5 39.a 1.1d 2 30.f 41.5 2f.11 26.9 c.3 1e.d 38.e 30.14
    98.3 1.15 4 4.3 3.2 c6.36 5.5 2d0.21 bfe.3 8d 60.20 22a.6 69.2 75d4.4 1.a 20.2 50.2 110 3 4 17.5 58.2 32.12 1a.12
    34.8 19.d 2c.4 2f.e 24 43.e c 8.2 2d.3 32 1.3 2.2 5.2 1 29.5 5.2 ec.8 1.2 4f30 2e1.10 10.10 3cd e2 95.5 686.3 1.2
    5.4 28.3 4 a5.2 519.3 35.f 38.4 2d.b 45.3 24.e 3e c.3 30.e 9.3 5f.c 6 a0.c 15.4 38 1.7 2.2 2.3 9 a.2 2.7 3.5 c0.12
    69.14 eb.7 2.9 1b.2 52.11 6a.d 65.f 503.8 1.8 52.16 1.e 4e39.5 3b.7 41a.2e 10.4 4d0a.2 14c6.5 3.6 8.8 2.7 1e.4 94.3
    7bb.37 4.32 8 e 16.5 1.f 550.7 1.11 2.7 1.2 1.5 8a5.7 6d.7 c17b5.f0
    """,
}


@cache
def ranges(name: str) -> tuple[tuple[int, int], ...]:
    """The first and the last code point of each range of a class."""
    found = []
    start = 0
    for part in _RANGES[name].split():
        gap, _, length = part.partition(".")
        start += int(gap, 16)
        found.append((start, start + int(length or "1", 16) - 1))
        start = found[-1][1] + 1
    return tuple(found)


@cache
def in_set(name: str, below: int = 0x110000) -> str:
    """The class as the inside of a bracketed set of a regular expression, as far as it is below a code point."""
    return "".join(f"\\U{first:08x}-\\U{min(last, below - 1):08x}" for first, last in ranges(name) if first < below)


@cache
def removal(name: str) -> dict[int, None]:
    """A table for `str.translate` that takes the class out of a text."""
    return {code: None for first, last in ranges(name) for code in range(first, last + 1)}

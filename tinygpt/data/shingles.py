"""What a text shares with others, and with itself: numbers that stand for all its runs of 16 characters.

Two texts that differ in a few words have most of these runs in common, in any language and without knowing what a word
is. Capitals and the kind of white space make no difference. The runs are hashed together, in NumPy: those of 2
characters from those of 1, of 4 from those of 2, and so on. A long text comes in blocks: memory does not grow with it.

Prerequisites: sources.py. Next: minhash.py, quality.py. Source: Broder, "On the resemblance and containment of
documents" (1997), who calls such runs shingles.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["WIDTH", "scrambled", "shingles"]

WIDTH = 16  # characters of a run; a change of one character changes so many of them
BLOCK = 1 << 16  # characters that are looked at together
_MULTIPLIERS = {width: np.uint64(pow(0x9E3779B97F4A7C15, width, 1 << 64)) for width in (1, 2, 4, 8)}


def scrambled(x: np.ndarray) -> np.ndarray:
    """Numbers, uint64, each of whose bits depends on all bits of what it comes from: one to one, and always the same.

    Source: the last step of SplitMix64, Steele et al., "Fast splittable pseudorandom number generators" (2014).
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def shingles(text: str) -> Iterator[np.ndarray]:
    """A number for each run of WIDTH characters, (n,) uint64, in their order, for one block of the text after another.

    Equal runs have equal numbers. A text of fewer characters counts in runs of 8, 4, 2 or 1.
    """
    plain = " ".join(text.lower().split())
    for start in range(0, len(plain), BLOCK):
        block = plain[start:start + BLOCK + WIDTH - 1]
        if start and len(block) < WIDTH:
            return  # its runs began in the block before
        hashes = np.frombuffer(block.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
        for width, multiplier in _MULTIPLIERS.items():
            if len(hashes) <= width:
                break
            hashes = hashes[:-width] * multiplier + hashes[width:]
        yield scrambled(hashes)

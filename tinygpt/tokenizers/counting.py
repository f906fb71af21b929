"""Count the pieces of a training text: all that byte-pair encoding needs to know of it.

Ten megabytes of English are 2.5 million pieces but only 49,000 different ones. Training works on those, so its cost
follows the vocabulary of the language rather than the length of the text, and the text can be larger than memory.

Prerequisites: `splitter.py`. Next: `bpe.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from os import PathLike, fspath

from .base import surrogate_error
from .special import SpecialTokens
from .splitter import Splitter

__all__ = ["count_pieces"]

_READ = 1 << 16  # characters of a file at a time


def count_pieces(texts: Iterable[str | PathLike[str]], splitter: Splitter, special: SpecialTokens,
                 done: Callable[[int], object] = lambda n: None) -> Counter[bytes]:
    """How often each piece occurs in `texts`, of which a path stands for a file.

    A file is read part by part (whole where the pattern is not a named one, or a special token contains a space).
    The names of special tokens cut the text and are not counted. After each part, `done` is called with its length.

    Raises:
        TypeError: something that is no str and no path.
        ValueError: no text at all; a file that is no UTF-8; a lone surrogate.
    """
    counts: Counter[str] = Counter()
    every_special = special.allowed("all")
    for text in texts:
        parts = _parts(text)
        has_space = any(" " in name for name in every_special)  # a block could end inside of such a name
        for block in ["".join(parts)] if has_space else splitter.blocks(parts):
            for segment, special_id in special.split(block, every_special):
                if special_id is None:
                    counts.update(splitter(segment))
            done(len(block))
    if not counts:
        raise ValueError("there is no text to train on: every text is empty, or none was given")
    try:
        return Counter({piece.encode("utf-8"): count for piece, count in counts.items()})
    except UnicodeEncodeError as error:
        raise surrogate_error(error) from None


def _parts(text: str | PathLike[str]) -> Iterator[str]:
    if isinstance(text, str):
        yield text
    elif isinstance(text, PathLike):
        try:
            with open(text, encoding="utf-8", newline="") as file:
                while part := file.read(_READ):
                    yield part
        except UnicodeDecodeError as error:
            raise ValueError(f"{fspath(text)} is not UTF-8 text: {error}") from None
    else:
        raise TypeError(f"a text to train on is a str or a path, got {type(text).__name__}")

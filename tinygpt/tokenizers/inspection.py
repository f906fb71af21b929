"""Show what a tokenizer makes of a text: its tokens over their ids, and how well they compress.

Prerequisites: `base.py`. Next: `tinygpt/cli/tokenizer.py`, which prints it.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .base import Tokenizer

__all__ = ["visible", "shortened", "token_lines", "Statistics", "statistics", "longest_tokens"]

_MARKS = {" ": "·", "\n": "↵", "\t": "→", "\\": "\\\\"}
_BACKGROUNDS = (153, 157, 222, 217)  # of the terminal's 256 colours: light blue, green, orange, red


def visible(token: bytes) -> str:
    """A token as one can see it: spaces and line ends as signs, what is no printable character as its bytes.

    >>> visible(b" the"), visible(b"\\n\\n"), visible("é".encode()), visible(b"\\xc3"), visible(b"\\x1b[0m")
    ('·the', '↵↵', 'é', '\\\\xc3', '\\\\x1b[0m')
    """
    text = token.decode("utf-8", errors="surrogateescape")
    return "".join(_MARKS.get(char) or (char if char.isprintable() else _escape(char)) for char in text)


def _escape(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", errors="surrogateescape"))


def shortened(text: str, columns: int) -> str:
    """A text of at most so many columns of a terminal; what is longer ends in "…".

    >>> shortened("----------", 6), shortened("你好世界", 6), shortened("short", 6)
    ('-----…', '你好…', 'short')
    """
    if _columns(text) <= columns:
        return text
    while _columns(text) >= columns:
        text = text[:-1]
    return text + "…"


def token_lines(tok: Tokenizer, ids: Sequence[int], width: int = 80, color: bool = False) -> Iterator[str]:
    """Lines in pairs: tokens, and under each its id; with `color`, neighbours have different backgrounds.

    Args:
        tok: the tokenizer that made the ids.
        ids: the ids to show, (T,).
        width: of the terminal, in columns; no token is shown longer.
        color: use terminal colours.
    """
    above, below, used = "", "", 0
    for place, token_id in enumerate(ids):
        shown, number = shortened(visible(tok.token_bytes(token_id)), width), str(token_id)
        column = max(_columns(shown), len(number))
        if used and used + column > width:
            yield from (above.rstrip(), below.rstrip())
            above, below, used = "", "", 0
        padding = " " * (column - _columns(shown) + 1)
        if color:
            shown = f"\x1b[30;48;5;{_BACKGROUNDS[place % len(_BACKGROUNDS)]}m{shown}\x1b[0m"
            above, below = above + shown + padding, below + f"\x1b[2m{number:<{column}}\x1b[0m "
        else:
            above, below = above + shown + padding, below + f"{number:<{column}} "
        used += column + 1
    if used:
        yield from (above.rstrip(), below.rstrip())


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes: two for a Chinese character, none for a combining mark."""
    return sum(0 if unicodedata.category(char) in ("Mn", "Me")
               else 2 if unicodedata.east_asian_width(char) in "WF" else 1
               for char in text)


@dataclass(frozen=True)
class Statistics:
    """What encoding some text came to.

    Attributes:
        n_characters, n_bytes, n_tokens: of the text.
        counts: how often each id occurs in it.
    """

    n_characters: int
    n_bytes: int
    n_tokens: int
    counts: Counter[int]

    @property
    def bytes_per_token(self) -> float:
        """The more, the better the text is compressed; 0 for no text."""
        return self.n_bytes / self.n_tokens if self.n_tokens else 0.0


def statistics(text: str, ids: Sequence[int]) -> Statistics:
    """The statistics of a text and its ids."""
    return Statistics(len(text), len(text.encode("utf-8")), len(ids), Counter(ids))


def longest_tokens(tok: Tokenizer, ids: Iterable[int], n: int = 10) -> list[int]:
    """The ids, each once, of the `n` longest tokens in bytes that are not special; of equals, the lowest id first."""
    ordinary = set(ids) - tok.special.names.keys()
    return sorted(ordinary, key=lambda token_id: (-len(tok.token_bytes(token_id)), token_id))[:n]

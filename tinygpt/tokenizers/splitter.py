"""Cut a text into the pieces that byte-pair encoding works on, each alone.

`patterns.py` has the regular expressions; this file applies them, in one stage or several. It also cuts a long text
into blocks, so that a text of any length is worked on in bounded memory: a text may be cut before a space that follows
a non-space, since no named pattern has a piece that goes on over such a place, and none looks back over it. A pattern
of the user's own may break that rule, so it always sees the whole text.

Prerequisites: `patterns.py`. Next: `counting.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

from .patterns import DIGITS, FASTER, PATTERNS, compile_pattern, compile_portable
from .unicode_classes import BEYOND, stand_in

__all__ = ["Splitter", "Stage", "BLOCK"]

BLOCK = 1 << 14  # characters
_CUT = re.compile(r"\S(?= )")  # `re` takes a few characters more for spaces than the patterns do: fewer cuts, not wrong


@dataclass(frozen=True)
class Stage:
    """One way to cut each piece that the stage before left.

    Attributes:
        pattern: a name in `PATTERNS`, a regular expression, or "" to leave pieces whole.
        keep: "all" makes pieces of the matches and of what lies between them; "matches" and "gaps" drop the others.
        add_prefix_space: first put a space before a piece that does not begin with one.
    """

    pattern: str
    keep: Literal["all", "matches", "gaps"] = "all"
    add_prefix_space: bool = False

    def compile(self) -> Callable[[str], list[str]]:
        """The function that cuts one piece."""
        cut: Callable[[str], list[str]] = _leave_whole
        if self.pattern in PATTERNS and self.keep != "gaps":  # a named pattern leaves no gaps: all is matches
            cut = _cut_by_portable(FASTER.get(self.pattern, PATTERNS[self.pattern]))
        elif self.pattern in DIGITS and self.keep == "all":
            cut = _cut_by_portable(self.pattern + r"|[^\p{N}]+")
        elif self.pattern:
            cut = _cut_by_pattern(self.pattern, self.keep)
        return (lambda text: cut(text if text.startswith(" ") else " " + text)) if self.add_prefix_space else cut


class Splitter:
    """The stages of a tokenizer, applied in order: text -> pieces.

    >>> Splitter([Stage("gpt2")])("Hello  world!")
    ['Hello', ' ', ' world', '!']
    """

    def __init__(self, stages: Iterable[Stage]) -> None:
        self.stages = tuple(stages)
        self._cuts = [stage.compile() for stage in self.stages]
        patterns = [stage.pattern for stage in self.stages if stage.pattern]
        self._has_blocks = (bool(patterns) and patterns[-1] in PATTERNS
                            and all(pattern in (*PATTERNS, *DIGITS) for pattern in patterns))

    def __call__(self, text: str) -> list[str]:
        """The pieces of `text`."""
        pieces = [text] if text else []
        for cut in self._cuts:
            pieces = cut(pieces[0]) if len(pieces) == 1 else [part for piece in pieces for part in cut(piece)]
        return pieces

    def blocks(self, parts: Iterable[str]) -> Iterator[str]:
        """The text that `parts` make together, in blocks that can be split alone."""
        held: list[str] = []  # what comes before the next place to cut
        size = 0  # of that, in characters
        for part in parts:
            start = 0
            while (self._has_blocks and size + len(part) - start > BLOCK
                   and (cut := _CUT.search(part, start + max(0, BLOCK - size)))):
                yield "".join([*held, part[start:cut.end()]])
                start, held, size = cut.end(), [], 0
            held.append(part[start:])
            size += len(part) - start
        if rest := "".join(held):
            yield rest


def _leave_whole(text: str) -> list[str]:
    return [text]


def _cut_by_portable(source: str) -> Callable[[str], list[str]]:
    findall = compile_portable(source).findall

    def cut(text: str) -> list[str]:
        if len(text.encode("utf-16-le", "surrogatepass")) == 2 * len(text):  # not BEYOND.search(text), but faster
            return findall(text)
        # Characters that `re` has no table for: cut as if others of their class stood there, at the same places.
        ends = list(accumulate(map(len, findall(BEYOND.sub(lambda match: stand_in(match[0]), text)))))
        return [text[start:end] for start, end in pairwise([0, *ends])]

    return cut


def _cut_by_pattern(pattern: str, keep: str) -> Callable[[str], list[str]]:
    places = compile_pattern(pattern)

    def cut(text: str) -> list[str]:
        """Matches and gaps, in order; nothing of the text is lost unless `keep` says so."""
        pieces: list[str] = []
        last = 0
        for start, end in places(text):
            if keep != "matches":
                pieces.append(text[last:start])
            if keep != "gaps":
                pieces.append(text[start:end])
            last = end
        if keep != "matches":
            pieces.append(text[last:])
        return [piece for piece in pieces if piece]

    return cut

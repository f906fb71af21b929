"""Many names in a text: at each place the longest, in a time that hardly grows with how many there are.

A regular expression of all names tries them one after the other, at every place where one may begin; thirty thousand
take a second for ten thousand characters. Here the names are sorted. Of those that are not greater than what follows a
place, the greatest is the one that agrees with it longest; the name that is looked for is this one, or the longest of
the others that it begins with. These hang on it as a chain, along which steps of 1, 2, 4, … lead.

Prerequisites: none. Next: `special.py`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator

__all__ = ["NameFinder"]


class NameFinder:
    """Finds names: from left to right, at each place the longest, none overlapping another.

    >>> [(match, start) for match, start in NameFinder(["<a>", "<a>b", "c"]).find("<a>bc <a>c")]
    [('<a>b', 0), ('c', 4), ('<a>', 6), ('c', 9)]
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(set(names) - {""})
        self._longest = max(map(len, self._names), default=0)
        begins: list[int] = []  # for each name: the longest other name that it begins with, or the number of names
        chain: list[int] = []
        for place, name in enumerate(self._names):
            while chain and not name.startswith(self._names[chain[-1]]):
                chain.pop()
            begins.append(chain[-1] if chain else len(self._names))
            chain.append(place)
        self._steps = [[*begins, len(self._names)]]  # [k][i]: 2ᵏ names up the chain of i
        while any(place < len(self._names) for place in self._steps[-1]):
            last = self._steps[-1]
            self._steps.append([last[place] for place in last])
        self._lengths = [*map(len, self._names), 0]
        first = {name[0] for name in self._names}
        second = None if 1 in self._lengths else {name[1] for name in self._names}
        self._head = re.compile(_one_of(first) + ("" if second is None else f"(?={_one_of(second)})"), re.DOTALL)

    def find(self, text: str) -> Iterator[tuple[str, int]]:
        """Yield each name that is found, and where it begins."""
        search, at = self._head.search, 0
        while (head := search(text, at)) is not None:
            start = head.start()
            name = self._longest_at(text, start)
            if name:
                yield name, start
            at = start + (len(name) or 1)

    def _longest_at(self, text: str, start: int) -> str:
        """The longest name that begins there, or ""."""
        rest = text[start:start + self._longest]
        place = bisect_right(self._names, rest) - 1
        if place < 0:
            return ""
        name = self._names[place]
        if rest.startswith(name):
            return name
        if self._steps[0][place] == len(self._names):
            return ""
        common, differs = 0, len(name)  # they agree in so many characters, and not in so many
        while differs - common > 1:
            middle = (common + differs) // 2
            common, differs = (middle, differs) if rest.startswith(name[:middle]) else (common, middle)
        for steps in reversed(self._steps):
            if self._lengths[steps[place]] > common:
                place = steps[place]
        place = self._steps[0][place]
        return self._names[place] if place < len(self._names) else ""


def _one_of(characters: Iterable[str]) -> str:
    return f"[{''.join(re.escape(character) for character in sorted(characters))}]" if characters else "(?!)"

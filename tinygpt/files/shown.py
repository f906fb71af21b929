"""Text that others wrote, made safe to show: in a message, and on a terminal.

A label, a column's name or a generated text may hold control characters, and a terminal obeys them: it clears the
screen, sets its title, or shows a line that nobody wrote. So text goes through `printable` before it is shown to a
person. (Results in a pipe stay as they are: a program reads them.) A value in a message goes through `shown`, which
also keeps it short.

Next: bounded.py.
"""

from __future__ import annotations

import itertools
import re
import reprlib
from collections.abc import Iterable
from typing import Any

__all__ = ["LONGEST", "listed", "printable", "shown"]

LONGEST = 80  # characters of a value in a message
# Control characters but "\n" and "\t", what turns the direction of a line around, and halves of characters.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""The text with U+FFFD for each character that commands a terminal; line ends and tabs stay.

    >>> printable("a\tb\n") == "a\tb\n", printable("\x1b[2Jred\x9b") == "\ufffd[2Jred\ufffd"
    (True, True)
    """
    return _UNSAFE.sub("\ufffd", text)


def shown(value: Any, longest: int = LONGEST) -> str:
    """The value as Python writes it, in at most `longest` characters; the work does not grow with the value.

    >>> shown("ham"), shown("a" * 1000, 20), shown([1, 2, 3]), shown(10 ** 10_000)
    ("'ham'", "'aaaaaaaaaaaaaaaaa…'", '[1, 2, 3]', 'an integer of 33,220 bits')
    """
    if isinstance(value, (str, bytes)):
        text = repr(value[:longest])
        if len(value) > longest or len(text) > longest:
            quote = text[-1]
            text = f"{text[:longest - 2]}…{quote}"
        return text
    text = printable(_SHORT.repr(value))
    return text if len(text) <= longest else f"{text[:longest - 1]}…"


def listed(names: Iterable[Any], most: int = 10) -> str:
    """Names for a message, the first of them; what could be taken for another (" text") stands in quotation marks.

    >>> listed(["ham", "spam", " spam"]), listed(range(100), most=3)
    ("ham, spam, ' spam'", '0, 1, 2, …')
    """
    some = [str(name) for name in itertools.islice(names, most + 1)]
    plain = [name if name and name == name.strip() and name.isprintable() and len(name) <= 30 else shown(name, 30)
             for name in some[:most]]
    return ", ".join(plain) + ", …" * (len(some) > most)


class _Short(reprlib.Repr):
    """A repr of bounded work, whatever the value holds."""

    def repr_int(self, value: int, level: int) -> str:
        return repr(value) if value.bit_length() < 1000 else f"an integer of {value.bit_length():,} bits"

    def repr_str(self, value: str, level: int) -> str:
        return shown(value)


_SHORT = _Short()
for _kind in ("maxtuple", "maxlist", "maxdict", "maxset", "maxfrozenset"):
    setattr(_SHORT, _kind, 20)

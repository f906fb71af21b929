"""Text out of tokens, as they come: whole characters only, and nothing from a stop string on.

Two things make streaming text harder than printing `decode([token])`. A character may be cut between two tokens (the
four bytes of an emoji often are): decoded one by one they give "�" twice. And a stop string may be cut between tokens
as well: its first half must not be shown before it is known whether the second half follows.

Prerequisites: rules.py. Next: decode.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["Decode", "TextStream"]

Decode = Callable[[list[int]], str]
REPLACEMENT = "\ufffd"  # what decoders write for bytes that are no character, and so for half a character


class TextStream:
    """One row's text, token by token: the pieces that `push` returns and what `flush` returns last join to the text.

    >>> stream = TextStream(lambda ids: bytes(ids).decode("utf-8", "replace"), stop=["END"])
    >>> [stream.push(byte) for byte in "é EN, END!".encode()]
    ['', 'é', ' ', '', '', 'EN,', ' ', '', '', '', '']
    >>> stream.stopped
    True

    Args:
        decode: ids -> text, such as `tokenizer.decode`. Decoding ids in parts, cut between characters, must give the
            parts of the text, as it does for every byte-level or character tokenizer.
        stop: strings at whose first occurrence the text ends; the stop string itself is left out.

    Attributes:
        stopped: True once a stop string was met; further tokens give no text.

    Raises:
        ValueError: an empty stop string.
    """

    def __init__(self, decode: Decode, stop: Sequence[str] = ()) -> None:
        if "" in stop:
            raise ValueError("a stop string is empty, expected at least one character")
        self.stopped = False
        self._decode = decode
        self._stop = tuple(stop)
        self._ids: list[int] = []  # tokens since the last clean cut between characters
        self._given = 0  # how many characters of decode(_ids) are out already
        self._held = ""  # text that may be the beginning of a stop string

    def push(self, token: int) -> str:
        """Take one token; return the text that it settles, which may be empty."""
        if self.stopped:
            return ""
        self._ids.append(token)
        text = self._decode(self._ids)
        if text.endswith(REPLACEMENT):  # perhaps half a character: all but its mark is settled
            piece = text[self._given:-1]
            self._given = max(self._given, len(text) - 1)
        else:
            piece = text[self._given:]
            self._ids, self._given = [], 0
        return self._release(piece)

    def flush(self) -> str:
        """No token follows: return what was held back, half a character as U+FFFD."""
        if self.stopped:
            return ""
        piece = self._release(self._decode(self._ids)[self._given:] if self._ids else "")
        rest = "" if self.stopped else self._held
        self._ids, self._given, self._held = [], 0, ""
        return piece + rest

    def _release(self, piece: str) -> str:
        """Add `piece` to what is held; return what can be no part of a stop string."""
        text = self._held + piece
        found = [(text.find(stop) + len(stop), text.find(stop)) for stop in self._stop if stop in text]
        if found:
            self.stopped, self._held = True, ""
            return text[:min(found)[1]]  # the first to be complete; of several, the longest
        keep = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep:]
        return text[:len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` with which `stop` begins."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)

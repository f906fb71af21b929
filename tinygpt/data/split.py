"""Training and validation text: the model is judged on what it has not seen.

The last tenth of the characters validates, as in nanoGPT. The cut is made in the running text, before tokenization, so
it does not depend on the tokenizer, and a tokenizer can be trained on the training part alone.

Prerequisites: sources.py. Next: tokens.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

__all__ = ["TextSlice", "split_documents", "split_text"]


def _boundary(length: int, validation: float) -> int:
    if not 0 <= validation < 1:
        raise ValueError(f"the validation fraction must be in [0, 1), got {validation}")
    return int(length * (1 - validation))


def split_text(text: str, validation: float = 0.1) -> tuple[str, str]:
    """(training text, validation text): the first int((1 - validation)·N) of N characters, and the rest.

    >>> split_text("abcdefghij")
    ('abcdefghi', 'j')
    """
    boundary = _boundary(len(text), validation)
    return text[:boundary], text[boundary:]


class TextSlice:
    """Characters `start` to `stop` of documents laid end to end, as documents; iterate as often as you like."""

    def __init__(self, documents: Iterable[str], start: int, stop: int) -> None:
        self.documents, self.start, self.stop = documents, start, stop

    def __iter__(self) -> Iterator[str]:
        position = 0  # of the document's first character
        for document in self.documents:
            part = document[max(self.start - position, 0):max(self.stop - position, 0)]
            if part:
                yield part
            position += len(document)
            if position >= self.stop:
                return


def split_documents(documents: Collection[str] | Iterable[str], validation: float = 0.1) -> tuple[TextSlice, TextSlice]:
    """(training documents, validation documents) by characters; the document at the boundary is cut in two.

    Reads the documents once to count their characters. For a single document the parts are those of `split_text`.

    Args:
        documents: a list, or `Documents`; not a one-time iterator, which the count would use up.
        validation: fraction of the characters, in [0, 1).
    """
    if isinstance(documents, Iterator):
        raise TypeError("split_documents reads its documents more than once; pass a list or Documents, not an iterator")
    length = sum(map(len, documents))
    boundary = _boundary(length, validation)
    return TextSlice(documents, 0, boundary), TextSlice(documents, boundary, length)

"""The simplest tokenizer: one id for each character of a text.

A language model reads integers. A tokenizer cuts a text into pieces from a fixed vocabulary and numbers them. Here a
piece is one character: a small vocabulary (Shakespeare has 65 characters) and no algorithm. Its price: a sequence is as
long as the text, and a character that the text lacked cannot be written at all.

Prerequisites: nothing. Next: textbook_bpe.py, which lifts both limits. Upstairs: char.py, files and special tokens.
"""

from collections.abc import Iterable

__all__ = ["Characters"]


class Characters:
    """A tokenizer whose vocabulary is the characters of `text`, numbered in the order of their code points.

    >>> tokenizer = Characters("banana")
    >>> len(tokenizer), tokenizer.encode("nab"), tokenizer.decode([2, 0, 1])
    (3, [2, 0, 1], 'nab')
    """

    def __init__(self, text: str) -> None:
        self.characters = sorted(set(text))  # the character of id 0, of id 1, …
        self.ids = {character: i for i, character in enumerate(self.characters)}

    def __len__(self) -> int:
        """The size of the vocabulary."""
        return len(self.characters)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, one for each character; ValueError for a character that the vocabulary lacks."""
        if unknown := sorted(set(text) - self.ids.keys()):
            raise ValueError(f"the vocabulary lacks {unknown}; make it from a text that has all characters you need")
        return [self.ids[character] for character in text]

    def decode(self, ids: Iterable[int]) -> str:
        """The text that the ids stand for."""
        return "".join(self.characters[i] for i in ids)

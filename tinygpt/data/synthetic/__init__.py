"""Small data sets made up by seeded grammars, so that every task runs without a network.

They are synthetic: they test that a model learns and a program works, and say nothing about real language. Wherever
data are named, these names serve as well; "-test" is the held-out part of each.

Reading order: draw.py → sentiment.py → instructions.py → preferences.py → phrases.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from .draw import Example, Part
from .instructions import instructions
from .phrases import phrases
from .preferences import preferences
from .sentiment import sentiment

__all__ = ["SYNTHETIC", "Synthetic", "instructions", "phrases", "preferences", "sentiment"]


@dataclass(frozen=True)
class Synthetic:
    """A named synthetic data set.

    Attributes:
        make: (n, part, seed) to examples.
        part: "train" or "test".
        n: how many examples the name stands for, of seed 0.
        text: the columns that make up an example's text, where running text is asked for.
        about: what it is.
    """

    make: Callable[[int, Part, int], list[Example]]
    part: Part
    n: int
    text: tuple[str, ...]
    about: str

    def records(self) -> list[Example]:
        """The examples."""
        return self.make(self.n, self.part, 0)

    def documents(self) -> tuple[str, ...]:
        """The examples as texts, a line for each column that is not empty."""
        return tuple("\n".join(filter(None, (record[column] for column in self.text))) for record in self.records())


SYNTHETIC = {
    f"synthetic-{name}{suffix}": Synthetic(make, cast(Part, part), n, text, about)
    for name, make, n_train, text, about in (
        ("sentiment", sentiment, 4000, ("text",), "opinions in English and Spanish: text, label"),
        ("instructions", instructions, 20_000, ("instruction", "input", "output"), "small jobs on words and numbers"),
        ("preferences", preferences, 20_000, ("prompt", "chosen"), "a polite, short or correct answer, and another"),
        ("phrases", phrases, 20_000, ("english", "spanish"), "English phrases and their Spanish translations"))
    for part, suffix, n in (("train", "", n_train), ("test", "-test", 500))
}

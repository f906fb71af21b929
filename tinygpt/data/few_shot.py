"""Zero-, one- and few-shot prompts: a task shown by examples inside the prompt, without any training.

A model that continues texts can be asked by a text whose continuation is the answer. With no example before the
question this is zero-shot; with one or a few, the model may see from them what is wanted:

    sea -> mar
    sun -> sol
    house ->

Whether it does depends on the model: the ability comes from texts in which one line helps to guess another. A small
model has it only for what its training texts were like; examples/15_few_shot.py trains one and measures.

Prerequisites: conversations.py. Next: generation/. Brown et al., "Language models are few-shot learners" (2020).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .chat_template import Message

__all__ = ["FewShot"]

Shot = tuple[str, str]


@dataclass(frozen=True)
class FewShot:
    """How examples are written into a prompt.

    Attributes:
        example: one example, with {input} and {output} in it, and what separates it from the next.
        instruction: what stands before all examples, as it is.

    Raises:
        ValueError: `example` lacks {input} or {output}, has one twice, or in the other order.

    >>> shots = FewShot("{input} -> {output}\\n", instruction="English to Spanish:\\n")
    >>> print(shots.prompt([("sea", "mar"), ("sun", "sol")], "house"))
    English to Spanish:
    sea -> mar
    sun -> sol
    house ->
    """

    example: str = "Input: {input}\nOutput: {output}\n\n"
    instruction: str = ""

    def __post_init__(self) -> None:
        if self.example.count("{input}") != 1 or self.example.count("{output}") != 1 \
                or self.example.index("{input}") > self.example.index("{output}"):
            raise ValueError(f"an example is written with {{input}} and then {{output}}, each once; got "
                             f"{self.example!r}")

    def _parts(self) -> tuple[str, str, str]:
        """What stands before the input, between input and output, and after the output."""
        before, _, rest = self.example.partition("{input}")
        between, _, after = rest.partition("{output}")
        return before, between, after

    @property
    def stop(self) -> str | None:
        """The text at which an answer is over, for `generate(stop=…)`; None if nothing follows an output."""
        return self._parts()[2] or None

    def prompt(self, shots: Sequence[Shot], query: str, fits: Callable[[str], bool] | None = None) -> str:
        """The text whose continuation is the answer to `query`, examples before it.

        It ends without a space: tokenizers take a space as the beginning of the next word, which is the model's to
        write. So strip the answer.

        Args:
            shots: (input, output) pairs, the most useful last; none for zero-shot.
            query: the input to answer.
            fits: text -> whether the model's context holds it, with the answer; the first examples are left out until
                it does.
        """
        before, between, after = self._parts()
        asked = (before + query + between).rstrip(" ")
        for start in range(len(shots) + 1):
            shown = "".join(before + given + between + answer + after for given, answer in shots[start:])
            text = self.instruction + shown + asked
            if fits is None or fits(text):
                return text
        raise ValueError(f"the prompt does not fit even without examples: it ends in {asked[-40:]!r}")

    def messages(self, shots: Sequence[Shot], query: str) -> list[Message]:
        """The same as a conversation for a chat model: the examples are earlier turns, the instruction the system's."""
        system: list[Message] = [{"role": "system", "content": self.instruction.strip()}] if self.instruction else []
        turns: list[Message] = [{"role": role, "content": text} for shot in shots
                                for role, text in zip(("user", "assistant"), shot)]
        return [*system, *turns, {"role": "user", "content": query}]

"""Chat: a conversation with a model, turn by turn, within what its context holds.

The model remembers nothing. Every answer is written from the whole conversation so far, as one prompt; so the history
is kept here, and when it no longer fits, the oldest turns go first, a question together with its answer. The system
message stays, and so does the question that is to be answered.

Prerequisites: data/chat_template.py, models/gpt.py. Next: cli/chat.py.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict
from typing import Any

from .data.chat_template import ChatTemplate, Message, chat_template
from .generation import Sampling, TextStream, absent
from .generation.sampling import row_generators
from .models import GPT
from .tokenizers import Tokenizer

__all__ = ["Chat"]


class Chat:
    """A conversation.

    Args:
        model: a GPT that was tuned with the tokenizer's chat template.
        tokenizer: with that template.
        system: a system message, which begins the conversation; None for none.
        max_new_tokens: an answer has at most so many tokens, and at most what the context leaves.
        seed: the same seed and the same questions give the same answers; None draws afresh.
        sampling: `temperature`, `top_k`, `top_p`, `min_p`, `repetition_penalty`, as for `GPT.generate`.

    Attributes:
        history: the messages so far, the system message left out.
        forgotten: how many turns the last prompt had to leave out.
        cut: whether the last answer ended for want of room, not because the model had finished.

    Raises:
        ValueError: the tokenizer has no chat template, or is another model's.
    """

    def __init__(self, model: GPT, tokenizer: Tokenizer, *, system: str | None = None, max_new_tokens: int = 200,
                 seed: int | None = None, **sampling: Any) -> None:
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {max_new_tokens}, expected at least 1")
        row_generators(seed, 1)  # a negative seed is an error now, not in the first answer
        self.template: ChatTemplate = chat_template(tokenizer)
        model.check_tokenizer(len(tokenizer))
        self.model, self.tokenizer = model, tokenizer
        self.max_new_tokens, self.seed = max_new_tokens, seed
        self.sampling = Sampling(suppress_tokens=absent(tokenizer.ids, model.config.vocab_size), **sampling)
        self.system: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        self.history: list[Message] = []
        self.forgotten, self.cut = 0, False
        self._answered = 0

    def reset(self) -> None:
        """Forget the conversation; the system message stays."""
        self.history, self.forgotten, self.cut = [], 0, False

    def _prompt(self, history: list[Message]) -> list[int]:
        """The ids to answer from: as much of the end of the history as leaves room for an answer."""
        context = self.model.config.block_size
        room = min(self.max_new_tokens, context // 2)
        ids: list[int] = []
        for turns, place in enumerate(place for place, message in enumerate(history) if message["role"] == "user"):
            self.forgotten = turns
            ids = self.template.prompt([*self.system, *history[place:]])
            if len(ids) + room <= context:
                break
        if len(ids) >= context:
            raise ValueError(f"the message is too long: with what belongs to it, it has {len(ids)} tokens, and the "
                             f"model's context holds {context}, the answer included")
        return ids

    def ask(self, text: str) -> Generator[str, None, None]:
        """Say something, and yield the answer in pieces of whole characters, as it is written.

        The question enters the history with the answer; one that is given up half-way counts as far as it came.

        Raises:
            ValueError: the text does not fit the context, or the vocabulary cannot write it.
        """
        history: list[Message] = [*self.history, {"role": "user", "content": text}]
        return self._answer(history, self._prompt(history))

    def _answer(self, history: list[Message], prompt: list[int]) -> Generator[str, None, None]:
        seed = None if self.seed is None else self.seed + self._answered  # the same question may get another answer
        self._answered += 1
        self.cut = True
        text, said = TextStream(self.tokenizer.decode), ""
        try:
            for (token,) in self.model.stream(
                    [prompt], min(self.max_new_tokens, self.model.config.block_size - len(prompt)), seed=seed,
                    eos_token_id=self.template.stop_ids, **asdict(self.sampling)):
                if token in self.template.stop_ids:
                    self.cut = False
                    break
                if piece := text.push(int(token)):
                    said += piece
                    yield piece
            if piece := text.flush():
                said += piece
                yield piece
        finally:  # also where the reader has had enough
            if said:
                self.history = [*history, {"role": "assistant", "content": said}]

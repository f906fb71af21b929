"""Chat: a conversation with a model, turn by turn, within what its context holds.

The model remembers nothing. Every answer is written from the whole conversation so far, as one prompt; so the history
is kept here, and when it no longer fits, the oldest turns go first, a question together with its answer. The system
message stays, and so does the question that is to be answered.

The model has read most of a prompt before, though: the last one and its own answer. Its cache is kept, cut back to
where the new prompt differs, and goes on from there. So a turn costs what is new in it, however long the conversation.
When turns are forgotten, all that comes after them is read again; so where a context is long, a quarter of it is
forgotten at once, and that happens once in many turns.

Prerequisites: data/chat_template.py, models/gpt.py, nn/cache.py. Next: cli/chat.py.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import Any

from .data.chat_template import ChatTemplate, Message, chat_template
from .generation import Sampling, TextStream, absent
from .generation.sampling import row_generators
from .models import GPT
from .nn.cache import Cache
from .tokenizers import Tokenizer

__all__ = ["Chat"]

SHORT = 512  # tokens of a context that is read again in no time: there, no more is forgotten than need be


@dataclass
class _Read:
    """What a model has read: the ids, and the cache that holds them."""

    ids: list[int]
    cache: Cache
    placement: tuple[Any, ...]  # of the model at the time

    def keep(self, prompt: list[int], placement: tuple[Any, ...]) -> bool:
        """Cut back to what a prompt begins with too, its last token left out, which is always read; False where that
        cannot be done."""
        known = min(len(self.ids), len(prompt) - 1)
        common = next((place for place in range(known) if self.ids[place] != prompt[place]), known)
        self.ids = self.ids[:common]
        return placement == self.placement and self.cache.cut(common)


class Chat:
    """A conversation.

    Each answer owns what it works with. Where several are open at once, one that ends late does not undo what has come
    into the history after its question, nor a `reset`: then it is left out.

    Args:
        model: a GPT that was tuned with the tokenizer's chat template.
        tokenizer: with that template.
        system: a system message, which begins the conversation; None for none.
        max_new_tokens: an answer has at most so many tokens, and at most what the context leaves.
        seed: the same seed and the same questions give the same answers; None draws afresh.
        sampling: `temperature`, `top_k`, `top_p`, `min_p`, `repetition_penalty`, as for `GPT.generate`.

    Attributes:
        history: the messages so far, the system message left out; another list may be put in its place.
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
        self._lock = threading.Lock()
        self._answered = self._asked = 0
        self._read: _Read | None = None
        self.history = []

    @property
    def history(self) -> list[Message]:
        """The messages so far, the system message left out."""
        return self._history

    @history.setter
    def history(self, messages: list[Message]) -> None:
        with self._lock:
            self._history: list[Message] = messages
            self._start = 0  # where what prompts still hold begins: what is forgotten stays so
            self._newest = self._asked  # the last question in it, or that is too late for it
            self.forgotten, self.cut = 0, False

    def reset(self) -> None:
        """Forget the conversation; the system message stays."""
        self.history = []
        self._read = None

    def _prompt(self, question: Message) -> tuple[list[int], int, int]:
        """The ids to answer from, as much of the end of the history as leaves room for an answer; where in the history
        that begins; and how many turns it leaves out."""
        context = self.model.config.block_size
        room = context - min(self.max_new_tokens, context // 2)
        history = self._history[self._start:]
        ids, left_out = self.template.fitting_prompt([*self.system, *history, question], room)
        if left_out and context > SHORT:
            ids, left_out = self.template.fitting_prompt([*self.system, *history, question], room * 3 // 4)
        if len(ids) >= context:
            raise ValueError(f"the message is too long: with what belongs to it, it has {len(ids)} tokens, and the "
                             f"model's context holds {context}, the answer included")
        users = [place for place, message in enumerate([*history, question]) if message["role"] == "user" and place > 0]
        return ids, self._start + [0, *users][left_out], self.forgotten + left_out

    def ask(self, text: str) -> Generator[str, None, None]:
        """Say something, and yield the answer in pieces of whole characters, as it is written.

        The question enters the history with the answer; one that is given up half-way counts as far as it came.

        Raises:
            ValueError: the text does not fit the context, or the vocabulary cannot write it.
        """
        question: Message = {"role": "user", "content": text}
        with self._lock:
            prompt, self._start, self.forgotten = self._prompt(question)
            self._asked += 1
            return self._answer(question, prompt, self._asked)

    def _answer(self, question: Message, prompt: list[int], number: int) -> Generator[str, None, None]:
        with self._lock:
            seed = None if self.seed is None else self.seed + self._answered  # the same question may get another answer
            self._answered += 1
            read, self._read = self._read, None
        n_new = min(self.max_new_tokens, self.model.config.block_size - len(prompt))
        placement = (self.model.device, self.model.dtype, self.model.compute_dtype)
        if read is None or not read.keep(prompt, placement):
            read = _Read([], self.model.new_cache(1, len(prompt) + n_new), placement)
        read.ids = list(prompt)
        text, said, cut, whole = TextStream(self.tokenizer.decode), "", True, False
        try:
            for (token,) in self.model.stream([prompt], n_new, seed=seed, eos_token_id=self.template.stop_ids,
                                              cache=read.cache, **asdict(self.sampling)):
                read.ids.append(int(token))
                if token in self.template.stop_ids:
                    cut = False
                    break
                if piece := text.push(int(token)):
                    said += piece
                    yield piece
            if piece := text.flush():
                said += piece
                yield piece
            whole = True
        except GeneratorExit:  # the reader has had enough
            whole = True
            raise
        finally:
            read.ids = read.ids[:read.cache.length]  # the last token of an answer is written, and not read
            with self._lock:
                if whole:
                    self._read = read
                if number == self._asked:
                    self.cut = cut
                if said and number > self._newest:
                    self._newest = number
                    self._history = [*self._history, question, {"role": "assistant", "content": said}]

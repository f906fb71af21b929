"""Text: `pipeline("text-generation", model=…)("Once upon a time")`.

A conversation, a list of messages {"role": …, "content": …}, goes through the tokenizer's chat template and gets the
assistant's answer.

Prerequisites: base.py, generation/decode.py, data/chat_template.py. Next: translation.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..data.chat_template import ChatTemplate, Message, chat_template
from ..generation import TextStream, absent, left_pad
from ..generation.decode import as_list
from ..models import CausalLM, PretrainedModel
from ..models.base import FROM_CONFIG
from .base import Pipeline, Settings, check_count, prefer_new_tokens

__all__ = ["GenerationSettings", "TextGenerationPipeline"]


@dataclass(frozen=True, kw_only=True)
class GenerationSettings(Settings):
    """How text is written; the defaults are those of transformers.

    Attributes:
        max_new_tokens: at most so many tokens; 256 unless `max_length` is given.
        max_length: at most so many with the prompt's; where both are given, max_new_tokens counts, with a warning.
        min_new_tokens: before so many, no text ends.
        do_sample: draw tokens, rather than take the likeliest. By default it is drawn, but not with beams.
        temperature, top_k, top_p, min_p, repetition_penalty, no_repeat_ngram_size: see `generation.Sampling`.
        num_beams, length_penalty, early_stopping: above 1, beam search.
        num_return_sequences: how many texts for each prompt: drawn ones, or the best of the beams.
        seed: the same seed and batch size give the same texts; None draws a fresh seed.
        stop_sequence: a text, or several, after which a text ends; it stands at its end.
        eos_token_id: ids after which a text ends; the configuration's by default, None for none.
        pad_token_id: what fills up batches. It changes no text.
        return_full_text: the prompt with its continuation, or the continuation alone.
        return_tensors: "generated_token_ids", those of the prompt and of the continuation, instead of the text.
        truncation: what happens to a prompt longer than the context: None takes its end with a warning, True without
            one, False raises.
    """

    max_new_tokens: int | None = None
    max_length: int | None = None
    min_new_tokens: int = 0
    do_sample: bool | None = None
    temperature: float = 0.7
    top_k: int | None = 50
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    num_return_sequences: int = 1
    seed: int | None = None
    stop_sequence: str | Sequence[str] | None = None
    eos_token_id: int | Sequence[int] | None = FROM_CONFIG
    pad_token_id: int | None = None
    return_full_text: bool = True
    return_tensors: bool = False
    truncation: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("max_new_tokens", "num_beams", "num_return_sequences"):
            check_count(name, getattr(self, name), "what max_length leaves, or 256" if name == "max_new_tokens" else "")
        prefer_new_tokens(self.max_new_tokens, self.max_length)
        if self.num_beams > 1 and self.do_sample:
            raise ValueError("beams are not drawn: give do_sample=True or num_beams, not both")
        if self.num_beams == 1 and self.num_return_sequences > 1 and not self.samples:
            raise ValueError("num_return_sequences above 1 needs do_sample=True, or as many num_beams: the likeliest "
                             "tokens one by one are a single text")

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn."""
        drawn = self.num_beams == 1 if self.do_sample is None else self.do_sample
        return drawn and self.temperature > 0

    def room(self, prompt: int) -> int:
        """How many tokens may follow a prompt of so many."""
        if self.max_new_tokens is not None:
            return self.max_new_tokens
        return 256 if self.max_length is None else self.max_length - prompt


class TextGenerationPipeline(Pipeline):
    """Prompts to texts: [{"generated_text": …}] for one prompt, and for a list of prompts a list of such lists.

    A prompt is a text or a conversation. A conversation comes back with the answer as its last message, and what its
    messages say is plain text, whatever special tokens it names. One that ends with the assistant's own message is
    gone on with there.
    """

    task = "text-generation"
    needs = "a decoder"
    recipe = "tinygpt pretrain --out runs/first"
    settings_class = GenerationSettings
    model: CausalLM

    @classmethod
    def serves(cls, model: PretrainedModel) -> bool:
        """A model that predicts tokens."""
        return isinstance(model, CausalLM) and model.config.head == "lm"

    def is_input(self, value: Any) -> bool:
        """A text, or a list of messages."""
        return isinstance(value, str) or _is_chat(value)

    def run(self, inputs: list[Any], settings: GenerationSettings) -> list[list[dict[str, Any]]]:
        """For each prompt a list of as many dicts as texts were asked for."""
        s = settings
        template = chat_template(self.tokenizer) if any(map(_is_chat, inputs)) else None
        prompts = [self._prompt(given, s, template) for given in inputs]
        eos = self._ends(template, s)
        rooms = [self._room(given, ids, s) for given, ids in zip(inputs, prompts)]
        if s.num_beams > 1:  # a prompt's beams give all its texts, and where a text is cut they choose another
            places: dict[int, list[int]] = {}
            for place, room in enumerate(rooms):
                places.setdefault(room, []).append(place)
            texts: dict[int, list[list[int]]] = {}
            for alike in places.values():
                for start in range(0, len(alike), s.batch_size):
                    batch, n = alike[start:start + s.batch_size], s.num_return_sequences
                    written = self._continue([prompts[place] for place in batch], [rooms[place] for place in batch],
                                             s, 0, eos)
                    texts |= {place: written[row * n:(row + 1) * n] for row, place in enumerate(batch)}
            new = [ids for place in range(len(prompts)) for ids in texts[place]]
        else:
            rows = [ids for ids in prompts for _ in range(s.num_return_sequences)]
            longest = [room for room in rooms for _ in range(s.num_return_sequences)]
            new = [ids for start in range(0, len(rows), s.batch_size)
                   for ids in self._continue(rows[start:start + s.batch_size], longest[start:start + s.batch_size], s,
                                             start, eos)]
        records = [self._record(given, prompts[place], new[place * s.num_return_sequences + number], s)
                   for place, given in enumerate(inputs) for number in range(s.num_return_sequences)]
        return [records[start:start + s.num_return_sequences]
                for start in range(0, len(records), s.num_return_sequences)]

    def _ends(self, template: ChatTemplate | None, settings: GenerationSettings) -> list[int]:
        """The tokens that end a text: those of the settings, or the configuration's and in a chat the template's."""
        if settings.eos_token_id is not FROM_CONFIG:
            return as_list(settings.eos_token_id)
        return [*as_list(self.model.config.eos_token_id),
                *(template.stop_ids if template is not None else [])]

    def _prompt(self, given: str | list[Message], settings: GenerationSettings,
                template: ChatTemplate | None) -> list[int]:
        """The ids to go on from."""
        context = self.model.config.block_size
        if isinstance(given, str):
            ids = self.tokenizer.encode_prompt(given)
        else:
            assert template is not None
            ids = self._chat(given, settings, template)
        if not ids:
            config = self.model.config
            begins = [token for token in (config.bos_token_id, self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
                      if token is not None]
            if not begins:
                raise ValueError("a prompt is empty, and this model has no token that a text begins with")
            ids = begins[:1]
        if settings.room(len(ids)) < 1:
            raise ValueError(f"max_length {settings.max_length} leaves no room for new tokens after a prompt of "
                             f"{len(ids)}")
        return ids[-context:] if settings.truncation else ids

    def _chat(self, messages: list[Message], settings: GenerationSettings, template: ChatTemplate) -> list[int]:
        """The ids of a conversation up to where the assistant goes on.

        Of one that is too long, what the assistant was told first stays, its system message, and the latest turns; its
        answer gets up to half of the context, as in `Chat`.
        """
        ids, context = template.open_prompt(messages), self.model.config.block_size
        limit = context - min(settings.room(len(ids)), context // 2)
        if len(ids) <= limit or settings.truncation is False or self.model.config.endless:
            return ids
        if settings.truncation is None:
            warnings.warn(f"the conversation has {len(ids)} tokens, but the model's context holds {context}, the "
                          "answer included: the oldest turns are left out", stacklevel=2)
        return template.cropped_prompt(messages, limit)

    def _room(self, given: str | list[Message], prompt: list[int], settings: GenerationSettings) -> int:
        """How many tokens may follow a prompt; an answer ends where the context does, for what slid out of it would be
        what the assistant was told first."""
        room, config = settings.room(len(prompt)), self.model.config
        return room if isinstance(given, str) or config.endless else min(room, max(1, config.block_size - len(prompt)))

    def _continue(self, prompts: list[list[int]], longest: list[int], settings: GenerationSettings, start: int,
                  eos: list[int]) -> list[list[int]]:
        """The new tokens of each prompt, the one that ended it included, and at most as many as `longest` says."""
        s, config = settings, self.model.config
        pad = config.pad_token_id if s.pad_token_id is None else s.pad_token_id
        ids, mask = left_pad(prompts, pad or 0)
        stop = as_list(s.stop_sequence)
        how: dict[str, Any] = {
            "num_beams": s.num_beams, "length_penalty": s.length_penalty, "early_stopping": s.early_stopping,
            "num_return_sequences": s.num_return_sequences} if s.num_beams > 1 else {
            "temperature": s.temperature if s.samples else 0.0, "top_k": s.top_k, "top_p": s.top_p, "min_p": s.min_p,
            "seed": None if s.seed is None else s.seed + start,
            "long_prompt": "error" if s.truncation is False else "crop", "decode": self.tokenizer.decode}
        written = self.model.generate(
            ids, max(longest), attention_mask=mask, eos_token_id=eos or None, pad_token_id=pad, stop=stop or None,
            repetition_penalty=s.repetition_penalty, no_repeat_ngram_size=s.no_repeat_ngram_size,
            min_new_tokens=s.min_new_tokens, suppress_tokens=absent(self.tokenizer.ids, config.vocab_size), **how)
        longest = [n for n in longest for _ in range(len(written) // len(prompts))]
        return [self._until_end(row[:n], eos, stop)
                for row, n in zip(written[:, ids.shape[1]:].tolist(), longest)]

    def _until_end(self, new: list[int], eos: list[int], stop: list[str]) -> list[int]:
        """The new tokens of a row up to the one that ended it; what follows is filling."""
        text = TextStream(self.tokenizer.decode, stop)
        for place, token in enumerate(new):
            if stop:
                text.push(token)
            if token in eos or text.stopped:
                return new[:place + 1]
        return new

    def _record(self, given: str | list[Message], prompt: list[int], new: list[int],
                settings: GenerationSettings) -> dict[str, Any]:
        if settings.return_tensors:
            return {"generated_token_ids": [*prompt, *new]}
        written = self.tokenizer.decode(new, skip_special_tokens=True)
        if not settings.return_full_text:
            return {"generated_text": written}
        if isinstance(given, str):
            return {"generated_text": given + written}
        *before, last = given
        if last["role"] != "assistant":
            return {"generated_text": [*given, {"role": "assistant", "content": written}]}
        said = last["content"]
        said = said + written if isinstance(said, str) else [*said, {"type": "text", "text": written}]
        return {"generated_text": [*before, {**last, "content": said}]}


def _is_chat(value: Any) -> bool:
    """Whether it is a list of messages, as transformers tells: by its first."""
    return isinstance(value, (list, tuple)) and len(value) > 0 and isinstance(value[0], dict) \
        and {"role", "content"} <= value[0].keys()

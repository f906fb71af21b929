"""Preferences: a question with a better and a worse answer; and questions alone, with what a right answer is.

A record of preferences has "chosen" and "rejected", two texts, and the question as "prompt" (or "question", or
"instruction" with "input" or without), a text or a list of messages; or as "messages". As on the Hub, the answers may
also be lists of messages, whose last one is the answer; the question is then what both begin with, unless it is given.

A record of questions is one of conversations.py, or has its question as above; what is expected of an answer stands in
"answer", "output", "completion", "chosen", or in the last message; where a reward asks for none, it may be missing.

`Turns` makes ids of both: with the tokenizer's chat template, or where it has none as plain text, one behind the other.

Shapes: B batch, T time.

Prerequisites: conversations.py, example_file.py. Next: few_shot.py. Ouyang et al., "Training language models to follow
instructions with human feedback" (2022).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..files.shown import listed
from ..tokenizers import Tokenizer
from .chat_template import Message, chat_template
from .conversations import (CHATS, Conversation, EncodedConversation, instruction_message, last_answer, message_of,
                            text_of)
from .padding import pad
from .records import located_records
from .sampler import IGNORE, EpochSampler
from .sources import find_table

__all__ = ["EncodedPair", "Pair", "PairedSampler", "Prompt", "Turns", "encode_pairs", "pair_batch", "read_preferences",
           "read_prompts"]

QUESTIONS, ANSWERS = ("prompt", "question", "instruction"), ("answer", "output", "completion", "chosen")


class Pair(NamedTuple):
    """A question, two answers to it, and the place in a file that they come from."""

    where: str
    prompt: Conversation
    chosen: str
    rejected: str


class Prompt(NamedTuple):
    """A question, what is expected of an answer ("" where nothing is), and the place in a file that it comes from."""

    where: str
    prompt: Conversation
    expected: str


# ---------------------------------------------------------------------------------------------------------------------
# Text


def _messages(where: str, value: Any, field: str) -> Conversation:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{where}: {field!r} holds {json.dumps(value)[:40]}, expected a text or a list of messages")
    return [message_of(where, number, message) for number, message in enumerate(value, 1)]


def _prompt(where: str, record: Mapping[Any, Any]) -> Conversation | None:
    """The question of a record, None where it names none."""
    for field in (*QUESTIONS, *CHATS):
        value = record.get(field)
        if value is None:
            continue
        if not isinstance(value, str):
            return _messages(where, value, field)
        about = record.get("input") if field == "instruction" else None
        asked = instruction_message(value.strip(), about.strip() if isinstance(about, str) else "")
        if not asked:
            raise ValueError(f"{where}: {field!r} is empty: there is no question")
        system = record.get("system")
        begins = [{"role": "system", "content": system}] if isinstance(system, str) and system.strip() else []
        return [*begins, {"role": "user", "content": asked}]
    return None


def _side(where: str, record: Mapping[Any, Any], side: str) -> tuple[Conversation, str]:
    """(the messages before an answer, if it came with them; the answer)."""
    value = record.get(side)
    if value is None:
        raise ValueError(f"{where}: no {side!r}: a pair has two answers, \"chosen\" and \"rejected\"; the record has "
                         f"{listed(record)}")
    before: Conversation = []
    if not isinstance(value, str):
        *before, last = _messages(where, value, side)
        if last["role"] != "assistant":
            raise ValueError(f"{where}: {side!r} ends with a message of the {last['role']}, expected the assistant's")
        value = text_of(last)
    if not value.strip():
        raise ValueError(f"{where}: {side!r} is empty: both answers of a pair must say something")
    return before, value.strip()


def _pair(where: str, record: Mapping[Any, Any]) -> Pair:
    before, chosen = _side(where, record, "chosen")
    other, rejected = _side(where, record, "rejected")
    prompt = _prompt(where, record)
    if prompt is None and before and before == other:
        prompt = before
    if prompt is None:
        raise ValueError(f"{where}: a pair without a question: expected \"prompt\" (or \"messages\", \"question\" or "
                         f"\"instruction\"); the record has {listed(record)}")
    return Pair(where, prompt, chosen, rejected)


Specs = str | Path | Sequence[str | Path]


def _records(specs: Specs) -> Iterable[tuple[str, Mapping[Any, Any]]]:
    for spec in [specs] if isinstance(specs, (str, Path)) else specs:
        yield from located_records(find_table(spec))


def read_preferences(specs: Specs) -> list[Pair]:
    """The pairs of files, in order.

    Args:
        specs: files of any format that `located_records` reads, or a named data set such as "synthetic-preferences".

    Raises:
        FileNotFoundError, IsADirectoryError: no such file or data set, or a folder.
        ValueError: a record without a question or without one of the answers, or an empty one, named by its line; or
            no pair at all.

    Warns:
        UserWarning: pairs were left out because both answers are the same; the first is named by its line.
    """
    pairs = [_pair(where, record) for where, record in _records(specs)]
    found = [pair for pair in pairs if pair.chosen != pair.rejected]
    same = [pair.where for pair in pairs if pair.chosen == pair.rejected]
    if not found:
        raise ValueError(f"{same[0]}: chosen and rejected are the same; no pair of the data prefers anything")
    if same:
        warnings.warn(f"left out {len(same):,} of {len(pairs):,} pairs, whose chosen and rejected are the same: the "
                      f"first is {same[0]}", stacklevel=2)
    return found


def read_prompts(specs: Specs) -> list[Prompt]:
    """The questions of files, with what is expected of their answers; arguments and errors as `read_preferences`."""
    found = []
    for where, record in _records(specs):
        prompt = _prompt(where, record)
        if prompt is None:
            raise ValueError(f"{where}: a record without a question: expected \"prompt\" (or \"messages\", "
                             f"\"question\" or \"instruction\"); it has {listed(record)}")
        expected = next((record[field] for field in ANSWERS if record.get(field) is not None), "")
        if prompt[-1]["role"] == "assistant":
            expected, prompt = text_of(prompt[-1]), prompt[:-1]
        if not prompt or not text_of(prompt[-1]).strip():
            raise ValueError(f"{where}: the question is empty")
        if isinstance(expected, (list, dict, bool)):
            raise ValueError(f"{where}: the expected answer is {json.dumps(expected)[:40]}, expected a text or a "
                             "number")
        found.append(Prompt(where, prompt, str(expected).strip()))
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Ids


class Turns:
    """How a question and its answer become ids.

    Args:
        tokenizer: with a chat template, the question and its answer are turns of it; without, the answer follows the
            question as plain text and is closed by the end-of-text token, if there is one.
        encoder: the model reads from both sides: what its tokenizer puts behind a text stands behind both.

    Attributes:
        stop_ids: the tokens at which an answer is over.
    """

    def __init__(self, tokenizer: Tokenizer, encoder: bool = False) -> None:
        self.tokenizer = tokenizer
        self.template = None if tokenizer.chat_template is None else chat_template(tokenizer)
        self._between = list(tokenizer.suffix_ids) if encoder else []
        eos = tokenizer.eos_token_id
        self._end = self._between or ([] if eos is None else [eos])
        self.stop_ids = self._end if self.template is None else self.template.stop_ids

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids that an answer follows."""
        if self.template is not None:
            return self.template.prompt(messages)
        text = "\n".join(map(text_of, messages))
        return [*self.tokenizer.encode_prompt(text), *self._between]

    def encode(self, messages: Sequence[Message], answer: str) -> tuple[np.ndarray, np.ndarray]:
        """(ids of the question, ids of the answer with its end), int64."""
        if self.template is not None:
            return last_answer(self.template.encode([*messages, {"role": "assistant", "content": answer}]))
        said = [*self.tokenizer.encode(answer, add_special_tokens=False), *self._end]
        return np.array(self.prompt(messages), np.int64), np.array(said, np.int64)

    def text(self, ids: Sequence[int]) -> str:
        """An answer's text up to its end, without the space around it."""
        end = next((place for place, token in enumerate(ids) if token in self.stop_ids), len(ids))
        return self.tokenizer.decode(ids[:end], skip_special_tokens=True).strip()


EncodedPair = tuple[EncodedConversation, EncodedConversation]  # the chosen and the rejected answer, each behind the
# question: ids (T,), and which of them are the answer's (T,)


def encode_pairs(pairs: Sequence[Pair], turns: Turns, block_size: int, what: str = "the data") -> list[EncodedPair]:
    """The ids of every pair that fits a context of `block_size` tokens.

    Raises:
        ValueError: a text that the vocabulary cannot write, named by its line; or no pair fits.

    Warns:
        UserWarning: some do not fit and are left out; the first is named by its line.
    """
    found, long = [], []
    for pair in pairs:
        try:
            sides = [turns.encode(pair.prompt, answer) for answer in (pair.chosen, pair.rejected)]
        except ValueError as error:
            raise ValueError(f"{pair.where}: {error}") from None
        if not all(len(prompt) and len(answer) for prompt, answer in sides):
            raise ValueError(f"{pair.where}: the tokenizer makes nothing of the question or of an answer")
        if max(len(prompt) + len(answer) for prompt, answer in sides) > block_size:
            long.append(pair.where)
            continue
        chosen, rejected = ((np.concatenate([prompt, answer]), np.arange(len(prompt) + len(answer)) >= len(prompt))
                            for prompt, answer in sides)
        found.append((chosen, rejected))
    if not found:
        raise ValueError(f"{long[0]}: longer than the context of {block_size} tokens, as is every pair of {what}")
    if long:
        warnings.warn(f"left out {len(long):,} of the {len(pairs):,} pairs of {what}, which are longer than the "
                      f"context of {block_size} tokens: the first is {long[0]}", stacklevel=2)
    return found


def pair_batch(pairs: Sequence[EncodedPair], pad_id: int = 0) -> dict[str, np.ndarray]:
    """Pairs as a batch, a row for each.

    Returns:
        "ids" and "attention_mask" (B, 2, T), the chosen answer first, filled up at the end; "labels" (B, 2, T), the ids
        of the answers, and −100 elsewhere; "targets" (B,), which of the two is better: 0.
    """
    sides = [side for pair in pairs for side in pair]  # (2B,)
    ids = pad([ids for ids, _ in sides], pad_id)
    labels = pad([np.where(learnt, ids, IGNORE) for ids, learnt in sides], IGNORE)
    mask = pad([np.ones_like(ids) for ids, _ in sides], 0)
    shape = (len(pairs), 2, ids.shape[1])
    return {"ids": ids.reshape(shape), "labels": labels.reshape(shape), "attention_mask": mask.reshape(shape),
            "targets": np.zeros(len(pairs), np.int64)}  # (B, 2, T), and (B,)


class PairedSampler(EpochSampler):
    """Batches of pairs.

    Args:
        pairs: from `encode_pairs`.
        batch_size, seed, pad_id: as for any sampler.
        reference: (len(pairs), 2), a number for each answer that goes with it as "reference" (B, 2); None for none.
    """

    def __init__(self, pairs: Sequence[EncodedPair], batch_size: int, seed: int = 0, pad_id: int = 0,
                 reference: np.ndarray | None = None) -> None:
        super().__init__(list(enumerate(pairs)), batch_size, seed, pad_id)
        self.reference = reference

    def batch_of(self, examples: list[tuple[int, EncodedPair]]) -> dict[str, np.ndarray]:
        """As `pair_batch` makes it."""
        numbers, pairs = zip(*examples)
        batch = pair_batch(pairs, self.pad_id)
        return batch if self.reference is None else batch | {"reference": self.reference[list(numbers)]}

"""Conversations to learn from: out of files of several shapes, into batches in which only answers are targets.

A record is a chat, {"messages": [{"role": …, "content": …}, …]}, or the list of messages alone; or a chat as ShareGPT
writes it, {"conversations": [{"from": "human", "value": …}, …]}; or one instruction and its answer, {"instruction",
"input", "output"} as in Alpaca, whose input may be empty or missing; {"prompt", "completion"} says the same with other
names. A file whose records are messages is one conversation. All become lists of {"role", "content"}. Those that are
too long, or lack an answer, must not go silently: a warning counts them and names the first.

Prerequisites: chat_template.py, records.py, pairs.py. Next: few_shot.py. Taori et al., "Alpaca" (2023).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from .chat_template import ChatTemplate, Message
from .padding import pad
from .records import located_records
from .sampler import IGNORE, EpochSampler
from .sources import find_table
from .split import split_by

__all__ = ["Conversation", "ConversationSampler", "EncodedConversation", "all_conversations", "conversation_batch",
           "encode_conversations", "instruction_message", "is_conversation", "last_answer", "located_conversations",
           "message_of", "packed", "read_conversations", "split_conversations", "text_of"]

Conversation = list[Message]
EncodedConversation = tuple[np.ndarray, np.ndarray]  # ids (T,), and booleans (T,): which of them are learnt


# ---------------------------------------------------------------------------------------------------------------------
# Text


def instruction_message(instruction: str, input: str = "") -> str:
    """What the user says for an instruction: the instruction, and on the next line what it is about.

    >>> instruction_message("Reverse the word.", "stone")
    'Reverse the word.\\nstone'
    """
    return f"{instruction}\n{input}" if input else instruction


def _text(where: str, record: Mapping[Any, Any], key: str) -> str:
    value = record.get(key)
    if value is None:
        return ""
    if isinstance(value, (dict, list, bool)):
        raise ValueError(f"{where}: {key!r} holds {json.dumps(value)[:40]}, expected a text")
    return str(value).strip()


QUESTION_AND_ANSWER = (("instruction", "output"), ("prompt", "completion"))
CHATS = ("messages", "conversations", "conversation")  # fields that hold the messages of a chat
KEYS = (("role", "content"), ("from", "value"))  # how a message names who says what: OpenAI's way, and ShareGPT's

# What data call those who speak, and what chat templates call them.
SPEAKERS = {
    "system": "system", "developer": "developer",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant",
    "function_call": "assistant",
    "tool": "tool", "observation": "tool", "function": "tool", "function_response": "tool",
}


def _messages_of(record: Mapping[Any, Any]) -> Any:
    """What a record holds as its messages; None where it is no chat."""
    for field in CHATS:
        if field in record:
            return record[field]
    if record and all(isinstance(key, int) for key in record) and isinstance(record[0], Mapping):
        return list(record.values())  # a bare list, which `located_records` has numbered
    return None


def _is_message(record: Any) -> bool:
    return isinstance(record, Mapping) and any(who in record and what in record for who, what in KEYS)


def is_conversation(record: Any) -> bool:
    """Whether a record has one of the shapes above."""
    return isinstance(record, Mapping) and (_messages_of(record) is not None or _is_message(record) or any(
        question in record and answer in record for question, answer in QUESTION_AND_ANSWER))


def message_of(where: str, number: int, message: Any) -> Message:
    """A message under the names that chat templates know; what else it has, such as tool calls, stays."""
    if isinstance(message, Mapping):
        for who, what in KEYS:
            role, content = message.get(who), message.get(what)
            if not isinstance(role, str) or role.lower() not in SPEAKERS:
                continue
            has_calls = bool(message.get("tool_calls")) and content is None
            if isinstance(content, str) or has_calls or isinstance(content, list) and all(
                    isinstance(part, Mapping) and isinstance(part.get("type"), str) for part in content):
                rest = {key: value for key, value in message.items() if key not in (who, what)}
                return {"role": SPEAKERS[role.lower()], "content": "" if content is None else content, **rest}
    raise ValueError(f"{where}: message {number} is {json.dumps(message)[:60]}, expected a role "
                     f"({', '.join(dict.fromkeys(SPEAKERS.values()))}; or ShareGPT's names) and a content, both texts")


def text_of(message: Message) -> str:
    """What a message says; of a content in parts, its texts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _conversation(where: str, record: Mapping[Any, Any]) -> Conversation:
    """The messages of one record."""
    messages = _messages_of(record)
    if messages is not None or any(field in record for field in CHATS):
        if not isinstance(messages, list) or not messages:
            field = next(field for field in CHATS if field in record)
            raise ValueError(f"{where}: {field!r} holds {json.dumps(messages)[:40]}, expected a list of messages")
        chat = [message_of(where, number, message) for number, message in enumerate(messages, 1)]
        system = record.get("system")  # ShareGPT's records may keep it apart
        begins = isinstance(system, str) and system.strip() and chat[0]["role"] != "system"
        return [{"role": "system", "content": system}, *chat] if begins else chat
    for question, answer in QUESTION_AND_ANSWER:
        if question in record and answer in record:
            asked = instruction_message(_text(where, record, question), _text(where, record, "input"))
            return [{"role": "user", "content": asked},
                    {"role": "assistant", "content": _text(where, record, answer)}]
    raise ValueError(f"{where}: expected \"messages\" or \"conversations\", or \"instruction\" and \"output\" (with "
                     "\"input\" or without), "
                     f"or \"prompt\" and \"completion\"; the record has {', '.join(str(key)[:30] for key in record)}")


def _is_whole(conversation: Conversation) -> bool:
    """Whether somebody asks and the assistant answers, both with something."""
    said = {message["role"] for message in conversation if text_of(message).strip() or message.get("tool_calls")}
    empty = any(message["role"] == "assistant" and not text_of(message).strip() and not message.get("tool_calls")
                for message in conversation)
    return "assistant" in said and "user" in said and not empty


def _joined(records: Iterator[tuple[str, Mapping[Any, Any]]]) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """The records, or where the first is a message, all of them as one chat."""
    first = next(records, None)
    if first is None:
        return
    if not _is_message(first[1]) or _messages_of(first[1]) is not None:
        yield first
        yield from records
        return
    messages = []
    for number, (where, record) in enumerate(chain([first], records), 1):
        messages.append(message_of(where, number, record))
    yield first[0], {"messages": messages}


def located_conversations(specs: str | Path | Sequence[str | Path]) -> list[tuple[str, Conversation]]:
    """As `read_conversations`, each with the file and line that it comes from, for messages about its contents."""
    found, left_out = [], []
    for spec in [specs] if isinstance(specs, (str, Path)) else specs:
        for where, record in _joined(located_records(find_table(spec))):
            conversation = _conversation(where, record)
            if _is_whole(conversation):
                found.append((where, conversation))
            else:
                left_out.append(where)
    if not found:
        raise ValueError(f"the data hold no question with an answer"
                         f"{f'; {left_out[0]} lacks one of them' if left_out else ''}")
    if left_out:
        warnings.warn(f"left out {len(left_out):,} of {len(left_out) + len(found):,} conversations, in which a "
                      f"question or an answer is empty: the first is {left_out[0]}", stacklevel=2)
    return found


def read_conversations(specs: str | Path | Sequence[str | Path]) -> list[Conversation]:
    """The conversations of files, in order.

    Args:
        specs: files of any format that `located_records` reads, "-" for standard input, or a named data set such as
            "synthetic-instructions".

    Raises:
        FileNotFoundError, IsADirectoryError: no such file or data set, or a folder.
        ValueError: a record in none of the shapes above, named by its line; or no conversation at all.

    Warns:
        UserWarning: conversations were left out because a question or an answer is empty.
    """
    return [conversation for _, conversation in located_conversations(specs)]


def _question(conversation: Conversation) -> tuple[tuple[str, str], ...]:
    """All that is said before the first answer."""
    first = [message["role"] for message in conversation].index("assistant")
    return tuple((message["role"], text_of(message)) for message in conversation[:first])


def split_conversations(conversations: Sequence[Conversation], validation: float = 0.1,
                        seed: int = 0) -> tuple[list[Conversation], list[Conversation]]:
    """(training, held-out) conversations, split by first question; arguments and errors as for `split_by`."""
    return split_by(conversations, _question, validation, seed, "question")


# ---------------------------------------------------------------------------------------------------------------------
# Ids


def encode_conversations(conversations: Sequence[Conversation], template: ChatTemplate, block_size: int,
                         what: str = "the data", places: Sequence[str] = ()) -> list[EncodedConversation]:
    """Ids and which of them are learnt, of every conversation that fits `block_size` tokens.

    Args:
        conversations, template: what to encode, and how.
        block_size: the model's context.
        what, places: what the data, and each conversation, are called in messages.

    Raises:
        ValueError: a text that the vocabulary cannot write, named by its place; or none fits.

    Warns:
        UserWarning: some do not fit and are left out.
    """
    encoded = []
    for number, conversation in enumerate(conversations, 1):
        try:
            ids, learnt = template.encode(conversation)
            if not learnt.any():
                raise ValueError("the chat template writes nothing of what the assistant says")
        except ValueError as error:
            place = places[number - 1] if places else f"conversation {number} of {what}"
            raise ValueError(f"{place}: {error}") from None
        encoded.append((ids, learnt))
    fitting = [chat for chat in encoded if len(chat[0]) <= block_size + 1]
    longest = max((len(ids) for ids, _ in encoded), default=0)
    if not fitting:
        raise ValueError(f"none of the {len(encoded):,} conversations of {what} fits a context of {block_size} tokens: "
                         f"the longest has {longest:,}")
    if len(fitting) < len(encoded):
        warnings.warn(f"left out {len(encoded) - len(fitting):,} of the {len(encoded):,} conversations of {what}, "
                      f"which do not fit a context of {block_size} tokens: the longest has {longest:,}", stacklevel=2)
    return fitting


def last_answer(conversation: EncodedConversation) -> tuple[np.ndarray, np.ndarray]:
    """(prompt, answer) of an encoded conversation: the ids before its last answer, and that answer's.

    >>> prompt, answer = last_answer((np.array([7, 1, 8, 2, 9]), np.array([False, True, False, True, True])))
    >>> prompt.tolist(), answer.tolist()
    ([7, 1, 8], [2, 9])
    """
    ids, learnt = conversation
    end = int(np.flatnonzero(learnt)[-1]) + 1
    before = np.flatnonzero(~learnt[:end])
    start = int(before[-1]) + 1 if len(before) else 0
    return ids[:start], ids[start:end]


def conversation_batch(conversations: Sequence[EncodedConversation], pad_id: int = 0) -> dict[str, np.ndarray]:
    """Conversations as a batch for a causal model, which is to predict the learnt tokens alone.

    Returns:
        {"ids", "targets"}, each (B, T) int64 with T the longest length less one; filling stands at the end, where a
        causal mask keeps it from mattering.

    >>> batch = conversation_batch([(np.array([7, 5, 8, 9]), np.array([False, False, True, True]))])
    >>> batch["ids"].tolist(), batch["targets"].tolist()
    ([[7, 5, 8]], [[-100, 8, 9]])
    """
    ids = pad([ids[:-1] for ids, _ in conversations], pad_id)
    targets = pad([np.where(learnt, ids, IGNORE)[1:] for ids, learnt in conversations], IGNORE)
    return {"ids": ids, "targets": targets}


def packed(conversations: Sequence[EncodedConversation], block_size: int) -> list[EncodedConversation]:
    """The conversations one behind the other in as few rows of up to `block_size` + 1 tokens as first fit finds.

    A row then looks like one long conversation. Short examples waste nothing on filling, every position of the context
    is trained, and the model meets questions that come after others, as in a chat.

    >>> rows = packed([(np.arange(n), np.ones(n, bool)) for n in (5, 4, 3, 1)], block_size=7)
    >>> [ids.tolist() for ids, _ in rows]
    [[0, 1, 2, 3, 4, 0, 1, 2], [0, 1, 2, 3, 0]]
    """
    rows: list[list[EncodedConversation]] = []
    room: list[int] = []
    for conversation in conversations:
        n = len(conversation[0])
        place = next((place for place, left in enumerate(room) if n <= left), None)
        if place is None:
            rows.append([])
            room.append(block_size + 1)
            place = -1
        rows[place].append(conversation)
        room[place] -= n
    return [(np.concatenate([ids for ids, _ in row]), np.concatenate([learnt for _, learnt in row])) for row in rows]


class ConversationSampler(EpochSampler):
    """Batches of conversations, packed.

    Args:
        conversations: from `encode_conversations`.
        batch_size: conversations a step; packed, they make fewer rows.
        block_size: the model's context, which a row fills at most.
        seed: not negative.
        pad_id: see `conversation_batch`.
    """

    def __init__(self, conversations: Sequence[EncodedConversation], batch_size: int, block_size: int, seed: int = 0,
                 pad_id: int = 0) -> None:
        super().__init__(conversations, batch_size, seed, pad_id)
        self.block_size = block_size

    def batch_of(self, examples: list[EncodedConversation]) -> dict[str, np.ndarray]:
        """Packed, as `conversation_batch` makes it."""
        return conversation_batch(packed(examples, self.block_size), self.pad_id)


def all_conversations(conversations: Sequence[EncodedConversation], batch_size: int,
                      pad_id: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """Every conversation once, the short ones first, as batches of `conversation_batch`: for validation."""
    ordered = sorted(conversations, key=lambda chat: len(chat[0]))
    for start in range(0, len(ordered), batch_size):
        yield conversation_batch(ordered[start:start + batch_size], pad_id)

"""From a rendered conversation to ids: only the template's own words become special tokens.

Special tokens are looked for in what the template wrote, and there alone. So a message that spells "<|end|>" becomes
the ids of these seven characters, whatever the template does to it on the way. All else is encoded as one text from one
special token to the next, as tokenizers do it; so an honest conversation gets the ids that transformers gives it.

Prerequisites: jinja.py, tool_schema.py, special.py. Next: base.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from .jinja import GENERATED, Rendered, message_source, render
from .tool_schema import tool_schema
from .unicode_classes import WHITESPACE

__all__ = ["Piece", "apply_chat_template", "as_schemas", "chat_ids", "chat_pieces", "up_to_the_last_word", "whole_ids"]

Tokenizer = Any  # one of base.py, which has a method that comes here


@dataclass(frozen=True)
class Piece:
    """A part of a rendered conversation, text[start:end]: a special token, with its id, or a text, without."""

    start: int
    end: int
    id: int | None = None


def chat_pieces(tokenizer: Tokenizer, rendered: Rendered, cuts: Iterable[int] = ()) -> list[Piece]:
    """The special tokens that the template wrote, and the texts between them, cut at further places too.

    Args:
        tokenizer: whose special tokens are looked for.
        rendered: the conversation.
        cuts: places in the text where a token must not go across.
    """
    found: list[Piece] = []
    for own, stretch in groupby(rendered.spans(), key=lambda span: span[0] <= GENERATED):
        if own:
            (_, start, end), *more = stretch
            found += _special(tokenizer, rendered.text, start, more[-1][2] if more else end)
    marks = sorted(set(cuts))
    pieces: list[Piece] = []
    place = 0
    for token in [*found, Piece(len(rendered.text), len(rendered.text))]:
        last = max(place, token.start)  # a token may swallow space that another one has swallowed before
        edges = [place, *(cut for cut in marks if place < cut < last), last]
        pieces += [Piece(first, end) for first, end in zip(edges, edges[1:]) if first < end]
        if token.id is not None:
            pieces.append(token)
        place = token.end
    return pieces


def _special(tokenizer: Tokenizer, text: str, start: int, end: int) -> list[Piece]:
    """The special tokens in text[start:end], with the space around them that they swallow, wherever that comes from."""
    tokens = {token.id: token for token in tokenizer.special.tokens}
    found: list[Piece] = []
    place = start
    for content, token_id in tokenizer.special.split(text[start:end], frozenset(tokenizer.special.ids)):
        first = text.index(content, place)
        place = last = first + len(content)
        if token_id is not None and tokens[token_id].special:
            if tokens[token_id].lstrip:
                before = found[-1].end if found else 0
                first = before + len(text[before:first].rstrip(WHITESPACE))
            if tokens[token_id].rstrip:
                last += len(text[last:]) - len(text[last:].lstrip(WHITESPACE))
            found.append(Piece(first, last, token_id))
    return found


def chat_ids(tokenizer: Tokenizer, rendered: Rendered, pieces: Sequence[Piece],
             known: dict[str, list[int]] | None = None) -> list[list[int]]:
    """The ids of each piece, from `chat_pieces`; `known` keeps those of texts for the next call.

    Added tokens that are not special, such as "<tool_call>", are words that stand for themselves in any text. Those of
    them that the template writes are structure to the model: where somebody other than the assistant spells one, it is
    encoded as two texts, of which neither is the token.
    """
    text = rendered.text
    names = [token.content for token in tokenizer.special.tokens if not token.special and len(token.content) > 1
             and token.content in rendered.program]
    guarded = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)")
    found = []
    for piece in pieces:
        if piece.id is not None:
            found.append([piece.id])
            continue
        cuts = [match.start() + 1 for match in guarded.finditer(text, piece.start, piece.end)
                if any(source > GENERATED and source & ~GENERATED not in rendered.trusted
                       for source in rendered.sources[match.start():match.end()])]
        edges = [piece.start, *cuts, piece.end]
        row: list[int] = []
        for start, end in zip(edges, edges[1:]):
            part = text[start:end]
            ids = known.get(part) if known is not None else None
            if ids is None:
                ids = tokenizer.encode(part, add_special_tokens=False)
                if known is not None and len(part) <= 1000:
                    known[part] = ids
            row += ids
        found.append(row)
    return found


def whole_ids(tokenizer: Tokenizer, rendered: Rendered, known: dict[str, list[int]] | None = None) -> list[int]:
    """The ids of a rendered conversation; `known` as for `chat_ids`."""
    pieces = chat_pieces(tokenizer, rendered)
    return [token for ids in chat_ids(tokenizer, rendered, pieces, known) for token in ids]


def up_to_the_last_word(rendered: Rendered, number: int) -> Rendered | None:
    """A rendered conversation up to where the message of this number, from 0, ends; None where the template does not
    write it."""
    ends = [end for source, _, end in rendered.spans() if source & ~GENERATED == message_source(number)]
    return rendered.until(ends[-1]) if ends else None


def as_schemas(tools: Iterable[Any] | None) -> list[Any] | None:
    """Tools as JSON schemas; functions become theirs."""
    return None if tools is None else [tool_schema(tool) if callable(tool) else tool for tool in tools]


def apply_chat_template(tokenizer: Tokenizer, conversation: Any, tools: Iterable[Any] | None = None,
                        add_generation_prompt: bool = False, tokenize: bool = True,
                        continue_final_message: bool = False, return_dict: bool = False, **variables: Any) -> Any:
    """What `Tokenizer.apply_chat_template` gives."""
    if tokenizer.chat_template is None:
        raise ValueError("this tokenizer has no chat template: the model was not taught to answer")
    if continue_final_message and add_generation_prompt:
        raise ValueError("continue_final_message goes on with the last message, and add_generation_prompt begins "
                         "another: give one of them")
    several = bool(conversation) and isinstance(conversation[0], (list, tuple))
    found: list[Any] = []
    for messages in conversation if several else [conversation]:
        rendered = render(tokenizer.chat_template, messages, tokenizer.special.roles,
                          {"tools": as_schemas(tools), **variables}, add_generation_prompt=add_generation_prompt)
        if continue_final_message:
            cut = up_to_the_last_word(rendered, len(messages) - 1)
            if cut is None:
                raise ValueError("the chat template writes nothing of the last message, which is to be continued")
            rendered = cut
        found.append(whole_ids(tokenizer, rendered) if tokenize else rendered.text)
    if tokenize and return_dict:
        rows = {"input_ids": found, "attention_mask": [[1] * len(ids) for ids in found]}
        return rows if several else {name: row[0] for name, row in rows.items()}
    return found if several else found[0]

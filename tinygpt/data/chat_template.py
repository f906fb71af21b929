"""Chat templates: a conversation as one row of tokens, in which only the answers are learnt.

A conversation is a list of messages, {"role": "user", "content": "…"}. For the model it becomes one text, in which
special tokens say where a turn begins, whose it is, and where it ends:

    <|user|>What is 2 plus 3?<|end|><|assistant|>5<|end|>

Two things must hold. Nobody may forge a turn: what people write is encoded as plain text, so "<|end|>" in a message is
seven characters and never the token. And a model that is to answer learns the answers, not the questions: the second
array that `encode` gives says which tokens count, which are the assistant's words and the token that ends its turn, for
it has to learn to stop as well.

Hugging Face keeps the template with the tokenizer, as a program in the Jinja language. A format of our own is four
texts (`ChatFormat`), of which that program is made; the program of another model is run (`JinjaFormat`). Both give a
text in which every character has its source (tokenizers/jinja.py), and all that follows is the same: only the
template's words become special tokens, and the assistant's are found by where they come from. transformers looks for
special tokens in all of the text; there, a user's "<|end|>" ends the turn.

Prerequisites: tokenizers/special.py, tokenizers/jinja.py, tokenizers/chat_text.py, sampler.py. Next: conversations.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Protocol

import numpy as np

from ..tokenizers import Tokenizer
from ..tokenizers.chat_text import Piece, as_schemas, chat_ids, chat_pieces, up_to_the_last_word, whole_ids
from ..tokenizers.jinja import GENERATED, Rendered, message_source, plain_messages, render

__all__ = ["CHATML", "ROLES", "TURN_TOKENS", "ChatFormat", "ChatTemplate", "JinjaFormat", "Message",
           "add_chat_template", "chat_template"]

Message = Mapping[str, Any]

KEPT_TEXTS = 10_000

ROLES = ("system", "user", "assistant")


class Format(Protocol):
    """How a conversation is written."""

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False,
               tools: Iterable[Any] | None = None) -> Rendered:
        """The conversation as a text that knows where each character comes from."""


@dataclass(frozen=True)
class ChatFormat:
    """How a turn is written: `start` and `end` are special tokens, what follows each is plain text.

    `{role}` in the first two stands for the role.

    Attributes:
        start, opening: the token that begins a turn, and the text after it.
        end, closing: the token that ends a turn, and the text after it.
        prefix: special tokens that begin the whole, such as those of Llama's tokenizer.
    """

    start: str
    opening: str
    end: str
    closing: str
    prefix: tuple[str, ...] = ()

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The names of the tokens that mark turns."""
        return (*dict.fromkeys(self.start.format(role=role) for role in ROLES), self.end)

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False,
               tools: Iterable[Any] | None = None) -> Rendered:
        """What the program of `jinja` renders; a content in parts is their texts.

        Raises:
            ValueError: no messages, a malformed one, or tools, which the format has no place for.
        """
        if tools:
            raise ValueError("this chat template has no place for tools: the model was not taught to call any")
        parts: list[tuple[str, int]] = [(name, 0) for name in self.prefix]
        for number, message in enumerate(plain_messages(messages)):
            role, content = message["role"], _content(message, number + 1)
            said, source = (GENERATED, message_source(number)) if role == "assistant" else (0, message_source(number))
            parts += [((self.start + self.opening).format(role=role), 0), (content, source | said), (self.end, said),
                      (self.closing, 0)]
        if add_generation_prompt:
            parts.append(((self.start + self.opening).format(role="assistant"), 0))
        return Rendered("".join(text for text, _ in parts), [(source, len(text)) for text, source in parts])

    def jinja(self) -> str:
        """The format as a Jinja program, which transformers' `apply_chat_template` runs.

        `{% generation %}` marks what the assistant says, for `return_assistant_tokens_mask`.
        """
        before, after, role = (_jinja_string(self.start + self.opening), _jinja_string(self.end), "message['role']")
        header = before.replace("{role}", f"' + {role} + '")
        said = f"{{{{ message['content'] + {after} }}}}"
        closing = f"{{{{ {_jinja_string(self.closing)} }}}}" if self.closing else ""
        prefix = f"{{{{ {_jinja_string(''.join(self.prefix))} }}}}" if self.prefix else ""
        prompt = _jinja_string((self.start + self.opening).format(role="assistant"))
        known = ", ".join(map(_jinja_string, ROLES))
        return (f"{prefix}{{% for message in messages %}}"
                f"{{% if {role} not in [{known}] %}}{{{{ raise_exception('no such role: ' + {role}) }}}}{{% endif %}}"
                f"{{{{ {header} }}}}"
                f"{{% if {role} == 'assistant' %}}{{% generation %}}{said}{{% endgeneration %}}"
                f"{{% else %}}{said}{{% endif %}}{closing}{{% endfor %}}"
                f"{{% if add_generation_prompt %}}{{{{ {prompt} }}}}{{% endif %}}")


def _jinja_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def _content(message: Message, number: int) -> str:
    """The text of a message of our own formats."""
    if message["role"] not in ROLES:
        raise ValueError(f"message {number} has the role {message['role'][:30]!r}, expected {', '.join(ROLES)}")
    if "content" not in message:
        raise ValueError(f'message {number} is {str(message)[:60]}, expected {{"role": …, "content": …}}')
    content = message["content"]
    if isinstance(content, list) and all(isinstance(part, Mapping) and isinstance(part.get("text"), str)
                                         for part in content):
        return "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise ValueError(f"message {number}: the content is {str(content)[:40]!r}, expected a text")
    return content


# A token for each role, so a turn costs two tokens, and a vocabulary of characters needs no others than the text's own.
TURN_TOKENS = ChatFormat(start="<|{role}|>", opening="", end="<|end|>", closing="")

# What many public models are tuned with (Qwen, SmolLM, and others).
CHATML = ChatFormat(start="<|im_start|>", opening="{role}\n", end="<|im_end|>", closing="\n")


@dataclass(frozen=True)
class JinjaFormat:
    """The format of another model: a program.

    Attributes:
        program: its source.
        names: variables that it may write as its own words, such as `bos_token`.
    """

    program: str
    names: Mapping[str, str]

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False,
               tools: Iterable[Any] | None = None) -> Rendered:
        """What the program makes of the messages; see `tokenizers.jinja.render`."""
        return render(self.program, messages, self.names, {"tools": as_schemas(tools)},
                      add_generation_prompt=add_generation_prompt)


class ChatTemplate:
    """A format together with the tokenizer that writes it.

    Args:
        tokenizer: has the format's special tokens.
        format: how a conversation is written.

    Attributes:
        end_id: the token that ends a turn of the assistant: the first special one that the template writes after what
            the assistant says, else the tokenizer's end of text.
        stop_ids: the tokens at which an answer is over: the end of the turn, whatever else the template writes outside
            the assistant's turns, which only a confused model writes, and the tokenizer's own end of text.

    Raises:
        ValueError: the tokenizer lacks one of the special tokens of a ChatFormat; or nothing ends a turn.

    >>> from tinygpt.tokenizers import CharTokenizer
    >>> template = chat_template(add_chat_template(CharTokenizer.train("Hi?!")))
    >>> ids, learnt = template.encode([{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hi!"}])
    >>> template.tokenizer.decode(ids), template.tokenizer.decode(ids[learnt])
    ('<|user|>Hi?<|end|><|assistant|>Hi!<|end|>', 'Hi!<|end|>')
    """

    def __init__(self, tokenizer: Tokenizer, format: Format = TURN_TOKENS) -> None:
        self.tokenizer, self.format = tokenizer, format
        if isinstance(format, ChatFormat):
            for name in (*format.special_tokens, *format.prefix):
                tokenizer.token_id(name)
        self._known: dict[str, list[int]] = {}
        self._leads: list[str] = []  # what the template writes between a question and its answer
        end, outside = self._probed()
        ends = [token for token in (end, tokenizer.eos_token_id) if token is not None]
        if not ends:
            raise ValueError("nothing ends the assistant's turn: neither the chat template writes a special token "
                             "there, nor has the tokenizer an end of text")
        self.end_id = ends[0]
        self.stop_ids = list(dict.fromkeys([self.end_id, *outside, *ends]))

    def _probed(self) -> tuple[int | None, list[int]]:
        """The token that ends a turn of the assistant, and those that stand outside its turns."""
        question, answer = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
        failed = None
        for chat in ([{"role": "system", "content": "c"}, question, answer, question], [question, answer, question],
                     [question, answer]):
            try:
                rendered = self.format.render(chat, chat[-1] is question)
                learnt = self._answers(rendered, chat)
            except ValueError as error:
                failed = failed or error
                continue
            special = [piece for piece in chat_pieces(self.tokenizer, rendered) if piece.id is not None]
            said = up_to_the_last_word(rendered, chat.index(answer))
            last = 0 if said is None else len(said.text)
            after = next((piece.id for piece in special if said is not None and piece.start >= last), None)
            inside = {piece.id for piece in special if _is_in(piece, learnt)}
            return after, [piece.id for piece in special if piece.id is not None and piece.id not in inside]
        raise ValueError(f"a question and its answer cannot be written with this chat template: {failed}")

    def encode(self, messages: Sequence[Message], add_generation_prompt: bool = False,
               tools: Iterable[Any] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The ids of a conversation, and which of them are the assistant's to say: (T,) int64 and (T,) booleans.

        No token goes across the beginning of an answer, as none does when the model writes it.

        Args:
            messages: {"role": "system", "user" or "assistant", "content": text}, one at least; and what else the
                template knows.
            add_generation_prompt: end with the beginning of the assistant's turn, for the model to go on from.
            tools: JSON schemas, or functions, that the template shows to the model.

        Raises:
            ValueError: no messages, a malformed one, a text that the vocabulary cannot write, or a conversation that
                the template refuses.
        """
        rendered = self.format.render(messages, add_generation_prompt, tools)
        learnt = self._answers(rendered, messages, tools)
        pieces = chat_pieces(self.tokenizer, rendered, [place for span in learnt for place in span])
        rows = chat_ids(self.tokenizer, rendered, pieces)
        marks = [_is_in(piece, learnt) for piece, row in zip(pieces, rows) for _ in row]
        return np.array([token for row in rows for token in row], np.int64), np.array(marks, bool)

    def prompt(self, messages: Sequence[Message], tools: Iterable[Any] | None = None) -> list[int]:
        """The ids that the assistant's next answer follows; those of transformers, where no text spells a token."""
        return self._ids(self.format.render(messages, True, tools))

    def _ids(self, rendered: Rendered) -> list[int]:
        """All ids. Those of single texts are kept for a while: the next prompt of a chat has most of them again."""
        if len(self._known) > KEPT_TEXTS:
            self._known = {}
        return whole_ids(self.tokenizer, rendered, self._known)

    def open_prompt(self, messages: Sequence[Message], tools: Iterable[Any] | None = None) -> list[int]:
        """As `prompt`; but a conversation that ends with the assistant's own message is to be gone on with there, so
        the ids end where it ends."""
        if messages and isinstance(messages[-1], Mapping) and messages[-1].get("role") == "assistant":
            begun = up_to_the_last_word(self.format.render(messages, tools=tools), len(messages) - 1)
            if begun is not None:
                return self._ids(begun)
            messages = messages[:-1]  # an empty beginning, with which an answer begins anyway
        return self.prompt(messages, tools)

    def fitting_prompt(self, messages: Sequence[Message], room: int) -> tuple[list[int], int]:
        """The open prompt of as much of the end of a conversation as `room` tokens hold, and the number of turns that
        are left out.

        A turn is a question with what follows it. System messages at the beginning stay, and so does the last question,
        for which there may be too little room still.
        """
        ids = self.open_prompt(messages)
        n_head = next((place for place, message in enumerate(messages)
                       if message["role"] not in ("system", "developer")), len(messages))
        head, rest = list(messages[:n_head]), messages[n_head:]
        begins = [place for place, message in enumerate(rest) if message["role"] == "user" and place > 0]
        begins = [0, *begins]
        left_out, too_many = 0, 0  # the first is never too few of those tried, and the second is
        while len(ids) > room and left_out < len(begins) - 1:  # ever more, then back by halves
            too_many, left_out = left_out, min(len(begins) - 1, 2 * left_out + 1)
            ids = self.open_prompt([*head, *rest[begins[left_out]:]])
        while left_out - too_many > 1:
            middle = (left_out + too_many) // 2
            tried = self.open_prompt([*head, *rest[begins[middle]:]])
            if len(tried) > room:
                too_many = middle
            else:
                left_out, ids = middle, tried
        return ids, left_out

    def cropped_prompt(self, messages: Sequence[Message], room: int) -> list[int]:
        """As `fitting_prompt`, within `room` in any case where that can be done: the longest text of the last turn
        loses its beginning."""
        ids, left_out = self.fitting_prompt(messages, room)
        if len(ids) <= room:
            return ids
        system = [message for message in messages if message["role"] in ("system", "developer")]
        last = max((place for place, message in enumerate(messages) if message["role"] == "user"), default=0)
        kept = [*(message for message in system if message not in messages[last:]), *messages[last:]]
        texts = {place: len(message["content"]) for place, message in enumerate(kept)
                 if message["role"] not in ("system", "developer") and isinstance(message.get("content"), str)}
        if not texts:
            return ids
        place = max(texts, key=texts.__getitem__)
        shortest, longest = 0, texts[place]  # of what stays of it: fits, and is too long
        while longest - shortest > 1:
            middle = (shortest + longest) // 2
            content = kept[place]["content"][texts[place] - middle:]
            tried = self.open_prompt([*kept[:place], {**kept[place], "content": content}, *kept[place + 1:]])
            if len(tried) > room:
                longest = middle
            else:
                shortest, ids = middle, tried
        return ids

    # -- which part is the assistant's --------------------------------------------------------------------------------

    def _answers(self, rendered: Rendered, messages: Sequence[Message],
                 tools: Iterable[Any] | None = None) -> list[tuple[int, int]]:
        """The parts of the text, [start, end), that are the assistant's to say.

        Where the template marks them by {% generation %}, those. Else an answer begins where a prompt for it ends, and
        it ends with the special token behind its last word.
        """
        found: list[tuple[int, int]] = []
        for is_said, stretch in groupby(rendered.spans(), key=lambda span: span[0] & GENERATED):
            if is_said:
                (_, start, end), *more = stretch
                found.append((start, more[-1][2] if more else end))
        if found:
            return found
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for source, start, end in rendered.spans():
            first.setdefault(source, start)
            last[source] = end
        special = [piece for piece in chat_pieces(self.tokenizer, rendered) if piece.id is not None]
        for number, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            source = message_source(number)
            begin = self._begin(rendered, messages[:number], first.get(source), tools)
            if begin is None:
                continue  # the template leaves the message out
            end = last.get(source, begin)
            until = min((place for other, place in first.items() if other and place >= end), default=len(rendered.text))
            found.append((begin, next((piece.end for piece in special if end <= piece.start and piece.end <= until),
                                      end)))
        return found

    def _begin(self, rendered: Rendered, before: Sequence[Message], first: int | None,
               tools: Iterable[Any] | None) -> int | None:
        """Where an answer begins: behind what a prompt of the messages before it ends with, if that is there.

        Args:
            rendered, before: the conversation, and its messages before the answer.
            first: the first character of what the answer says; None where it says nothing that is written.
            tools: as for the conversation.
        """
        limit = len(rendered.text) if first is None else first
        source, asked = max(((source, end) for source, _, end in rendered.spans() if source and end <= limit),
                            key=lambda found: found[1], default=(0, 0))
        known = first is not None and source == message_source(len(before) - 1)
        for lead in self._leads if known else ():  # between the last word of the message before and the first of this
            if asked + len(lead) <= limit and rendered.text.startswith(lead, asked):
                return asked + len(lead)
        try:
            prompt = self.format.render(before, True, tools).text
        except ValueError:
            return first  # nothing stands before it, or nothing that the template writes alone
        if len(prompt) > limit or not rendered.text.startswith(prompt):
            return first
        if known and len(prompt) >= asked:
            self._leads = sorted({*self._leads, prompt[asked:]}, key=len, reverse=True)
        return len(prompt)


def _is_in(piece: Piece, spans: Iterable[tuple[int, int]]) -> bool:
    return any(start <= piece.start < end for start, end in spans)


def _with_prefix(format: ChatFormat, tokenizer: Tokenizer) -> ChatFormat:
    """The format, begun with what this tokenizer begins every text with."""
    for token in tokenizer.prefix_ids:
        if token not in tokenizer.special.names:
            raise ValueError(f"texts of this tokenizer begin with {tokenizer.token_bytes(token)!r:.40}, an ordinary "
                             "token, and a chat template can begin with special ones alone")
    return replace(format, prefix=tuple(tokenizer.special.names[token] for token in tokenizer.prefix_ids))


def add_chat_template(tokenizer: Tokenizer, format: ChatFormat = TURN_TOKENS) -> Tokenizer:
    """The same tokenizer with the special tokens of a format, which comes along when it is saved.

    The end of a turn becomes its end-of-text token, so that generation ends there everywhere. A tokenizer that has a
    chat template of its own is returned as it is.

    Raises:
        ValueError: a special token's name is an ordinary token of the vocabulary.
    """
    if tokenizer.chat_template is not None:
        return tokenizer
    format = _with_prefix(format, tokenizer)
    tokenizer = tokenizer.with_special_tokens(format.special_tokens, eos_token=format.end)
    tokenizer.chat_template = format.jinja()
    return tokenizer


def chat_template(tokenizer: Tokenizer) -> ChatTemplate:
    """The template that came with a tokenizer.

    Raises:
        ValueError: it has none, or one that is no program, or that cannot write a question and its answer.
    """
    if tokenizer.chat_template is None:
        raise ValueError("this tokenizer has no chat template: the model was not taught to answer")
    for format in (TURN_TOKENS, CHATML):
        if all(token in tokenizer.special.names for token in tokenizer.prefix_ids):
            ours = _with_prefix(format, tokenizer)
            if tokenizer.chat_template == ours.jinja():
                return ChatTemplate(tokenizer, ours)
    return ChatTemplate(tokenizer, JinjaFormat(tokenizer.chat_template, dict(tokenizer.special.roles)))

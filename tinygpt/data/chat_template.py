"""Chat templates: a conversation as one row of tokens, in which only the answers are learnt.

A conversation is a list of messages, {"role": "user", "content": "…"}. For the model it becomes one text, in which
special tokens say where a turn begins, whose it is, and where it ends:

    <|user|>What is 2 plus 3?<|end|><|assistant|>5<|end|>

Two things must hold. Nobody may forge a turn: what people write is encoded as plain text, so "<|end|>" in a message is
seven characters and never the token. And a model that is to answer learns the answers, not the questions: the second
array that `encode` gives says which tokens count, which are the assistant's words and the token that ends its turn, for
it has to learn to stop as well.

Hugging Face keeps the template with the tokenizer, as a program in the Jinja language. Ours are two strings a turn, of
which that program is made; so transformers gives the same ids for the same conversation, and no Jinja is needed here.
It renders the text first and looks for special tokens in all of it, though: there, a user's "<|end|>" ends the turn.

Prerequisites: tokenizers/special.py, sampler.py. Next: conversations.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..tokenizers import Tokenizer

__all__ = ["CHATML", "ROLES", "TURN_TOKENS", "ChatFormat", "ChatTemplate", "Message", "add_chat_template",
           "chat_template"]

Message = Mapping[str, str]

ROLES = ("system", "user", "assistant")


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


# A token for each role, so a turn costs two tokens, and a vocabulary of characters needs no others than the text's own.
TURN_TOKENS = ChatFormat(start="<|{role}|>", opening="", end="<|end|>", closing="")

# What many public models are tuned with (Qwen, SmolLM, and others).
CHATML = ChatFormat(start="<|im_start|>", opening="{role}\n", end="<|im_end|>", closing="\n")


class ChatTemplate:
    """A format together with the tokenizer that writes it.

    Args:
        tokenizer: has the format's special tokens.
        format: how a turn is written.

    Attributes:
        end_id: the token that ends a turn.
        stop_ids: the tokens at which an answer is over: the end of the turn, the beginning of another, which only a
            confused model writes, and the tokenizer's own end of text.

    Raises:
        ValueError: the tokenizer lacks one of the special tokens.

    >>> from tinygpt.tokenizers import CharTokenizer
    >>> template = chat_template(add_chat_template(CharTokenizer.train("Hi?!")))
    >>> ids, learnt = template.encode([{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hi!"}])
    >>> template.tokenizer.decode(ids), template.tokenizer.decode(ids[learnt])
    ('<|user|>Hi?<|end|><|assistant|>Hi!<|end|>', 'Hi!<|end|>')
    """

    def __init__(self, tokenizer: Tokenizer, format: ChatFormat = TURN_TOKENS) -> None:
        self.tokenizer, self.format = tokenizer, format
        self.end_id = tokenizer.token_id(format.end)
        self._start = {role: tokenizer.token_id(format.start.format(role=role)) for role in ROLES}
        self._prefix = [tokenizer.token_id(name) for name in format.prefix]
        stop = [self.end_id, *self._start.values(), *self._prefix, tokenizer.eos_token_id]
        self.stop_ids = [token for token in dict.fromkeys(stop) if token is not None]

    def encode(self, messages: Sequence[Message],
               add_generation_prompt: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The ids of a conversation, and which of them are the assistant's to say: (T,) int64 and (T,) booleans.

        Args:
            messages: {"role": "system", "user" or "assistant", "content": text}, one at least.
            add_generation_prompt: end with the beginning of the assistant's turn, for the model to go on from.

        Raises:
            ValueError: no messages, a malformed one, or a text that the vocabulary cannot write.
        """
        ids, learnt = list(self._prefix), [False] * len(self._prefix)

        def put(tokens: Sequence[int], learn: bool = False) -> None:
            ids.extend(tokens)
            learnt.extend([learn] * len(tokens))

        for number, message in enumerate(messages, 1):
            role, content = _checked(message, number)
            opening = self.format.opening.format(role=role)
            put([self._start[role]])
            if role == "assistant":  # apart from what stands before it, as it is when the model writes it
                put(self._plain(opening))
                put([*self._plain(content), self.end_id], learn=True)
            else:
                put([*self._plain(opening + content), self.end_id])
            put(self._plain(self.format.closing))
        if not messages:
            raise ValueError("a conversation needs at least one message, got none")
        if add_generation_prompt:
            put([self._start["assistant"], *self._plain(self.format.opening.format(role="assistant"))])
        return np.array(ids, np.int64), np.array(learnt, bool)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids that the assistant's next answer follows."""
        return self.encode(messages, add_generation_prompt=True)[0].tolist()

    def _plain(self, text: str) -> list[int]:
        """No special token is allowed in it, whatever it spells."""
        return self.tokenizer.encode(text, add_special_tokens=False) if text else []


def _checked(message: Message, number: int) -> tuple[str, str]:
    """Role and content of a message."""
    if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
        raise ValueError(f'message {number} is {str(message)[:60]}, expected {{"role": …, "content": …}}')
    role, content = message["role"], message["content"]
    if role not in ROLES:
        raise ValueError(f"message {number} has the role {str(role)[:30]!r}, expected {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise ValueError(f"message {number}: the content is {str(content)[:40]!r}, expected a text")
    return role, content


def _with_prefix(format: ChatFormat, tokenizer: Tokenizer) -> ChatFormat:
    """The format, begun with what this tokenizer begins every text with."""
    if ordinary := [token for token in tokenizer.prefix_ids if token not in tokenizer.special.names]:
        raise ValueError(f"the tokenizer begins every text with the ordinary token {ordinary[0]}, and a chat template "
                         "can begin with special tokens only")
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
        ValueError: it has none, or one in a format that is not known here.

    Warns:
        UserWarning: the template is another program than ours, with the marks of ChatML. It is taken for that; what
            else it may do (a system message of its own, tools) is left out.
    """
    if tokenizer.chat_template is None:
        raise ValueError("this tokenizer has no chat template: the model was not taught to answer")
    for format in (_with_prefix(TURN_TOKENS, tokenizer), _with_prefix(CHATML, tokenizer)):
        if tokenizer.chat_template == format.jinja():
            return ChatTemplate(tokenizer, format)
    if all(name in tokenizer.chat_template for name in CHATML.special_tokens):
        warnings.warn("the chat template is a Jinja program, which is not run here: its marks are those of ChatML, so "
                      "turns are written in that; a system message of its own is left out", stacklevel=2)
        return ChatTemplate(tokenizer, CHATML)
    raise ValueError("the chat template is in no format that is known here (turn tokens, ChatML): "
                     f"{' '.join(tokenizer.chat_template.split())[:80]}")

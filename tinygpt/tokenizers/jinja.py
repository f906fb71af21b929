"""Rendering a conversation with a chat template, a Jinja program, in a process that has limits.

    rendered = render(template, messages, {"bos_token": "<s>"}, add_generation_prompt=True)
    rendered.text, rendered.sources            a text, and for each of its characters who wrote it

`jinja_worker.py` says why it is a process, and what a source is. One serves all templates of this process and is
started when it is first needed. It ends with us, and what it does ends with it: it has five seconds and a gibibyte for
a conversation, and its environment holds nothing but where Python's modules are.

Prerequisites: jinja_worker.py. Next: chat_text.py.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

__all__ = ["GENERATED", "MEMORY", "SECONDS", "Rendered", "message_source", "plain_messages", "render"]

SECONDS, MEMORY = 5.0, 1 << 30  # for one conversation: an honest template takes a thousandth of either

TEMPLATE, OUTSIDE, GENERATED = 0, 2, 1  # sources, as jinja_worker.py has them

_KEPT_ENVIRONMENT = ("PATH", "SYSTEMROOT", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_ROLE = re.compile(r"[A-Za-z0-9_\-]{1,40}")
_REASONING = ("reasoning_content", "thinking", "reasoning")  # names under which messages carry it


def message_source(number: int) -> int:
    """The source of what the message says that has this number, from 0."""
    return OUTSIDE + 2 * (number + 1)


@dataclass(frozen=True)
class Rendered:
    """A conversation as one text, and where each character comes from.

    Attributes:
        text: n characters.
        runs: (source, length) of each stretch of one source, in order. A source is a number: 0 for the template's
            words, an even one for what somebody else wrote (`message_source`); and 1 more inside {% generation %}.
        program: the template.
        trusted: the sources of what the assistant has said before.
    """

    text: str
    runs: Sequence[tuple[int, int]]
    program: str = ""
    trusted: frozenset[int] = frozenset()

    @cached_property
    def sources(self) -> list[int]:
        """The source of each character."""
        return [source for source, n in self.runs for _ in range(n)]

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """(source, start, end) of each stretch, text[start:end]."""
        start = 0
        for source, n in self.runs:
            if n:
                yield source, start, start + n
            start += n

    def until(self, end: int) -> Rendered:
        """The part text[:end]."""
        runs = [(source, min(last, end) - start) for source, start, last in self.spans() if start < end]
        return replace(self, text=self.text[:end], runs=runs)


def render(template: str, messages: Sequence[Mapping[str, Any]], own: Mapping[str, Any] | None = None,
           outside: Mapping[str, Any] | None = None, *, add_generation_prompt: bool = False) -> Rendered:
    """A conversation, written by a Jinja program as transformers runs it.

    Args:
        template: the program.
        messages: dicts with a "role" and mostly a "content"; keys whose value is None are left out.
        own: variables that count as the template's own words, such as the names of special tokens.
        outside: further variables whose texts count as somebody else's: `tools`, `documents`.
        add_generation_prompt: end with the beginning of the assistant's turn.

    Raises:
        ValueError: the template is no program, fails, raises an error of its own, or costs too much; or a message that
            is none.
    """
    plain = [{key: value for key, value in message.items() if value is not None}
             for message in plain_messages(messages)]
    request = {"template": template, "messages": plain,
               "outside": {"tools": None, "documents": None, **(outside or {})},
               "own": {**(own or {}), "add_generation_prompt": add_generation_prompt}}
    try:
        reply = _ask(request)
    except _Failed:  # some look for a content that is none, and fail where there is no content at all
        given = plain_messages(messages)
        if given == plain:
            raise
        reply = _ask(request | {"messages": given})
    trusted = frozenset(message_source(place) for place, message in enumerate(plain) if message["role"] == "assistant")
    runs = reply["runs"]  # one flat list, in which the sources and the lengths alternate
    return Rendered(reply["text"], list(zip(runs[::2], runs[1::2])), template, trusted)


class _Failed(ValueError):
    """The program stopped with an error."""


def plain_messages(messages: Any) -> list[dict[str, Any]]:
    """Messages as dicts of what JSON has, reasoning under each of its names.

    Raises:
        ValueError: no messages, or one that is none.
    """
    if not isinstance(messages, (list, tuple)):
        raise ValueError(f"a conversation is a list of messages, got {type(messages).__name__}")
    if not messages:
        raise ValueError("a conversation needs at least one message, got none")
    plain = []
    for number, message in enumerate(messages, 1):
        if not isinstance(message, Mapping) or "role" not in message:
            raise ValueError(f'message {number} is {str(message)[:60]}, expected {{"role": …, "content": …}}')
        if not isinstance(message["role"], str) or not _ROLE.fullmatch(message["role"]):
            raise ValueError(f"message {number} has the role {str(message['role'])[:30]!r}, expected one word such as "
                             "'user'")
        said = next((message[name] for name in _REASONING if message.get(name) is not None), None)
        more = {} if said is None else {"thinking": said, **message, "reasoning_content": said}
        plain.append({**message, **more})
    return plain


# ---------------------------------------------------------------------------------------------------------------------
# The process


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    try:
        line = json.dumps(request)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"a conversation holds texts, numbers, lists and dicts alone: {error}") from None
    reply = _worker().ask(line)
    words = " ".join(str(reply.get("words", "")).split())
    words = "".join(char if char.isprintable() else "\ufffd" for char in words)[:300]
    match reply.get("error"):
        case None:
            return reply
        case "raised":
            raise _Failed(f"the chat template refuses this conversation: {words}")
        case "syntax":
            raise ValueError(f"the chat template is not a valid Jinja program: {words}")
        case "memory":
            raise ValueError(f"the chat template needs more than {MEMORY >> 20} MiB, or writes too long a text")
        case _:
            raise _Failed(f"the chat template fails on this conversation: {words}")


class _Worker:
    """The process, and a lock: one question at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pid = os.getpid()  # a fork has pipes that it must not share
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, line: str) -> dict[str, Any]:
        """The reply to one request."""
        with self.lock:
            try:
                process = self.process or self._started()
                assert process.stdin is not None and process.stdout is not None
                process.stdin.write(line.encode("ascii") + b"\n")
                process.stdin.flush()
                reply = process.stdout.readline()
            except BrokenPipeError:
                reply = b""
            except BaseException:  # Ctrl-C while it works: its late reply must not be taken for another's
                self.close()
                raise
            if not reply.endswith(b"\n"):
                self.close()
                raise ValueError(f"the chat template does not end: it took more than {SECONDS:g} seconds, or more than "
                                 f"{MEMORY >> 20} MiB, and was stopped")
            return json.loads(reply)

    def _started(self) -> subprocess.Popen[bytes]:
        if not sys.executable:
            raise ValueError("chat templates run in a Python process of their own, and where Python is, is unknown "
                             "here: sys.executable is empty")
        kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
        path = os.pathsep.join(str(Path(place).resolve()) for place in sys.path)
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("jinja_worker.py")), str(SECONDS), str(MEMORY)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**kept, "PYTHONPATH": path},
            start_new_session=True)
        assert self.process.stdout is not None
        if self.process.stdout.readline() != b'{"ready": true}\n':
            self.close()
            raise ValueError("chat templates need the package jinja2, which could not be loaded: pip install jinja2")
        return self.process

    def close(self) -> None:
        """End the process, if there is one."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.communicate()  # closes the pipes and waits


_the_worker = _Worker()


def _worker() -> _Worker:
    global _the_worker
    if _the_worker.pid != os.getpid():
        _the_worker.process = None
        _the_worker = _Worker()
    return _the_worker


@atexit.register
def _close() -> None:
    if _the_worker.pid == os.getpid():
        _the_worker.close()

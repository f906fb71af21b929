"""`tinygpt chat`: talk with a model that was tuned to answer.

On a terminal it asks, streams the answer and asks again: Ctrl-C stops an answer, Ctrl-D leaves. With questions from a
pipe, one per line, it writes the answers and nothing else to standard output.

Prerequisites: ../chat.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing

from ..chat import Chat
from ..files import printable
from ..models import GPT
from ..tokenizers import load_tokenizer
from .arguments import add_device, add_sampling, load_placed, sampling_of, whole

__all__ = ["add_parser", "run"]

LONGEST_LINE = 1 << 22
HELP = """\
/reset   forget the conversation
/help    show this
/quit    leave (Ctrl-D does too)
Ctrl-C stops an answer. Anything else is said to the model."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `chat` subcommand."""
    parser = subparsers.add_parser(
        "chat", help="talk with a model",
        description="Talk with a model that was tuned to answer (tinygpt finetune --task instruction). Questions may "
                    "also come through a pipe, one a line.")
    parser.set_defaults(run=run)
    parser.add_argument("--model", required=True, metavar="MODEL",
                        help="a model folder with its tokenizer, a GGUF file, or owner/name on the Hugging Face Hub")
    parser.add_argument("--system", default=None, metavar="TEXT", help="a system message to begin with")
    parser.add_argument("--max-new-tokens", type=whole, default=200, metavar="N",
                        help="at most so many tokens a turn [200]")
    add_sampling(parser, temperature=0.6)
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Talk until there is nothing more to answer."""
    tokenizer = load_tokenizer(args.model)
    if tokenizer.chat_template is None:
        raise ValueError(f"{args.model} has no chat template, so its model was not taught to answer: teach it with "
                         "tinygpt finetune --task instruction, or let it continue a text with tinygpt generate")
    model = load_placed(args)
    if not isinstance(model, GPT) or model.config.head != "lm":
        raise ValueError(f"{args.model} holds a {type(model).__name__} that does not write texts")
    chat = Chat(model, tokenizer, system=args.system, max_new_tokens=args.max_new_tokens, **sampling_of(args))
    if sys.stdin.isatty() and sys.stdout.isatty():
        print(f"{model.n_parameters:,} parameters, a context of {model.config.block_size:,} tokens; /help says what "
              "there is beside talking, Ctrl-D leaves")
        _Session(chat, interactive=True).talk()
    else:
        _Session(chat, interactive=False).talk()
    return 0


class _Session:
    """A chat between standard input and standard output."""

    def __init__(self, chat: Chat, interactive: bool) -> None:
        self.chat, self.interactive = chat, interactive
        self.told: set[str] = set()  # notes that need not be repeated

    def talk(self) -> None:
        """Answer line by line; /quit and the end of the input leave."""
        for number, line in enumerate(self._lines(), 1):
            text = line.strip()
            if text == "/quit":
                break
            if text.startswith("/"):
                self._command(text)
            elif text:
                try:
                    self._answer(text)
                except ValueError as error:
                    if not self.interactive:
                        raise ValueError(f"line {number}: {error}") from None
                    self._note(str(error))

    def _lines(self) -> Iterator[str]:
        if not self.interactive:
            while line := sys.stdin.readline(LONGEST_LINE):
                if len(line) == LONGEST_LINE:
                    raise ValueError(f"a line of standard input has {LONGEST_LINE:,} characters or more, expected a "
                                     "question a line")
                yield line
            return
        try:
            import readline  # noqa: F401  (arrow keys and history for `input`; not on Windows)
        except ImportError:
            pass
        while True:
            try:
                yield input("> ")
            except EOFError:
                print()
                return
            except KeyboardInterrupt:
                print()
                self._note("/quit or Ctrl-D leaves", once=True)

    def _command(self, text: str) -> None:
        if text == "/reset":
            self.chat.reset()
            self._note("the conversation is forgotten")
        elif text == "/help":
            print(HELP, file=sys.stdout if self.interactive else sys.stderr)
        else:
            self._note(f"there is no {text.split()[0][:80]}; /help says what there is")

    def _answer(self, text: str) -> None:
        pieces = self.chat.ask(text)
        if self.chat.forgotten:
            self._note("the conversation is longer than the model's context: the oldest turns are forgotten", once=True)
        try:
            with closing(pieces):
                for piece in pieces:
                    print(printable(piece) if self.interactive else piece, end="", flush=True)
        except KeyboardInterrupt:
            if not self.interactive:
                raise
            print(" …", end="")
        else:
            if self.chat.cut:
                print(" …" if self.interactive else "", end="")
        print(flush=True)

    def _note(self, text: str, once: bool = False) -> None:
        if not once or text not in self.told:
            print(f"({printable(text)})", file=sys.stderr, flush=True)
        self.told.add(text)

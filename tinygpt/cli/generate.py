"""`tinygpt generate`: continue a prompt."""

from __future__ import annotations

import argparse
import sys

from ..files import printable, read_stream
from ..generation import absent
from ..models import CausalLM
from ..tokenizers import load_tokenizer
from .arguments import MOST_INPUT, add_device, add_sampling, load_placed, sampling_of, whole

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `generate` subcommand."""
    parser = subparsers.add_parser(
        "generate", help="continue a prompt",
        description="Write the prompt and the model's continuation to standard output, token by token.")
    parser.set_defaults(run=run)
    parser.add_argument("--model", required=True, metavar="MODEL",
                        help="a model folder with its tokenizer, a GGUF file, or owner/name on the Hugging Face Hub")
    parser.add_argument("--prompt", required=True, metavar="TEXT", help="the text to continue; - for standard input")
    parser.add_argument("--max-new-tokens", type=whole, default=200, metavar="N", help="at most so many tokens [200]")
    add_sampling(parser, temperature=0.8)
    parser.add_argument("--stop", action="append", default=None, metavar="TEXT",
                        help="end before this text; repeatable")
    parser.add_argument("--crop", action="store_true", help="of a prompt longer than the context, use the end")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Stream the text."""
    tokenizer = load_tokenizer(args.model)
    model = load_placed(args)
    if not isinstance(model, CausalLM):
        raise ValueError(f"{args.model} holds a {type(model).__name__}, which does not continue texts")
    sampling = sampling_of(args)
    prompt = _standard_input() if args.prompt == "-" else args.prompt
    ids = tokenizer.encode_prompt(prompt)
    if max(ids, default=0) >= model.config.vocab_size:
        raise ValueError(f"the tokenizer in {args.model} is of another model: it gives the id {max(ids)}, and the "
                         f"model's vocabulary has {model.config.vocab_size}")
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if not ids and start is None:
        raise ValueError("the prompt is empty, and this model has no token that a text begins with: give a --prompt")
    pieces = model.stream_text(
        [ids or [start]], args.max_new_tokens, decode=tokenizer.decode, stop=args.stop,
        long_prompt="crop" if args.crop else "error",
        suppress_tokens=absent(tokenizer.ids, model.config.vocab_size), **sampling)
    show = printable if sys.stdout.isatty() else str  # a program that reads the text gets it as it is
    print(show(prompt), end="", flush=True)
    for piece in pieces:
        print(show(piece), end="", flush=True)
    print()
    return 0


def _standard_input() -> str:
    try:
        return read_stream(sys.stdin, MOST_INPUT)
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not UTF-8 text: the byte {error.object[error.start]:#04x} at "
                         f"{error.start:,}") from None

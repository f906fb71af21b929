"""`tinygpt tokenizer train|encode|decode|inspect`: make a tokenizer, use it by hand, and look at what it does."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..data import Documents
from ..files import printable, read_stream, shown
from ..files.atomic_file import remove_strays
from ..tokenizers import ByteBPE, CharTokenizer, Tokenizer, load_tokenizer
from ..tokenizers.inspection import longest_tokens, shortened, statistics, token_lines, visible
from ..tokenizers.patterns import PATTERNS
from ..training.lock import locked
from ..training.run import RUN_FILES
from .arguments import MOST_INPUT, whole
from .streams import print_result

__all__ = ["add_parser", "run"]

VOCAB_SIZE = 1024


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `tokenizer` subcommand."""
    parser = subparsers.add_parser("tokenizer", help="train a tokenizer, encode, decode, look at tokens")
    actions = parser.add_subparsers(dest="action", metavar="train|encode|decode|inspect", required=True)

    train = actions.add_parser("train", help="learn a vocabulary from text",
                               description="Learn a vocabulary from text and write it to a folder.")
    train.set_defaults(run=_train)
    train.add_argument("--data", nargs="+", default=(), metavar="X",
                       help="files, folders, - or named corpora [the corpus inside Python]")
    train.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
    train.add_argument("--tokenizer", choices=("bpe", "char"), default="bpe", help="what kind [bpe]")
    train.add_argument("--vocab-size", type=whole, default=None, metavar="V",
                       help=f"bytes, merges and special tokens together [{VOCAB_SIZE}]; not of characters")
    train.add_argument("--pattern", default="gpt2", metavar="P",
                       help=f"how text is split: {', '.join(PATTERNS)} or a regular expression [gpt2]")
    train.add_argument("--special-tokens", nargs="*", default=None, metavar="NAME",
                       help="their names [<|endoftext|>; for characters none]")
    train.add_argument("--min-frequency", type=whole, default=1, metavar="N", help="merge no pair that is rarer [1]")

    encode = actions.add_parser("encode", help="text to ids", description="Print the ids of a text.")
    encode.set_defaults(run=_encode)
    decode = actions.add_parser("decode", help="ids to text", description="Print the text of ids, byte for byte.")
    decode.set_defaults(run=_decode)
    inspect = actions.add_parser("inspect", help="show tokens and statistics",
                                 description="Show a text's tokens over their ids, and statistics; without a text, "
                                             "the vocabulary.")
    inspect.set_defaults(run=_inspect)
    for action in (encode, decode, inspect):
        action.add_argument("--tokenizer", "--model", dest="tokenizer", required=True, metavar="DIR",
                            help="a folder with a tokenizer")
    for action in (encode, inspect):
        action.add_argument("text", nargs="*", metavar="TEXT", help="the text [standard input]")
        action.add_argument("--allow-special", action="store_true",
                            help="let the names of special tokens in the text stand for them")
        action.add_argument("--no-special-tokens", action="store_true",
                            help="add no token before and after, even if the tokenizer's template does")
    decode.add_argument("ids", nargs="*", metavar="ID", help="the ids [standard input]")
    decode.add_argument("--skip-special-tokens", action="store_true", help="leave special tokens out")
    inspect.add_argument("--show", type=whole, default=500, metavar="N", help="show the first N tokens [500]")
    inspect.add_argument("--color", choices=("auto", "always", "never"), default="auto",
                         help="colours: on a terminal [auto], always, never")


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    return args.run(args)


def _train(args: argparse.Namespace) -> int:
    out = Path(args.out)
    _refuse_model(out)
    size = 0

    def counted(documents: Iterable[str]) -> Iterator[str]:
        nonlocal size
        for document in documents:
            size += len(document.encode("utf-8"))
            yield document

    if args.tokenizer == "char" and args.vocab_size is not None:
        raise ValueError("--vocab-size is an option of --tokenizer bpe: a char tokenizer has one token for each "
                         "character of the text")
    vocab_size = VOCAB_SIZE if args.vocab_size is None else args.vocab_size
    documents, start = counted(Documents(args.data)), time.perf_counter()
    tok: Tokenizer
    if args.tokenizer == "char":
        tok = CharTokenizer.train(documents, args.special_tokens or ())
    else:
        names = ["<|endoftext|>"] if args.special_tokens is None else args.special_tokens
        tok = ByteBPE.train(documents, vocab_size, names, args.pattern, min_frequency=args.min_frequency,
                            progress=sys.stderr.isatty())
    _save(tok, out)
    seconds = time.perf_counter() - start
    few = f" (of {vocab_size:,}: the text holds no more pairs)" if isinstance(tok, ByteBPE) \
        and tok.n_vocab < vocab_size else ""
    print_result(f"{tok.n_vocab:,} tokens{few} from {size:,} bytes in {seconds:.1f} s, written to {out}")
    return 0


def _refuse_model(out: Path) -> None:
    for what, names in {"a model": ("config.json", "model.safetensors"), "a training run": RUN_FILES}.items():
        if any((out / name).exists() for name in names):
            raise ValueError(f"{out} holds {what}, which needs the tokenizer that it has; give another --out")
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out is the file {out}; give a folder")


def _save(tok: Tokenizer, out: Path) -> None:
    """Write the tokenizer into a folder in which nobody else writes meanwhile."""
    fresh = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out):
            _refuse_model(out)  # one may have come meanwhile
            remove_strays(out)
            tok.save(out)
    except FileExistsError:
        raise
    except BaseException:
        if fresh:
            shutil.rmtree(out, ignore_errors=True)
        raise


def _encode(args: argparse.Namespace) -> int:
    tok = load_tokenizer(args.tokenizer)
    print(*_ids(tok, _text(args.text), args))
    return 0


def _decode(args: argparse.Namespace) -> int:
    tok = load_tokenizer(args.tokenizer)
    words = re.findall(r"[^\s,\[\]]+", _text(args.ids))
    if wrong := [word for word in words if not (word.isascii() and word.isdigit())]:
        raise ValueError(f"{shown(wrong[0])} is no token id; decode takes integers, as encode prints them")
    ids = [int(word) for word in words]
    if args.skip_special_tokens:
        ids = [token_id for token_id in ids if token_id not in tok.special.names]
    decoded = tok.decode_bytes(ids)
    if sys.stdout.isatty():
        print(printable(decoded.decode("utf-8", errors="replace")))
        return 0
    sys.stdout.flush()
    sys.stdout.buffer.write(decoded)
    return 0


def _inspect(args: argparse.Namespace) -> int:
    tok = load_tokenizer(args.tokenizer)
    color = args.color == "always" or (args.color == "auto" and sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    if args.text or not sys.stdin.isatty():
        text = _text(args.text)
        ids = _ids(tok, text, args)
        print(*token_lines(tok, ids[:args.show], shutil.get_terminal_size().columns, color), sep="\n")
        if len(ids) > args.show:
            print(f"… and {len(ids) - args.show:,} more tokens")
        found = statistics(text, ids)
        print(f"\n{found.n_characters:,} characters, {found.n_bytes:,} bytes, {found.n_tokens:,} tokens "
              f"({len(found.counts):,} different): {found.bytes_per_token:.2f} bytes per token")
        _print_longest("longest tokens here", tok, ids)
        print()
    print(f"{type(tok).__name__} of {tok.n_vocab:,} tokens", end="")
    print(f", split by {tok.pattern}" if isinstance(tok, ByteBPE) else "")
    print("special tokens:", ", ".join(f"{printable(name)} {i}" for name, i in tok.special_tokens.items()) or "none")
    _print_longest("longest tokens of all", tok, tok.ids)
    return 0


def _print_longest(what: str, tok: Tokenizer, ids: Iterable[int]) -> None:
    tokens = (f"{shortened(visible(tok.token_bytes(i)), 40)} {i}" for i in longest_tokens(tok, ids))
    print(f"{what}:", *tokens, sep="  ")


def _ids(tok: Tokenizer, text: str, args: argparse.Namespace) -> list[int]:
    return tok.encode(text, not args.no_special_tokens, "all" if args.allow_special else ())


def _text(words: list[str]) -> str:
    """The arguments as one text, or standard input, byte for byte."""
    if words:
        return " ".join(words)
    try:
        return read_stream(sys.stdin.buffer, MOST_INPUT).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not UTF-8 text: {error}") from None

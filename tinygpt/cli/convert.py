"""`tinygpt convert`: write any model that opens here as a Hugging Face folder, and say what it is."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..models import PretrainedModel, load_model
from ..pretrained import resolve_folder
from ..pretrained.config_json import CONFIG
from ..pretrained.gguf_file import GGUFFile, is_gguf
from ..tokenizers import Tokenizer, load_tokenizer

__all__ = ["add_parser", "run"]

README_START = 1 << 16  # characters of a README.md in which its licence is looked for


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `convert` subcommand."""
    parser = subparsers.add_parser(
        "convert", help="write a model as a Hugging Face folder",
        description="Read a model (a folder, a GGUF file, or a name on the Hugging Face Hub), write it as a Hugging "
                    "Face folder with weights in float32, and say what it is.")
    parser.set_defaults(run=run)
    parser.add_argument("model", metavar="MODEL", help="a model folder, a GGUF file, or owner/name")
    parser.add_argument("folder", metavar="DIR", nargs="?", default=None, help="the folder to write")
    parser.add_argument("--out", metavar="DIR", default=None, help="the same, as an option")


def run(args: argparse.Namespace) -> int:
    """Convert, and print what the model is.

    Raises:
        ValueError: no folder to write, two of them, or one that holds a model.
    """
    if (args.folder is None) == (args.out is None):
        raise ValueError("give one folder to write: tinygpt convert MODEL DIR, or --out DIR")
    out = Path(args.folder if args.out is None else args.out)
    if (out / CONFIG).exists():
        raise ValueError(f"{out} holds a model, which is not overwritten; give another folder")
    path = resolve_folder(args.model)
    model = load_model(path)
    try:
        tokenizer, trouble = load_tokenizer(path), ""
        model.check_tokenizer(len(tokenizer))
    except (ValueError, FileNotFoundError) as error:
        tokenizer, trouble = None, str(error)
    model.save_pretrained(out, tokenizer)
    for name, what in describe(model, tokenizer, path):
        print(f"{name:13} {what}")
    if trouble:
        print(f"{'':13} {trouble}")
    print(f"{'written':13} {out}")
    return 0


def describe(model: PretrainedModel, tokenizer: Tokenizer | None, path: Path) -> Iterator[tuple[str, str]]:
    """What a model is, as lines of a name and a text each."""
    c: Any = model.config
    fields = c.to_dict()
    grouped = f" ({fields['n_kv_head']} of keys and values)" if fields.get("n_kv_head", c.n_head) != c.n_head else ""
    decoder = f" and {fields['n_decoder_layer']}" if "n_decoder_layer" in fields else ""
    yield "architecture", f"{c.architecture}, {model.n_parameters:,} parameters"
    yield "sizes", (f"{c.n_layer}{decoder} blocks, {c.n_head} heads{grouped}, {c.n_embd:,} channels, "
                    f"{c.n_inner:,} inside a feed-forward layer, {c.block_size:,} tokens of context, a vocabulary of "
                    f"{c.vocab_size:,}")
    if is_gguf(path):
        kinds = sorted({tensor.dtype for tensor in GGUFFile(path).tensors.values()})
        yield "weights", f"{', '.join(kinds)}, written as F32"
    yield "tokenizer", "none that is read" if tokenizer is None else \
        f"{type(tokenizer).__name__} of {len(tokenizer):,} tokens"
    template = None if tokenizer is None else tokenizer.chat_template
    yield "template", "none" if template is None else f"a chat template of {len(template):,} characters"
    yield "licence", licence(path) or "not stated"


def licence(path: Path) -> str | None:
    """The licence that a GGUF file states, or the README.md of a folder; None where neither does."""
    if is_gguf(path):
        found = GGUFFile(path).settings.get("general.license")
        return found if isinstance(found, str) else None
    readme = path / "README.md"
    if not readme.is_file():
        return None
    with open(readme, encoding="utf-8", errors="replace") as file:
        head = file.read(README_START)
    match = re.search(r"\A---\n.*?^license:[ \t]*([^\n]{1,80})$.*?^---$", head, flags=re.MULTILINE | re.DOTALL)
    return match[1].strip() if match else None

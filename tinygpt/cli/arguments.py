"""Arguments that several commands share. Options are made from the fields of a dataclass: one place for each default.

Prerequisites: training/run_options.py. Next: pretrain.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from typing import Any

from ..backend import allow_tf32, resolve_device, resolve_dtype
from ..files import shown
from ..models import PretrainedModel, load_model
from ..training import TrainingOptions
from ..training.loop_options import MOST_THREADS

__all__ = ["MOST_INPUT", "add_device", "add_options", "add_sampling", "check_vocabulary", "flag", "given_options",
           "load_placed", "require_agreement", "sampling_of", "whole"]

MOST_INPUT = 1 << 28  # bytes or characters of standard input that are taken as one text


def whole(text: str) -> int:
    """An integer of the command line, of a size that arrays and files can hold."""
    value = int(text)
    if abs(value) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{shown(text, 20)} is too large: at most {(1 << 63) - 1:,}")
    return value


whole.__name__ = "int"  # what argparse calls it: "invalid int value"


def flag(name: str) -> str:
    """The option of a field: n_layer -> --n-layer."""
    return "--" + name.replace("_", "-")


def add_options(parser: argparse.ArgumentParser, options: type[TrainingOptions]) -> None:
    """Add an option for each field; those that are not given are left out of the namespace."""
    kinds = typing.get_type_hints(options)
    for field in dataclasses.fields(options):
        kind, text = _plain(kinds[field.name]), options.described(field)
        settings: dict[str, Any] = dict(default=argparse.SUPPRESS, dest=field.name)
        if kind is bool:
            settings["action"] = argparse.BooleanOptionalAction
        elif kind is tuple:
            settings |= dict(nargs="+", metavar="DATA")
        else:
            settings |= dict(type=whole if kind is int else kind, choices=field.metadata.get("choices"))
            if not settings["choices"]:
                settings["metavar"] = {int: "N", float: "X", str: "NAME"}[kind]
        parser.add_argument(flag(field.name), help=text.replace("%", "%%"), **settings)


def _plain(kind: Any) -> type:
    """The type itself of `X | None` and of `tuple[X, ...]`."""
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    return typing.get_origin(kind) or kind


def given_options(args: argparse.Namespace, options: type[TrainingOptions]) -> dict[str, Any]:
    """The fields that were given on the command line."""
    names = {field.name for field in dataclasses.fields(options)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in vars(args).items()
            if name in names}


def require_agreement(saved: Any, given: dict[str, Any]) -> None:
    """Raise ValueError if an option that was given is not that of the run to be resumed."""
    for name, value in given.items():
        value = tuple(value) if isinstance(value, list) else value
        if getattr(saved, name) != value:
            raise ValueError(f"{flag(name)} is {shown(getattr(saved, name))} in this run, not {shown(value)}: --resume "
                             "needs no other option, and cannot change one")


def check_vocabulary(options: Any, given: dict[str, Any]) -> None:
    """Raise ValueError if --vocab-size was given for a tokenizer that has a size of its own."""
    if "vocab_size" in given and options.tokenizer != "bpe":
        own = {"char": "has one token for each character of the text",
               "words": "has one token for each word"}.get(options.tokenizer, "is there already")
        raise ValueError(f"--vocab-size is an option of --tokenizer bpe: the tokenizer {shown(options.tokenizer)} "
                         f"{own}")


# ---------------------------------------------------------------------------------------------------------------------
# Where a model that is only used is put, and how it computes


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device, --dtype, --tf32 and --threads."""
    parser.add_argument("--device", default=None, help="cpu, cuda or cuda:N [$TINYGPT_DEVICE, or cpu]")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32",
                        help="type of weights and activations; bfloat16 needs a GPU [float32]")
    parser.add_argument("--tf32", action="store_true",
                        help="on a GPU: round the factors of float32 matrix products to TF32")
    parser.add_argument("--threads", type=_threads, default=None, dest="blas_threads", metavar="N",
                        help="of matrix products on the CPU [1 or all, whichever is quicker at the moment]")


def _threads(text: str) -> int:
    value = whole(text)
    if not 1 <= value <= MOST_THREADS:
        raise argparse.ArgumentTypeError(f"expected 1 to {MOST_THREADS} threads on this machine, got {value}")
    return value


_threads.__name__ = "int"


def load_placed(args: argparse.Namespace) -> PretrainedModel:
    """The model of --model, where and as `add_device` was told.

    Raises:
        DeviceError: no such device, or one without bfloat16 or TF32; before anything is read.
    """
    device = resolve_device(args.device)
    dtype = resolve_dtype(args.dtype, device)
    if args.tf32:
        allow_tf32(device)
    return load_model(args.model, device=device, dtype=None if args.dtype == "float32" else dtype)


# ---------------------------------------------------------------------------------------------------------------------
# How the next token is chosen, for all commands that write text


def add_sampling(parser: argparse.ArgumentParser, temperature: float) -> None:
    """Add the options of sampling, and the seed; `temperature` is the default."""
    parser.add_argument("--temperature", type=float, default=temperature, metavar="T",
                        help=f"0 for the likeliest token, 1 for the model's own distribution [{temperature}]")
    parser.add_argument("--top-k", type=whole, default=None, metavar="K", help="choose among the K likeliest tokens")
    parser.add_argument("--top-p", type=float, default=None, metavar="P",
                        help="choose among the likeliest, up to mass P")
    parser.add_argument("--min-p", type=float, default=None, metavar="P",
                        help="choose among those at least P times as likely as the likeliest")
    parser.add_argument("--repetition-penalty", type=float, default=1.0, metavar="X",
                        help="make tokens that occurred less likely [1.0: no penalty]")
    parser.add_argument("--seed", type=whole, default=None, metavar="S", help="the same seed gives the same text")


def sampling_of(args: argparse.Namespace) -> dict[str, Any]:
    """What `add_sampling` was told, as keyword arguments of `GPT.generate`."""
    if args.seed is not None and args.seed < 0:
        raise ValueError(f"--seed must be at least 0, got {args.seed}")
    return {name: getattr(args, name) for name in
            ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed")}

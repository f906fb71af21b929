"""Command-line options made from the fields of a dataclass, so that a default stands in one place.

Read before: training/options.py. Read next: pretrain.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from typing import Any

__all__ = ["add_options", "flag", "given_options"]


def flag(name: str) -> str:
    """The option of a field: n_layer -> --n-layer."""
    return "--" + name.replace("_", "-")


def add_options(parser: argparse.ArgumentParser, options: type) -> None:
    """Add an option for each field; those that are not given are left out of the namespace."""
    kinds = typing.get_type_hints(options)
    for field in dataclasses.fields(options):
        kind, text = _plain(kinds[field.name]), field.metadata["help"]
        settings: dict[str, Any] = dict(default=argparse.SUPPRESS, dest=field.name)
        if field.default is not None and field.default != ():
            text += f" [{field.default}]"
        if kind is bool:
            settings["action"] = argparse.BooleanOptionalAction
        elif kind is tuple:
            settings |= dict(nargs="+", metavar="DATA")
        else:
            settings |= dict(type=kind, choices=field.metadata.get("choices"))
            if not settings["choices"]:
                settings["metavar"] = {int: "N", float: "X", str: "NAME"}[kind]
        parser.add_argument(flag(field.name), help=text.replace("%", "%%"), **settings)


def _plain(kind: Any) -> type:
    """The type itself of `X | None` and of `tuple[X, ...]`."""
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    return typing.get_origin(kind) or kind


def given_options(args: argparse.Namespace, options: type) -> dict[str, Any]:
    """The fields that were given on the command line."""
    names = {field.name for field in dataclasses.fields(options)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in vars(args).items()
            if name in names}

"""Functions with an edited source."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

__all__ = ["Edit", "mutant"]

Edit = tuple[str, str]


def mutant(function: Callable, *edits: Edit, **names: Any) -> Callable:
    """The function with pieces of its source replaced; `names` replace what it finds in its module.

    Raises:
        ValueError: a piece that the source does not hold: it has been rewritten, and so must the bug be.
    """
    function = inspect.unwrap(function)  # what is around it has names of its own
    lines = textwrap.dedent(inspect.getsource(function)).splitlines(keepends=True)
    while lines[0].startswith("@"):
        lines = lines[1:]
    source = "".join(lines)
    for old, new in edits:
        if old not in source:
            raise ValueError(f"{function.__qualname__} does not hold {old!r} any more: rewrite the bug that edits it")
        source = source.replace(old, new)
    scope = {**function.__globals__, **names}
    exec(compile("from __future__ import annotations\n" + source, f"<bug in {function.__qualname__}>", "exec"), scope)
    made = scope[function.__name__]
    made.__module__ = function.__module__
    return made

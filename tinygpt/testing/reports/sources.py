"""The text of a function and of what it needs, so that it can stand in a program of its own.

Functions of installed packages are imported; others are copied from their file, lambdas too, and the names that they
use are looked up in their closure and their module: modules, numbers, arrays, other functions. What has no text (an
open file, a trained model) becomes a line that says so.

Prerequisites: report.py. Next: snippet.py.
"""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import linecache
import sys
import textwrap
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from ...autograd import Tensor

__all__ = ["MAX_PRINTED", "Program", "array_text"]

MAX_PRINTED = 1000  # elements of an array that is written out


def array_text(x: np.ndarray) -> str:
    """An expression that makes the array again, to the bit."""
    if x.size == 0:
        return f"np.zeros({x.shape}, dtype={x.dtype.name!r})"
    dtype = "" if x.dtype in (np.float64, np.int64, np.bool_) else f", dtype={x.dtype.name!r}"
    text = repr(x.tolist()).replace("nan", "np.nan").replace("inf", "np.inf")
    return f"np.array({text}{dtype})"


def _node_of(code: types.CodeType) -> tuple[ast.AST, str] | None:
    """The syntax tree and the text of the function that a code object was compiled from."""
    text = "".join(linecache.getlines(code.co_filename))
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda) and code.co_name == "<lambda>":
            body = node.body  # what is returned, so an instruction has its place
            if (body.lineno, body.end_lineno, body.col_offset, body.end_col_offset) in set(code.co_positions()):
                return node, ast.get_source_segment(text, node) or ""
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first == code.co_firstlineno:
                lines = text.splitlines()
                return node, textwrap.dedent("\n".join(lines[first - 1:node.end_lineno]))
    return None


def _without_decorators(text: str) -> str:
    node = ast.parse(text).body[0]
    return "\n".join(text.splitlines()[node.lineno - 1:])


class Program:
    """Lines of a program, built from what is asked for: imports first, then what the functions need, then they.

    Attributes:
        imports: the import statements.
        lines: the definitions.
    """

    def __init__(self) -> None:
        self.imports = ["import numpy as np"]
        self.lines: list[str] = []
        self._known: dict[str, Any] = {"np": np}

    def define(self, name: str, value: Any) -> None:
        """Make `name` mean `value`."""
        if name in self._known:
            return
        self._known[name] = value
        if isinstance(value, types.ModuleType):
            package, _, last = value.__name__.rpartition(".")
            self.use(f"import {value.__name__}" if value.__name__ == name else
                     f"from {package} import {last}" if last == name else f"import {value.__name__} as {name}")
        elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.size <= MAX_PRINTED:
            self.lines.append(f"{name} = {array_text(value)}")
        elif isinstance(value, Tensor) and isinstance(value.data, np.ndarray) and value.size <= MAX_PRINTED:
            self.define("Tensor", Tensor)
            flag = ", requires_grad=True" if value.requires_grad else ""
            self.lines.append(f"{name} = Tensor({array_text(value.data)}{flag})")
        elif isinstance(value, np.generic):
            self.lines.append(f"{name} = np.{value.dtype.name}({value.item()!r})")
        elif _is_literal(value):
            self.lines.append(f"{name} = {value!r}")
        elif (place := _installed(value)) is not None:
            self.use(f"from {place[0]} import {place[1]}" + ("" if place[1] == name else f" as {name}"))
        elif isinstance(value, types.FunctionType) and self._copy(name, value):
            pass
        else:
            self.lines.append(f"# {name} = …  as in your program: {type(value).__name__} cannot be written down here")

    def use(self, statement: str) -> None:
        """Add an import statement."""
        if statement not in self.imports:
            self.imports.append(statement)

    def _copy(self, name: str, function: types.FunctionType) -> bool:
        function = getattr(function, "stands_for", function)  # what given_grads was put on
        inner: Callable = inspect.unwrap(function)
        found = _node_of(inner.__code__) if isinstance(inner, types.FunctionType) else None
        if found is None:
            return False
        node, text = found
        scope = dict(inner.__globals__)
        for free, cell in zip(inner.__code__.co_freevars, inner.__closure__ or ()):
            try:
                scope[free] = cell.cell_contents
            except ValueError:  # not assigned yet
                pass
        if inner is function and not isinstance(node, ast.Lambda):
            text = _without_decorators(text)
            node = ast.parse(text).body[0]
        for used in sorted(_globals_of(inner.__code__) | _names_around(node)):
            if used in scope and not hasattr(builtins, used) and scope[used] is not function:
                self.define(used, scope[used])
        if "->" in text or ": " in text.partition(")")[0]:
            self.use("from __future__ import annotations")
        if isinstance(node, ast.Lambda):
            text = f"{name} = {text}"
        elif inner.__name__ != name:
            text += f"\n\n\n{name} = {inner.__name__}"
        self.lines.append(("" if isinstance(node, ast.Lambda) else "\n\n") + text + (
            "" if isinstance(node, ast.Lambda) else "\n\n"))
        return True

    def __str__(self) -> str:
        body = "\n".join(self.lines)
        while "\n\n\n\n" in body:
            body = body.replace("\n\n\n\n", "\n\n\n")
        imports = sorted(self.imports, key=lambda line: (not line.startswith("from __future__"), line))
        return "\n".join([*imports, body])


def _globals_of(code: types.CodeType) -> set[str]:
    """The names that a function takes from outside, and those that the functions within it take."""
    names = set(code.co_freevars) | {instruction.argval for instruction in dis.get_instructions(code)
                                     if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _globals_of(constant)
    return names


def _names_around(node: Any) -> set[str]:
    """The names in a function's decorators and defaults."""
    parts = [*getattr(node, "decorator_list", []), *node.args.defaults, *filter(None, node.args.kw_defaults)]
    return {name.id for part in parts for name in ast.walk(part) if isinstance(name, ast.Name)}


def _is_literal(value: Any) -> bool:
    if isinstance(value, (tuple, list, set)):
        return all(map(_is_literal, value))
    if isinstance(value, dict):
        return all(_is_literal(key) and _is_literal(item) for key, item in value.items())
    return type(value) in (int, float, complex, bool, str, bytes, type(None), type(...))


def _installed(value: Any) -> tuple[str, str] | None:
    """(module, name) of a function or class that a package holds under its own name."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if module is None and isinstance(value, np.ufunc):
        module, name = "numpy", value.__name__
    if not isinstance(module, str) or not isinstance(name, str) or "." in name or module == "__main__":
        return None
    holder = sys.modules.get(module)
    top = module.partition(".")[0]
    in_package = hasattr(sys.modules.get(top), "__path__") or top in sys.stdlib_module_names
    return (module, name) if in_package and getattr(holder, name, None) is value else None

"""The order of docs/map.md, read out of the source with `ast`: imports point up the map, also inside functions.

A room may import from the book and from rooms above it in the table; inside a room there are no cycles. (What a file of
the book may import is checked in test_book.py.)

Further rules that only the source can tell: no deep-learning framework, optional packages only inside functions,
`__all__` in every module, and a docstring for every public name.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tinygpt"
FILES = sorted(path for path in PACKAGE.rglob("*.py"))
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))

MAP = (ROOT / "docs/map.md").read_text(encoding="utf-8")


def _names(table: str) -> list[str]:
    """The first column of a table of the map."""
    part = MAP.split(f"<!-- {table}:begin -->")[1].split(f"<!-- {table}:end -->")[0]
    return re.findall(r"^\| `([^`]+)` \|", part, flags=re.M)


ROOMS = [name.rstrip("/").removesuffix(".py") for name in _names("rooms")]
RANK = {name: rank for rank, name in enumerate(["_version", *ROOMS, "__main__"])}
BOOK = {f"tinygpt.{name.removesuffix('.py').replace('/', '.')}" for name in _names("book")}

FRAMEWORKS = frozenset("""
    torch tensorflow jax jaxlib flax keras mxnet paddle tinygrad mlx onnxruntime autograd mygrad micrograd transformers
    tokenizers tiktoken sacrebleu sentencepiece
""".split())
REQUIRED_LATE = {"safetensors", "tqdm", "threadpoolctl"}  # needed, but not by everyone: imported where used
OPTIONAL = {"cupy", "cupyx", "cupy_backends", "huggingface_hub", "pooch", "matplotlib", "hypothesis", "pytest",
            "ml_dtypes", "mpi4py", "scipy", "sklearn"}
EVERYWHERE = {"numpy", "regex"}
PROGRAMS = {"tinygpt/tokenizers/jinja_worker.py": {"jinja2", "markupsafe"}}  # run, never imported: what they need


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(path: Path) -> Iterator[tuple[str, bool, int]]:
    """(absolute name, inside a function, line) of everything imported, under `if TYPE_CHECKING` too.

    `from a import b` counts as `a.b` where that is a module, else as `a`.
    """
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, inside, child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    up = package.split(".")[:len(package.split(".")) - child.level + 1]
                    base = ".".join(up + ([base] if base else []))
                for alias in child.names:
                    yield (f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base), inside, child.lineno
            else:
                yield from walk(child, inside or is_type_checking(child)
                                or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    yield from walk(parse(path), False)


def place(name: str) -> str:
    """The folder or file right below tinygpt that a module belongs to."""
    return name.split(".")[1] if "." in name else ""


# -- direction --------------------------------------------------------------------------------------------------------


def test_every_file_has_a_place():
    assert {place(name) for name in MODULES} - {"", "arrays"} <= set(RANK) and BOOK <= set(MODULES)


@pytest.mark.parametrize("name", [name for name in MODULES if place(name) and name not in BOOK])
def test_imports_point_up_the_map(name):
    """To the book, and to rooms above; inside a room, see below."""
    mine = place(name)
    for target, _, line in imports(MODULES[name]):
        if target.split(".")[0] != "tinygpt" or place(target) == mine or target in BOOK:
            continue
        if name in ("tinygpt.cli", "tinygpt.__main__") and target == "tinygpt":
            continue
        where = f"{MODULES[name].relative_to(ROOT)}:{line} imports {target}"
        assert place(target), f"{where}: the package itself, which stands on top of everything"
        assert RANK[place(target)] < RANK[mine], f"{where}, which is not above {mine} on the map"


def inner_imports(package: str) -> dict[str, set[str]]:
    """Module -> modules of the same package that it imports; `__init__` of the package left out."""
    inside = {name for name in MODULES if name.startswith(f"tinygpt.{package}.")}
    return {name: {target for target, _, _ in imports(MODULES[name]) if target in inside} for name in inside}


@pytest.mark.parametrize("package", sorted({place(name) for name in MODULES if name.count(".") == 2}))
def test_no_cycles_inside_a_package(package):
    waiting = inner_imports(package)
    while waiting:
        free = [name for name, targets in waiting.items() if not (targets & waiting.keys()) - {name}]
        assert free, f"these import one another in a circle: {sorted(waiting)}"
        for name in free:
            del waiting[name]


def test_testing_knows_no_model():
    for name, path in MODULES.items():
        if place(name) == "testing":
            assert not [target for target, _, _ in imports(path) if place(target) in ("models", "generation")]


# -- other packages ---------------------------------------------------------------------------------------------------


def outside(path: Path) -> Iterator[tuple[str, bool, int]]:
    """(top-level package, inside a function, line) of imports from elsewhere than tinygpt and the standard library."""
    for target, inside, line in imports(path):
        top = target.split(".")[0]
        if top and top not in sys.stdlib_module_names and top not in ("tinygpt", "__future__"):
            yield top, inside, line


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_other_packages(path):
    """No framework; what is needed everywhere at the top; all else inside functions."""
    for top, inside, line in outside(path):
        where = f"{path.relative_to(ROOT)}:{line} imports {top}"
        if top in PROGRAMS.get(path.relative_to(ROOT).as_posix(), ()):
            continue
        assert top not in FRAMEWORKS, f"{where}, a deep-learning library"
        assert top in EVERYWHERE | REQUIRED_LATE | OPTIONAL, f"{where}, which is not a dependency"
        assert inside or top in EVERYWHERE, f"{where} at module level"
    assert "import *" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_packages_in_examples(path):
    """Only functions of the benchmarks import what they measure against. Examples may import one another."""
    for top, inside, line in outside(path):
        where = f"{path.relative_to(ROOT)}:{line} imports {top}"
        if (path.parent / f"{top}.py").exists():
            continue
        if path.parent.name == "benchmarks":
            assert inside or top in EVERYWHERE, f"{where} at module level"
        else:
            assert top not in FRAMEWORKS, f"{where}, a deep-learning library"


def test_the_reader_of_imports_sees_all_of_them(tmp_path, monkeypatch):
    """The checks above are worth what `imports` finds."""
    path = PACKAGE / "nn" / "not_there.py"
    source = ("import torch.nn\nfrom .. import ops, backend as b\nfrom ..ops.erf import erf\n"
              "from .linear import Linear\n"
              "def f():\n    if True:\n        import jax\n    return lambda: __import__\n"
              "class C:\n    from ..models import gpt\n    async def g(self):\n        from ... import tinygpt\n"
              "try:\n    import cupy\nexcept ImportError:\n    pass\n")
    monkeypatch.setattr(type(path), "read_text", lambda self, encoding: source)
    found = {(target, inside) for target, inside, _ in imports(path)}
    assert found >= {("torch.nn", False), ("tinygpt.ops", False), ("tinygpt.backend", False),
                     ("tinygpt.ops.erf", False), ("tinygpt.nn.linear", False), ("jax", True), ("cupy", False)}
    assert ("tinygpt.models.gpt", False) in found


# -- public names -----------------------------------------------------------------------------------------------------

LIBRARY = [name for name in MODULES if not name.endswith(("__main__", "_version"))]


@pytest.mark.parametrize("name", LIBRARY)
def test_all_is_declared_and_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__ and module.__doc__.strip(), f"{name} has no docstring"
    names = module.__all__
    assert len(names) == len(set(names)), f"{name}.__all__ names something twice"
    for public in names:
        value = getattr(module, public)
        if not (inspect.isclass(value) or inspect.isroutine(value)) or value.__module__ == "typing":
            continue
        assert (value.__doc__ or "").strip(), f"{name}.{public} has no docstring"
        if inspect.isclass(value) and value.__module__ == name and not getattr(value, "_is_protocol", False):
            for method, function in vars(value).items():
                if not method.startswith("_") and (inspect.isfunction(function) or isinstance(function, property)):
                    assert inspect.getdoc(getattr(value, method)), f"{name}.{public}.{method} has no docstring"


@pytest.mark.parametrize("name", [name for name in LIBRARY if not MODULES[name].name == "__init__.py"])
def test_what_is_defined_for_others_is_in_all(name):
    """A function or class without an underscore that another module imports is listed."""
    module = importlib.import_module(name)
    defined = {node.name for node in parse(MODULES[name]).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))
               and not node.name.startswith("_")}
    missing = {public for public in defined - set(module.__all__) if public in imported_names()[name]}
    assert not missing, f"{name}.__all__ lacks {sorted(missing)}, which others import"


@functools.cache
def imported_names() -> dict[str, set[str]]:
    """Module -> the names that other files of the package import from it."""
    names: dict[str, set[str]] = defaultdict(set)
    for path in FILES:
        package = (module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]).split(".")
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = package[:len(package) - node.level + 1] + ([node.module] if node.module else [])
                names[".".join(base)].update(alias.name for alias in node.names)
    return names

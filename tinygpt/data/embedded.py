"""The embedded corpus: a first run needs no network, because every CPython carries a book about itself.

Two sources, both read as source text with `ast` and never imported: the Python language reference behind `help()`
(`pydoc_data/topics.py`) and the docstrings of the standard library. One document is one topic, or one module. Only
paragraphs of prose are kept, each once and unwrapped to a line, because grammar tables and code examples teach a small
model little that can be read. Python 3.11 to 3.13 give about 1.1 million characters.

Documents come in the order of their SHA-256: shuffled, so that the last tenth is like the rest and can validate, yet
the same on every machine with the same Python.

Next: download.py, corpora.py.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
import sysconfig
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

__all__ = ["embedded_documents", "is_prose"]

# Test code, generated tables, other people's packages, and programs rather than libraries.
SKIPPED = {
    "test", "tests", "idlelib", "turtledemo", "distutils", "lib2to3", "encodings", "pydoc_data", "site-packages",
    "_bundled",
}

_PARAGRAPH_END = re.compile(r"\n\s*[-*] +|\n\s*\n")  # the next item of a list, or a blank line
_PLAIN_WORD = re.compile(r"""["'‘“(]*[A-Za-z][A-Za-z’'-]*["'’”),.;:?!]*""")


def is_prose(paragraph: str) -> bool:
    """True for sentences: six words or more, 85% of them plain, from a capital to a final mark.

    >>> is_prose("The expression list is evaluated once; it should yield an iterable object.")
    True
    >>> is_prose('for_stmt ::= "for" target_list "in" starred_list ":" suite ["else" ":" suite]')
    False
    """
    words = paragraph.split()
    plain = sum(_PLAIN_WORD.fullmatch(word) is not None for word in words)
    return len(words) >= 6 and plain >= 0.85 * len(words) and paragraph[0].isupper() and paragraph[-1] in ".:?!"


def _topics(library: Path) -> Iterator[str]:
    """The texts of the dictionary `topics` in pydoc_data, in the order of their names."""
    for path in sorted((library / "pydoc_data").rglob("*.py")):
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id="topics")], value=value):
                    yield from (text for _, text in sorted(ast.literal_eval(value).items()))


def _docstrings(node: ast.AST) -> Iterator[str]:
    """The docstrings of a module, its classes and its functions, in source order; function bodies are not searched."""
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        docstring = ast.get_docstring(node)
        if docstring:
            yield docstring
    if isinstance(node, (ast.Module, ast.ClassDef)):
        for child in node.body:
            yield from _docstrings(child)


def _modules(library: Path) -> Iterator[str]:
    """The docstrings of each module of the standard library, as one text a module, in the order of their paths."""
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).with_suffix("").parts
        if parts[0] not in sys.stdlib_module_names or SKIPPED.intersection(parts):
            continue
        try:
            with tokenize.open(path) as file:  # heeds a coding line
                tree = ast.parse(file.read())
        except (SyntaxError, UnicodeDecodeError):
            continue  # a template or a deliberately broken file: no docstrings to be had
        yield "\n\n".join(_docstrings(tree))


def _prose(text: str, seen: set[str]) -> str:
    """The paragraphs of prose in `text` that are not in `seen` (which is added to), one a line."""
    kept = []
    for paragraph in _PARAGRAPH_END.split(text):
        paragraph = " ".join(paragraph.split())
        if paragraph and paragraph not in seen and is_prose(paragraph):
            seen.add(paragraph)
            kept.append(paragraph)
    return "\n".join(kept)


@cache
def embedded_documents(library: Path | None = None) -> tuple[str, ...]:
    """The documents of the embedded corpus: the language reference and the standard library's docstrings.

    Args:
        library: the folder of the standard library; default the running Python's.

    Raises:
        FileNotFoundError: this Python ships neither (a build without sources). One of the two is enough.
    """
    library = library or Path(sysconfig.get_path("stdlib"))
    seen: set[str] = set()
    documents = [_prose(text, seen) for source in (_topics, _modules) for text in source(library)]
    documents = [document for document in documents if document]
    if not documents:
        raise FileNotFoundError(
            f"no embedded corpus: {library} holds neither pydoc_data/topics.py nor the standard library's sources; "
            "name your own text with --data")
    return tuple(sorted(documents, key=lambda document: hashlib.sha256(document.encode("utf-8")).digest()))

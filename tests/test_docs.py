"""The documentation cannot rot: its code runs, its output is what it says, its links and file names lead somewhere.

A fenced block marked `python` is executed, all of a page in order and in one namespace; `python no-run: REASON` is not.
A block marked `output` is what the Python block before it prints: words exactly, numbers to 1%, since machines add in
other orders.
"""

from __future__ import annotations

import ast
import configparser
import contextlib
import io
import math
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tinygpt.cli import build_parser

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tinygpt"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "_version.py")


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ---------------------------------------------------------------------------------------------------------------------
# Code


class Block(NamedTuple):
    """A fenced block: what stands after the fence, its text, and the page's line number of its first line."""

    kind: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    kind, lines, first = None, [], 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("```"):
            lines.append(line)
        elif kind is None:
            kind, lines, first = line[3:].strip(), [], number + 1
        else:
            yield Block(kind, "\n".join(lines), first)
            kind = None
    assert kind is None, f"{_name(page)}: the block that begins at line {first} has no end"


def _run(page: Path, block: Block, namespace: dict) -> str:
    """Execute a block, with line numbers as on the page; return what it prints."""
    printed = io.StringIO()
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    with contextlib.redirect_stdout(printed):
        exec(code, namespace)
    return printed.getvalue()


NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")


def same_output(printed: str, claimed: str) -> bool:
    """Equal but for space between words and 1% in numbers.

    >>> same_output("loss 2.000  at step 10", "loss 2.001 at step 10"), same_output("loss 2.0", "loss 2.5")
    (True, False)
    """
    ours, theirs = (" ".join(text.split()) for text in (printed, claimed))
    pairs = zip(*([float(number.replace(",", "")) for number in NUMBER.findall(text)] for text in (ours, theirs)))
    return NUMBER.sub("#", ours) == NUMBER.sub("#", theirs) and all(
        math.isclose(a, b, rel_tol=0.01, abs_tol=1e-6) for a, b in pairs)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_code_runs_and_prints_what_the_page_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": page.stem}
    printed = ""
    for block in blocks(page):
        if block.kind == "python":
            printed = _run(page, block, namespace)
        elif block.kind == "output":
            assert same_output(printed, block.text), f"{_name(page)}:{block.line}: the code before it prints\n{printed}"
        elif block.kind.startswith("python"):
            assert re.fullmatch("python no-run: .+", block.kind), f"{_name(page)}:{block.line}: say why it does not run"


def test_the_comparison_of_outputs_rejects() -> None:
    assert same_output("a  1,000.0\n b", "a 1,001.0 b")
    for printed, claimed in (("a 1", "b 1"), ("a 1", "a 2"), ("a 1 2", "a 1"), ("a -1", "a 1"), ("", "a")):
        assert not same_output(printed, claimed), (printed, claimed)


# ---------------------------------------------------------------------------------------------------------------------
# Links and file names


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and anchor not in _anchors(found)):
            broken.append(target)
    assert not broken, f"{_name(page)}: {broken}"


FILE = re.compile(r"(?:[\w.]+/)*[\w]+\.(?:py|cu|md|cfg)|(?:[\w]+/)+")


def _exists(name: str) -> bool:
    return any((ROOT / folder / name).exists() for folder in ("", "tinygpt", "docs")) or any(PACKAGE.rglob(name))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    names = {name for code in re.findall(r"`([^`\n]+)`", text) if FILE.fullmatch(name := code)}
    assert not [name for name in sorted(names) if not _exists(name)]


def test_every_term_of_the_glossary_names_a_file() -> None:
    rows = [line for line in (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
            if line.startswith("| ") and not set(line) <= set("|- ")]
    terms = [row for row in rows if not row.startswith("| term")]
    assert len(terms) > 50
    assert not [row for row in terms if not re.findall(r"`[\w/]+(?:\.py|/)`", row.rpartition(" | ")[2])]


# ---------------------------------------------------------------------------------------------------------------------
# The README


def _between(page: Path, mark: str) -> str:
    """The text of the one fenced sh block between the marks `<!-- mark:begin -->` and `<!-- mark:end -->`."""
    text = page.read_text(encoding="utf-8")
    found = re.search(rf"<!-- {mark}:begin -->\s*```sh\n([^`]*)\n```\s*<!-- {mark}:end -->", text)
    assert found, f"{_name(page)}: no sh block between the marks {mark}:begin and {mark}:end"
    return found[1]


README = ROOT / "README.md"


def test_two_commands_do_all_set_up() -> None:
    run, tests = (_between(README, mark) for mark in ("run", "tests"))
    for command in (run, tests):
        assert "\n" not in command and command.startswith("python3 -m venv "), command
    assert ".[test]" in tests and tests.endswith("-m pytest -n auto")
    build_parser().parse_args(shlex.split(run.rpartition("bin/tinygpt ")[2]))


def test_command_lines_of_the_readme_parse() -> None:
    lines = [line for line in _between(README, "cli").splitlines() if line.strip()]
    assert len(lines) > 5
    for line in lines:
        command = shlex.split(line, comments=True)
        assert command[0] == "tinygpt", line
        build_parser().parse_args(command[1:])


def test_readme_lists_the_dependencies() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    required = re.findall(r"^[\w-]+", settings["options"]["install_requires"], flags=re.MULTILINE)
    extras = list(settings["options.extras_require"])
    text = README.read_text(encoding="utf-8")
    assert not [name for name in required + extras if f"| `{name}` |" not in text]


# ---------------------------------------------------------------------------------------------------------------------
# Docstrings


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_modules_say_what_they_add(path: Path) -> None:
    """Whether the files exist that a docstring says to read before and next: see test_references.py."""
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "a module needs a docstring"

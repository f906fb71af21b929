"""The embedded corpus: prose, reproducible, independent of what is installed, and honest when it is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinygpt.data.embedded import embedded_documents

TOPICS = '''# -*- coding: utf-8 -*-
topics = {"while": """The "while" statement
*********************

The "while" statement is used for repeated
execution as long as an expression is true:

   while_stmt ::= "while" assignment_expression ":" suite
""", "assert": "Assert statements are a convenient way to insert debugging " "assertions into a program.\\n"}
'''

MODULE = '''"""This module says in plain words what it is for."""

import no_such_module  # reading must not import

raise SystemExit("reading must not run")

class Thing:
    """A thing is described here, in a sentence of many words.

    - The first item of this list is a sentence too.
    - Another item of this list is a sentence as well.

    >>> Thing(1)[2:3]
    """

    async def method(self):
        """Short."""
        def inner():
            """What stands inside a function is not documentation for anyone."""
'''


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / "pydoc_data").mkdir()
    (tmp_path / "pydoc_data" / "topics.py").write_text(TOPICS, encoding="utf-8")
    (tmp_path / "json").mkdir()
    for name in ("json/decoder.py", "json/copy.py", "not_of_the_library.py"):
        (tmp_path / name).write_text(MODULE, encoding="utf-8")
    (tmp_path / "json" / "tests").mkdir()
    (tmp_path / "json" / "tests" / "test_it.py").write_text('"""Tests are no prose that anyone should learn."""')
    (tmp_path / "json" / "broken.py").write_text("def (", encoding="utf-8")
    return tmp_path


def test_prose_of_topics_and_docstrings_once_each(library: Path) -> None:
    assert set(embedded_documents(library)) == {
        'The "while" statement is used for repeated execution as long as an expression is true:',
        "Assert statements are a convenient way to insert debugging assertions into a program.",
        "This module says in plain words what it is for.\n"
        "A thing is described here, in a sentence of many words.\n"
        "The first item of this list is a sentence too.\n"
        "Another item of this list is a sentence as well.",
    }


def test_either_source_serves_alone(library: Path) -> None:
    (library / "pydoc_data" / "topics.py").unlink()
    (only_modules,) = embedded_documents(library)
    assert only_modules.startswith("This module")
    (library / "pydoc_data" / "topics.py").write_text(TOPICS, encoding="utf-8")
    for path in library.glob("json/*.py"):
        path.unlink()
    embedded_documents.cache_clear()
    assert len(embedded_documents(library)) == 2


def test_neither_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no embedded corpus: .*name your own text with --data"):
        embedded_documents(tmp_path)


def test_order_is_the_same_in_another_process(library: Path) -> None:
    program = ("import pathlib, sys; from tinygpt.data.embedded import embedded_documents; "
               "print(embedded_documents(pathlib.Path(sys.argv[1])))")
    output = subprocess.run([sys.executable, "-c", program, str(library)], capture_output=True, text=True, check=True,
                            env={**os.environ, "PYTHONHASHSEED": "1"}).stdout
    assert output == f"{embedded_documents(library)}\n"


def test_the_real_one_is_a_good_first_corpus() -> None:
    documents = embedded_documents()
    text = "\n".join(documents)
    assert 800_000 < len(text) < 1_500_000
    assert len(set(text.lower().split())) > 5_000
    assert "The \"while\" statement is used for" in text  # in the help texts of every Python
    paragraphs = text.split("\n")
    assert len(set(paragraphs)) == len(paragraphs)
    assert sum(char.isalpha() or char.isspace() for char in text) > 0.93 * len(text)

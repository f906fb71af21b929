"""Whatever the documentation, docstrings and comments name is there: files, folders, functions, options.

Three kinds of mention are looked up:

    files       `ops/loss.py`, setup.cfg, examples/05_sorting.py, kernels/cpu/: from the folder of the file that names
                them or one around it, from the root, tinygpt/, docs/ or tests/, or wherever the name is unique. Those
                in "Prerequisites:" and "Next:" are among them, and these lines name at least one
    dotted      `tinygpt.optim.AdamW`, ops.softmax, `GPT.generate`: by the package's own attributes
    single      `softmax`, `save_every` in backticks: a name, parameter, option or key in the file that mentions it, or
                a definition anywhere in the package

The Python that pages show is executed by test_docs.py and not looked at here.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import inspect
import io
import keyword
import pkgutil
import re
import sys
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import tinygpt

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tinygpt"
FOLDERS = ("tinygpt", "docs", "examples", "tests")  # and what lies in the root itself
SUFFIXES = (".py", ".md", ".cu", ".h", ".cfg", ".toml")
FILES = sorted({path for folder in FOLDERS for suffix in SUFFIXES for path in (ROOT / folder).rglob(f"*{suffix}")
                if "__pycache__" not in path.parts} | {ROOT / "README.md", ROOT / "setup.cfg", ROOT / "pyproject.toml"})
PAGES = [path for path in FILES if path.suffix == ".md"]
SOURCES = [path for path in FILES if path.suffix == ".py"]
CHECKED = [path for path in FILES if path.suffix in (".md", ".py", ".cu", ".h")]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ---------------------------------------------------------------------------------------------------------------------
# The text that is looked at


class Text(NamedTuple):
    """A run of prose, and the number of its first line."""

    text: str
    line: int


@functools.cache
def prose(path: Path, content: str) -> list[Text]:
    """A page without its blocks of code; the docstrings and comments of a source file."""
    if path.suffix == ".md":  # a block leaves its line ends behind, so that lines keep their numbers
        return [Text(re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), content,
                            flags=re.MULTILINE | re.DOTALL), 1)]
    if path.suffix != ".py":
        return [Text(match[0], content.count("\n", 0, match.start()) + 1)
                for match in re.finditer(r"(?://[^\n]*\n?[ \t]*)+|/\*.*?\*/", content, flags=re.DOTALL)]
    texts = [Text(node.body[0].value.value, node.body[0].lineno) for node in ast.walk(ast.parse(content))
             if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
             and ast.get_docstring(node, clean=False) is not None]
    comments: list[Text] = []
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.COMMENT:
            last = comments[-1] if comments else Text("", -1)
            if last.line + last.text.count("\n") + 1 == token.start[0]:  # a comment of several lines is one text
                comments[-1] = Text(f"{last.text}\n{token.string.lstrip('# ')}", last.line)
            else:
                comments.append(Text(token.string.lstrip("# "), token.start[0]))
    return texts + comments


class Mention(NamedTuple):
    """Something that a file names, and the line where it does."""

    what: str
    line: int


def found(pattern: re.Pattern[str], texts: list[Text]) -> Iterator[Mention]:
    """Where a pattern, whose first group is what is named, stands in some texts; addresses are left out."""
    for text, line in texts:
        text = re.sub(r"https?://\S+|github\.com/\S+", lambda match: " " * len(match[0]), text)
        for match in pattern.finditer(text):
            yield Mention(match[1], line + text.count("\n", 0, match.start()))


# ---------------------------------------------------------------------------------------------------------------------
# Files

FILE = re.compile(r"(?<![\w/.*…-])((?:[\w*.-]+/)*[\w*-]+\.(?:py|md|cu|h|cfg|toml))(?![\w/*(]|\.\w)")
FOLDER = re.compile(r"(?<![\w/.*<>…-])((?:[a-z_]\w+/)+)(?![\w*<(.…\\])")
PLACE_IN_BLOCK = re.compile(r"(?<![\w/.])((?:tinygpt|docs|examples|tests)/[\w/.*-]*\w)")
FOREIGN_FILES = {  # what is named and belongs to others, or is made up
    "pydoc_data/topics.py": "in every Python",
    "malloc.h": "the C library's",
    "src/encoder.py": "in OpenAI's repository of GPT-2",
    "minbpe/base.py": "in the repository of minbpe",
    "profile.py": "the standard library's",
}


def candidates(name: str, path: Path) -> list[Path]:
    """What a name can mean in a file: the first place that has it, else all files whose path ends so."""
    around = [folder for folder in path.parents if ROOT in folder.parents]
    for folder in (path.parent, *around, ROOT, PACKAGE, ROOT / "docs", ROOT / "tests"):
        if name.startswith("../") and folder != path.parent:
            break
        if "*" in name:
            if found := sorted(folder.glob(name)):
                return found[:1]
        elif (folder / name).exists() and (name.endswith("/") <= (folder / name).is_dir()):
            return [(folder / name).resolve()]
    if name.endswith("/"):
        return [folder for folder in folders() if f"/{name_of(folder)}/".endswith(f"/{name}")]
    return [other for other in FILES if f"/{name_of(other)}".endswith(f"/{name}")]


@functools.cache
def folders() -> list[Path]:
    """Every folder that holds a file, or a folder that does."""
    return sorted({folder for path in FILES for folder in path.parents if ROOT in folder.parents})


def trouble_with_file(name: str, path: Path, content: str) -> str | None:
    """What is wrong with a file or folder that `path` names, or None."""
    if name in FOREIGN_FILES:
        return None
    places = candidates(name, path)
    if not places:
        return f"{name} is not there"
    if len(places) > 1:  # the page may say which folder it speaks of
        places = [place for place in places if f"{place.parent.name}/" in content] or places
        if len(places) > 1:
            return f"{name} may be any of {', '.join(map(name_of, places))}: say which"
    return None


def files_named(path: Path, content: str) -> Iterator[Mention]:
    """Every file and folder that a file's prose names; of its blocks of code and strings, full paths only."""
    texts = prose(path, content)
    yield from found(FILE, texts)
    yield from found(FOLDER, texts)
    if path.suffix == ".md":
        without = texts[0].text.splitlines()
        for number, line in enumerate(content.splitlines(), 1):
            if number > len(without) or not without[number - 1]:
                yield from found(PLACE_IN_BLOCK, [Text(line, number)])
    elif path.suffix == ".py" and ROOT / "tests" not in path.parents:
        strings = [Text(node.value, node.lineno) for node in ast.walk(ast.parse(content))
                   if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        yield from (mention for mention in found(PLACE_IN_BLOCK, strings) if mention.what.endswith(SUFFIXES))


@pytest.mark.parametrize("path", CHECKED, ids=name_of)
def test_files_that_are_named_exist(path: Path) -> None:
    content = path.read_text(encoding="utf-8")
    wrong = sorted({(line, trouble) for name, line in files_named(path, content)
                    if (trouble := trouble_with_file(name, path, content))})
    assert not wrong, "".join(f"\n{name_of(path)}:{line}: {trouble}" for line, trouble in wrong)


POINTER = re.compile(r"(?:Prerequisites|Next):((?:[^.]|\.(?!\s|$))*)")


@pytest.mark.parametrize("path", [path for path in SOURCES if ROOT / "tests" not in path.parents],
                         ids=name_of)
def test_prerequisites_and_next_name_files(path: Path) -> None:
    """That they exist is tested above; here, that a file is named at all, and not the file itself."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    for pointer in POINTER.findall(docstring):
        names = [name for pattern in (FILE, FOLDER) for name in pattern.findall(pointer)]
        assert names or pointer.startswith(" nothing"), f"{name_of(path)}: no file in{pointer!r}"
        assert not [name for name in names if candidates(name, path) == [path]], f"{name_of(path)} points to itself"


# ---------------------------------------------------------------------------------------------------------------------
# Names in the package


def all_modules() -> dict[str, Any]:
    """Short name -> module: `optim`, `optim.adamw`, … for all of tinygpt."""
    names = [info.name for info in pkgutil.walk_packages([str(PACKAGE)], "tinygpt.")]
    return {name.removeprefix("tinygpt."): importlib.import_module(name)
            for name in names if not name.endswith("__main__")}


class Names(NamedTuple):
    """What the package defines.

    Attributes:
        modules: short name -> module.
        classes: name -> classes of that name.
        defined: names of modules, functions, classes, methods, parameters, attributes, and constants; and strings that
            could be names, which are keys and options.
    """

    modules: dict[str, Any]
    classes: dict[str, list[type]]
    defined: set[str]


@functools.cache
def names() -> Names:
    modules = all_modules()
    classes: dict[str, list[type]] = {}
    for module in modules.values():
        for name, value in vars(module).items():
            if inspect.isclass(value) and value.__module__.startswith("tinygpt") and value not in classes.get(name, []):
                classes.setdefault(name, []).append(value)
    defined = {part for name in modules for part in name.split(".")} | {"tinygpt"}
    for path in SOURCES:
        if PACKAGE in path.parents:
            defined |= definitions(path)
    return Names(modules, classes, defined)


@functools.cache
def definitions(path: Path) -> set[str]:
    """Functions, classes, parameters, attributes of self and of classes, and names at module level."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.keyword):
            found.add(node.arg or "")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            found.add(node.value)
        if isinstance(node, (ast.Module, ast.ClassDef)):
            for statement in node.body:
                targets = statement.targets if isinstance(statement, ast.Assign) else \
                    [statement.target] if isinstance(statement, ast.AnnAssign) else []
                found |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return found


@functools.cache
def words(path: Path) -> set[str]:
    """Every identifier and every word of a string that stands in a source file's code; of a page, in its blocks."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        blocks = re.findall(r"^```.*?^```|^    .*?$", content, flags=re.MULTILINE | re.DOTALL)
        return set(re.findall(r"[A-Za-z_]\w*", " ".join(blocks) if path.suffix == ".md" else content))
    tree = ast.parse(content)
    docstrings = {id(node.body[0].value) for node in ast.walk(tree)
                  if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
                  and ast.get_docstring(node, clean=False) is not None}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in docstrings:
            continue
        for field in ("id", "attr", "arg", "name", "module", "asname", "value"):
            if isinstance(value := getattr(node, field, None), str):
                found |= set(re.findall(r"[A-Za-z_]\w*", value))
    return found


DATA = (".json", ".jsonl", ".safetensors", ".txt", ".bpe", ".bin", ".png")  # files of users and models: no names
HEADS = sorted({path.parent.name for path in PACKAGE.glob("*/__init__.py")}
               | {path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("_")} | {"tinygpt", "tg"})
DOTTED = re.compile(rf"(?<![\w./`'\"-])((?:{'|'.join(HEADS)})(?:\.[A-Za-z_]\w*)+)(?![\w/*])")
QUOTED = re.compile(r"(?<!`)`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:\([^`\n]*\))?`(?!`)")
INSTANCES = {  # what a variable of this name is, wherever prose speaks of it
    "model": ("GPT", "BERT", "EncoderDecoder"), "tok": ("CharTokenizer", "ByteBPE"),
    "tokenizer": ("CharTokenizer", "ByteBPE"), "loss": ("Tensor",), "x": ("Tensor",), "flat": ("FlatParameters",),
    "report": ("GradcheckReport",), "optimizer": ("AdamW",),
    "chat": ("Chat",), "trainer": ("Trainer",), "stop": ("StopSignals",),
}
FOREIGN_HEADS = {"np", "numpy", "xp", "add", "cupy", "cupy_backends", "torch", "sacrebleu", "AutoTokenizer",
                 "RegexTokenizer"}
FOREIGN = {  # what stands in backticks and is no name of tinygpt's: whose it is
    "other libraries' names": """AutoModelForCausalLM AutoModelForMaskedLM AutoModelForSeq2SeqLM AutoTokenizer
        AutoModelForSequenceClassification BpeTrainer RawModule bytes_to_unicode cublasGemmStridedBatchedEx
        gemmStridedBatchedEx get_lr get_stats register_parameter return_assistant_tokens_mask apply_chat_template conj
        cupy huggingface_hub jinja2 ml_dtypes regex threadpoolctl tqdm transformers""",
    "names in other libraries' files": """attn.bias attn.masked_bias cls.seq_relationship rotary_emb.inv_freq
        LayerNorm.gamma position_ids torch_dtype translation_en_to_es""",
    "environment variables": "OPENBLAS_CORETYPE",
    "texts that are tokenized": "aaabdaaabac aa st es good expression",
    "n for a number": "distinct_n",
    "the entry of a user's rule: its module and its name": "module.softmax",
    "extras of setup.cfg": "docs plot",
}
FOREIGN_WORDS = {word for group in FOREIGN.values() for word in group.split()}


def attribute(owner: Any, name: str) -> bool:
    """Whether an object has an attribute, or a class's objects do: set in a method, annotated, or in its slots."""
    if hasattr(owner, name):
        return True
    if not inspect.isclass(owner):
        return False
    for each in owner.__mro__:
        if name in vars(each).get("__annotations__", {}) or name in vars(each).get("__slots__", ()):
            return True
        if each.__module__.startswith("tinygpt"):
            if name in stored(each):
                return True
    return False


@functools.cache
def stored(owner: type) -> set[str]:
    """The attributes that a class's methods assign."""
    return {node.attr for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(owner))))
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}


def chain(owner: Any, rest: list[str]) -> bool:
    """Whether owner.rest[0].rest[1]… is there; what an object's attribute holds is not known, and taken for right."""
    for i, name in enumerate(rest):
        if inspect.ismodule(owner) and not hasattr(owner, name):
            return f"{owner.__name__}.{name}".removeprefix("tinygpt.") in names().modules and i == len(rest) - 1
        if not attribute(owner, name):
            return False
        if not hasattr(owner, name):
            return True
        owner = getattr(owner, name)
    return True


def trouble_with_dotted(dotted: str, path: Path) -> str | None:
    """What is wrong with a name of several parts that a file mentions, or None."""
    head, *rest = dotted.split(".")
    if head in FOREIGN_HEADS:
        return None
    if head == "self":
        return None if rest[0] in names().defined else f"{dotted}: no class has {rest[0]}"
    if head in ("tinygpt", "tg"):
        owners: list[Any] = [tinygpt]
    elif head in INSTANCES:
        owners = [owner for name in INSTANCES[head] for owner in names().classes.get(name, [])]
    elif head in names().classes:
        owners = list(names().classes[head])
    elif head in HEADS:
        owners = [names().modules[head]]
    else:
        owners = [module for name, module in names().modules.items() if name.rpartition(".")[2] == head]
    if hasattr(builtins, head):
        owners.append(getattr(builtins, head))
    if any(chain(owner, rest) for owner in owners):
        return None
    # A variable of the file's own, or a standard module: the parts must at least be names that it uses itself.
    known = words(path) | (names().defined if head in words(path) and not owners else set())
    if {head, *rest} <= known or (head in sys.stdlib_module_names and chain(importlib.import_module(head), rest)):
        return None
    return f"{dotted}: there is no {'.'.join(rest)} in {head}"


def trouble_with_word(word: str, path: Path) -> str | None:
    """What is wrong with a single name in backticks, or None."""
    if word in names().defined or word in words(path) or keyword.iskeyword(word) or hasattr(builtins, word):
        return None
    return None if word in sys.stdlib_module_names else f"`{word}` is the name of nothing"


def names_mentioned(path: Path, content: str) -> Iterator[Mention]:
    texts = prose(path, content)
    for pattern in (DOTTED, QUOTED):
        for mention in found(pattern, texts):
            if not mention.what.endswith((*SUFFIXES, *DATA)):
                yield mention


def trouble_with_name(name: str, path: Path) -> str | None:
    if name in FOREIGN_WORDS:
        return None
    return trouble_with_dotted(name, path) if "." in name else trouble_with_word(name, path)


@pytest.mark.parametrize("path", [path for path in CHECKED if path.suffix in (".md", ".py")], ids=name_of)
def test_names_that_are_mentioned_exist(path: Path) -> None:
    wrong = sorted({(line, trouble) for name, line in names_mentioned(path, path.read_text(encoding="utf-8"))
                    if (trouble := trouble_with_name(name, path))})
    assert not wrong, "".join(f"\n{name_of(path)}:{line}: {trouble}" for line, trouble in wrong)


# ---------------------------------------------------------------------------------------------------------------------
# The check is checked

WRONG_PAGE = """
Right: `ops/loss.py`, [cuda](cuda.md), kernels/cpu/, tests/test_re*.py, `tinygpt.optim.AdamW`, ops.softmax(x, -1),
`GPT`, `Tensor.backward()`, `model.generate`, `save_every`, https://example.com/nothing.py, and/or.

`ops/lost.py`, docs/cuba.md, kernels/cpo/, tests/test_rx*.py
`tinygpt.optim.AdamX`, `ops.softmux`, ops.softmux(x, -1), `GPX`
`Tensor.backwards()`, `model.degenerate`, `save_ever`, `tinygpt.nothing`, base.py

```sh
python examples/00_nothing.py base.py
```
"""


def trouble_on(path: Path) -> list[tuple[int, str]]:
    content = path.read_text(encoding="utf-8")
    files = [(line, name) for name, line in files_named(path, content) if trouble_with_file(name, path, content)]
    names = [(line, name) for name, line in names_mentioned(path, content) if trouble_with_name(name, path)]
    return sorted(files + names)


def test_wrong_references_on_a_page_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(WRONG_PAGE, encoding="utf-8")
    assert trouble_on(page) == [
        (5, "docs/cuba.md"), (5, "kernels/cpo/"), (5, "ops/lost.py"), (5, "tests/test_rx*.py"),
        (6, "GPX"), (6, "ops.softmux"), (6, "ops.softmux"), (6, "tinygpt.optim.AdamX"),
        (7, "Tensor.backwards"), (7, "base.py"), (7, "model.degenerate"), (7, "save_ever"), (7, "tinygpt.nothing"),
        (10, "examples/00_nothing.py")]


WRONG_SOURCE = '''"""What `used` does, and `unused_`.

Prerequisites: lost.py, module.py. Next: nothing.
"""
# a comment about ops.linear and
# `ops.linoar`, see nn/modole.py
def used(parameter):
    """Of `parameter`, not of `parametre`."""
    raise ValueError("see docs/nowhere.md, and data.py")
'''


def test_wrong_references_in_a_source_file_are_found(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text(WRONG_SOURCE, encoding="utf-8")
    assert trouble_on(source) == [(1, "unused_"), (3, "lost.py"), (6, "nn/modole.py"), (6, "ops.linoar"),
                                  (8, "parametre"), (9, "docs/nowhere.md")]


def test_pointers_are_found_whole() -> None:
    """Up to the full stop of the sentence, and not of a file's name; over a line's end too."""
    text = "Adds it.\n\nPrerequisites: nn/module.py, the rules\n(ops/). Next: adamw.py. Paper: Kingma & Ba (2015).\n"
    assert POINTER.findall(text) == [" nn/module.py, the rules\n(ops/)", " adamw.py"]


def test_every_exception_is_needed() -> None:
    """A row of the tables above that excuses nothing any more is taken out."""
    mentioned = set()
    for path in CHECKED:
        content = path.read_text(encoding="utf-8")
        if path != Path(__file__).resolve():
            mentioned |= {name for name, _ in (*files_named(path, content), *names_mentioned(path, content))}
    heads = {name.partition(".")[0] for name in mentioned if "." in name}
    assert sorted({*FOREIGN_FILES, *FOREIGN_WORDS} - mentioned) + sorted(FOREIGN_HEADS - heads) == []


def test_instances_are_of_classes_that_are_there() -> None:
    assert not [name for names_of in INSTANCES.values() for name in names_of if name not in names().classes]

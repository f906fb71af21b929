"""The book: its order and its length, that it stands alone, and that the machinery gives the same numbers."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygpt import models
from tinygpt.backend import manual_seed
from tinygpt.data.windows import WindowSampler
from tinygpt.models import gpt
from tinygpt.optim import adamw
from tinygpt.training import Criterion, Trainer, TrainingOptions, language_loss, loop

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tinygpt"
MOST_LINES = 2800


def rows(name: str) -> list[str]:
    """The first column of a table of docs/map.md."""
    page = (ROOT / "docs/map.md").read_text(encoding="utf-8")
    table = page.split(f"<!-- {name}:begin -->")[1].split(f"<!-- {name}:end -->")[0]
    return re.findall(r"^\| `([^`]+)` \|", table, flags=re.M)


BOOK = rows("book")


def source(file: str) -> str:
    return (PACKAGE / file).read_text(encoding="utf-8")


# -- order and length -------------------------------------------------------------------------------------------------


def test_the_book_is_short():
    lines = {file: len(source(file).splitlines()) for file in BOOK}
    assert len(BOOK) > 30 and sum(lines.values()) <= MOST_LINES, lines


@pytest.mark.parametrize("file", BOOK)
def test_a_file_of_the_book_imports_from_earlier_files_alone(file):
    """From files, never from a package: the book has no `__init__.py`."""
    place = BOOK.index(file)
    for node in ast.walk(ast.parse(source(file))):
        if isinstance(node, ast.Import):
            assert all(alias.name in sys.stdlib_module_names or alias.name == "numpy" for alias in node.names), file
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert (node.module or "").split(".")[0] in sys.stdlib_module_names, f"{file}:{node.lineno}"
        elif isinstance(node, ast.ImportFrom):
            folder = (PACKAGE / file).parents[node.level - 1]
            base = folder / (node.module or "").replace(".", "/")
            targets = [base.with_suffix(".py")] if base.with_suffix(".py").is_file() and node.module else [
                base / f"{alias.name}.py" for alias in node.names]
            for target in targets:
                name = target.relative_to(PACKAGE).as_posix()
                assert name in BOOK, f"{file}:{node.lineno} imports {name}, which is not of the book"
                assert BOOK.index(name) < place, f"{file}:{node.lineno} imports {name}, which comes later"


@pytest.mark.parametrize("file, following", list(zip(BOOK, [*BOOK[1:], None])))
def test_each_file_names_the_next(file, following):
    about = ast.get_docstring(ast.parse(source(file))) or ""
    assert "Prerequisites:" in about, file
    if following is None:
        assert "The book ends here" in " ".join(about.split())
        return
    said = re.search(r"Next:\s+([\w/]+\.py)", about)
    assert said, f"{file} does not say what to read next"
    beside = (Path(file).parent / said[1]).as_posix()
    assert following in (said[1], beside), f"{file} names {said[1]} as the next file; docs/map.md says {following}"


WORDS = ("device", "flat buffer", "replica", "twin", "cache", "bfloat16", "checkpoint")


@pytest.mark.parametrize("file", BOOK)
def test_the_book_has_no_word_of_machinery(file):
    """A first line may say where upstairs to find more; nothing else may."""
    text = re.sub(r"Upstairs:.*?(?=\n\n|\"\"\"|Papers?:)", "", source(file), flags=re.S).lower()
    found = [word for word in WORDS if re.search(rf"\b{word}", text)]
    assert not found, f"{file} speaks of {found}"


def test_every_room_is_on_the_map():
    rooms = {room.rstrip("/") for room in rows("rooms")}
    there = {path.name for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "py.typed")}
    assert there - rooms <= {"arrays.py", "__init__.py", "__main__.py", "_version.py"} and rooms <= there


# -- it stands alone --------------------------------------------------------------------------------------------------

# For a folder without `__init__.py`, before which Python would take a tinygpt that is installed.
THIS_FOLDER = """
import os, sys, types
package = sys.modules["tinygpt"] = types.ModuleType("tinygpt")
package.__path__, package.__file__ = [os.path.join(os.getcwd(), "tinygpt")], None
"""

ALONE = """
import json, sys
import numpy as np
from tinygpt.arrays import manual_seed
from tinygpt.autograd.tensor import Tensor
from tinygpt.data.windows import WindowSampler
from tinygpt.generation.loop import generate
from tinygpt.generation.sampling import sampler
from tinygpt.models.gpt import GPT, GPTConfig
from tinygpt.optim.adamw import AdamW
from tinygpt.optim.schedule import cosine_schedule
from tinygpt.tokenizers.characters import Characters
from tinygpt.tokenizers.textbook_bpe import TextbookBPE
from tinygpt.training.loop import NextToken, train

import tinygpt
if tinygpt.__file__ is None:  # the book by itself, which needs NumPy alone
    assert not any(name.split(".")[0] in ("regex", "tqdm", "threadpoolctl") for name in sys.modules)
text = open(sys.argv[1]).read()
found = {}
for name in ("characters", "pairs"):
    tokenizer = Characters(text) if name == "characters" else TextbookBPE.train(text, 280)
    ids = np.array(tokenizer.encode(text))
    manual_seed(0)
    model = GPT(GPTConfig(len(tokenizer), block_size=16, n_layer=2, n_head=4, n_embd=32, dropout=0.1))
    batches = WindowSampler(ids, 16, 8, seed=1)
    optimizer = AdamW(model.named_parameters(), weight_decay=0.1)
    schedule = lambda step: cosine_schedule(step, max_lr=1e-2, min_lr=1e-3, warmup_steps=10, total_steps=150)
    losses = list(train(model, NextToken(), batches.batch, optimizer, schedule, 150))
    model.eval()
    start = [tokenizer.encode("This is")]
    written = [tokenizer.decode(generate(model, start, 40, choose)[0].tolist())
               for choose in (sampler(temperature=0.0), sampler(temperature=0.8, seed=1))]
    found[name] = dict(losses=losses, written=written)

# One gradient, compared with differences, in float64.
manual_seed(1)
model = GPT(GPTConfig(11, block_size=5, n_layer=2, n_head=2, n_embd=8, initializer_range=0.5))
for parameter in model.parameters():
    parameter.data = parameter.data.astype(np.float64)
batch = {"ids": np.array([[1, 2, 3, 4, 5]]), "targets": np.array([[2, 3, 4, 5, 6]])}
loss, _ = NextToken().loss(model, batch)
loss.backward()
generator = np.random.default_rng(0)
worst = 0.0
for parameter in model.parameters():
    direction = generator.standard_normal(parameter.shape)
    at, step = parameter.data, 1e-5
    ahead, behind = (float(NextToken().loss(model, batch)[0]) for parameter.data in (at + step * direction,
                                                                                   at - step * direction))
    parameter.data = at
    slope = float((parameter.grad * direction).sum())
    worst = max(worst, abs((ahead - behind) / (2 * step) - slope) / (1 + abs(slope)))
found["worst"] = worst
print(json.dumps(found))
"""

RHYME = """This is the house that Jack built.
This is the malt that lay in the house that Jack built.
This is the rat that ate the malt that lay in the house that Jack built.
This is the cat that killed the rat that ate the malt that lay in the house that Jack built.
This is the dog that worried the cat that killed the rat that ate the malt that lay in the house that Jack built.
"""  # a nursery rhyme of 1755


def run_it(folder: Path, text: Path) -> dict:
    code = ALONE if folder == ROOT else THIS_FOLDER + ALONE
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, str(text)], capture_output=True, text=True,
                          cwd=folder, env=os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def alone_and_whole(tmp_path_factory) -> tuple[dict, dict]:
    """What the script finds with the files of the book and nothing else, and with the whole program."""
    folder = tmp_path_factory.mktemp("alone")
    text = folder / "rhyme.txt"
    text.write_text(RHYME * 2, encoding="utf-8")
    for file in BOOK:
        (folder / "tinygpt" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / file, folder / "tinygpt" / file)
    return run_it(folder, text), run_it(ROOT, text)


@pytest.mark.parametrize("tokenizer", ["characters", "pairs"])
def test_the_book_stands_alone(alone_and_whole, tokenizer):
    """It learns the rhyme and writes words of it. The whole program's twins round differently in the last place, and
    150 steps let that grow: 1e-3 of a loss is a hundred times what was seen."""
    alone, whole = (found[tokenizer] for found in alone_and_whole)
    assert alone["losses"][0] > 2.5 and np.mean(alone["losses"][-10:]) < 1.0
    assert re.search("built|house|malt|rat|cat", alone["written"][0].removeprefix("This is")), alone["written"]
    np.testing.assert_allclose(alone["losses"], whole["losses"], atol=1e-3)
    np.testing.assert_allclose(alone["losses"][:5], whole["losses"][:5], atol=1e-5)  # before rounding has grown
    assert alone["written"][0] == whole["written"][0]


def test_its_gradients_are_differences(alone_and_whole):
    """Central differences of step 1e-5 in float64 are right to about 1e-9, where weights are of order 1."""
    for found in alone_and_whole:
        assert found["worst"] < 1e-8


# -- the machinery takes the same steps -------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_the_trainer_takes_the_steps_of_the_books_loop(threads):
    """Twenty steps from the same weights on the same batches, with decay and clipping: the Trainer's model, loss, flat
    optimizer, replicas and schedule arrive where the book's do. In float64 only the order of sums differs."""
    config = dict(vocab_size=13, block_size=8, n_layer=2, n_head=2, n_embd=16)
    batches = WindowSampler(np.random.default_rng(0).integers(13, size=300), 8, 6, seed=1)
    options = TrainingOptions(steps=20, batch_size=6, lr=0.01, weight_decay=0.1, clip=0.5, seed=1, threads=threads)
    manual_seed(0)
    public = models.GPT(models.GPTConfig(**config)).to(dtype="float64")
    trainer = Trainer(public, Criterion(language_loss), batches, options)

    manual_seed(0)
    model = gpt.GPT(gpt.GPTConfig(**config))
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(np.float64)
    optimizer = adamw.AdamW(model.named_parameters(), betas=(options.beta1, options.beta2), weight_decay=0.1)
    losses = list(loop.train(model, loop.NextToken(), batches.batch, optimizer, trainer.lr_at, 20, clip=0.5, seed=1))
    trainer.run()
    assert losses[-1] < losses[0]
    for name, weights in public.state_dict().items():
        np.testing.assert_allclose(weights, model.state_dict()[name], rtol=0, atol=1e-9, err_msg=name)


# -- the pages --------------------------------------------------------------------------------------------------------


def test_the_readme_shows_the_rooms_of_the_map():
    """In the order of docs/map.md, and none that is not there."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").split("## Map")[1].split("\n## ")[0]
    shown = re.findall(r"^  ([a-z_]+(?:/|\.py)) ", readme, flags=re.M)
    assert shown == [room for room in rows("rooms")]


def test_the_reading_page_needs_the_book_alone(tmp_path):
    """Its code, up to the heading "Upstairs", runs with the files of the book and nothing else."""
    page = (ROOT / "docs/reading.md").read_text(encoding="utf-8").split("\n## Upstairs")[0]
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", page, flags=re.M | re.S))
    assert code.count("\n") > 200
    for file in BOOK:
        (tmp_path / "tinygpt" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / file, tmp_path / "tinygpt" / file)
    done = subprocess.run([sys.executable, "-c", THIS_FOLDER + code], capture_output=True, text=True, cwd=tmp_path,
                          env=os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, done.stderr


def test_the_reading_page_follows_the_order_of_the_book():
    page = (ROOT / "docs/reading.md").read_text(encoding="utf-8").split("\n## Upstairs")[0]
    named = [file for heading in re.findall(r"^###? .*$", page, flags=re.M)
             for file in re.findall(r"`([\w/]+\.py)`", heading)]
    places = [BOOK.index(file) for file in named]
    assert len(places) > 12 and places == sorted(places)


# -- where a new thing goes -------------------------------------------------------------------------------------------


def kinds() -> list[tuple[str, str, list[str]]]:
    """(table, file that holds it, what the map says is in it) of each row of the map that lists names."""
    page = (ROOT / "docs/map.md").read_text(encoding="utf-8")
    table = page.split("<!-- kinds:begin -->")[1].split("<!-- kinds:end -->")[0]
    found = []
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        at = re.match(r"`([A-Z_]+)` (?:in|of) `([\w/]+)\.py`", cells[2]) if len(cells) == 4 else None
        if at and cells[3] != "see there":
            found.append((at[1], at[2], cells[3].split(", ")))
    return found


@pytest.mark.parametrize("table, file, names", kinds(), ids=[table for table, _, _ in kinds()])
def test_the_map_lists_what_is_in_each_table(table, file, names):
    module = importlib.import_module(f"tinygpt.{file.replace('/', '.')}".removesuffix(".__init__"))
    assert sorted(getattr(module, table)) == sorted(names)


def test_the_map_lists_the_tables():
    assert len(kinds()) == 25

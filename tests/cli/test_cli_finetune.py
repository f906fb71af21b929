"""`tinygpt finetune` as a shell sees it, and the commands that go on with what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import command, error_line

SIZES = ["--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--block-size", "24", "--vocab-size", "300"]
RUN = ["--batch-size", "8", "--threads", "1"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "reviews.tsv"
    path.write_text("".join(f"{'good' if i % 2 else 'bad'} thing {i}\t{i % 2}\n" for i in range(40)), encoding="utf-8")
    return path


def test_from_data_to_a_figure(table: Path, tmp_path: Path, capsys) -> None:
    columns = ["--text-column", "0", "--label-column", "1"]
    done = command(capsys, "finetune", "--task", "classification", "--data", table, *columns, "--out", tmp_path / "a",
                   "--steps", "4", *RUN, *SIZES)
    assert done.code == 0 and done.out.startswith("validation accuracy ") and done.out.count("\n") == 1
    assert "training: 0 18 (50.0%), 1 18 (50.0%)" in done.err and "truth \\ predicted" in done.err
    assert "before: validation loss" in done.err and "from the start to step" in done.err
    done = command(capsys, "evaluate", "--model", tmp_path / "a", "--data", table, *columns, "--task",
                   "classification", "--json")
    assert done.code == 0 and json.loads(done.out)["n_texts"] == 40
    assert command(capsys, "finetune", "--resume", "--out", tmp_path / "a").out.startswith("validation accuracy ")


def test_a_folder_with_adapters_is_evaluated_as_any_other(table: Path, tmp_path: Path, capsys) -> None:
    text = tmp_path / "text.txt"
    text.write_text(table.read_text(encoding="utf-8"), encoding="utf-8")
    assert command(capsys, "pretrain", "--data", text, "--objective", "masked", "--out", tmp_path / "base", "--steps",
                   "2", "--threads", "1", *SIZES).code == 0
    done = command(capsys, "finetune", "--task", "classification", "--model", tmp_path / "base", "--data", table,
                   "--text-column", "0", "--label-column", "1", "--lora", "1", "--out", tmp_path / "a", "--steps", "2",
                   *RUN)
    assert done.code == 0 and " trained, " in done.err
    done = command(capsys, "evaluate", "--model", tmp_path / "a", "--data", table, "--text-column", "0",
                   "--label-column", "1")
    assert done.code == 0 and done.out.startswith("accuracy ")


@pytest.mark.parametrize("arguments, about", [
    ([], "--task is missing"), (["--task", "guess"], "--task"), (["--task", "classification"], "needs examples"),
    (["--task", "classification", "--data", "nowhere.csv"], "no file 'nowhere.csv'"),
    (["--task", "classification", "--data", "{table}"], "no column named 'text'"),
    (["--task", "classification", "--data", "{table}", "--text-column", "0", "--label-column", "1", "--steps", "1",
      "--epochs", "1"], "steps and epochs"),
    (["--task", "classification", "--data", "{table}", "--text-column", "0", "--label-column", "1", "--model",
      "nowhere"], "nowhere"),
    (["--task", "classification", "--data", "{table}", "--text-column", "0", "--label-column", "1", "--freeze", "9"],
     "freeze must be from 0 to 2"),
    (["--task", "classification", "--data", "{one}"], "two classes at least; all 2 texts have the label 'x'"),
    (["--task", "classification", "--data", "{broken}"], "broken.jsonl, line 2: not valid JSON"),
])
def test_errors_are_one_line(arguments: list[str], about: str, table: Path, tmp_path: Path, capsys,
                             recwarn: pytest.WarningsRecorder) -> None:
    one, broken = tmp_path / "one.csv", tmp_path / "broken.jsonl"
    one.write_text("text,label\na,x\nb,x\n", encoding="utf-8")
    broken.write_text('{"text": "a", "label": "x"}\n{"text": "b", "label"\n', encoding="utf-8")
    given = [argument.format(table=table, one=one, broken=broken) for argument in arguments]
    done = command(capsys, "finetune", *given, "--out", tmp_path / "out")
    lines = [line for line in done.err.splitlines() if "warning: freeze without" not in line]
    assert about in error_line(done._replace(err="\n".join(lines)))
    assert not (tmp_path / "out").exists()


def test_a_used_folder_is_kept(table: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "adapter.safetensors").write_bytes(b"precious")
    done = command(capsys, "finetune", "--task", "classification", "--data", table, "--out", tmp_path)
    assert "choose another --out" in error_line(done)
    assert (tmp_path / "adapter.safetensors").read_bytes() == b"precious"


def test_labels_that_training_never_saw(table: Path, tmp_path: Path, capsys) -> None:
    assert command(capsys, "finetune", "--task", "classification", "--data", table, "--text-column", "0",
                   "--label-column", "1", "--out", tmp_path / "a", "--steps", "1", *RUN, *SIZES).code == 0
    (tmp_path / "more.csv").write_text("text,label\ngood,1\nso so,2\n", encoding="utf-8")
    done = command(capsys, "evaluate", "--model", tmp_path / "a", "--data", tmp_path / "more.csv")
    assert "more.csv, line 3: the model has no label '2'; its labels are 0, 1" in error_line(done)

"""The folder of a run: links of a stranger, a folder that is moved away, names, and what can never be saved."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tinygpt.cli import main
from tinygpt.tokenizers import CharTokenizer
from tinygpt.training import FinetuneOptions, PretrainOptions, finetune, pretrain

TINY = dict(tokenizer="char", n_layer=1, n_head=1, n_embd=4, block_size=8, batch_size=2, threads=1)
STEPS = dict(steps=4, save_every=2, eval_every=2)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and moving open folders")


@pytest.fixture
def text(tmp_path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("one text and another. " * 40, encoding="utf-8")
    return path


def train(text: Path, out: Path | str, **how):
    return pretrain(PretrainOptions(data=(str(text),), **TINY, **STEPS), out, stream=io.StringIO(), **how)


FILES = ("model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
         "metrics.jsonl", "loss.png", "sample.txt", "options.json", "training_state.safetensors",
         "training_state.previous.safetensors", "validation.json", "validation.txt", "confusion.png",
         "tokens/train.npy", "tokens/validation.npy")


@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
def test_no_link_in_a_folder_is_followed_out_of_it(text, tmp_path, kind):
    """All files of a run that is resumed are links to files elsewhere, with the same contents where they are read."""
    out, precious = tmp_path / "out", tmp_path / "precious"
    if kind == "pretrain":
        train(text, out)
    else:
        (tmp_path / "data.csv").write_text("text,label\n" + "".join(f"{'ab'[i % 2]}{i},{i % 2}\n" for i in range(40)))
        options = FinetuneOptions(data=(str(tmp_path / "data.csv"),), **TINY, **STEPS)
        finetune(options, out, stream=io.StringIO())
    precious.mkdir()
    for name in FILES:
        target = precious / name.replace("/", "-")
        target.write_bytes((out / name).read_bytes() if (out / name).exists() else b"mine")
        (out / name).unlink(missing_ok=True)
        if name != "training_state.previous.safetensors":
            (out / name).symlink_to(target)
    before = {path: path.read_bytes() for path in precious.iterdir()}
    if kind == "pretrain":
        train(text, out, resume=True)
    else:
        finetune(options, out, resume=True, stream=io.StringIO())
    assert {path: path.read_bytes() for path in precious.iterdir()} == before
    assert not (out / "sample.txt").is_symlink() or kind == "finetune"
    assert not (out / "metrics.jsonl").is_symlink() and not (out / "model.safetensors").is_symlink()


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_tokens_that_is_a_link_is_refused(text, tmp_path, resume):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    if resume:
        train(text, out)
        (out / "tokens").rename(elsewhere)
        (elsewhere / "train.npy").write_bytes(b"mine")
    else:
        out.mkdir()
        elsewhere.mkdir()
    (elsewhere / ".train.npy.1.tmp").write_bytes(b"mine too")
    (out / "tokens").symlink_to(elsewhere)
    before = {path: path.read_bytes() for path in elsewhere.iterdir()}
    with pytest.raises(OSError, match="tokens is a symbolic link, and nothing is written through it"):
        train(text, out, resume=resume)
    assert {path: path.read_bytes() for path in elsewhere.iterdir()} == before


def test_a_folder_that_is_itself_a_link_is_what_the_user_named(text, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    assert train(text, tmp_path / "out").step == 4 and (tmp_path / "real" / "model.safetensors").is_file()


@pytest.mark.parametrize("then", ["nothing", "another folder", "another run"])
def test_a_folder_that_is_moved_away_ends_the_run(text, tmp_path, monkeypatch, then):
    """Nothing is written under the old name, and what is in the moved folder goes on."""
    from tinygpt.training import run
    out, moved = tmp_path / "out", tmp_path / "moved"
    write, count = run.write_checkpoint, []

    def writing(*arguments):
        write(*arguments)
        count.append(0)
        if len(count) == 2:  # after step 2
            out.rename(moved)
            if then == "another folder":
                out.mkdir()
            elif then == "another run":
                with monkeypatch.context() as patch:
                    patch.setattr(run, "write_checkpoint", write)
                    train(text, out)

    train(text, tmp_path / "alone")
    monkeypatch.setattr(run, "write_checkpoint", writing)
    with pytest.raises(OSError, match="was moved, removed or replaced while this run was writing into it"):
        train(text, out)
    monkeypatch.undo()
    there = {path.name for path in out.iterdir()} if out.exists() else set()
    assert there == ({path.name for path in (tmp_path / "alone").iterdir()} if then == "another run" else set())
    train(text, moved, resume=True)
    for folder in [moved] + [out] * (then == "another run"):
        assert (folder / "model.safetensors").read_bytes() == (tmp_path / "alone" / "model.safetensors").read_bytes()


def test_an_empty_name_is_refused(text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="has no name"):
        train(text, "")
    for command in (["pretrain", "--data", str(text)], ["finetune", "--task", "classification", "--data", str(text)],
                    ["tokenizer", "train", "--data", str(text)], ["pretrain", "--resume"]):
        assert main([*command, "--out", ""]) == 2
        assert "--out is empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


@pytest.mark.parametrize("what", ["label", "text", "path"])
def test_half_a_character_is_refused_before_the_run_starts(tmp_path, what):
    """Lone surrogates: no file of UTF-8 holds them."""
    data = tmp_path / ("data.jsonl" if what != "path" else "data\udcff.jsonl")
    half = {"label": ("some text", "\ud800"), "text": ("\ud800 text", "b"), "path": ("some text", "b")}[what]
    rows = [dict(text=f"{half[0]} {i}", label=half[1] if i % 2 else "a") for i in range(40)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = FinetuneOptions(data=(str(data),), **TINY, **STEPS)
    with pytest.raises(ValueError, match="half of a character|surrogate"):
        finetune(options, tmp_path / "out", stream=io.StringIO())
    assert not (tmp_path / "out").exists()


def test_half_a_character_in_a_chat_template_is_refused(tmp_path, text, capsys):
    CharTokenizer.train(text.read_text()).save(tmp_path / "tok")
    config = json.loads((tmp_path / "tok" / "tokenizer_config.json").read_text())
    (tmp_path / "tok" / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": "\udc00{{ x }}"}))
    options = ["--n-layer", "1", "--n-head", "1", "--n-embd", "4", "--block-size", "8", "--steps", "2"]
    assert main(["pretrain", "--data", str(text), "--tokenizer", str(tmp_path / "tok"), "--out", str(tmp_path / "out"),
                 *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_the_library_resumes_with_the_runs_own_options(text, tmp_path):
    train(text, tmp_path / "out")
    other = PretrainOptions(data=(str(text),), **TINY, **{**STEPS, "steps": 6})
    with pytest.raises(ValueError, match="steps is 4 in the run in .*out, not 6"):
        pretrain(other, tmp_path / "out", resume=True, stream=io.StringIO())


def test_a_tokenizer_is_written_by_one_process_and_leaves_no_strays(text, tmp_path, capsys, monkeypatch):
    from tinygpt.training import lock
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    out = tmp_path / "tok"
    out.mkdir()
    (out / ".tokenizer.json.77.tmp").touch()
    command = ["tokenizer", "train", "--data", str(text), "--tokenizer", "char", "--out", str(out)]
    with lock.locked(out):
        assert main(command) == 2
        assert "another run is writing into" in capsys.readouterr().err
        assert [path.name for path in out.iterdir()] == [".tokenizer.json.77.tmp"]
    assert main(command) == 0
    assert sorted(path.name for path in out.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]


def test_a_run_that_has_begun_keeps_its_folder_from_tokenizers(text, tmp_path, capsys):
    train(text, tmp_path / "out")
    (tmp_path / "out" / "model.safetensors").unlink()
    (tmp_path / "out" / "config.json").unlink()
    assert main(["tokenizer", "train", "--data", str(text), "--out", str(tmp_path / "out")]) == 2
    assert "holds a training run" in capsys.readouterr().err


def test_a_killed_process_leaves_names_with_a_leading_dot(text, tmp_path):
    """Killed before each of the files of a tokenizer takes its name."""
    program = ("import os, signal, sys\nfrom tinygpt.cli import main\nreplace = os.replace\n"
               "def killed(*names):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
               "os.replace = killed\nsys.exit(main(sys.argv[1:]))")
    command = [sys.executable, "-c", program, "tokenizer", "train", "--data", str(text), "--out", str(tmp_path / "tok")]
    assert subprocess.run(command, timeout=60).returncode < 0
    left = [path.name for path in (tmp_path / "tok").iterdir()]
    assert left and all(name.startswith(".") and name.endswith(".tmp") for name in left)
    assert main(["tokenizer", "train", "--data", str(text), "--out", str(tmp_path / "tok")]) == 0
    assert not [path for path in (tmp_path / "tok").iterdir() if path.name.startswith(".")]

"""Standard streams that go away, are full or closed: the work goes on, and the exit code tells of a lost result."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinygpt.files.quiet import Quiet
from tinygpt.tokenizers import load_tokenizer
from tinygpt.training import FinetuneOptions, PretrainOptions, finetune, pretrain, read_checkpoint

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")

TRAIN = "pretrain --data text.txt --out out --tokenizer char --n-layer 1 --n-head 1 --n-embd 4 --block-size 8 " \
        "--batch-size 2 --steps 60 --save-every 60 --eval-every 30 --threads 1"


@pytest.fixture
def place(tmp_path) -> Path:
    (tmp_path / "text.txt").write_text("one text and another. " * 40, encoding="utf-8")
    return tmp_path


def shell(place: Path, line: str) -> subprocess.CompletedProcess:
    """A line of bash in which `tinygpt` is the command."""
    function = f'tinygpt() {{ "{sys.executable}" -m tinygpt "$@"; }}\n'
    return subprocess.run(["bash", "-c", function + line], cwd=place, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("line, code, out, err", [
    ("tinygpt {} 2>&1 | head -2; exit ${{PIPESTATUS[0]}}", 1, None, ""),  # the result is lost with the rest
    ("tinygpt {} 2> >(head -1 >/dev/null)", 0, "validation loss", ""),
    ("tinygpt {} 2>/dev/full", 0, "validation loss", ""),
    ("tinygpt {} >/dev/full", 1, "", "standard output cannot be written (No space left on device)"),
    ("tinygpt {} | true; exit ${{PIPESTATUS[0]}}", 1, "", "standard output cannot be written (Broken pipe)"),
    ("tinygpt {} 2>&-", 0, "validation loss", ""),
    ("tinygpt {} <&-", 0, "validation loss", None),
    ("tinygpt {} >&-", 1, "", "standard output cannot be written (standard output is closed)"),
    ("tinygpt {} <&- >&- 2>&-", 1, "", ""),
    ("tinygpt {} >/dev/full 2>&1", 1, "", ""),
])
def test_a_training_ends_whatever_becomes_of_its_words(place, line, code, out, err):
    done = shell(place, line.format(TRAIN))
    assert read_checkpoint(place / "out" / "training_state.safetensors").step == 60
    assert (place / "out" / "model.safetensors").is_file()
    assert done.returncode == code and "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done
    if out is not None:
        assert done.stdout.startswith(out) if out else done.stdout == ""
    if err is not None:
        assert (err in done.stderr.splitlines()[-1]) if err else done.stderr == ""


@pytest.mark.parametrize("line", [
    "tinygpt --version", "tinygpt pretrain --help",
    "tinygpt tokenizer decode --tokenizer tok 1 2",
    "tinygpt evaluate --model out --data text.txt", "tinygpt tokenizer train --data text.txt --out new",
])
def test_a_result_that_cannot_be_written_is_told_by_the_exit_code(trained, line):
    for where in (">/dev/full", ">&-"):
        done = shell(trained, f"{line} {where}")
        assert done.returncode == 1 and "Traceback" not in done.stderr and "ignored" not in done.stderr, done
        assert done.stderr.splitlines()[-1].startswith("tinygpt: error: ")
    assert shell(trained, f"{line} 2>&-").returncode == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text("one text and another. " * 40, encoding="utf-8")
    pretrain(PretrainOptions(data=(str(folder / "text.txt"),), tokenizer="char", n_layer=1, n_head=1, n_embd=4,
                             block_size=8, batch_size=2, steps=2, threads=1), folder / "out", stream=io.StringIO())
    load_tokenizer(folder / "out").save(folder / "tok")
    (folder / "chat.jsonl").write_text("".join(json.dumps({"instruction": f"say {i}", "input": "", "output": str(i)})
                                               + "\n" for i in range(10)), encoding="utf-8")
    finetune(FinetuneOptions(task="instruction", data=(str(folder / "chat.jsonl"),), tokenizer="char", n_layer=1,
                             n_head=1, n_embd=4, block_size=64, batch_size=2, steps=1, threads=1), folder / "chat",
             stream=io.StringIO())
    return folder


@pytest.mark.parametrize("line", [
    "tinygpt generate --model out --prompt - <&-", "tinygpt chat --model chat <&-",
    "tinygpt tokenizer encode --tokenizer tok <&-", "tinygpt tokenizer decode --tokenizer tok <&-",
    "tinygpt tokenizer inspect --tokenizer tok <&-", "tinygpt evaluate --model out --data - <&-",
    "tinygpt pretrain --data - --out other --steps 1 <&-",
])
def test_standard_input_that_is_closed_is_one_line(trained, line):
    done = shell(trained, line)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done
    assert "standard input is closed" in done.stderr


def test_a_closed_stream_gives_its_number_to_nobody(place):
    """What a library writes to standard error does not end up in a file of the run."""
    program = "import os, sys\nfrom tinygpt.cli import main\nopened = []\nfsync = os.fsync\n" \
              "os.fsync = lambda file: (opened.append(file), fsync(file))\ncode = main(sys.argv[1:])\n" \
              "sys.exit(code or (min(opened) < 3))"
    done = subprocess.run(["bash", "-c", f'"{sys.executable}" -c "$PROGRAM" {TRAIN} <&- 2>&- >out.txt'], cwd=place,
                          env=os.environ | {"PROGRAM": program}, timeout=60)
    assert done.returncode == 0 and (place / "out.txt").read_text().startswith("validation loss")


class Broken(io.StringIO):
    """A stream that can no longer be written to."""

    def write(self, text=""):
        raise self.error

    flush = write


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(28, "full"), OSError(5, "gone"),
                                   ValueError("I/O operation on closed file")])
def test_the_librarys_training_does_not_depend_on_its_stream(place, error):
    stream = Broken()
    stream.error = error
    options = PretrainOptions(data=(str(place / "text.txt"),), tokenizer="char", n_layer=1, n_head=1, n_embd=4,
                              block_size=8, batch_size=2, steps=3, threads=1)
    assert pretrain(options, place / "out", stream=stream).step == 3


def test_quiet_writes_what_the_stream_can_hold():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    Quiet(stream).write("naïve\n")
    assert raw.getvalue() == b"na\\xefve\n"
    assert Quiet(None).write("x") == 1 and not Quiet(None).isatty()
    Quiet(None).flush()
    assert Quiet(stream).encoding == "ascii"

"""kill -9 at random moments, in runs of every kind: resumed, they end in the same bytes and leave nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

SMALL = ["--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--block-size", "32"]
RUN = ["--batch-size", "4", "--steps", "60", "--eval-every", "20", "--save-every", "6", "--dropout", "0.1"]
NEW = [*SMALL, *RUN, "--tokenizer", "char"]
LABELS = ["finetune", "--task", "classification", "--data", "labels.csv", *RUN]
CONFIGURATIONS = {
    "one replica": ["pretrain", "--data", "text.txt", *NEW, "--threads", "1"],
    "processes": ["pretrain", "--data", "text.txt", *NEW, "--threads", "3"],
    "muon, accumulated": ["pretrain", "--data", "text.txt", *NEW, "--optimizer", "muon", "--accumulate", "2"],
    "bpe, llama": ["pretrain", "--data", "text.txt", *SMALL, *RUN, "--vocab-size", "270", "--architecture", "llama"],
    "masked": ["pretrain", "--objective", "masked", "--data", "text.txt", *NEW],
    "seq2seq": ["pretrain", "--objective", "seq2seq", "--data", "pairs.tsv", "--validation", "0.2", *NEW],
    "labels": [*LABELS, *SMALL, "--tokenizer", "char"],
    "adapters": [*LABELS, "--model", "base", "--lora", "2"],
    "dpo": ["align", "--method", "dpo", "--model", "writer", "--data", "pairs.jsonl", *RUN],
    "grpo": ["align", "--method", "grpo", "--model", "writer", "--data", "chats.jsonl", "--reward", "exact,length=0.1",
             "--group-size", "2", "--updates", "2", "--max-new-tokens", "4", *RUN],
    "instruction": ["finetune", "--task", "instruction", "--data", "chats.jsonl", *NEW],
}
CHANGING = {"metrics.jsonl", "loss.png"}  # the clock is in them

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with data of every kind, and a model."""
    folder = tmp_path_factory.mktemp("kills")
    words, rng = ["one", "two", "three", "four,", "five."], np.random.default_rng(0)
    text = " ".join(words[i] for i in rng.integers(5, size=400))
    (folder / "text.txt").write_text(text, encoding="utf-8")
    (folder / "pairs.tsv").write_text("".join(f"{a} {b}\t{b} {a}\n" for a in words for b in words), encoding="utf-8")
    (folder / "labels.csv").write_text("text,label\n" + "".join(
        f"{words[i % 5].strip(',.')} {i},{'even' if i % 2 else 'odd'}\n" for i in range(60)), encoding="utf-8")
    chats = [json.dumps({"instruction": f"{i}?", "input": "", "output": str(i)}) for i in range(30)]
    (folder / "chats.jsonl").write_text("\n".join(chats), encoding="utf-8")
    pairs = [json.dumps({"prompt": f"{i}?", "chosen": str(i), "rejected": f"{i}{i}?"}) for i in range(30)]
    (folder / "pairs.jsonl").write_text("\n".join(pairs), encoding="utf-8")
    start(folder, "pretrain", "--objective", "masked", "--data", "text.txt", "labels.csv", "--out", "base", *NEW,
          "--steps", "2").communicate(timeout=120)
    start(folder, "finetune", "--task", "instruction", "--data", "chats.jsonl", "--out", "writer", *NEW,
          "--steps", "2").communicate(timeout=120)
    return folder


def start(place: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "tinygpt", *arguments], cwd=place, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, start_new_session=True, env=os.environ | {
                                "TINYGPT_DEVICE": "cpu"})


def finish(place: Path, *arguments: str) -> str:
    process = start(place, *arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): b"" if path.name in CHANGING else path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}


def kill(place: Path, name: str, kills: int, seed: int) -> None:
    """Kill a run again and again, after random times; at last let it end."""
    rng, out, arguments = np.random.default_rng(seed), f"killed-{seed}", CONFIGURATIONS[name]
    alone = place / f"alone-{list(CONFIGURATIONS).index(name)}"
    before = time.monotonic()
    printed = finish(place, *arguments, "--out", alone.name) if not alone.exists() else None
    whole = time.monotonic() - before if printed else 4.0
    for _ in range(kills):
        again = (place / out / "options.json").exists()
        process = start(place, *([arguments[0]] if again else arguments), "--out", out, "--resume")
        time.sleep(rng.uniform(0.3, 0.9) * whole)
        process.kill()
        process.communicate()
    again = (place / out / "options.json").exists()
    ended = finish(place, *([arguments[0]] if again else arguments), "--out", out, "--resume")
    assert printed is None or ended == printed
    expected, found = contents(alone), contents(place / out)
    assert expected.keys() == found.keys()
    different = [file for file in expected if expected[file] != found[file]]
    assert different in ([], ["adapter.safetensors"] if name == "adapters" else []), different


@pytest.mark.parametrize("name", ["processes", "adapters"])
def test_killed_twice(place, name):
    kill(place, name, 2, list(CONFIGURATIONS).index(name))


@pytest.mark.nightly
@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("seed", [100, 200])
def test_killed_many_times(place, name, seed):
    kill(place, name, 12, seed + list(CONFIGURATIONS).index(name))

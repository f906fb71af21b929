"""Whole commands on the pretend GPU: the folder that they leave, and what they print, is the host's."""

from __future__ import annotations

import json
import random

import fake_device  # noqa: F401  (registers the device)
import numpy as np
import pytest
from command import command

from tinygpt.cli import main
from tinygpt.optim import AdamW
from tinygpt.pretrained import SafetensorsFile
from tinygpt.tokenizers import CharTokenizer

TINY = ["--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--block-size", "12", "--batch-size", "4", "--lr", "0.01",
        "--steps", "12", "--eval-every", "7", "--save-every", "12", "--seed", "3", "--threads", "1"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("data"), random.Random(0)
    words = ["one", "two", "three", "four", "red", "blue"]
    texts = [" ".join(rng.choices(words, k=6)) for _ in range(60)]
    (folder / "text.txt").write_text("\n\n".join(texts), encoding="utf-8")
    (folder / "pairs.tsv").write_text("\n".join(f"{t}\t{t.upper()}" for t in texts), encoding="utf-8")
    (folder / "labels.csv").write_text("text,label\n" + "\n".join(
        f"{t},{'warm' if 'red' in t else 'cold'}" for t in texts), encoding="utf-8")
    return folder


def weights(folder):
    """All arrays of a model folder, or of an adapter's."""
    path = next(path for path in sorted(folder.glob("*.safetensors")) if path.name != "training_state.safetensors")
    file = SafetensorsFile(path)
    return {name: file[name] for name in file}


# A key's bias adds the same to all scores of a query, so its gradient is rounding, of which Adam makes whole steps.
NOISE = ("key.bias", "k_proj.bias", "c_attn.bias")


def same(one, other):
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        if name.endswith(NOISE):
            continue
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=2e-4, err_msg=name)  # float32, 12 steps


PRETRAIN = {
    "causal": ["--data", "text.txt", "--tokenizer", "char", "--dropout", "0.1"],
    "llama": ["--data", "text.txt", "--vocab-size", "270", "--architecture", "llama", "--accumulate", "2"],
    "masked": ["--data", "text.txt", "--objective", "masked", "--tokenizer", "char"],
    "seq2seq": ["--data", "pairs.tsv", "--objective", "seq2seq", "--vocab-size", "280", "--block-size", "40"],
}


@pytest.mark.parametrize("kind", PRETRAIN)
def test_pretrain(kind, files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(files)
    lines = {}
    for device in ("cpu", "fake:1"):
        done = command(capsys, "pretrain", *TINY, *PRETRAIN[kind], "--device", device, "--out", str(tmp_path / device))
        assert done.code == 0, done.err
        lines[device] = float(done.out.split()[-1])
    assert lines["fake:1"] == pytest.approx(lines["cpu"], abs=2e-3)
    same(tmp_path / "fake:1", tmp_path / "cpu")


def test_a_run_that_is_out_of_memory_is_resumed(files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(files)
    run = ["pretrain", *TINY, *PRETRAIN["causal"], "--device", "fake", "--save-every", "4"]
    assert main([*run, "--out", str(tmp_path / "whole")]) == 0
    step = AdamW.step

    def full(self, *args, **kwargs):
        if self.steps == 6:
            raise MemoryError("Out of memory allocating 512 bytes.")
        step(self, *args, **kwargs)
    monkeypatch.setattr(AdamW, "step", full)
    capsys.readouterr()
    done = command(capsys, *run, "--out", str(tmp_path / "broken"))
    assert done.code == 1 and "step 7: out of memory on fake:0: Out of memory allocating 512 bytes" in done.err
    monkeypatch.setattr(AdamW, "step", step)
    assert main(["pretrain", "--resume", "--out", str(tmp_path / "broken")]) == 0
    assert "resuming" in capsys.readouterr().err
    for name, value in weights(tmp_path / "whole").items():
        np.testing.assert_array_equal(weights(tmp_path / "broken")[name], value)


FINETUNE = {
    "classification": ["--task", "classification", "--data", "labels.csv"],
    "lora": ["--task", "classification", "--data", "labels.csv", "--model", "BASE", "--lora", "2"],
    "freeze": ["--task", "classification", "--data", "labels.csv", "--model", "BASE", "--freeze", "1"],
    "translation": ["--task", "translation", "--data", "pairs.tsv", "--block-size", "40"],
}


@pytest.mark.parametrize("kind", FINETUNE)
def test_finetune_and_evaluate(kind, files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(files)
    base = tmp_path / "base"
    arguments = [str(base) if a == "BASE" else a for a in FINETUNE[kind]]
    if "BASE" in FINETUNE[kind]:
        assert main(["pretrain", *TINY, *PRETRAIN["masked"], "--out", str(base)]) == 0
        sizes = TINY[TINY.index("--batch-size"):]
    else:
        sizes = TINY
    scores = {}
    for device in ("cpu", "fake:1"):
        out = str(tmp_path / device)
        done = command(capsys, "finetune", *sizes, *arguments, "--device", device, "--out", out)
        assert done.code == 0, done.err
        data = "pairs.tsv" if kind == "translation" else "labels.csv"
        done = command(capsys, "evaluate", "--model", out, "--data", data, "--device", device, "--limit", "6", "--json")
        assert done.code == 0, done.err
        scores[device] = done.out
    same(tmp_path / "fake:1", tmp_path / "cpu")
    ours, theirs = ({k: v for k, v in json.loads(scores[d]).items() if k != "model"} for d in ("fake:1", "cpu"))
    assert ours.keys() == theirs.keys() and len(ours) > 2


def test_generate(files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(files)
    model = str(tmp_path / "model")
    assert main(["pretrain", *TINY, *PRETRAIN["causal"], "--out", model]) == 0
    capsys.readouterr()
    texts = [command(capsys, "generate", "--model", model, "--prompt", "one", "--seed", "1", "--max-new-tokens", "30",
                     "--crop", "--device", device).out for device in ("cpu", "fake", "fake:1")]
    assert texts[0] == texts[1] == texts[2] and len(texts[0]) > 20


# -- bfloat16 and TF32 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PRETRAIN)
def test_pretrain_in_bfloat16(kind, files, tmp_path, capsys, monkeypatch):
    """Near the host's validation loss; broken off and resumed, the same bits; weights and moments float32."""
    pytest.importorskip("ml_dtypes")
    monkeypatch.chdir(files)
    lines = {}
    for device, more in (("cpu", []), ("fake:1", ["--dtype", "bfloat16", "--tf32"])):
        done = command(capsys, "pretrain", *TINY, *PRETRAIN[kind], "--device", device, *more, "--out",
                       str(tmp_path / device))
        assert done.code == 0, done.err
        lines[device] = float(done.out.split()[-1])
    assert lines["fake:1"] == pytest.approx(lines["cpu"], rel=1e-2)
    whole = tmp_path / "fake:1"
    assert {array.dtype for array in weights(whole).values()} == {np.dtype(np.float32)}
    if kind == "causal":
        run = ["pretrain", *TINY, *PRETRAIN[kind], "--device", "fake:1", "--dtype", "bfloat16", "--save-every", "5"]
        monkeypatch.setattr(AdamW, "step", broken_off_at(8))
        assert main([*run, "--out", str(tmp_path / "broken")]) == 1
        monkeypatch.undo()
        monkeypatch.chdir(files)
        assert main(["pretrain", "--resume", "--out", str(tmp_path / "broken")]) == 0
        for name, value in weights(whole).items():
            np.testing.assert_array_equal(weights(tmp_path / "broken")[name], value)


def broken_off_at(n):
    step = AdamW.step

    def broken(self, *args, **kwargs):
        if self.steps == n:
            raise MemoryError("Out of memory allocating 512 bytes.")
        step(self, *args, **kwargs)
    return broken


def test_finetune_evaluate_and_generate_in_bfloat16(files, tmp_path, capsys, monkeypatch):
    """Adapters on a frozen model, and a model that is only used: its weights are bfloat16 too."""
    pytest.importorskip("ml_dtypes")
    monkeypatch.chdir(files)
    base, tuned = str(tmp_path / "base"), str(tmp_path / "tuned")
    there = ["--device", "fake", "--dtype", "bfloat16"]
    assert main(["pretrain", *TINY, *PRETRAIN["causal"], "--out", base]) == 0
    sizes = TINY[TINY.index("--batch-size"):]
    done = command(capsys, "finetune", *sizes, *FINETUNE["lora"][:4], "--model", base, "--lora", "2", *there, "--out",
                   tuned)
    assert done.code == 0, done.err
    for model, data in ((base, "text.txt"), (tuned, "labels.csv")):
        figures = {}
        for where in (["--device", "cpu"], there):
            done = command(capsys, "evaluate", "--model", model, "--data", data, *where, "--limit", "6", "--json")
            assert done.code == 0, done.err
            figures[where[1]] = json.loads(done.out)
        name = "loss" if model == base else "accuracy"
        assert name in figures["cpu"], figures
        close = {"rel": 1e-2} if name == "loss" else {"abs": 0.2}  # of six texts, one may be on the fence
        assert figures["fake"][name] == pytest.approx(figures["cpu"][name], **close)
    done = command(capsys, "generate", "--model", base, "--prompt", "one", "--temperature", "0",
                   "--max-new-tokens", "9", *there)
    assert done.code == 0 and len(done.out) > 8, done.err


@pytest.mark.parametrize("arguments, message", [
    (["--dtype", "bfloat16"], "dtype bfloat16 was asked for on cpu, but NumPy computes nothing in it"),
    (["--tf32"], "TF32 was asked for on cpu, and only GPUs have it"),
    (["--dtype", "float16"], "invalid choice: 'float16'")])
def test_what_a_processor_has_not(arguments, message, files, capsys, tmp_path):
    CharTokenizer.train(["abc"]).save(tmp_path)
    done = command(capsys, "evaluate", "--model", str(tmp_path), "--data", str(files / "text.txt"), *arguments)
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1

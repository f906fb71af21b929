"""`tinygpt pretrain`: any options in tiny sizes, what it prints and writes, and bad input in one line."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import TINY, command, error_line
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinygpt.backend import cuda_available
from tinygpt.models import GPT, load_model
from tinygpt.ops import ACTIVATIONS
from tinygpt.optim import OPTIMIZERS
from tinygpt.tokenizers import load_tokenizer
from tinygpt.training import PRESETS, PretrainOptions, language_loss, pretrain, read_checkpoint, read_metrics

RESULT = re.compile(r"validation loss \d+\.\d{4}\n")


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "text.txt"
    words = ["to", "be", "or", "not", "naïve,", "that\n"]
    path.write_text(" ".join(words[i] for i in np.random.default_rng(0).integers(6, size=400)), encoding="utf-8")
    return path


def test_one_line_on_stdout_and_a_folder_that_generates(capsys, text, tmp_path):
    out = tmp_path / "a" / "b"
    done = command(capsys, "pretrain", "--data", text, "--out", out, *TINY, "--tokenizer", "char", "--steps", 20)
    assert done.code == 0 and RESULT.fullmatch(done.out)
    assert "step 20/20  loss" in done.err and "tokens/s" in done.err and "bits per byte" in done.err
    model, tok = load_model(out), load_tokenizer(out)
    assert isinstance(model, GPT) and model.config.vocab_size == len(tok)
    assert model.config.n_embd == 8 and model.config.block_size == 8
    last = [e for e in read_metrics(out / "metrics.jsonl") if "validation_loss" in e][-1]
    assert last["step"] == 20 and f"{last['validation_loss']:.4f}" == done.out.split()[-1]
    losses = [e["loss"] for e in read_metrics(out / "metrics.jsonl") if "loss" in e]
    assert len(losses) == 20 and {"lr", "grad_norm", "seconds", "tokens_per_second"} <= set(
        json.loads((out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[0]))
    assert (out / "sample.txt").read_text(encoding="utf-8")
    words = command(capsys, "generate", "--model", out, "--prompt", "to be", "--max-new-tokens", 9)
    assert words.code == 0 and len(words.out) == 5 + 9 + 1
    again = command(capsys, "pretrain", "--data", text, "--out", tmp_path / "c", *TINY, "--tokenizer", "char",
                    "--steps", 20)
    assert again.out == done.out
    assert (tmp_path / "c" / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


def test_the_validation_loss_is_that_of_the_saved_model(capsys, text, tmp_path):
    done = command(capsys, "pretrain", "--data", text, "--out", tmp_path / "out", *TINY, "--tokenizer", "char")
    whole = text.read_text(encoding="utf-8")
    ids = load_tokenizer(tmp_path / "out").encode(whole[int(len(whole) * 0.9):])
    model, nats = load_model(tmp_path / "out"), 0.0
    for start in range(0, len(ids) - 1, 8):
        piece = ids[start:start + 9]
        nats += float(language_loss(model, {"ids": np.array([piece[:-1]]), "targets": np.array([piece[1:]])}))
    assert float(done.out.split()[-1]) == pytest.approx(nats / (len(ids) - 1), abs=1e-4)


def test_it_draws_the_losses(capsys, text, tmp_path, pictures):
    done = command(capsys, "pretrain", "--data", text, "--out", tmp_path, *TINY, "--tokenizer", "char")
    assert done.code == 0 and (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_data_from_standard_input(capsys, text, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.read_bytes()), encoding="utf-8"))
    piped = command(capsys, "pretrain", "--data", "-", "--out", tmp_path / "piped", *TINY)
    named = command(capsys, "pretrain", "--data", text, "--out", tmp_path / "named", *TINY)
    assert piped.code == 0 and piped.out == named.out


def test_invalid_utf8_is_replaced_with_one_warning_that_counts(capsys, tmp_path):
    path = tmp_path / "broken.txt"
    path.write_bytes(b"some text \xff and \xc3\x28 more of it\n" * 50)
    done = command(capsys, "pretrain", "--data", path, "--out", tmp_path / "out", *TINY)
    warnings = [line for line in done.err.splitlines() if line.startswith("tinygpt: warning:")]
    assert done.code == 0 and RESULT.fullmatch(done.out)
    assert warnings == [f"tinygpt: warning: {path}: 100 bytes are not valid UTF-8 and were replaced by U+FFFD "
                        f"(the first is in line 1)"]


def test_a_tokenizer_folder(capsys, text, tmp_path):
    trained = command(capsys, "tokenizer", "train", "--data", text, "--out", tmp_path / "tok", "--vocab-size", 270)
    assert trained.code == 0
    done = command(capsys, "pretrain", "--data", text, "--out", tmp_path / "out", *TINY, "--tokenizer",
                   tmp_path / "tok")
    assert done.code == 0
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (tmp_path / "tok" / "tokenizer.json").read_bytes()


def test_presets_are_overridden_by_options(capsys, text, tmp_path):
    done = command(capsys, "pretrain", "--data", text, "--preset", "shakespeare-char-cpu", "--out", tmp_path, *TINY)
    assert done.code == 0
    options = read_checkpoint(tmp_path / "training_state.safetensors").run["options"]
    expected = PRESETS["shakespeare-char-cpu"] | dict(data=[str(text)], n_layer=1, n_head=2, n_embd=8, block_size=8,
                                                      batch_size=4, steps=3, threads=1)
    assert {name: options[name] for name in expected} == expected


def test_the_cpu_preset_is_nanogpts():
    options = PretrainOptions(**{**PRESETS["shakespeare-char-cpu"], "data": ()})
    assert (options.n_layer, options.n_head, options.n_embd) == (4, 4, 128)
    assert (options.block_size, options.batch_size) == (64, 12)
    assert (options.steps, options.lr, options.min_lr, options.warmup_steps) == (2000, 1e-3, 1e-4, 100)
    assert (options.beta1, options.beta2, options.weight_decay, options.clip) == (0.9, 0.99, 0.1, 1.0)
    assert (options.tokenizer, options.validation, options.bias, options.activation, options.dropout) == (
        "char", 0.1, False, "gelu", 0.0)


# -- any combination of options ---------------------------------------------------------------------------------------

maybe = st.none()
combinations = st.fixed_dictionaries({
    "--tokenizer": st.sampled_from(["char", "bpe"]), "--vocab-size": st.sampled_from([257, 300, 100_000]) | maybe,
    "--architecture": st.sampled_from(["gpt2", "llama"]), "--n-layer": st.integers(0, 2),
    "--n-head": st.sampled_from([1, 2, 4]), "--n-embd": st.sampled_from([8, 16]),
    "--block-size": st.sampled_from([1, 2, 8, 100]), "--batch-size": st.sampled_from([1, 3, 1000]),
    "--steps": st.integers(0, 2), "--lr": st.sampled_from([0.0, 1e-3, 0.1]) | maybe,
    "--warmup-steps": st.sampled_from([0, 1, 100]) | maybe, "--eval-every": st.sampled_from([1, 7]) | maybe,
    "--save-every": st.sampled_from([1, 7]) | maybe, "--seed": st.integers(0, 2**40),
    "--threads": st.integers(1, 3) | maybe, "--accumulate": st.integers(1, 3), "--dropout": st.sampled_from([0.0, 0.5]),
    "--activation": st.sampled_from(sorted(ACTIVATIONS)) | maybe,
    "--optimizer": st.sampled_from(sorted(OPTIMIZERS)) | maybe,
    "--bias": st.sampled_from(["--bias", "--no-bias"]) | maybe, "--validation": st.sampled_from([0.1, 0.5]) | maybe,
    "--device": st.just("cpu") | maybe, "--dtype": st.just("float32") | maybe, "--clip": st.just(0.5) | maybe,
})


@given(combinations)
@settings(deadline=None, max_examples=15, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_combination_of_options_trains_resumes_and_generates(capsys, text, tmp_path_factory, chosen):
    out = tmp_path_factory.mktemp("run") / "out"
    small = {**chosen, "--batch-size": min(chosen["--batch-size"], 64)} if chosen["--block-size"] > 8 else chosen
    small = {**small, "--accumulate": min(small["--accumulate"], small["--batch-size"])}
    if chosen["--tokenizer"] == "char":  # it has a size of its own
        small = {**small, "--vocab-size": None}
    arguments = [part for name, value in small.items() if value is not None
                 for part in ([value] if name == "--bias" else [name, value])]
    done = command(capsys, "pretrain", "--data", text, "--out", out, *arguments)
    assert done.code == 0 and RESULT.fullmatch(done.out), done
    exported = (out / "model.safetensors").read_bytes()
    resumed = command(capsys, "pretrain", "--resume", "--out", out)
    assert (resumed.code, resumed.out) == (0, done.out) and (out / "model.safetensors").read_bytes() == exported
    words = command(capsys, "generate", "--model", out, "--prompt", "t", "--seed", 0, "--max-new-tokens", 3)
    assert words.code == 0 and words.err == "" and words.out.startswith("t")


# -- bad input --------------------------------------------------------------------------------------------------------


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("options, message", [
    (["--data", "missing.txt"], "no file or folder 'missing.txt'"),
    (["--data", "tinyshakespear"], "did you mean 'tinyshakespeare'"),
    (["--data", "empty.txt"], "empty.txt is empty"),
    (["--data", "short.txt", "--tokenizer", "char"],
     "the training text has 9 tokens, but block_size 64 needs at least 65"),
    (["--data", "tiny.txt", "--tokenizer", "char", "--block-size", 1], "has 1 tokens"),
    (["--data", "binary.bin"], "is binary, not text"),
    (["--data", "nothing"], "holds no text file"),
    (["--vocab-size", 100], "256"),
    (["--vocab-size", -5], "256"),
    (["--preset", "shakespeare"], "unknown preset 'shakespeare'; did you mean 'shakespeare-char'?"),
    (["--n-embd", 10, "--n-head", 4], "n_embd=10 is not divisible by n_head=4"),
    (["--n-embd", 6, "--n-head", 2, "--architecture", "llama"], "head_dim must be even, got 3"),
    (["--n-head", 4, "--n-kv-head", 3, "--architecture", "llama"], "n_head=4 is not divisible by n_kv_head=3"),
    (["--n-kv-head", 1], "need architecture='llama'"),
    (["--n-layer", -1], "n_layer must be at least 0, got -1"),
    (["--n-head", 0], "n_head must be at least 1, got 0"),
    (["--n-embd", -8], "n_embd must be at least 1, got -8"),
    (["--block-size", 0], "block_size must be at least 1, got 0"),
    (["--batch-size", 0], "batch_size must be at least 1, got 0"),
    (["--steps", -1], "steps must be at least 0, got -1"),
    (["--threads", 0], "threads must be at least 1, got 0"),
    (["--seed", -1], "seed must be at least 0, got -1"),
    (["--eval-every", 0], "eval_every must be at least 1, got 0"),
    (["--lr", -1], "lr must be at least 0, got -1.0"),
    (["--lr", "nan"], "lr must be at least 0"),
    (["--lr", 1e-4, "--min-lr", 1e-3], "min_lr 0.001 is more than lr 0.0001"),
    (["--dropout", 1], "dropout must be at least 0.0 and below 1.0, got 1.0"),
    (["--validation", 1], "the validation fraction must be in [0, 1), got 1.0"),
    (["--validation", 0], "the validation text has 0 tokens"),
    (["--activation", "tanh"], "--activation: invalid choice: 'tanh'"),
    (["--optimizer", "magic"], "--optimizer: invalid choice: 'magic'"),
    (["--positions", "nowhere"], "--positions: invalid choice: 'nowhere'"),
    (["--objective", "masked", "--positions", "rotary"], "positions is an option of the objective causal"),
    (["--tokenizer", "wordpiece"], "--tokenizer is char, bpe, words, or a folder"),
    (["--tokenizer", "nothing"], "has no tokenizer.json"),
    (["--device", "gpu"], "unknown device 'gpu'"),
    (["--dtype", "bfloat16"], "bfloat16 needs a GPU"),
    (["--tf32"], "tf32 needs a GPU"),
    (["--out", "short.txt"], "is a file; name a folder"),
])
def test_bad_input(capsys, text, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "empty.txt", b"")
    write(tmp_path / "short.txt", b"too short.")
    write(tmp_path / "tiny.txt", b"ab")
    write(tmp_path / "binary.bin", b"\x7fELF\x00\x01")
    (tmp_path / "nothing").mkdir()
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    small = ["--n-layer", 1, "--n-head", 2, "--n-embd", 8, "--block-size", 64 if "short.txt" in options else 8]
    line = error_line(command(capsys, "pretrain", "--data", text, "--out", "out", *small, "--steps", 1, *options))
    assert message in line
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


@pytest.mark.skipif(cuda_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_gpu_that_is_not_there_is_no_reason_to_use_the_cpu(capsys, text, tmp_path, monkeypatch, by):
    if by == "variable":
        monkeypatch.setenv("TINYGPT_DEVICE", "cuda")
    line = error_line(command(capsys, "pretrain", "--data", text, "--out", tmp_path / "out", *TINY,
                              *(["--device", "cuda"] if by == "option" else [])))
    assert 'device "cuda" was asked for' in line and "install" in line and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name, message", [
    ("training_state.safetensors", "holds a training run already: continue it with --resume"),
    ("model.safetensors", "holds a model (model.safetensors)"), ("config.json", "holds a model (config.json)")])
def test_a_folder_that_holds_another_run_or_model(capsys, text, tmp_path, name, message):
    precious = write(tmp_path / name, b"precious")
    assert message in error_line(command(capsys, "pretrain", "--data", text, "--out", tmp_path, *TINY))
    assert precious.read_bytes() == b"precious" and list(tmp_path.iterdir()) == [precious]


def test_what_else_lies_in_the_folder_stays_when_a_run_cannot_start(capsys, tmp_path):
    (tmp_path / "out" / "tokens").mkdir(parents=True)
    notes = write(tmp_path / "out" / "tokens" / "notes.txt", b"mine")
    short = write(tmp_path / "short.txt", b"too short")
    error_line(command(capsys, "pretrain", "--data", short, "--out", tmp_path / "out", "--tokenizer", "char"))
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [notes]


@pytest.mark.parametrize("at", [2, 3, 5])
def test_a_full_disk_keeps_the_last_checkpoint(capsys, text, tmp_path, monkeypatch, at):
    """The disk is full when the at-th file is synced; states and models take turns, a state comes first."""
    synced, fsync = [], os.fsync

    def full(file):
        synced.append(file)
        if len(synced) >= at:
            raise OSError(28, "No space left on device")
        fsync(file)

    arguments = ["--data", text, "--out", tmp_path / "out", *TINY, "--tokenizer", "char", "--save-every", 1]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        done = command(capsys, "pretrain", *arguments)
    line = done.err.splitlines()[-1]
    assert done.code == 1 and done.out == "" and line.startswith(
        f"tinygpt: error: No space left on device: {tmp_path / 'out'}{os.sep}") and "was saved before is whole" in line
    assert sum(line.startswith("tinygpt: error:") for line in done.err.splitlines()) == 1
    assert read_checkpoint(tmp_path / "out" / "training_state.safetensors").step == (at - 1) // 2
    assert not list((tmp_path / "out").rglob(".*"))
    assert command(capsys, "pretrain", "--resume", "--out", tmp_path / "out").code == 0
    command(capsys, "pretrain", *arguments[:3], tmp_path / "other", *arguments[4:])
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == \
        (tmp_path / "other" / "model.safetensors").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes there")
@pytest.mark.parametrize("limit", [200, 9_000])
def test_a_write_that_really_fails(text, tmp_path, limit):
    """Under a limit on file sizes: of the token files, or of the first state."""
    import resource

    done = subprocess.run(
        [sys.executable, "-m", "tinygpt", "pretrain", "--data", str(text), "--out", str(tmp_path / "out"), *TINY,
         "--tokenizer", "char"], capture_output=True, text=True, encoding="utf-8", timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert done.returncode == 1 and done.stdout == "" and "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if "error" in line] == done.stderr.splitlines()[-1:]
    assert not (tmp_path / "out" / "training_state.safetensors").exists() and text.stat().st_size > 0


def test_divergence_is_one_line_and_keeps_the_checkpoint(capsys, text, tmp_path):
    done = command(capsys, "pretrain", "--data", text, "--out", tmp_path, *TINY, "--steps", 60, "--lr", 1e15,
                   "--warmup-steps", 0, "--clip", 1e30, "--save-every", 1, "--eval-every", 1000)
    assert done.code == 1 and done.out == "" and "warning" not in done.err
    assert "training has diverged" in done.err.splitlines()[-1] and "Traceback" not in done.err
    checkpoint = read_checkpoint(tmp_path / "training_state.safetensors")
    assert all(np.isfinite(value).all() for value in checkpoint.weights().values())


# -- the library -----------------------------------------------------------------------------------------------------


def test_the_library_raises_what_the_command_reports(text, tmp_path):
    def options(**changes):
        return PretrainOptions(**{**dict(data=(str(text),), n_layer=1, n_head=2, n_embd=8, block_size=8, steps=1),
                                  **changes})

    quiet = io.StringIO()
    for change, error in ((dict(data=("missing",)), FileNotFoundError), (dict(n_embd=9), ValueError),
                          (dict(vocab_size=10), ValueError), (dict(block_size=10_000), ValueError)):
        with pytest.raises(error):
            pretrain(options(**change), tmp_path / "out", stream=quiet)
        assert not (tmp_path / "out").exists()
    result = pretrain(options(), tmp_path / "out", stream=quiet)
    assert result.step == 1 and result.interrupted is None and result.validation["bits_per_byte"] > 0
    with pytest.raises(FileExistsError):
        pretrain(options(), tmp_path / "out", stream=quiet)
    with pytest.raises(NotADirectoryError):
        pretrain(options(), text, stream=quiet)

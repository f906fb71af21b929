"""A training state from a stranger: every field is checked, and what is wrong is one sentence."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest

from tinygpt.cli import main
from tinygpt.pretrained import SafetensorsFile, write_safetensors
from tinygpt.training import PretrainOptions, pretrain
from tinygpt.training.checkpoint import read_checkpoint
from tinygpt.training.run_state import RunState

STATE = "training_state.safetensors"
MISSING = object()


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "text.txt").write_text("one text and another. " * 40, encoding="utf-8")
    pretrain(PretrainOptions(data=(str(folder / "text.txt"),), tokenizer="char", n_layer=1, n_head=1, n_embd=4,
                             block_size=8, batch_size=2, steps=2, threads=1), folder / "out", stream=io.StringIO())
    return folder / "out"


@pytest.fixture
def forge(finished, tmp_path):
    """A function that writes the run's state with one thing changed, checksums and all, into a folder of its own."""
    def write(change, tensors=lambda found: None) -> Path:
        file = SafetensorsFile(finished / STATE)
        metadata, found = dict(file.metadata), dict(file)
        run = json.loads(metadata["run"])
        change(run, metadata)
        tensors(found)
        metadata["run"] = json.dumps(run) if isinstance(run, dict) else run
        write_safetensors(tmp_path / STATE, found, metadata)
        return tmp_path

    return write


def refusal(capsys, folder: Path) -> str:
    """The one line with which resuming is refused, in little time."""
    start = time.monotonic()
    assert main(["pretrain", "--resume", "--out", str(folder)]) == 2
    assert time.monotonic() - start < 10
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.out == "" and len(captured.err) < 700, captured.err
    return captured.err


def put(*path):
    """A change: the value that stands last, at the place that the names before it lead to."""
    *names, last, value = path

    def change(run, metadata):
        for name in names:
            run = run[name]
        if value is MISSING:
            del run[last]
        else:
            run[last] = value
    return change


FIELDS = [field.name for field in dataclasses.fields(RunState)]


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", [MISSING, 7.5, "x", [[]], True, {"a": []}, {"a": 1e999}, -5])
def test_each_field_has_its_type(capsys, forge, name, value):
    if name == "numerics" and value in (MISSING, "x"):
        return  # any text will do, and older states have none
    if name in ("memory", "config") and isinstance(value, dict):
        value = [value]
    assert ("another command" if (name, value) == ("command", "x") else STATE) in refusal(
        capsys, forge(put(name, value)))


@pytest.mark.parametrize("path, value, message", [
    (("options", "steps"), 1, "is of step 2, and this run has 1"),
    (("options", "threads"), 2000, "threads must be at most"),
    (("options", "threads"), "2", "the option threads '2', which is of another type"),
    (("options", "steps"), True, "which is of another type"),
    (("options", "steps"), 10 ** 30, "steps must be less than"),
    (("options", "data"), [1], "which is of another type"),
    (("options", "data"), MISSING, "no options with their data"),
    (("options", "objective"), ["causal"], "which is of another type"),
    (("options", "nonsense"), 1, "an unknown option 'nonsense'"),
    (("options", "lr"), 1e999, "its run: not valid JSON (Infinity is not JSON)"),
    (("options",), {}, "no options with their data"),
    (("command",), "finetune", "`tinygpt finetune --resume` goes on with it, not `tinygpt pretrain`"),
    (("command",), "\x1b[2J", "`tinygpt '\\x1b[2J' --resume` goes on with it"),
    (("config", "vocab_size"), 10 ** 8, "it calls for token_embedding.weight of shape (100000000, 4)"),
    (("config", "block_size"), 10 ** 9, "does not fit the configuration of its model"),
    (("config", "n_layer"), 10 ** 9, "it calls for blocks.1.attention_norm.weight of shape (4,), and the state has"),
    (("config", "n_embd"), 1 << 40, "does not fit the configuration of its model"),
    (("config", "n_head"), "1", "n_head must be an integer"),
    (("config", "architecture"), MISSING, "no 'architecture'"),
    (("config", "architecture"), {"a": 1}, "expected a text"),
    (("config", "architecture"), "bert", "does not fit the configuration"),
    (("config", "nonsense"), 1, "nonsense"),
    (("config",), {}, "no 'architecture'"),
    (("tokenizer",), {"../x": "y"}, "texts by the names of files"),
    (("tokenizer",), {"tokenizer.json": 1}, "texts by the names of files"),
    (("tokenizer",), {"tokenizer.json": "{"}, "its tokenizer: tokenizer.json"),
    (("tokenizer",), {}, "its tokenizer: "),
    (("tokens", "train"), "0", "no hashes of two token files"),
    (("tokens", "other"), None, "no hashes of two token files"),
    (("validated",), 3, "expected an integer from -1 to 2"),
    (("waited",), 10 ** 400, "expected an integer"),
    (("validation", "loss now"), 1.0, "figures by name"),
    (("best",), {"step": 0, "score": [], "figures": {}}, "best weights without their figures"),
    (("peaks",), [0.0] * 101, "a list of numbers"),
])
def test_what_a_run_says_is_checked(capsys, forge, path, value, message):
    assert message in refusal(capsys, forge(put(*path, value)))


@pytest.mark.parametrize("step", ["3", "9" * 30, "-1", "x", "2.0", "\u0662", ""])
def test_the_step_is_one_of_the_run(capsys, forge, step):
    def change(run, metadata):
        metadata["step"] = step
    assert "step" in refusal(capsys, forge(change))


def test_the_step_is_that_of_the_optimizer(capsys, forge):
    def change(run, metadata):
        metadata["step"] = "1"
        run["validated"] = 0
    assert "is of step 1, but its optimizer has made 2 steps" in refusal(capsys, forge(change))


def nothing(run, metadata):
    """No change."""


@pytest.mark.parametrize("tensors, message", [
    (lambda found: found.pop("weights.norm.weight"), "it calls for norm.weight of shape (4,), and the state has none"),
    (lambda found: found.update(x=np.zeros(3, np.float32)), None),
    (lambda found: found.update({"weights.x": np.zeros(3, np.float32)}), "it holds an unknown 'weights.x'"),
    (lambda found: found.pop("optimizer.step"), "it lacks 'optimizer.step'"),
    (lambda found: found.update({"optimizer.step": np.array(-2)}), "expected at least 0"),
    (lambda found: found.update({"weights.norm.weight": np.zeros(5, np.float32)}), "and the state has one of shape"),
    (lambda found: found.update({"weights.norm.weight": np.zeros(4, np.float64)}), "and type F64, expected (4,)"),
    (lambda found: found.update(best=np.zeros(4, np.float32)), "best weights without their figures"),
    (lambda found: found.update({f"weights.blocks.0.x{i}": np.zeros(1, np.int8) for i in range(20_000)}),
     "it holds an unknown 'weights.blocks.0.x0' and 19,999 more"),
])
def test_arrays_are_those_of_the_model(capsys, forge, tensors, message):
    folder = forge(nothing, tensors)
    if message is None:  # what nobody asks for does no harm
        assert read_checkpoint(folder / STATE).step == 2
    else:
        assert message in refusal(capsys, folder)


def test_best_weights_are_of_the_model(capsys, forge):
    def change(run, metadata):
        run["best"] = {"step": 2, "score": [1.0], "figures": {"validation_loss": 1.0}}
        run["peaks"] = [1.0]
    folder = forge(change, lambda found: found.update(best=np.zeros(4, np.float32)))
    assert "are another model's or another task's" in refusal(capsys, folder)


@pytest.mark.parametrize("run", ["[]", "{", "[" * 100_000, '{"a":' * 100_000, "NaN", '"x"'])
def test_json_that_is_none(capsys, finished, tmp_path, run):
    file = SafetensorsFile(finished / STATE)
    write_safetensors(tmp_path / STATE, dict(file), {**file.metadata, "run": run})
    assert "is no training state of tinygpt" in refusal(capsys, tmp_path)


VALUES = [None, True, 0, -1, 3, 10 ** 9, 10 ** 400, 0.5, -1e308, "", "x", "\x1b[2J", [], [1], ["a"], {}, {"a": 1},
          [[[]]]]


def mutated(run: dict, rng: np.random.Generator) -> dict:
    """The run with one value somewhere in it replaced, left out, or added."""
    run = copy.deepcopy(run)
    place, path = run, []
    while True:
        names = list(place) if isinstance(place, dict) else list(range(len(place)))
        name = names[rng.integers(len(names))] if names else "new"
        if not names or rng.random() < 0.4 or not isinstance(place[name], (dict, list)):
            break
        path.append(name)
        place = place[name]
    value = VALUES[rng.integers(len(VALUES))]
    if isinstance(place, list):
        place.append(value)
    elif rng.random() < 0.15:
        place.pop(name, None)
    else:
        place[name if rng.random() < 0.9 else "new"] = value
    return run


def fuzz(finished: Path, folder: Path, n: int, seed: int, capsys) -> list[int]:
    """The exit codes of resuming n mutated states."""
    rng, file = np.random.default_rng(seed), SafetensorsFile(finished / STATE)
    tensors, run, codes = dict(file), json.loads(file.metadata["run"]), []
    for i in range(n):
        out = folder / str(i)
        write_safetensors(out / STATE, tensors, {**file.metadata, "run": json.dumps(mutated(run, rng))})
        start = time.monotonic()
        codes.append(main(["pretrain", "--resume", "--out", str(out)]))
        assert time.monotonic() - start < 10
        err = capsys.readouterr().err
        assert codes[-1] == 0 or (codes[-1] == 2 and err.count("tinygpt: error: ") == 1), err
        assert "\x1b" not in err
    return codes


def test_mutated_states_are_refused_or_go_on(finished, tmp_path, capsys):
    codes = fuzz(finished, tmp_path, 24, 0, capsys)
    assert codes.count(2) > 8


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(1, 11))
def test_many_mutated_states(finished, tmp_path, capsys, seed):
    fuzz(finished, tmp_path, 200, seed, capsys)


# -- flipped bits -----------------------------------------------------------------------------------------------------


def flip(finished: Path, folder: Path, n: int, seed: int) -> int:
    """Flip n bits of the state, one at a time: how many are refused; the others are harmless."""
    whole, path = bytearray((finished / STATE).read_bytes()), folder / STATE
    good, rng, refused = read_checkpoint(finished / STATE), np.random.default_rng(seed), 0
    header = 8 + int.from_bytes(whole[:8], "little")
    expected = {name: value.tobytes() for name, value in good.tensors.items()}
    for i in range(n):
        at = int(rng.integers(header) if i % 2 else rng.integers(len(whole)))
        bit = 1 << int(rng.integers(8))
        whole[at] ^= bit
        path.write_bytes(whole)
        whole[at] ^= bit
        try:
            found = read_checkpoint(path)
            found.check()
        except ValueError:
            refused += 1
            continue
        assert (found.step, found.run) == (good.step, good.run), at
        assert {name: value.tobytes() for name, value in found.tensors.items()} == expected, at
    return refused


def test_flipped_bits_are_refused_or_harmless(finished, tmp_path):
    assert flip(finished, tmp_path, 200, 0) >= 195


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(1, 6))
def test_thousands_of_flipped_bits(finished, tmp_path, seed):
    assert flip(finished, tmp_path, 2000, seed) >= 1950

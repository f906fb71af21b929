"""The checker is tested with wrong gradients: each seeded bug is caught, and what is right passes."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from seeded_bugs import BUGS, STANDINS
from seeded_bugs.mutation import mutant

from tinygpt.autograd import OPS
from tinygpt.testing import check_vjp, op_db
from tinygpt.engine.dispatch import twins_of
from tinygpt.testing.registry import check_sample

SEED, EXAMPLES = 7, 100


def test_the_bugs_are_many_and_of_many_kinds() -> None:
    assert len(BUGS) >= 60
    for kind in ("attention", "rotary", "dropout", "cache", "tied", "fused", "engine", "twin", "causal",
                 "rnn", "lstm", "gru", "convolution", "max_pool", "average_pool"):
        assert any(kind in name for name in BUGS), kind


def test_the_table_in_the_docs_has_a_line_for_every_bug() -> None:
    page = (Path(__file__).parents[2] / "docs/gradient-checking.md").read_text(encoding="utf-8")
    _, *lines = page.partition("| bug | examples, at most |")[2].partition("\n\n")[0].splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[1:]] == list(BUGS)
    assert f"holds {len(BUGS)} gradient bugs" in page


@pytest.mark.parametrize("name", BUGS)
def test_every_bug_is_caught(name: str) -> None:
    bug = BUGS[name]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for i in range(EXAMPLES):
            with bug.on():
                report = bug.example(SEED, i).ours(SEED)
            if not report:
                assert report.findings and str(report)
                return
    pytest.fail(f"not caught in {EXAMPLES} examples")


@pytest.mark.parametrize("name", ["engine: fan-out overwritten", "model: causal mask off by one",
                                  "twin of the loss: bias not added"])
def test_without_the_bug_the_same_examples_pass(name: str) -> None:
    bug = BUGS[name]
    for i in range(2):
        example = bug.example(SEED, i)
        if hasattr(example, "twin"):
            example.twin = next(twin for twin in twins_of(OPS[example.name]) if twin.device == "cpu")
        report = example.ours(SEED)
        assert report, str(report)


def test_an_edit_that_no_longer_fits_says_so() -> None:
    with pytest.raises(ValueError, match="rewrite the bug"):
        mutant(OPS["exp"].rule, ("no such text", ""))


def test_an_edit_that_changes_nothing_is_no_bug() -> None:
    rule = mutant(OPS["tanh"].rule, ("1 - out * out", "1 - out ** 2"))
    for i, sample in enumerate(op_db["tanh"].samples(10)):
        assert check_vjp(rule, *sample.inputs, seed=i)


@pytest.mark.parametrize("share", ["chosen = equals.cumsum(axis=-1) * equals == equals.sum(axis=-1, keepdims=True)",
                                   "chosen = (equals / equals.sum(axis=-1, keepdims=True)).astype(x.dtype)"])
def test_the_last_of_equals_and_equal_shares_are_no_bugs(share: str) -> None:
    """Of a maximum with ties both are between the slopes to either side, like the first of equals."""
    rule = mutant(OPS["max_pool"].rule, ("chosen = first == xp.arange(flat.shape[-1])",
                                         f"equals = flat == flat.max(axis=-1, keepdims=True)\n        {share}"))
    for i in range(2):
        x = np.random.default_rng(i).integers(-1, 2, (1, 1, 3, 3)) * 0.7
        report = check_vjp(rule, x, kernel_size=2, stride=1, seed=i, raise_exception=False)
        assert report, str(report)


def test_stand_ins_pass_what_is_right() -> None:
    bug = BUGS["tanh: 1 − y"]
    for passes in STANDINS.values():
        verdicts = []
        for i in range(10):
            example = bug.example(SEED, i)
            example.rule = OPS["tanh"].rule
            with example.problem() as problem:
                verdicts.append(passes(problem, np.random.default_rng(i)))
        assert all(verdicts)


def test_correct_examples_of_every_operation_pass() -> None:
    """A few of the ten thousand of benchmark_gradcheck.py."""
    names = [name for name in OPS if name in op_db]
    for i, name in enumerate(names):
        report = check_sample(name, op_db[name].draw(np.random.default_rng([99, i])), seed=i)
        assert report, f"{name}, example {i}: {report}"

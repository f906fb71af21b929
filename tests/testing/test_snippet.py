"""The program at the end of a report runs by itself, and shows the numbers that the report shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygpt as tg
from tinygpt import ops
from tinygpt.autograd import differentiable
from tinygpt.testing import GradcheckError, GradcheckReport, check_vjp, given_grads, gradcheck, strategies

X = np.random.default_rng(0).standard_normal((2, 3))
FACTOR = 1.5


def run(report: GradcheckReport, folder: Path) -> str:
    """What the program prints, in an empty folder."""
    program = folder / "reproduce.py"
    program.write_text(report.snippet, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONIOENCODING": "utf-8"}
    finished = subprocess.run([sys.executable, "-W", "error", str(program)], cwd=folder, env=environment,
                              capture_output=True, text=True, encoding="utf-8", timeout=60)
    return finished.stdout + finished.stderr


def shows(report: GradcheckReport, folder: Path) -> None:
    assert report.status == "failed" and report.finding is not None
    printed = run(report, folder)
    found = re.search(r"analytic (\S+) numeric (\S+)", printed)
    assert found, printed
    assert float(found[1]) == pytest.approx(report.finding.analytic, rel=1e-9)
    assert float(found[2]) == pytest.approx(report.finding.numeric, rel=1e-4)


def shift(x):
    return x * FACTOR + 1


def loss(x, weights, power=2):
    return np.sum(shift(x) ** power * weights["w"])


def loss_gradient(x, weights, power=2):
    return power * x ** (power - 1) * weights["w"], shift(x) ** power


def test_a_plain_function_needs_numpy_alone(tmp_path: Path) -> None:
    report = gradcheck(loss, X, {"w": X + 3}, power=3, grad=loss_gradient, raise_exception=False)
    assert "tinygpt" not in report.snippet
    shows(report, tmp_path)


def test_a_lambda_that_uses_names_around_it(tmp_path: Path) -> None:
    weights = np.array([1.0, 2.0, 3.0])
    report = gradcheck(lambda x: np.sum(np.exp(x) @ weights) * FACTOR, X, grad=lambda x: np.exp(x) * weights,
                       raise_exception=False)
    assert "tinygpt" not in report.snippet
    shows(report, tmp_path)


def test_a_function_of_tensors(tmp_path: Path) -> None:
    @differentiable
    def halved(xp, x):
        return x * x, lambda g: (g * x,)
    try:
        report = gradcheck(lambda pair, scale: {"a": halved(pair[0]) * scale, "b": ops.tanh(pair[1])}, (X, X + 1), 0.5,
                           raise_exception=False)
        shows(report, tmp_path)
    finally:
        tg.autograd.OPS.pop("halved")


def test_a_rule(tmp_path: Path) -> None:
    def cube(xp, x, *, factor=1.0):
        return factor * x ** 3, lambda g: (2 * factor * g * x ** 2,)
    shows(check_vjp(cube, X, factor=2.0, raise_exception=False), tmp_path)


def test_a_broken_contract_is_shown_by_the_checker(tmp_path: Path) -> None:
    def grad(x):
        x *= 2
        return x
    report = gradcheck(lambda x: np.sum(x * x), X, grad=grad, raise_exception=False)
    assert "changed its input x" in run(report, tmp_path)


def test_a_kink_is_shown_by_the_checker(tmp_path: Path) -> None:
    report = gradcheck(lambda x: np.abs(x).sum(), np.zeros(2), grad=lambda x: np.full(2, 1.5), raise_exception=False)
    assert "wrong gradient at a kink" in run(report, tmp_path)


def test_a_drawn_counterexample_needs_no_hypothesis(tmp_path: Path) -> None:
    @given_grads({"method": "complex"}, x=strategies.tensors(min_dims=1, max_dims=1, ties=False))
    def check(x):
        from tinygpt.autograd import Operation
        return Operation("wrong", lambda xp, x: (x * x, lambda g: (g * x,)))([x], {})
    with pytest.raises(GradcheckError) as caught:
        check()
    assert "hypothesis" not in caught.value.report.snippet
    shows(caught.value.report, tmp_path)


def test_large_inputs_are_saved_not_printed(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal(5000)
    report = gradcheck(lambda x: np.sum(x * x), x, grad=lambda x: 2.1 * x, raise_exception=False)
    assert len(report.snippet) < 2000 and 'np.load("x.npy")' in report.snippet
    np.save(tmp_path / "x.npy", report.inputs["x"])
    shows(report, tmp_path)

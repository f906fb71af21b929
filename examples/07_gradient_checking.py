"""07: a backward pass written by hand, the bug in it, and the report that finds it.

    python examples/07_gradient_checking.py

RMS norm with a weight, y = w · x / r with r = √(mean(x²) + ε), is derived on paper and coded in NumPy. The code forgets
that r depends on x as well. Nothing looks wrong: shapes fit, and gradient descent lowers the loss, since the wrong
gradient still points downhill. `gradcheck` names the argument and the entry, and prints a program that shows the error
without it. Then the repaired rule is checked: as a plain function, as an operation of the engine by `check_vjp`, and on
shapes that Hypothesis draws, if it is installed. Takes 1 second.

Prerequisites: 01_autograd_by_hand.py. Next: docs/gradient-checking.md; tinygpt/testing/gradcheck.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygpt.autograd import Operation
from tinygpt.testing import GradcheckError, check_vjp, given_grads, gradcheck, strategies

EPSILON = 1e-5
Rule = Callable[..., Any]


def rms_norm_wrong(xp: Any, x: np.ndarray, weight: np.ndarray) -> Any:
    """y = w · x / r; its backward takes r for a constant."""
    r = xp.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON)
    normal = x / r

    def backward(g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dweight = (g * normal).reshape(-1, x.shape[-1]).sum(axis=0)
        return g * weight / r, dweight  # dx = w · g / r: "x over r, so divide by r"
    return normal * weight, backward


def rms_norm(xp: Any, x: np.ndarray, weight: np.ndarray) -> Any:
    """The same, repaired."""
    r = xp.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON)
    normal = x / r

    def backward(g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dweight = (g * normal).reshape(-1, x.shape[-1]).sum(axis=0)
        d = g * weight  # what arrives at x / r; dr = Σ x dx / (n r), so each x also moves r, and r moves every output
        return (d - normal * (d * normal).mean(axis=-1, keepdims=True)) / r, dweight
    return normal * weight, backward


# ---------------------------------------------------------------------------------------------------------------------
# A plain function of arrays and its gradient: what the checker is given by people who have no engine


def loss_and_gradient(rule: Rule, target: np.ndarray) -> tuple[Callable[..., float], Callable[..., tuple]]:
    """½ Σ (norm(x) − target)², and its gradient by the rule."""
    def loss(x: np.ndarray, weight: np.ndarray) -> Any:
        return 0.5 * np.sum((rule(np, x, weight)[0] - target) ** 2)

    def gradient(x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        out, backward = rule(np, x, weight)
        return backward(out - target)
    return loss, gradient


def looks_fine(x: np.ndarray, weight: np.ndarray, target: np.ndarray) -> None:
    """What one sees of the wrong gradient without a check: the loss falls."""
    loss, gradient = loss_and_gradient(rms_norm_wrong, target)
    before = loss(x, weight)
    wrong, right = (loss_and_gradient(rule, target)[1](x, weight)[0] for rule in (rms_norm_wrong, rms_norm))
    cosine = float(np.sum(wrong * right) / np.sqrt(np.sum(wrong**2) * np.sum(right**2)))
    for _ in range(20):
        dx, dweight = gradient(x, weight)
        x, weight = x - 0.1 * dx, weight - 0.1 * dweight
    print(f"20 steps of gradient descent: loss {before:.3f} to {loss(x, weight):.3f}. All is well, it seems;")
    print(f"the wrong gradient and the right one have a cosine of {cosine:.2f}.\n")


def main(argv: Sequence[str] | None = None) -> None:
    """The bug, the report, the repair."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="draws the numbers (default 0)")
    parser.add_argument("--shapes", type=int, default=30, help="shapes that Hypothesis draws at the end (default 30)")
    args = parser.parse_args(argv)
    rng = np.random.default_rng(args.seed)
    x, weight, target = rng.standard_normal((2, 4)), rng.uniform(0.5, 1.5, 4), rng.standard_normal((2, 4))
    looks_fine(x, weight, target)

    loss, gradient = loss_and_gradient(rms_norm_wrong, target)
    try:
        gradcheck(loss, x, weight, grad=gradient)
    except GradcheckError as error:
        print(f"{str(error).partition('To reproduce:')[0].rstrip()}\n")
        lines = len(error.report.snippet.splitlines())
        print(f"(The report ends with a program of {lines} lines that shows the error with NumPy alone.)")
    else:
        raise AssertionError("the bug was not found")

    print("\nRepaired:")
    loss, gradient = loss_and_gradient(rms_norm, target)
    report = gradcheck(loss, x, weight, grad=gradient)
    print(f"  as a plain function     {report.status}, worst error {report.worst:.0e}")
    report = check_vjp(rms_norm, x, weight)
    print(f"  as a rule of the engine {report.status}, worst error {report.worst:.0e}")
    try:
        import hypothesis
    except ImportError:
        print("  on drawn shapes         not tried: it needs hypothesis (pip install hypothesis)")
        return

    @hypothesis.settings(max_examples=args.shapes, derandomize=True, database=None)
    @given_grads(x=strategies.tensors(min_dims=1), weight=strategies.tensors("x"))
    def last_axis(x: Any, weight: Any) -> Any:
        return Operation("rms_norm", rms_norm)([x, weight.reshape(-1)[:x.shape[-1]]], {})
    last_axis()
    print(f"  on drawn shapes         passed, {args.shapes} of them")


if __name__ == "__main__":
    main()

"""How others check gradients, in a few lines each, for comparison. True: the gradient passes.

minitorch   one random entry, a central difference, tolerance 1e-2, a cotangent of ones
all ones    every entry, torch's tolerances, a cotangent of ones
JAX         one random projection, step 1e-4, tolerance 1e-5 times the size
torch       the whole Jacobian, step 1e-6, rtol 1e-3 and atol 1e-5, and the same result twice
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygpt.testing.oracles.problem import Problem

__all__ = ["STANDINS"]


def _gradient(problem: Problem, v: np.ndarray) -> list[np.ndarray]:
    found = problem.vjp([x.copy() for x in problem.inputs], problem.spread(v))
    return [np.zeros(x.shape) if g is None else g for g, x in zip(found, problem.inputs)]


def _slope(problem: Problem, u: list[np.ndarray], eps: float) -> np.ndarray:
    above, below = (problem.forward([x + sign * eps * d for x, d in zip(problem.inputs, u)]) for sign in (1, -1))
    return (above - below) / (2 * eps)


def _unit(problem: Problem, k: int, i: int) -> list[np.ndarray]:
    u = [np.zeros(x.shape) for x in problem.inputs]
    u[k].reshape(-1)[i] = 1
    return u


def _entries(problem: Problem) -> list[tuple[int, int]]:
    return [(k, i) for k, x in enumerate(problem.inputs) for i in range(x.size)]


def minitorch(problem: Problem, rng: np.random.Generator) -> bool:
    entries = _entries(problem)
    if not entries:
        return True
    k, i = entries[int(rng.integers(0, len(entries)))]
    g = _gradient(problem, np.ones(problem.base.size))
    return bool(np.isclose(g[k].reshape(-1)[i], _slope(problem, _unit(problem, k, i), 1e-6).sum(), 1e-2, 1e-2))


def all_ones(problem: Problem, rng: np.random.Generator) -> bool:
    g = _gradient(problem, np.ones(problem.base.size))
    return all(np.isclose(g[k].reshape(-1)[i], _slope(problem, _unit(problem, k, i), 1e-6).sum(), 1e-3, 1e-5)
               for k, i in _entries(problem))


def jax(problem: Problem, rng: np.random.Generator) -> bool:
    u, v = [rng.standard_normal(x.shape) for x in problem.inputs], rng.standard_normal(problem.base.size)
    promised = sum(float(np.sum(g * d)) for g, d in zip(_gradient(problem, v), u))
    size = max(1, sum(x.size for x in problem.inputs))
    return bool(np.isclose(promised, v @ _slope(problem, u, 1e-4), 1e-5 * size, 1e-5 * size))


def torch(problem: Problem, rng: np.random.Generator) -> bool:
    columns = {(k, i): _slope(problem, _unit(problem, k, i), 1e-6) for k, i in _entries(problem)}
    for j in range(problem.base.size):
        v = np.zeros(problem.base.size)
        v[j] = 1
        g, again = _gradient(problem, v), _gradient(problem, v)
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(g, again)):
            return False
        if not all(np.isclose(g[k].reshape(-1)[i], column[j], 1e-3, 1e-5) for (k, i), column in columns.items()):
            return False
    return True


STANDINS: dict[str, Callable[[Problem, np.random.Generator], bool]] = {
    "minitorch": minitorch, "all ones": all_ones, "JAX": jax, "torch": torch}

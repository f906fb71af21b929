"""Hypothesis strategies for gradient checks, and `given_grads`, which checks what a test returns.

Hypothesis draws the structure (shapes, layouts, axes, keys, seeds), so a counterexample shrinks to the smallest shape;
NumPy draws the numbers from the seed, so they are as different from one another as numbers are. Nothing is filtered.

    @given_grads(x=strategies.tensors(min_dims=1), w=strategies.broadcastable_to("x"))
    def test_scale(x, w):
        return x * w.tanh()

A strategy that refers to another argument by name, like `broadcastable_to("x")`, waits until that one is drawn. Given a
shape, an array or a Tensor instead, it is an ordinary Hypothesis strategy.

This is the one file that needs Hypothesis, and it is imported when a strategy is made.

Prerequisites: gradcheck.py.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import Tensor
from .contracts.base import LAYOUTS, in_layout
from .gradcheck import gradcheck
from .samples.registry import draw_values

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = [
    "axes", "broadcastable_to", "dtypes", "given_grads", "indices", "layouts", "matmul_operands",
    "mutually_broadcastable", "permutations", "tensors", "token_ids",
]


def _hypothesis() -> Any:
    """The package, which only this file needs."""
    try:
        import hypothesis.strategies
    except ImportError as error:
        raise ImportError("tinygpt.testing's strategies and given_grads need Hypothesis: pip install hypothesis "
                          f"(gradcheck works without it); {error}") from error
    return hypothesis


class _Strategies:
    """Hypothesis's own strategies, imported when one is first asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_hypothesis().strategies, name)


st: Any = _Strategies()


class Dependent:
    """A strategy that can be made once another argument is known."""

    def __init__(self, reference: str, make: Callable[[Any], Any]) -> None:
        self.reference, self.make = reference, make


def _when_known(reference: Any, make: Callable[[tuple[int, ...]], Any]) -> Any:
    """`make(shape)` now, or when the argument of that name has been drawn."""
    if isinstance(reference, str):
        return Dependent(reference, lambda value: make(_shape_of(value)))
    return make(_shape_of(reference))


def _shape_of(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if hasattr(value, "shape") else tuple(value)


# ---------------------------------------------------------------------------------------------------------------------
# Tensors


def layouts() -> SearchStrategy[str]:
    """Memory layouts: row-major, column-major, strided, reversed; see `in_layout`."""
    return st.sampled_from(LAYOUTS)


def dtypes() -> SearchStrategy[np.dtype]:
    """The floating-point types that the engine computes in."""
    return st.sampled_from([np.dtype(np.float64), np.dtype(np.float32)])


def _shapes(min_dims: int, max_dims: int, min_side: int, max_side: int) -> SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


def tensors(shape: Any = None, *, min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4,
            low: float = -3.0, high: float = 3.0, ties: bool = True, dtype: Any = np.float64) -> Any:
    """Tensors that require a gradient.

    Args:
        shape: a shape, the name of another argument to take it from, or None to draw one.
        min_dims, max_dims, min_side, max_side: limits of a drawn shape; min_side=0 allows empty ones.
        low, high: between which the numbers lie.
        ties: let some Tensors repeat a few numbers, as a maximum may meet.
        dtype: of the numbers, or a strategy of dtypes.
    """

    def of(shapes: Any) -> Any:
        return st.builds(_tensor, shapes, st.integers(0, 2**32 - 1), st.integers(0, 3 if ties else 0), layouts(),
                         dtype if isinstance(dtype, st.SearchStrategy) else st.just(dtype),
                         st.just(low), st.just(high))
    if shape is None:
        return of(_shapes(min_dims, max_dims, min_side, max_side))
    if isinstance(shape, st.SearchStrategy):
        return of(shape)
    return _when_known(shape, lambda known: of(st.just(known)))


def _tensor(shape: tuple[int, ...], seed: int, kind: int, layout: str, dtype: Any, low: float, high: float) -> Tensor:
    values = draw_values(np.random.default_rng(seed), shape, low, high, ties=kind == 3)
    return Tensor(in_layout(values.astype(dtype), layout), requires_grad=True)


def broadcastable_to(reference: Any, **settings: Any) -> Any:
    """Tensors whose shape broadcasts to that of another argument, without enlarging it.

    Args:
        reference: the argument's name; or a shape, an array, a Tensor.
        settings: as for `tensors`.
    """

    def make(whole: tuple[int, ...]) -> Any:
        parts = st.tuples(*(st.sampled_from([1, side] if side != 1 else [1]) for side in whole))
        return tensors(st.builds(lambda part, start: part[start:], parts, st.integers(0, len(whole))), **settings)
    return _when_known(reference, make)


def mutually_broadcastable(n: int = 2, *, min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4,
                           **settings: Any) -> Any:
    """Tuples of n Tensors whose shapes broadcast together."""
    return _shapes(min_dims, max_dims, min_side, max_side).flatmap(
        lambda whole: st.tuples(*(broadcastable_to(whole, **settings) for _ in range(n))))


def matmul_operands(*, max_side: int = 4, **settings: Any) -> Any:
    """Pairs of Tensors that `@` takes: matrices, batches that broadcast, vectors; square ones among them."""

    def make(batch: tuple[int, ...], sides: tuple[int, int, int], square: bool, vectors: tuple[bool, bool]) -> Any:
        n, k, m = (sides[1],) * 3 if square else sides
        ones = st.tuples(*(st.sampled_from([1, side]) for side in batch))
        return st.tuples(ones, st.integers(0, len(batch))).flatmap(lambda other: st.tuples(
            tensors((k,) if vectors[0] else (*batch, n, k), **settings),
            tensors((k,) if vectors[1] else (*other[0][other[1]:], k, m), **settings)))
    side = st.integers(1, max_side)
    vector = st.sampled_from([False, False, False, True])
    return st.tuples(st.lists(st.integers(1, 3), max_size=2).map(tuple), st.tuples(side, side, side), st.booleans(),
                     st.tuples(vector, vector)).flatmap(lambda drawn: make(*drawn))


# ---------------------------------------------------------------------------------------------------------------------
# What goes with a Tensor


def axes(reference: Any, *, allow_none: bool = True, allow_tuple: bool = True) -> Any:
    """What `axis=` of a reduction may be: a number, negative ones too; a tuple of different ones; None.

    Args:
        reference: the argument that is reduced; or a shape, an array, a Tensor.
    """

    def make(shape: tuple[int, ...]) -> Any:
        n = len(shape)
        kinds: list[Any] = [st.integers(-n, n - 1)] if n else []
        if allow_tuple and n:
            signs = st.lists(st.booleans(), min_size=n, max_size=n)
            kinds.append(st.builds(lambda order, count, signs: tuple(
                axis - n if negative else axis for axis, negative in zip(order[:count], signs)),
                st.permutations(range(n)), st.integers(1, n), signs))
        if allow_none or not kinds:
            kinds.append(st.none())
        return st.one_of(kinds)
    return _when_known(reference, make)


def indices(reference: Any, *, axis: int = 0, max_size: int = 6) -> Any:
    """Integer arrays that pick along an axis, of two or more elements, with one index at least twice.

    Args:
        reference: the argument that is indexed; or a shape, an array, a Tensor.
        axis: along which; its length must not be 0.
        max_size: the largest number of indices.
    """

    def make(shape: tuple[int, ...]) -> Any:
        n = shape[axis]
        picked = st.lists(st.integers(-n, n - 1), min_size=1, max_size=max_size - 1)
        return st.builds(lambda ids, again: np.array([*ids, ids[again % len(ids)]], dtype=np.intp), picked,
                         st.integers(0, max_size))
    return _when_known(reference, make)


def permutations(reference: Any) -> Any:
    """The axes of another argument (or of a shape, an array, a Tensor) in any order, as a tuple."""
    return _when_known(reference, lambda shape: st.permutations(range(len(shape))).map(tuple))


def token_ids(n_vocab: Any, shape: Any = None) -> Any:
    """Integer arrays of ids between 0 and n_vocab − 1.

    Args:
        n_vocab: how many ids there are; or the argument whose first axis counts them.
        shape: the shape; None draws one with up to two axes.
    """

    def make(count: int) -> Any:
        shapes = _shapes(0, 2, 1, 4) if shape is None else st.just(tuple(shape))
        return st.builds(lambda sides, seed: np.random.default_rng(seed).integers(0, count, sides), shapes,
                         st.integers(0, 2**32 - 1))
    return make(n_vocab) if isinstance(n_vocab, int) else _when_known(n_vocab, lambda known: make(known[0]))


# ---------------------------------------------------------------------------------------------------------------------
# The decorator


def _in_order(strategies: dict[str, Any]) -> list[str]:
    """The arguments in an order in which each finds what it refers to."""
    order: list[str] = []
    waiting = dict(strategies)
    while waiting:
        ready = [name for name, s in waiting.items() if not isinstance(s, Dependent) or s.reference in order]
        if not ready:
            name, strategy = next(iter(waiting.items()))
            raise ValueError(f"given_grads: the strategy of {name} refers to {strategy.reference!r}, which is not "
                             f"drawn before it; the arguments are {', '.join(strategies)}")
        order += ready
        for name in ready:
            del waiting[name]
    return order


def _drawn(strategies: dict[str, Any]) -> Any:
    """One strategy for all arguments."""
    order = _in_order(strategies)

    @st.composite
    def arguments(draw: Callable[[Any], Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name in order:
            s = strategies[name]
            values[name] = draw(s.make(values[s.reference]) if isinstance(s, Dependent) else s)
        return values
    return arguments()


def given_grads(options: dict[str, Any] | None = None, /, **strategies: Any) -> Callable[[Callable], Callable]:
    """Check the gradient of what a test returns, for drawn arguments.

    The test's other parameters are left to pytest. It runs without a deadline and without the phase "explain";
    `@hypothesis.settings` may stand above.

    Args:
        options: keyword arguments for `gradcheck`, such as {"rtol": 1e-4}.
        strategies: one for each drawn argument.

    Raises:
        ValueError: a strategy that refers to an unknown argument.
        TypeError: a strategy for an argument that the test does not have.
        GradcheckError: when the test runs, for the smallest counterexample; an inconclusive one is one too.
    """
    hypothesis = _hypothesis()
    arguments = _drawn(strategies)

    def decorate(test: Callable) -> Callable:
        signature = inspect.signature(test)
        unknown = [name for name in strategies if name not in signature.parameters]
        if unknown:
            raise TypeError(f"given_grads: {test.__name__} has no argument {', '.join(unknown)}")
        order = [name for name in signature.parameters if name in strategies]

        def run(*others: Any, drawn: dict[str, Any], seed: int, **fixtures: Any) -> None:
            given = signature.bind_partial(*others, **fixtures).arguments

            def function(*values: Any) -> Any:
                return test(**given, **dict(zip(order, values)))
            function.__name__ = test.__name__
            function.stands_for = test  # type: ignore[attr-defined]
            function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
                [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in order])
            gradcheck(function, *(drawn[name] for name in order), seed=seed, **(options or {}))

        others = [p for name, p in signature.parameters.items() if name not in strategies]
        functools.update_wrapper(run, test)
        del run.__wrapped__  # type: ignore[attr-defined]
        run.__signature__ = inspect.Signature([  # type: ignore[attr-defined]
            *others, *(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("drawn", "seed"))])
        property_test = hypothesis.given(drawn=arguments, seed=st.integers(0, 2**32 - 1))(run)

        @functools.wraps(property_test)
        def without_deadline(*args: Any, **kwargs: Any) -> Any:
            mine = getattr(without_deadline, "_hypothesis_internal_use_settings", None) or hypothesis.settings()
            # To explain a counterexample Hypothesis traces each line of it: ten times as slow, and arrays tell no more.
            phases = [phase for phase in mine.phases if phase is not hypothesis.Phase.explain]
            property_test._hypothesis_internal_use_settings = (
                hypothesis.settings(parent=mine, deadline=None, phases=phases))
            return property_test(*args, **kwargs)
        return without_deadline
    return decorate

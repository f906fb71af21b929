"""Deferred: a gradient that is not computed before its place in memory is known.

A rule may return a function for a gradient. A `Deferred` is such a function that knows more: a short way into an array
that is there. Weight gradients are as large as the weights, and where the parameters live in one long array
(optim/flat.py) each has its place already; a product of matrices is then written, or added, where it belongs.
Everything else calls it and gets an array, as of any other function.

Prerequisites: autograd/graph.py. Next: bfloat16.py.
"""

from __future__ import annotations

from ..arrays import Array

__all__ = ["Deferred", "Given"]


class Deferred:
    """A gradient with a short way into a gradient that has its place in memory.

    Calling it computes the gradient as a new array; `add_to` adds it to one that is there, by a way that needs no array
    of its own; `rows` is a part of it, to be added by itself.
    """

    def __call__(self) -> Array:
        """The gradient, as a new array."""
        raise NotImplementedError

    def add_to(self, total: Array, vacant: bool) -> None:
        """Add it to `total` in place. If `vacant`, `total` counts as zero, whatever it holds."""
        raise NotImplementedError

    def rows(self, part: slice) -> Deferred:
        """The gradient of these rows alone."""
        return Given(self()[part])


class Given(Deferred):
    """A gradient that is an array already."""

    def __init__(self, g: Array) -> None:
        self.g = g

    def __call__(self) -> Array:
        return self.g

    def add_to(self, total: Array, vacant: bool) -> None:
        if vacant:
            total[...] = self.g
        else:
            total += self.g

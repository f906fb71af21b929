"""Bugs in NumPy's further functions: slopes, moves, products, running sums, decompositions, transforms; and functions
made of others that let go of a Tensor on the way."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygpt.autograd import OPS, Operation
from tinygpt.ops import elementary, fourier, moves
from tinygpt.ops.numpy_functions import library
from tinygpt.ops.numpy_table import ENTRIES
from tinygpt.testing import op_db
from tinygpt.testing.registry import in_parts

from .cases import Bug, FunctionExample, RuleExample, add, edit
from .mutation import Edit, mutant

library()


def rule_bug(name: str, operation: str, rule: Callable) -> None:
    """Enter a wrong rule."""
    add(Bug(name, lambda rng: RuleExample(rule, op_db[operation].draw(rng))))


_ONE = mutant(elementary._one_input, ("return _named(rule, name)", "return rule"))
_TWO = mutant(elementary._two_inputs, ("return _named(rule, name)", "return rule"))


def slope(name: str, operation: str, wrong: Callable[..., Any]) -> None:
    """Enter another slope of a function of one input."""
    rule_bug(name, operation, _ONE(operation, wrong))


def slopes(name: str, operation: str, *wrong: Callable[..., Any]) -> None:
    """Enter other slopes of a function of two inputs; `wrong` gets the right ones."""
    _, *right = elementary.TWO_INPUTS[operation]
    rule_bug(name, operation, _TWO(operation, *[make(*right) for make in wrong]))


def move(name: str, operation: str, *edits: Edit) -> None:
    """Enter a bug of what all moves have in common."""
    make = mutant(moves._move, ("operation = differentiable(rule)", "return rule"), moved=mutant(moves.moved, *edits))
    rule_bug(name, operation, make(operation))


def made(name: str, entry: str, *edits: Edit, inside: Callable | None = None) -> None:
    """Enter a bug of a function that is made of others; or of a function `inside` of it."""
    function = ENTRIES[entry].function
    wrong = (mutant(function, *edits) if inside is None else
             mutant(function, **{inside.__name__: mutant(inside, *edits)}))

    def draw(rng: np.random.Generator) -> FunctionExample:
        sample = op_db[entry].draw(rng)
        return FunctionExample(in_parts(wrong, sample.settings), sample.inputs)
    add(Bug(name, draw))


def complex_bug(name: str, operation: str, rule: Callable) -> None:
    """Enter a wrong rule with complex outputs, whose two parts are checked."""
    wrong = Operation(operation, rule)

    def draw(rng: np.random.Generator) -> FunctionExample:
        sample = op_db[operation].draw(rng)
        return FunctionExample(in_parts(lambda *xs, **settings: wrong(xs, settings), sample.settings), sample.inputs)
    add(Bug(name, draw))


# -- element by element --------------------------------------------------------------------------------------------

slope("tan: 1 − tan²", "tan", lambda xp, x, y: 1 - y * y)
slope("arcsin: 1 + x² below the root", "arcsin", lambda xp, x, y: 1 / xp.sqrt(1 + x * x))
slope("arccos: minus lost", "arccos", lambda xp, x, y: 1 / xp.sqrt(1 - x * x))
slope("arctanh: root taken", "arctanh", lambda xp, x, y: 1 / xp.sqrt((1 - x) * (1 + x)))
slope("exp2: logarithm lost", "exp2", lambda xp, x, y: y)
slope("expm1: its own value", "expm1", lambda xp, x, y: y)
slope("log10: logarithm of 2", "log10", lambda xp, x, y: 1 / (x * elementary.LOG_2))
slope("log1p: 1 / x", "log1p", lambda xp, x, y: 1 / (x + (x == 0)))
slope("cbrt: 3 lost", "cbrt", lambda xp, x, y: 1 / (y * y))
slope("reciprocal: one power short", "reciprocal", lambda xp, x, y: -y)
slope("deg2rad: the other way round", "deg2rad", lambda xp, x, y: 1 / elementary.DEGREE)
slope("sinc: π lost", "sinc", lambda xp, x, y: (xp.cos(x) - y) / xp.where(x == 0, 1, x))
slope("fabs: 1 at 0", "fabs", lambda xp, x, y: xp.where(x < 0, -1.0, 1.5))
slopes("arctan2: arguments exchanged", "arctan2", lambda a, b: b, lambda a, b: a)
slopes("hypot: a half too much", "hypot", lambda a, b: lambda *args: a(*args) / 2, lambda a, b: b)
slopes("logaddexp: 1 less the share", "logaddexp", lambda a, b: lambda *args: 1 - a(*args), lambda a, b: b)
slopes("logaddexp2: e in the place of 2", "logaddexp2", lambda a, b: lambda xp, x, y, out: xp.exp(x - out),
       lambda a, b: b)
slopes("fmin: equal ones get all", "fmin", lambda a, b: lambda xp, x, y, out: 1.0 * (x <= y),
       lambda a, b: lambda xp, x, y, out: 1.0 * (y <= x))
slopes("remainder: truncated", "remainder", lambda a, b: a, lambda a, b: lambda xp, x, y, out: -xp.trunc(x / y))
slopes("copysign: the sign of y alone", "copysign", lambda a, b: lambda xp, x, y, out: xp.copysign(1.0, y) + 0 * out,
       lambda a, b: b)
rule_bug("arctan2: without unbroadcast", "arctan2", mutant(
    elementary._two_inputs, ("return _named(rule, name)", "return rule"), unbroadcast=lambda g, like: g)(
        "arctan2", *elementary.TWO_INPUTS["arctan2"][1:]))
edit("i0: a sum, not a mean", "i0", ("g * total / n", "g * total / 64.5"))
edit("nan_to_num: numbers get nothing", "nan_to_num", ("g * xp.isfinite(x)", "g * ~xp.isfinite(x)"))

# -- moves ---------------------------------------------------------------------------------------------------------

move("repeat: the last copy alone", "repeat", (
    "total = sums_at(xp, places, g, ends[-1] + 1)[1:]",
    "total = xp.zeros(ends[-1] + 1)\n        total[places] = g\n        total = total[1:]"))
move("roll: rolled on, not back", "roll", (
    "total = sums_at(", "g = function(g.reshape(out.shape)).ravel()\n        total = sums_at("))
move("tile: places one too far", "tile", ("[1:]\n", "[:-1]\n"))
move("tril: float64 for float32", "tril", (".astype(x.dtype)", '.astype("float64")'))
edit("hstack: places of all arrays begin at 1", "hstack", moved=mutant(moves.moved, (
    "xp.arange(end - x.size + 1, end + 1)", "xp.arange(1, x.size + 1)")))
edit("pad: the border counts for the first element", "pad", ("[x], with_constant(0)", "[x], with_constant(1)"))
edit("bincount: places in order", "_bincount", ("g[x]", "g[xp.sort(x)]"))
made("append: values let go", "append", ("joined(values)", "joined(values).detach()"))

# -- reductions and order ------------------------------------------------------------------------------------------

edit("prod: divided by each element", "_prod", others=lambda xp, rows: rows.prod(-1, keepdims=True) / xp.where(
    rows == 0, 1, rows))
edit("prod: the permutation instead of its inverse", "_prod", ("[order.index(a) for a in range(x.ndim)]", "order"))
edit("root: 2 lost", "root", ("(2 * safe)", "safe"))
made("average: weights let go", "average", ("a * weights,", "a * weights.detach(),"))
made("ptp: the smallest let go", "ptp", ("- min(a, axis, out, keepdims)", "- min(a, axis, out, keepdims).detach()"))
made("sort: gradients stay in their places", "sort", (
    'return ENTRIES["take_along_axis"].function(a, order(a.data, axis), axis=axis)',
    'found = ENTRIES["take_along_axis"].function(a, order(a.data, axis), axis=axis)\n'
    '    return a + (found - a).detach()'), inside=inspect.unwrap(ENTRIES["sort"].function).__globals__["_arranged"])
made("quantile: all to the lower neighbour", "quantile", (
    "(elementwise.where(share > 0, above, below) - below) * share",
    "((elementwise.where(share > 0, above, below) - below) * share).detach()"),
    inside=inspect.unwrap(ENTRIES["quantile"].function).__globals__["_quantile"])

# -- products, running sums ----------------------------------------------------------------------------------------

edit("einsum: a diagonal's gradient everywhere", "_einsum", ("xp.eye(n, dtype=g.dtype)", "xp.ones((n, n), g.dtype)"))
edit("einsum: mean of what is summed alone", "_einsum", ("xp.ones(n, dtype=g.dtype)", "xp.ones(n, dtype=g.dtype) / n"))
edit("einsum: the third array forgotten", "_einsum", ("if j != i]]", "if j != i][:1]]"))
made("kron: the second let go", "kron", ("* b.reshape(", "* b.detach().reshape("))
edit("cumsum: summed from the front", "_cumsum", ("xp.flip(xp.cumsum(xp.flip(g, axis), axis=axis), axis)",
                                                  "xp.cumsum(g, axis=axis)"))
edit("cumprod: divided by each element", "_cumprod", (
    "return (xp.stack(parts, axis=axis) if parts else xp.zeros_like(x),)",
    "return (xp.flip(xp.cumsum(xp.flip(g * out, axis), axis=axis), axis) / xp.where(x == 0, 1, x),)"))
edit("cumprod: the element itself, not the next", "_cumprod", ("rows[i + 1] * sums[i + 1]", "rows[i] * sums[i + 1]"))
edit("convolve: not turned round", "_convolve", ("y[::-1]", "y"))
made("trapezoid: gaps let go", "trapezoid", ("gaps = diff(x, axis=axis)", "gaps = diff(x, axis=axis).detach()"))
made("interp: the points let go", "interp", ("x - xp[piece]", "x - xp[piece].detach()"))
made("linspace: the second end let go", "linspace", ("whole = stop - start", "whole = stop.detach() - start"))

# -- matrices ------------------------------------------------------------------------------------------------------

edit("inv: not transposed", "inv", ("-_t(out) @ g @ _t(out)", "-out @ g @ out"))
edit("solve: the matrix not transposed", "solve", ("xp.linalg.solve(_t(a),", "xp.linalg.solve(a,"))
edit("det: without the determinant", "det", ("g[..., None, None] * out[..., None, None]", "g[..., None, None]"))
edit("slogdet: not transposed", "_slogdet", ("_t(xp.linalg.inv(x))", "xp.linalg.inv(x)"))
edit("pinv: as of the inverse", "_pinv", ("-pt @ g @ pt + beside @ gt @ p @ pt + pt @ p @ gt @ before",
                                          "-pt @ g @ pt"))
edit("cholesky: the diagonal not halved", "_cholesky", _lower_half=lambda xp, x: xp.tril(x))
edit("eigh: eigenvectors without a gradient", "_eigh", ("inner = inner + _gaps(xp, w) * (_t(v) @ gv)", "pass"))
edit("eigh: both triangles get all", "_eigh", ("_of_lower(xp, v @ inner @ _t(v))", "v @ inner @ _t(v)"))
edit("eig: vectors of any length", "_eig", ("gv - v * (v * gv).sum(axis=-2, keepdims=True)", "gv"))
complex_bug("eigvals: vectors not inverted", "eigvals", mutant(OPS["eigvals"].rule, (
    "_t(xp.linalg.inv(picked))", "picked")))
edit("svd: what lies outside of U's columns lost", "_svd", ("if u.shape[-2] > u.shape[-1]:", "if False:"))
edit("svd: gaps of s, not of s²", "_svd", ("_gaps(xp, s * s)", "_gaps(xp, s)"))
edit("qr: the symmetric part lost", "_qr", ("gq + q @ symmetric", "gq"))
edit("norm: the power p", "_p_norm", ("** (order - 1))", "** order)"))

# -- transforms ----------------------------------------------------------------------------------------------------

edit("irfft: mirror images not counted", "irfft", ("np.full(half, 2.0)", "np.full(half, 1.0)"))
edit("irfft: the last once, of odd lengths too", "irfft", ("if length % 2 == 0:", "if True:"))
complex_bug("rfft: always the same norm on the way back", "rfft", mutant(OPS["rfft"].rule, (
    "xp.fft.fft(_fitted(xp, g, length, axis), axis=axis, norm=norm)",
    "xp.fft.fft(_fitted(xp, g, length, axis), axis=axis)")))
complex_bug("fft: the inverse on the way back", "fft", mutant(
    fourier._transform, ("return differentiable(rule)", "return rule"), ("getattr(xp.fft, name)(g", "xp.fft.ifft(g"))(
        "fft"))

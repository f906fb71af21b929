"""Products of arrays of every kind: Einstein's sums, and the others made of them.

Prerequisites: linalg.py, moves.py. Next: running.py.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import Array
from ..autograd import Output, differentiable
from . import elementwise, linalg, reduction
from .numpy_table import ENTRIES, as_input, module_of, no_out, of_numpy

__all__ = [
    "cross", "dot", "einsum", "inner", "kron", "matrix_power", "matvec", "multi_dot", "outer", "tensordot", "trace",
    "vdot", "vecdot", "vecmat",
]


# ---------------------------------------------------------------------------------------------------------------------
# Einstein's sums


@of_numpy("einsum", derivative="the einsum of g and the other arrays, with the subscripts of its own as the result's")
def einsum(*operands: Any, optimize: Any = False, out: None = None, **others: Any) -> Any:
    """Sums of products, named by letters: `einsum("ij,jk->ik", x, y)`; or einsum(x, [0, 1], y, [1, 2], [0, 2]).

    Any subscripts of NumPy's: letters that occur twice in one array (its diagonal), sums without other arrays,
    an ellipsis, and the result's letters left out.
    """
    no_out("einsum", out)
    if others:
        raise TypeError(f"np.einsum of Tensors takes no {', '.join(others)}")
    subscripts, arrays = operands[0], list(operands[1:])
    if not isinstance(subscripts, str):
        subscripts, arrays = _from_lists(operands)
    return _einsum([as_input(x) for x in arrays], subscripts=subscripts)


def _from_lists(operands: Sequence[Any]) -> tuple[str, list[Any]]:
    """The form with lists of numbers in the place of letters."""
    def letters(numbers: Any) -> str:
        return "".join("..." if n is Ellipsis else string.ascii_letters[n] for n in numbers)
    pairs, rest = operands[:len(operands) // 2 * 2], operands[len(operands) // 2 * 2:]
    subscripts = ",".join(map(letters, pairs[1::2]))
    return subscripts + ("->" + letters(rest[0]) if rest else ""), list(pairs[::2])


def _explicit(subscripts: str, arrays: Sequence[Array]) -> tuple[list[str], str]:
    """The letters of each array and of the result, the ellipsis written out in letters that are free."""
    subscripts = subscripts.replace(" ", "")
    before, arrow, result = subscripts.partition("->")
    inputs = before.split(",")
    if len(inputs) != len(arrays):
        raise ValueError(f"einsum: {subscripts!r} is for {len(inputs)} arrays, got {len(arrays)}")
    free = [letter for letter in string.ascii_letters if letter not in subscripts]
    dims = [x.ndim - len(s.replace("...", "")) if "..." in s else 0 for s, x in zip(inputs, arrays)]
    dots = "".join(free[:max(dims, default=0)])
    if any(n < 0 for n in dims) or any("..." not in s and len(s) != x.ndim for s, x in zip(inputs, arrays)):
        raise ValueError(f"einsum: {subscripts!r} does not fit arrays of shapes "
                         f"{', '.join(str(x.shape) for x in arrays)}")
    if not arrow:
        once = sorted(letter for letter in set(before) - set(",.") if before.count(letter) == 1)
        result = "..." * bool(dots) + "".join(once)
    return [s.replace("...", dots[len(dots) - n:]) for s, n in zip(inputs, dims)], result.replace("...", dots)


@differentiable
def _einsum(xp: Any, *xs: Array, subscripts: str) -> Output:
    """np.einsum with its arrays in front."""
    inputs, result = _explicit(subscripts, xs)
    sizes: dict[str, int] = {}
    for letters, x in zip(inputs, xs):
        for letter, n in zip(letters, x.shape):
            sizes[letter] = max(n, sizes.get(letter, 1)) if n else 0

    def gradient(i: int, g: Array) -> Array:
        """The same sum with g in the place of the array and the array's letters as the result's.

        A letter that only this array has was summed over alone: ones stand for it. One that stands twice in it took
        the diagonal: the second is a letter of its own, tied to the first by an identity matrix. An axis of length 1
        that was broadcast is summed over.
        """
        terms = [(result, g), *[(s, x) for j, (s, x) in enumerate(zip(inputs, xs)) if j != i]]
        there = set("".join(s for s, _ in terms))
        free = iter([letter for letter in string.ascii_letters if letter not in sizes])
        wanted = ""
        for letter, n in zip(inputs[i], xs[i].shape):
            if n != sizes[letter]:
                continue
            if letter in wanted:
                twin = next(free)
                terms.append((letter + twin, xp.eye(n, dtype=g.dtype)))
                letter = twin
            elif letter not in there:
                terms.append((letter, xp.ones(n, dtype=g.dtype)))
            wanted += letter
        whole = ",".join(s for s, _ in terms) + "->" + wanted
        dx = xp.einsum(whole, *[x for _, x in terms], **_path(xp, terms))
        dx = dx.reshape(xs[i].shape)
        return (dx.real if dx.dtype.kind == "c" != xs[i].dtype.kind else dx).astype(xs[i].dtype, copy=False)

    def backward(g):
        return [functools.partial(gradient, i, g) for i in range(len(xs))]
    spelt = ",".join(inputs) + "->" + result
    return xp.einsum(spelt, *xs, **_path(xp, xs)) + 0, backward


def _path(xp: Any, arrays: Sequence[Any]) -> dict[str, bool]:
    """NumPy multiplies several arrays all at once unless it is told to look for an order."""
    return {"optimize": True} if len(arrays) > 2 and xp is np else {}


# ---------------------------------------------------------------------------------------------------------------------
# Products put together from others


@of_numpy("dot", derivative="as of matmul and tensordot")
def dot(x: Any, y: Any, out: None = None) -> Any:
    """Product of numbers, vectors, matrices; of more axes, the last of x with the last but one of y."""
    no_out("dot", out)
    x, y = as_input(x), as_input(y)
    if not x.ndim or not y.ndim:
        return x * y
    if y.ndim <= 2 and x.ndim <= 2:
        return linalg.matmul(x, y)
    return tensordot(x, y, axes=([x.ndim - 1], [max(y.ndim - 2, 0)]))


@of_numpy("tensordot", "linalg.tensordot", derivative="tensordot of g and the other array")
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sums of products over axes: the last and first `axes` ones, or pairs of lists of them."""
    a, b = as_input(a), as_input(b)
    if isinstance(axes, (int, np.integer)):
        axes = list(range(a.ndim - int(axes), a.ndim)), list(range(int(axes)))
    one, two = ([int(i) % x.ndim for i in np.atleast_1d(part)] for part, x in zip(axes, (a, b)))
    kept_a, kept_b = ([i for i in range(x.ndim) if i not in part] for x, part in ((a, one), (b, two)))
    if [a.shape[i] for i in one] != [b.shape[i] for i in two]:
        raise ValueError(f"tensordot: axes {one} of shape {a.shape} do not match axes {two} of {b.shape}")
    n = int(np.prod([a.shape[i] for i in one], dtype=int))
    shape_a, shape_b = [a.shape[i] for i in kept_a], [b.shape[i] for i in kept_b]
    left = a.transpose(kept_a + one).reshape(int(np.prod(shape_a, dtype=int)), n)
    right = b.transpose(two + kept_b).reshape(n, int(np.prod(shape_b, dtype=int)))
    return linalg.matmul(left, right).reshape(shape_a + shape_b)


@of_numpy("inner", derivative="g y, g x, summed over the other's rows")
def inner(a: Any, b: Any) -> Any:
    """Sums of products over the last axes of both."""
    a, b = as_input(a), as_input(b)
    return a * b if not a.ndim or not b.ndim else tensordot(a, b, axes=([-1], [-1]))


@of_numpy("outer", "linalg.outer", derivative="g y, gᵀ x")
def outer(a: Any, b: Any, out: None = None) -> Any:
    """Every element of a times every element of b."""
    no_out("outer", out)
    return as_input(a).reshape(-1, 1) * as_input(b).reshape(1, -1)


@of_numpy("vdot", derivative="g y, g x")
def vdot(a: Any, b: Any, /) -> Any:
    """The sum of the products of all elements."""
    a = as_input(a).reshape(-1)
    if a.dtype.kind == "c":
        a = ENTRIES["conjugate"].function(a)
    return reduction.sum(a * as_input(b).reshape(-1))


@of_numpy("vecdot", "linalg.vecdot", derivative="g y, g x")
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The sum of products along one axis."""
    x1 = as_input(x1)
    if x1.dtype.kind == "c":
        x1 = ENTRIES["conjugate"].function(x1)
    return reduction.sum(elementwise.multiply(x1, x2), axis=axis)


@of_numpy("matvec", derivative="as of matmul")
def matvec(x1: Any, x2: Any, /) -> Any:
    """Matrices times vectors."""
    return linalg.matmul(x1, as_input(x2)[..., None])[..., 0]


@of_numpy("vecmat", derivative="as of matmul")
def vecmat(x1: Any, x2: Any, /) -> Any:
    """Vectors times matrices."""
    return linalg.matmul(as_input(x1)[..., None, :], x2)[..., 0, :]


@of_numpy("kron", derivative="sums of the blocks of g, each times the other array")
def kron(a: Any, b: Any) -> Any:
    """The Kronecker product: b times each element of a, side by side."""
    a, b = as_input(a), as_input(b)
    n = max(a.ndim, b.ndim)
    lengths_a, lengths_b = ((1,) * (n - x.ndim) + x.shape for x in (a, b))
    product = (a.reshape([length for pair in zip(lengths_a, [1] * n) for length in pair])
               * b.reshape([length for pair in zip([1] * n, lengths_b) for length in pair]))
    return product.reshape([i * j for i, j in zip(lengths_a, lengths_b)])


@of_numpy("cross", "linalg.cross", derivative="y × g, g × x")
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """The product of vectors in space; those of two numbers lie in the plane, and two of them give one number."""
    if axis is not None:
        axisa = axisb = axisc = axis
    move = ENTRIES["moveaxis"].function
    a, b = move(as_input(a), axisa, -1), move(as_input(b), axisb, -1)
    if a.shape[-1] not in (2, 3) or b.shape[-1] not in (2, 3):
        raise ValueError(f"cross: expected vectors of 2 or 3 numbers, got {a.shape[-1]} and {b.shape[-1]}")
    if a.shape[-1] == b.shape[-1] == 2:
        return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    (x1, y1, z1), (x2, y2, z2) = ([v[..., i] if i < v.shape[-1] else v[..., 0] * 0 for i in range(3)] for v in (a, b))
    from .axes import stack
    return move(stack([y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2], axis=-1), -1, axisc)


@of_numpy("trace", derivative="g on the diagonal")
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None) -> Any:
    """The sum of a diagonal."""
    no_out("trace", out)
    found = reduction.sum(ENTRIES["diagonal"].function(as_input(a), offset, axis1, axis2), axis=-1)
    return found if dtype is None else found.astype(dtype)


@of_numpy("linalg.multi_dot", derivative="as of matmul")
def multi_dot(arrays: Sequence[Any], *, out: None = None) -> Any:
    """Several matrices multiplied one after the other; the first and the last may be vectors."""
    no_out("linalg.multi_dot", out)
    return functools.reduce(linalg.matmul, [as_input(x) for x in arrays])


@of_numpy("linalg.matrix_power", derivative="as of matmul and inv")
def matrix_power(a: Any, n: int) -> Any:
    """A square matrix multiplied with itself; of negative n, its inverse."""
    a = as_input(a)
    if n < 0:
        return matrix_power(ENTRIES["inv"].function(a), -n)
    if n == 0:
        return a * 0 + module_of(a).eye(a.shape[-1], dtype=a.dtype)
    half = matrix_power(a, n // 2) if n > 1 else None
    if half is None:
        return a * 1
    square = linalg.matmul(half, half)
    return linalg.matmul(square, a) if n % 2 else square

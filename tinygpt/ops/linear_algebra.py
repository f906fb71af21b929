"""Matrices as wholes: inverses, determinants, decompositions, norms. All take stacks of matrices, as NumPy's do.

The derivatives are those of Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008), for real matrices. Where NumPy reads one triangle of a matrix alone, as in `cholesky` and
`eigh`, the other one has no gradient.

Prerequisites: products.py, aggregates.py. Next: fourier.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array, as_array
from ..autograd import Output, differentiable, unbroadcast, wrap
from ..backend import wide_dtype
from . import linalg, reduction, shape
from .aggregates import amax, amin, others
from .numpy_table import ENTRIES, as_input, beside, fixed, of_numpy
from .piecewise import absolute
from .reduction import Axis, restore

__all__ = [
    "cholesky", "cond", "det", "eig", "eigh", "eigvals", "eigvalsh", "inv", "lstsq", "matrix_norm", "norm", "pinv",
    "qr", "slogdet", "solve", "svd", "svdvals", "tensorinv", "tensorsolve", "vector_norm",
]


def _t(x: Array) -> Array:
    """The matrices, transposed."""
    return x.swapaxes(-1, -2)


def _eye(xp: Any, x: Array) -> Array:
    return xp.eye(x.shape[-1], dtype=x.dtype)


def _named(function: Callable[..., Any], parts: tuple[Any, ...]) -> Any:
    """Parts as NumPy's function names them: the result of slogdet has a sign and a logarithm."""
    return type(function(np.eye(1)))(*parts)


# ---------------------------------------------------------------------------------------------------------------------
# Inverses and determinants


@of_numpy("linalg.inv", derivative="−Yᵀ g Yᵀ, Y being the inverse")
@differentiable
def inv(xp: Any, x: Array) -> Output:
    """The inverse."""
    out = xp.linalg.inv(x)

    def backward(g):  # dY = −Y dX Y
        return (-_t(out) @ g @ _t(out),)
    return out, backward


@of_numpy("linalg.solve", derivative="b: solve(Aᵀ, g); A: −that times xᵀ")
@differentiable
def solve(xp: Any, a: Array, b: Array) -> Output:
    """The x with a @ x = b; b is a vector, or matrices of columns."""
    vector = b.ndim == 1
    out = xp.linalg.solve(a, b)

    def backward(g):  # A dx = db − dA x
        def db():
            return xp.linalg.solve(_t(a), g[..., None] if vector else g)  # (…, n, k)

        def da():
            columns = out[..., None] if vector else out
            return unbroadcast(-db() @ _t(columns), a)
        return da, lambda: unbroadcast(db()[..., 0] if vector else db(), b)
    return out, backward


@of_numpy("linalg.det", derivative="g det A⁻ᵀ: the cofactors")
@differentiable
def det(xp: Any, x: Array) -> Output:
    """The determinant."""
    out = xp.linalg.det(x)

    def backward(g):
        if (out != 0).all():
            return (g[..., None, None] * out[..., None, None] * _t(xp.linalg.inv(x)),)
        u, s, vt = xp.linalg.svd(x)  # of singular matrices the cofactors are there, and the inverse is not
        sign = xp.linalg.det(u) * xp.linalg.det(vt) * g
        return (((u * others(xp, s)[..., None, :]) @ vt * sign[..., None, None]).astype(x.dtype),)
    return as_array(out), backward


@differentiable
def _slogdet(xp: Any, x: Array) -> Output:
    """Sign and logarithm of the determinant."""
    sign, logarithm = xp.linalg.slogdet(x)

    def backward(gs):
        return (gs[1][..., None, None] * _t(xp.linalg.inv(x)),)
    return (as_array(sign), as_array(logarithm)), backward


@of_numpy("linalg.slogdet", derivative="of the logarithm: g A⁻ᵀ; of the sign: 0")
def slogdet(a: Any) -> Any:
    """The sign of the determinant, and the logarithm of its size."""
    return _named(np.linalg.slogdet, _slogdet(a))


@of_numpy("linalg.pinv", derivative="Golub & Pereyra (1973): −Pᵀ g Pᵀ + (I − A P) gᵀ P Pᵀ + Pᵀ P gᵀ (I − P A)")
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """The pseudo-inverse."""
    settings = {"rcond": rcond} if rcond is not None else {"rtol": rtol} if rtol is not None else {}
    return _pinv(a, settings=settings)


@differentiable
def _pinv(xp: Any, x: Array, *, settings: dict[str, Any] | None = None) -> Output:
    """The pseudo-inverse, of matrices whose rank stays the same nearby."""
    p = xp.linalg.pinv(x, **(settings or {}))

    def backward(g):
        gt, pt = _t(g), _t(p)
        beside = _eye(xp, p) - x @ p  # what the columns of A do not reach
        before = _eye(xp, x) - p @ x
        return (-pt @ g @ pt + beside @ gt @ p @ pt + pt @ p @ gt @ before,)
    return p, backward


@of_numpy("linalg.lstsq", derivative="of the solution: as of pinv and matmul")
def lstsq(a: Any, b: Any, rcond: Any = None) -> tuple[Any, ...]:
    """The x that makes a @ x nearest to b; the squared distances that are left, the rank, and the singular values."""
    a, b = as_input(a), as_input(b)
    limit = np.finfo(wide_dtype(a.dtype)).eps * max(a.shape) if rcond is None else 0.0 if rcond == -1 else float(rcond)
    x = linalg.matmul(pinv(a, limit), b)
    values = svdvals(a)
    rank = int((values.data > limit * values.data[:1]).sum())
    rest = b - linalg.matmul(a, x)
    full = rank == a.shape[1] < a.shape[0]
    left = reduction.sum(rest * rest, axis=0).reshape(-1) if full else wrap(beside(np.empty(0, a.dtype), a))
    return x, left, rank, values


@of_numpy("linalg.tensorinv", derivative="as of inv")
def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse of an array as a map from its last axes to the first `ind`."""
    a = as_input(a)
    n = math.prod(a.shape[ind:])
    return inv(a.reshape(-1, n)).reshape(a.shape[ind:] + a.shape[:ind])


@of_numpy("linalg.tensorsolve", derivative="as of solve")
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """The x with tensordot(a, x, x.ndim) = b."""
    a, b = as_input(a), as_input(b)
    if axes is not None:
        order = [i for i in range(a.ndim) if i not in axes] + list(axes)
        a = a.transpose(order)
    return solve(a.reshape(b.size, -1), b.reshape(-1)).reshape(a.shape[b.ndim:])


# ---------------------------------------------------------------------------------------------------------------------
# Decompositions


def _lower_half(xp: Any, x: Array) -> Array:
    """The lower triangle, its diagonal halved."""
    return xp.tril(x) - x * (0.5 * _eye(xp, x))


def _of_lower(xp: Any, g: Array) -> Array:
    """The gradient of a symmetric matrix as that of its lower triangle, which stands for both."""
    return xp.tril(g + _t(g)) - g * _eye(xp, g)


@of_numpy("linalg.cholesky", derivative="L⁻ᵀ Φ(Lᵀ g) L⁻¹ for the lower triangle; Φ halves the diagonal (Murray 2016)")
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """The lower triangular L with L Lᵀ = a, of which the lower triangle is read; or all of it upper."""
    if upper:
        return shape.swapaxes(_cholesky(shape.swapaxes(a, axis1=-1, axis2=-2)), axis1=-1, axis2=-2)
    return _cholesky(a)


@differentiable
def _cholesky(xp: Any, x: Array) -> Output:
    """L with L Lᵀ = x."""
    out = xp.linalg.cholesky(x)

    def backward(g):
        inverse = xp.linalg.inv(out)
        s = _t(inverse) @ _lower_half(xp, _t(out) @ g) @ inverse
        return (_of_lower(xp, 0.5 * (s + _t(s))),)
    return out, backward


def _gaps(xp: Any, values: Array) -> Array:
    """1 / (vⱼ − vᵢ), with 0 on the diagonal."""
    gap = values[..., None, :] - values[..., :, None]
    same = _eye(xp, gap)
    return (1 - same) / (gap + same)


@differentiable
def _eigh(xp: Any, x: Array, *, UPLO: str = "L") -> Output:
    """Eigenvalues and eigenvectors of symmetric matrices, of which one triangle is read."""
    w, v = xp.linalg.eigh(x, UPLO)

    def backward(gs):
        gw, gv = gs
        inner = gw[..., None, :] * _eye(xp, v)
        if (gv != 0).any():  # without it, equal eigenvalues do no harm
            inner = inner + _gaps(xp, w) * (_t(v) @ gv)
        dx = _of_lower(xp, v @ inner @ _t(v))
        return (dx if UPLO == "L" else _t(dx),)
    return (w, v), backward


@of_numpy("linalg.eigh", derivative="V (diag(gw) + F ∘ Vᵀ gv) Vᵀ, F = 1 / (wⱼ − wᵢ), for the triangle that is read")
def eigh(a: Any, UPLO: str = "L") -> Any:
    """Eigenvalues, ascending, and eigenvectors of symmetric matrices."""
    if UPLO.upper() not in ("L", "U"):
        raise ValueError(f"linalg.eigh: UPLO must be 'L' or 'U', got {UPLO!r}")
    return _named(np.linalg.eigh, _eigh(a, UPLO=UPLO.upper()))


@of_numpy("linalg.eigvalsh", derivative="V diag(g) Vᵀ, for the triangle that is read")
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """Eigenvalues, ascending, of symmetric matrices."""
    return eigh(a, UPLO)[0]


@of_numpy("linalg.eigvals", derivative="V⁻ᵀ diag(g) Vᵀ, V being the eigenvectors")
@differentiable
def eigvals(xp: Any, x: Array) -> Output:
    """The eigenvalues, complex where NumPy finds complex ones; all different."""
    out = xp.linalg.eigvals(x)

    def backward(g):  # dw = diag(V⁻¹ dX V)
        w, v = xp.linalg.eig(x)
        order = xp.abs(out[..., :, None] - w[..., None, :]).argmin(axis=-1)  # the two may come in different orders
        picked = xp.take_along_axis(v, order[..., None, :], axis=-1)
        dx = _t(xp.linalg.inv(picked)) @ (g[..., None, :] * _eye(xp, picked)) @ _t(picked)
        return ((dx if x.dtype.kind == "c" else dx.real).astype(x.dtype),)
    return out, backward


@differentiable
def _eig(xp: Any, x: Array) -> Output:
    """Eigenvalues, all different, and eigenvectors of length 1."""
    w, v = xp.linalg.eig(x)

    def backward(gs):  # dV = V (F ∘ V⁻¹ dX V), less what would change a column's length
        gw, gv = gs
        inner = gw[..., None, :] * _eye(xp, v)
        if (gv != 0).any():
            if w.dtype.kind == "c":
                raise TypeError("linalg.eig: eigenvectors of complex eigenvalues have no derivative here, since each "
                                "may be turned by any phase: use linalg.eigvals, or eigh for symmetric matrices")
            inner = inner + _gaps(xp, w) * (_t(v) @ (gv - v * (v * gv).sum(axis=-2, keepdims=True)))
        dx = _t(xp.linalg.inv(v)) @ inner @ _t(v)
        return ((dx if x.dtype.kind == "c" else dx.real).astype(x.dtype),)
    return (w, v), backward


@of_numpy("linalg.eig", derivative="V⁻ᵀ (diag(gw) + F ∘ Vᵀ (gv − v vᵀ gv)) Vᵀ, F = 1 / (wⱼ − wᵢ), of real ones")
def eig(a: Any) -> Any:
    """Eigenvalues, in no order, and eigenvectors of square matrices."""
    return _named(np.linalg.eig, _eig(a))


@differentiable
def _svd(xp: Any, x: Array) -> Output:
    """The thin decomposition x = U diag(s) Vᵀ."""
    u, s, vt = xp.linalg.svd(x, full_matrices=False)

    def backward(gs):
        gu, gsigma, gvt = gs
        inner = gsigma[..., None, :] * _eye(xp, s[..., None, :])
        dx = 0
        if (gu != 0).any() or (gvt != 0).any():  # without them, equal singular values do no harm
            gap, row, column = _gaps(xp, s * s), s[..., None, :], s[..., :, None]
            j, k = gap * (_t(u) @ gu), gap * (vt @ _t(gvt))
            inner = inner + (j + _t(j)) * row + column * (k + _t(k))
            if u.shape[-2] > u.shape[-1]:  # what lies outside of the columns of U
                dx = dx + ((gu - u @ (_t(u) @ gu)) / row) @ vt
            if vt.shape[-1] > vt.shape[-2]:
                dx = dx + (u / row) @ (gvt - (gvt @ _t(vt)) @ vt)
        return (u @ inner @ vt + dx,)
    return (u, s, vt), backward


@of_numpy("linalg.svd", derivative="U (diag(gs) + (J + Jᵀ) S + S (K + Kᵀ)) Vᵀ, J = F ∘ Uᵀ gU, K = F ∘ Vᵀ gV (Giles)")
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """Singular vectors and values: a = U diag(s) Vᵀ."""
    a = as_input(a)
    if not compute_uv:
        return svdvals(a)
    if full_matrices and a.shape[-1] != a.shape[-2]:
        raise ValueError(f"linalg.svd: the further vectors of matrices {a.shape[-2:]} have no derivative, since they "
                         "may be any that complete the others: give full_matrices=False")
    return _named(np.linalg.svd, _svd(a))


@of_numpy("linalg.svdvals", derivative="U diag(g) Vᵀ")
def svdvals(x: Any, /) -> Any:
    """The singular values, largest first."""
    return _svd(x)[1]


@differentiable
def _qr(xp: Any, x: Array) -> Output:
    """The decomposition x = Q R of matrices that are at least as high as wide."""
    q, r = xp.linalg.qr(x)

    def backward(gs):  # Walter & Lehmann (2010)
        gq, gr = gs
        m = r @ _t(gr) - _t(gq) @ q
        symmetric = xp.tril(m) + _t(xp.tril(m, -1))
        return (_t(xp.linalg.solve(r, _t(gq + q @ symmetric))),)
    return (q, r), backward


@of_numpy("linalg.qr", derivative="(gQ + Q sym(R gRᵀ − gQᵀ Q)) R⁻ᵀ (Walter & Lehmann 2010)")
def qr(a: Any, mode: str = "reduced") -> Any:
    """Orthonormal columns Q and upper triangular R with Q R = a."""
    a = as_input(a)
    m, n = a.shape[-2:]
    if mode not in ("reduced", "r") and not (mode == "complete" and m <= n):
        raise ValueError(f"linalg.qr: mode {mode!r} has no derivative for matrices {(m, n)}: use 'reduced' or 'r'")
    if m >= n:
        q, r = _qr(a)
    else:  # the first columns decide on Q; the others are only turned
        q, r = _qr(a[..., :m])
        r = shape.concatenate([r, linalg.matmul(shape.swapaxes(q, axis1=-1, axis2=-2), a[..., m:])], axis=-1)
    return r if mode == "r" else _named(np.linalg.qr, (q, r))


# ---------------------------------------------------------------------------------------------------------------------
# Norms


@differentiable
def _p_norm(xp: Any, x: Array, *, order: float, axis: Axis = None, keepdims: bool = False) -> Output:
    """(Σ |x|ᵖ)^(1/p) over `axis`, with the gradient 0 where it is 0."""
    size = xp.abs(x)
    if order == 2:
        out = xp.sqrt((size * size).sum(axis=axis, keepdims=True))
    else:
        out = (size ** order).sum(axis=axis, keepdims=True) ** (1 / order)

    def backward(g):  # d = Σ sign(x) (|x| / out)ᵖ⁻¹ dx
        zero = out == 0
        ratio = size / xp.where(zero, 1, out)
        if order != 2:  # at 0, |x|ᵖ⁻¹ of p < 1 is infinite
            ratio = xp.where(size == 0, 0, xp.where(size == 0, 1, ratio) ** (order - 1))
        direction = xp.conj(x) / xp.where(size == 0, 1, size)  # sign(x), and of complex numbers their direction
        return ((restore(g, x, axis) * ratio * direction).astype(x.dtype),)
    return (out if keepdims else out.sum(axis=axis)), backward


@of_numpy("linalg.norm", derivative="g x / norm for lengths; g sign(x) |x / norm|ᵖ⁻¹; of matrices, as of svd and sums")
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The length of vectors, or the size of matrices, of every order that NumPy has."""
    x, ord = as_input(x), fixed("linalg.norm: ord", ord)
    if axis is None:
        if ord is None or x.ndim == 1 or (ord in ("f", "fro") and x.ndim == 2) or (ord == 2 and x.ndim == 1):
            length = _vector_norm(x.reshape(-1), 2 if ord in (None, "f", "fro") else ord, 0, False)
            return length.reshape([1] * x.ndim) if keepdims else length
        axis = tuple(range(x.ndim))
    axes = tuple(int(i) % x.ndim for i in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    if len(axes) == 1:
        return _vector_norm(x, 2 if ord is None else ord, axes[0], keepdims)
    if len(axes) != 2 or axes[0] == axes[1]:
        raise ValueError(f"linalg.norm: expected one axis or two different ones, got {axis}")
    return _matrix_norm(x, "fro" if ord is None else ord, axes, keepdims)


def _vector_norm(x: Any, order: Any, axis: Any, keepdims: bool) -> Any:
    settings = {"axis": axis, "keepdims": keepdims}
    if isinstance(order, str):
        raise ValueError(f"linalg.norm: the order {order!r} is for matrices, which need two axes")
    if order == math.inf:
        return amax(absolute(x), **settings)
    if order == -math.inf:
        return amin(absolute(x), **settings)
    if order == 0:
        return reduction.sum((x != 0).astype(x.dtype), **settings)
    if order == 1:
        return reduction.sum(absolute(x), **settings)
    return _p_norm(x, order=float(order), **settings)


def _matrix_norm(x: Any, order: Any, axes: tuple[int, int], keepdims: bool) -> Any:
    rows, columns = axes
    if order in ("fro", "f"):
        return _p_norm(x, order=2.0, axis=axes, keepdims=keepdims)
    if order in (1, -1, math.inf, -math.inf):
        along, across = axes if abs(order) == 1 else (columns, rows)
        sums = reduction.sum(absolute(x), axis=along, keepdims=True)
        found = (amax if order > 0 else amin)(sums, axis=across, keepdims=True)
    elif order in (2, -2, "nuc"):
        values = svdvals(ENTRIES["moveaxis"].function(x, axes, (-2, -1)))
        found = reduction.sum(values, axis=-1) if order == "nuc" else (amax if order == 2 else amin)(values, axis=-1)
        found = found.reshape([1 if i in axes else n for i, n in enumerate(x.shape)])
    else:
        raise ValueError(f"linalg.norm: matrices have no norm of order {order!r}")
    return found if keepdims else reduction.sum(found, axis=axes)


@of_numpy("linalg.vector_norm", derivative="as of norm")
def vector_norm(x: Any, /, *, axis: Axis = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The length over any axes, counted as one."""
    return _vector_norm(as_input(x), fixed("linalg.vector_norm: ord", ord), axis, keepdims)


@of_numpy("linalg.matrix_norm", derivative="as of norm")
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The size of the matrices of the last two axes."""
    x = as_input(x)
    return _matrix_norm(x, fixed("linalg.matrix_norm: ord", ord), (x.ndim - 2, x.ndim - 1), keepdims)


@of_numpy("linalg.cond", derivative="as of norm and inv")
def cond(x: Any, p: Any = None) -> Any:
    """How much a matrix may stretch one vector more than another."""
    x = as_input(x)
    if p is None or p in (2, -2):
        values = svdvals(x)
        return values[..., 0] / values[..., -1] if p != -2 else values[..., -1] / values[..., 0]
    return norm(x, p, (-2, -1)) * norm(inv(x), p, (-2, -1))


@of_numpy("linalg.diagonal", ours="matrix_diagonal", derivative="g goes back to where each element came from")
def matrix_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The diagonals of the last two axes."""
    return ENTRIES["diagonal"].function(as_input(x), offset, -2, -1)


@of_numpy("linalg.trace", ours="matrix_trace", derivative="g on the diagonal")
def matrix_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sums of the diagonals of the last two axes."""
    return ENTRIES["trace"].function(as_input(x), offset, -2, -1, dtype)

"""Examples of NumPy's further functions of whole arrays: moves, products, matrices, transforms.

Prerequisites: numpy_elements.py. Next: large.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .registry import Sample, broadcast_shapes, draw_shape, draw_values, samples_of

__all__: list[str] = []

Rng = np.random.Generator

# ---------------------------------------------------------------------------------------------------------------------
# Moves


def _array(rng: Rng, **limits: int) -> np.ndarray:
    return draw_values(rng, draw_shape(rng, **{"min_side": 1, **limits}))


def _some_axes(rng: Rng, ndim: int) -> Any:
    return None if rng.random() < 0.3 else int(rng.integers(-ndim, ndim))


@samples_of("roll")
def roll(rng: Rng) -> Sample:
    x = _array(rng, min_dims=1)
    return Sample((x,), {"shift": int(rng.integers(-5, 6)), "axis": _some_axes(rng, x.ndim)})


@samples_of("flip")
def flip(rng: Rng) -> Sample:
    x = _array(rng, min_dims=1)
    return Sample((x,), {"axis": _some_axes(rng, x.ndim)})


samples_of("flipud")(lambda rng: Sample((_array(rng, min_dims=1),)))
for _name in ("fliplr", "matrix_transpose"):
    samples_of(_name)(lambda rng: Sample((_array(rng, min_dims=2),)))
for _name in ("atleast_1d", "atleast_2d", "atleast_3d", "copy"):
    samples_of(_name)(lambda rng: Sample((_array(rng),)))


@samples_of("rot90")
def rot90(rng: Rng) -> Sample:
    return Sample((_array(rng, min_dims=2),), {"k": int(rng.integers(0, 4))})


@samples_of("tile")
def tile(rng: Rng) -> Sample:
    return Sample((_array(rng, max_dims=2),), {"reps": tuple(rng.integers(1, 3, int(rng.integers(1, 4))).tolist())})


@samples_of("repeat")
def repeat(rng: Rng) -> Sample:
    x = _array(rng, min_dims=1)
    axis = _some_axes(rng, x.ndim)
    n = x.size if axis is None else x.shape[axis]
    return Sample((x,), {"repeats": rng.integers(0, 3, n) if rng.random() < 0.5 else 2, "axis": axis})


@samples_of("moveaxis")
def moveaxis(rng: Rng) -> Sample:
    x = _array(rng, min_dims=1)
    source, destination = rng.integers(-x.ndim, x.ndim, 2).tolist()
    return Sample((x,), {"source": source, "destination": destination})


@samples_of("rollaxis")
def rollaxis(rng: Rng) -> Sample:
    x = _array(rng, min_dims=1)
    return Sample((x,), {"axis": int(rng.integers(0, x.ndim)), "start": int(rng.integers(0, x.ndim + 1))})


for _name in ("diag", "diagflat"):
    @samples_of(_name)
    def _diag(rng: Rng) -> Sample:
        return Sample((_array(rng, min_dims=1, max_dims=2),), {"k": int(rng.integers(-1, 2))})
for _name in ("tril", "triu"):
    @samples_of(_name)
    def _triangle(rng: Rng) -> Sample:
        return Sample((_array(rng, min_dims=2),), {"k": int(rng.integers(-1, 2))})
for _name in ("diagonal", "trace"):
    @samples_of(_name)
    def _diagonal(rng: Rng) -> Sample:
        x = _array(rng, min_dims=2)
        axis1, axis2 = rng.permutation(x.ndim)[:2].tolist()
        return Sample((x,), {"offset": int(rng.integers(-1, 2)), "axis1": axis1, "axis2": axis2})
for _name in ("matrix_diagonal", "matrix_trace"):
    @samples_of(_name)
    def _matrix_diagonal(rng: Rng) -> Sample:
        return Sample((_array(rng, min_dims=2),), {"offset": int(rng.integers(-1, 2))})


@samples_of("take")
def take(rng: Rng) -> Sample:
    x = _array(rng, min_dims=1)
    axis = _some_axes(rng, x.ndim)
    n = x.size if axis is None else x.shape[axis]
    return Sample((x,), {"indices": rng.integers(-n, n, draw_shape(rng, max_dims=2)), "axis": axis})


@samples_of("take_along_axis")
def take_along_axis(rng: Rng) -> Sample:
    x = _array(rng, min_dims=1)
    axis = int(rng.integers(0, x.ndim))
    shape = list(x.shape)
    shape[axis] = 3
    return Sample((x,), {"indices": rng.integers(0, x.shape[axis], shape), "axis": axis})


@samples_of("delete")
def delete(rng: Rng) -> Sample:
    x = _array(rng, min_dims=1)
    axis = int(rng.integers(0, x.ndim))
    return Sample((x,), {"obj": int(rng.integers(0, x.shape[axis])), "axis": axis})


@samples_of("resize")
def resize(rng: Rng) -> Sample:
    return Sample((_array(rng),), {"new_shape": tuple(rng.integers(1, 4, 2).tolist())})


@samples_of("trim_zeros")
def trim_zeros(rng: Rng) -> Sample:
    return Sample((rng.uniform(1, 2, 3) * rng.choice([-1.0, 1.0], 3),))  # a zero that moves changes the shape


@samples_of("pad")
def pad(rng: Rng) -> Sample:
    x = _array(rng, min_dims=1, min_side=2, max_dims=2)
    width = [tuple(pair) for pair in rng.integers(0, 4, (x.ndim, 2)).tolist()]
    mode = str(rng.choice(["constant", "edge", "reflect", "symmetric", "wrap"]))
    settings: dict[str, Any] = {"pad_width": width, "mode": mode}
    if mode == "constant" and rng.random() < 0.5:
        settings["constant_values"] = 2.5
    return Sample((x,), settings)


for _name, _limits in (("hstack", (1, 1)), ("vstack", (1, 1)), ("dstack", (1, 1)), ("column_stack", (1, 1))):
    @samples_of(_name)
    def _joined(rng: Rng) -> Sample:
        shape = draw_shape(rng, min_dims=1, max_dims=2, min_side=1)
        return Sample(tuple(draw_values(rng, shape) for _ in range(int(rng.integers(1, 4)))))


@samples_of("broadcast_arrays")
def broadcast_arrays(rng: Rng) -> Sample:
    return Sample(tuple(draw_values(rng, shape) for shape in broadcast_shapes(rng, 2)))


samples_of("ravel")(lambda rng: Sample((_array(rng),), {"order": str(rng.choice(["C", "F"]))}))


@samples_of("append")
def append(rng: Rng) -> Sample:
    if rng.random() < 0.5:
        return Sample((_array(rng), _array(rng)))
    if rng.random() < 0.3:
        return Sample((_array(rng), [draw_values(rng, (2,)), [draw_values(rng, ()), 0.5]]))
    x = _array(rng, min_dims=1)
    return Sample((x, draw_values(rng, x.shape)), {"axis": int(rng.integers(0, x.ndim))})


@samples_of("insert")
def insert(rng: Rng) -> Sample:
    x = _array(rng, min_dims=1, max_dims=1)
    return Sample((x, [0, len(x)], draw_values(rng, (2,))))


@samples_of("compress")
def compress(rng: Rng) -> Sample:
    x = _array(rng, min_dims=1)
    axis = int(rng.integers(0, x.ndim))
    return Sample((rng.random(x.shape[axis]) < 0.5, x), {"axis": axis})


@samples_of("extract")
def extract(rng: Rng) -> Sample:
    x = _array(rng)
    return Sample((rng.random(x.shape) < 0.5, x))


@samples_of("choose")
def choose(rng: Rng) -> Sample:
    which, a, b = broadcast_shapes(rng, 3)
    return Sample((rng.integers(0, 2, which), [draw_values(rng, a), draw_values(rng, b)]))


@samples_of("select")
def select(rng: Rng) -> Sample:
    shape = draw_shape(rng, min_side=1)
    conditions = [rng.random(shape) < 0.4 for _ in range(2)]
    return Sample((conditions, [draw_values(rng, shape) for _ in range(2)]), {"default": 1.5})


@samples_of("block")
def block(rng: Rng) -> Sample:
    a, b, c, d = (draw_values(rng, shape) for shape in ((2, 3), (2, 1), (1, 3), (1, 1)))
    return Sample(([[a, b], [c, d]] if rng.random() < 0.5 else [a, b],))


for _name in ("array_split", "numpy_split"):
    @samples_of(_name)
    def _cut(rng: Rng, name: str = _name) -> Sample:
        x = _array(rng, min_dims=1)
        axis = int(rng.integers(0, x.ndim))
        if rng.random() < 0.5:
            return Sample((x, [1, 2]), {"axis": axis})
        return Sample((x, x.shape[axis] if name == "numpy_split" else 2), {"axis": axis})
for _name in ("hsplit", "vsplit", "dsplit"):
    samples_of(_name)(lambda rng: Sample((_array(rng, min_dims=3), [1])))


@samples_of("unstack")
def unstack(rng: Rng) -> Sample:
    x = _array(rng, min_dims=1)
    return Sample((x,), {"axis": int(rng.integers(0, x.ndim))})


@samples_of("bincount")
def bincount(rng: Rng) -> Sample:
    n = int(rng.integers(1, 8))
    return Sample((rng.integers(0, 4, n), draw_values(rng, (n,))), {"minlength": 5})


@samples_of("_bincount")
def _bincount(rng: Rng) -> Sample:
    n = int(rng.integers(1, 8))
    return Sample((draw_values(rng, (n,)),), {"x": rng.integers(0, 4, n), "minlength": 5})


# ---------------------------------------------------------------------------------------------------------------------
# Products

EINSUMS = (
    "ij,jk->ik", "ij->ji", "ii->i", "ii", "iij->j", "ij,ij", "i,j", "i,ij,j->", "...ij,...jk", "...i->...",
    "bij,bjk->bik", "ijk,kl,jm->ilm", "ij,kj->", "ij->", "i...,i...->...", "ii,ij->j",
)


def _einsum_arrays(rng: Rng, subscripts: str) -> tuple[np.ndarray, ...]:
    sizes = {letter: int(rng.integers(1, 4)) for letter in "bijklm"}
    dots = draw_shape(rng, max_dims=2, min_side=1)
    arrays = []
    for part in subscripts.partition("->")[0].split(","):
        before, dotted, after = part.partition("...")
        own = tuple(1 if rng.random() < 0.2 else n for n in dots) if dotted else ()
        shape = (*[sizes[x] for x in before], *own, *[sizes[x] for x in after])
        arrays.append(draw_values(rng, shape))
    return tuple(arrays)


@samples_of("_einsum")
def _einsum(rng: Rng) -> Sample:
    subscripts = str(rng.choice(EINSUMS))
    return Sample(_einsum_arrays(rng, subscripts), {"subscripts": subscripts})


@samples_of("einsum")
def einsum(rng: Rng) -> Sample:
    subscripts = str(rng.choice(EINSUMS))
    return Sample((subscripts, *_einsum_arrays(rng, subscripts)))


@samples_of("dot")
def dot(rng: Rng) -> Sample:
    n = int(rng.integers(1, 4))
    shapes = [((), (n,)), ((n,), (n,)), ((2, n), (n, 3)), ((2, 2, n), (n,)), ((n,), (2, n, 3)), ((2, n), (2, n, 2))]
    return Sample(tuple(draw_values(rng, shape) for shape in shapes[int(rng.integers(0, len(shapes)))]))


@samples_of("tensordot")
def tensordot(rng: Rng) -> Sample:
    i, j = rng.integers(1, 4, 2).tolist()
    if rng.random() < 0.5:
        return Sample((draw_values(rng, (2, i, j)), draw_values(rng, (i, j, 2))), {"axes": 2})
    return Sample((draw_values(rng, (2, i, j)), draw_values(rng, (j, 3, i))), {"axes": ([1, 2], [2, 0])})


@samples_of("inner")
def inner(rng: Rng) -> Sample:
    n = int(rng.integers(1, 4))
    shapes = [((), (n,)), ((n,), (n,)), ((2, n), (3, n)), ((2, 2, n), (n,))]
    return Sample(tuple(draw_values(rng, shape) for shape in shapes[int(rng.integers(0, len(shapes)))]))


samples_of("outer")(lambda rng: Sample((_array(rng, max_dims=2), _array(rng, max_dims=2))))
samples_of("kron")(lambda rng: Sample((_array(rng, max_dims=2), _array(rng, max_dims=2))))


def _same(rng: Rng) -> Sample:
    x = _array(rng, min_dims=1)
    return Sample((x, draw_values(rng, x.shape)))


samples_of("vdot")(_same)
samples_of("vecdot")(_same)


@samples_of("matvec")
def matvec(rng: Rng) -> Sample:
    n = int(rng.integers(1, 4))
    return Sample((draw_values(rng, (2, 3, n)), draw_values(rng, (n,))))


@samples_of("vecmat")
def vecmat(rng: Rng) -> Sample:
    n = int(rng.integers(1, 4))
    return Sample((draw_values(rng, (n,)), draw_values(rng, (2, n, 3))))


@samples_of("cross")
def cross(rng: Rng) -> Sample:
    return Sample((draw_values(rng, (2, 3)), draw_values(rng, (3,) if rng.random() < 0.5 else (2, 3))))


@samples_of("multi_dot")
def multi_dot(rng: Rng) -> Sample:
    a, b, c = rng.integers(1, 4, 3).tolist()
    return Sample(([draw_values(rng, (2, a)), draw_values(rng, (a, b)), draw_values(rng, (b, c))],))


# ---------------------------------------------------------------------------------------------------------------------
# Matrices


def _batch(rng: Rng) -> tuple[int, ...]:
    return () if rng.random() < 0.6 else (2,)


def _apart(rng: Rng, batch: tuple[int, ...], m: int, n: int) -> np.ndarray:
    """Matrices of full rank, whose singular values are well apart."""
    u, _, vt = np.linalg.svd(rng.standard_normal((*batch, m, n)), full_matrices=False)
    return (u * (np.arange(min(m, n)) + rng.uniform(0.6, 0.9))) @ vt


def square(rng: Rng) -> np.ndarray:
    """Square matrices that can be inverted."""
    n = int(rng.integers(1, 4))
    return _apart(rng, _batch(rng), n, n)


def _definite(rng: Rng) -> np.ndarray:
    x = square(rng)
    return x @ x.swapaxes(-1, -2)


def _with(make: Callable[[Rng], np.ndarray], **settings: Any) -> Callable[[Rng], Sample]:
    return lambda rng: Sample((make(rng),), {
        key: value[int(rng.integers(0, len(value)))] for key, value in settings.items()})


for _name in ("inv", "det", "slogdet", "_slogdet"):
    samples_of(_name)(_with(square))
samples_of("cond")(_with(square, p=(None, "fro", 1, 2)))
samples_of("matrix_power")(lambda rng: Sample((square(rng), int(rng.integers(-2, 5)))))
samples_of("cholesky")(_with(_definite, upper=(False, True)))
samples_of("_cholesky")(_with(_definite))
samples_of("eigvals")(_with(square))


def _of_real_eigenvalues(rng: Rng) -> Sample:
    """Matrices with real eigenvalues that are well apart, and eigenvectors that are not at right angles."""
    n = int(rng.integers(1, 4))
    vectors = np.linalg.qr(rng.standard_normal((*_batch(rng), n, n)))[0] + np.triu(rng.uniform(-0.3, 0.3, (n, n)), 1)
    values = (np.arange(n) - rng.uniform(0.3, 0.7)) * rng.uniform(1, 3)
    return Sample(((vectors * values) @ np.linalg.inv(vectors),))


for _name in ("eig", "_eig"):
    samples_of(_name)(_of_real_eigenvalues)
samples_of("numpy_astype")(lambda rng: Sample((_array(rng), np.float64)))
for _name in ("eigh", "eigvalsh", "_eigh"):
    samples_of(_name)(_with(_definite, UPLO=("L", "U")))


@samples_of("solve")
def solve(rng: Rng) -> Sample:
    a = square(rng)
    n = a.shape[-1]
    return Sample((a, draw_values(rng, (n,) if rng.random() < 0.5 else (*a.shape[:-2], n, 2))))


def _any_shape(rng: Rng) -> np.ndarray:
    m, n = rng.integers(1, 5, 2).tolist()
    return _apart(rng, _batch(rng), m, n)


def _high(rng: Rng) -> np.ndarray:
    m, n = sorted(rng.integers(1, 5, 2).tolist(), reverse=True)
    return _apart(rng, _batch(rng), m, n)


samples_of("svd")(_with(_any_shape, full_matrices=(False,)))
samples_of("_svd")(_with(_any_shape))
samples_of("svdvals")(_with(_any_shape))
samples_of("qr")(_with(_any_shape))
samples_of("_qr")(_with(_high))
samples_of("pinv")(_with(_any_shape))
samples_of("_pinv")(_with(_any_shape))


@samples_of("lstsq")
def lstsq(rng: Rng) -> Sample:
    m, n = rng.integers(1, 5, 2).tolist()
    return Sample((_apart(rng, (), m, n), draw_values(rng, (m, 2))))


@samples_of("tensorinv")
def tensorinv(rng: Rng) -> Sample:
    return Sample((_apart(rng, (), 6, 6).reshape(2, 3, 6),))


@samples_of("tensorsolve")
def tensorsolve(rng: Rng) -> Sample:
    return Sample((_apart(rng, (), 6, 6).reshape(2, 3, 6), draw_values(rng, (2, 3))))


@samples_of("norm")
def norm(rng: Rng) -> Sample:
    order: Any
    if rng.random() < 0.5:
        x = _array(rng, min_dims=1)
        order = [None, 1, 2, 3, 2.5, np.inf, -np.inf, 0.5][int(rng.integers(0, 8))]
        return Sample((x,), {"ord": order, "axis": int(rng.integers(0, x.ndim)), "keepdims": bool(rng.random() < 0.5)})
    order = [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf][int(rng.integers(0, 9))]
    x = _apart(rng, _batch(rng), 3, 2)
    return Sample((x,), {"ord": order, "axis": (x.ndim - 2, x.ndim - 1), "keepdims": bool(rng.random() < 0.5)})


@samples_of("_p_norm")
def _p_norm(rng: Rng) -> Sample:
    x = _array(rng, min_dims=1)
    return Sample((x,), {"order": float(rng.choice([2, 3, 2.5, 0.5])), "axis": int(rng.integers(0, x.ndim)),
                         "keepdims": bool(rng.random() < 0.5)})


samples_of("vector_norm")(_with(lambda rng: _array(rng, min_dims=1), ord=(1, 2, 3, np.inf), axis=(0, None)))
samples_of("matrix_norm")(_with(_any_shape, ord=("fro", "nuc", 1, 2, np.inf)))

# ---------------------------------------------------------------------------------------------------------------------
# Transforms


def _transform(rng: Rng, shortest: int = 2) -> Sample:
    x = _array(rng, min_dims=1, min_side=2)
    settings: dict[str, Any] = {"axis": int(rng.integers(-x.ndim, x.ndim)),
                                "norm": [None, "ortho", "forward"][int(rng.integers(0, 3))]}
    if rng.random() < 0.5:
        settings["n"] = int(rng.integers(shortest, 7))
    return Sample((x,), settings)


for _name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
    samples_of(_name)(_transform)
for _name in ("fft2", "ifft2", "fftn", "ifftn", "rfft2", "irfft2", "rfftn", "irfftn", "fftshift", "ifftshift"):
    samples_of(_name)(lambda rng: Sample((_array(rng, min_dims=2, min_side=2),)))

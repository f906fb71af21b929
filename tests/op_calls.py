"""Operations called by their names in `op_db`, for the tests that run all samples somewhere else than on the host.

The library of NumPy's functions is read here, so that these tests are the same whatever ran before them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygpt.autograd import OPS, Tensor
from tinygpt.ops.numpy_functions import THEMES, library
from tinygpt.ops.numpy_table import ENTRIES
from tinygpt.testing import op_db

library()
RULES = [name for name in op_db if name in OPS]
MADE = [name for name in op_db if name not in OPS]  # functions made of others
OF_THE_LIBRARY = {name for name in RULES if OPS[name].rule.__module__.rpartition(".")[2] in THEMES} | {*MADE}


def samples_of(name: str, n: int) -> int:
    """How many samples to draw: n, and 3 of a function of the library, of which there are many."""
    return 3 if name in OF_THE_LIBRARY else n


def place(x: Any, put: Callable[[np.ndarray], Any]) -> Any:
    """Each array in an input through `put`, wherever it stands in lists."""
    if isinstance(x, (list, tuple)) and any(isinstance(part, (np.ndarray, list, tuple)) for part in x):
        return [place(part, put) for part in x]
    return put(x) if isinstance(x, np.ndarray) else x


def call(name: str, inputs: Sequence[Any], settings: dict[str, Any]) -> tuple[Tensor, ...]:
    """The Tensors that an operation or a function returns."""
    if name in OPS:
        found = OPS[name]([list(inputs)] if OPS[name].variadic else list(inputs), dict(settings))
    else:
        found = ENTRIES[name].function(*inputs, **settings)
    return tuple(y for y in (found if isinstance(found, (tuple, list)) else (found,)) if isinstance(y, Tensor))


# What cannot run on the pretend GPU, and what waits for the device there.
NO_DEVICE = {name: "the pretend GPU has no FFT" for name in {*RULES, *MADE}
             if name in OPS and OPS[name].rule.__module__.endswith(".fourier")
             or name in ENTRIES and ENTRIES[name].function.__module__.endswith(".fourier")}
NO_DEVICE = {name: why for name, why in NO_DEVICE.items() if not name.endswith("shift")}
NO_DEVICE["_bincount"] = "its indices are no input: np.bincount moves them"
LOOKS = {
    "repeat": "at the counts", "i0": "at the largest number, for the length of its series",
    **dict.fromkeys(("det", "cond", "_eig", "eig", "_eigh", "eigh", "eigvalsh", "_svd", "svd", "svdvals",
                     "norm", "matrix_norm"),
                    "at gradients or matrices, for what may be left out where they are zero"),
    "lstsq": "at the rank", **dict.fromkeys(("compress", "extract", "trim_zeros"), "at what is kept, for its length"),
    "choose": "at the choices, which may be out of range",
    **dict.fromkeys(("nanmax", "nanmin"), "for slices of nothing but nan, of which it warns"),
    **dict.fromkeys(("median", "nanmedian", "quantile", "nanquantile", "percentile", "nanpercentile"),
                    "at the order, which is found on the host"),
    "interp": "at the ends",
}

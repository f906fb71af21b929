"""Examples of every operation in `OPS`, and of every function that is made of others, in `op_db`."""

from . import elementwise, linalg, numpy_arrays, numpy_elements, reduction, shape  # noqa: F401  (each enters examples)
from . import networks  # noqa: F401  (likewise)
from . import large  # noqa: F401  (adds to them)
from .registry import OpSamples, Sample, op_db, samples_of

__all__ = ["OpSamples", "Sample", "op_db", "samples_of"]

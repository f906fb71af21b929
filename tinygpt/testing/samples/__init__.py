"""Examples of every operation in `OPS`, in `op_db`."""

from . import elementwise, linalg, reduction, shape  # noqa: F401  (each enters its examples)
from . import large  # noqa: F401  (adds to them)
from .registry import OpSamples, Sample, op_db, samples_of

__all__ = ["OpSamples", "Sample", "op_db", "samples_of"]

"""tinygpt: a language model's whole life in pure NumPy."""

from . import autograd, backend, ops
from ._version import __version__
from .autograd import Tensor, no_grad
from .backend import cuda_available, manual_seed, set_default_device

__all__ = [
    "Tensor", "__version__", "autograd", "backend", "cuda_available", "manual_seed", "no_grad", "ops",
    "set_default_device",
]

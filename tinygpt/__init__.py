"""tinygpt: a language model's whole life in pure NumPy.

The package is a house in two storeys. Downstairs is the book: short files from one differentiable number to a GPT that
is trained and writes. Read them in order; arrays.py is the first, and each says which is next. Upstairs is the
machinery for speed, devices, safe files and other models, in rooms; machinery.py says what takes the place of what.

docs/map.md lists the book in its order, and the rooms. docs/reading.md follows one training step through the book.

`import tinygpt` loads Tensors, operations with their twins, and layers. The other packages are imported when they
are first named, so `import tinygpt as tg` costs little and `tg.models.GPT` still works.

Prerequisites: nothing. Next: arrays.py.
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import starting  # noqa: F401  (before what takes long: it answers Ctrl-C while the command is loaded)

from . import autograd, backend, kernels, machinery, ops
from ._version import __version__
from .autograd import Tensor, no_grad
from .backend import cuda_available, manual_seed, set_default_device

machinery.install()

if TYPE_CHECKING:
    from . import data, evaluation, generation, models, nn, optim, pipelines, pretrained, testing, tokenizers, training
    from .engine.derivatives import grad, hessian_vector, jacobian
    from .models import load_model
    from .pipelines import pipeline
    from .tokenizers import load_tokenizer

__all__ = [
    "Tensor", "__version__", "autograd", "backend", "cuda_available", "data", "evaluation", "generation", "grad",
    "hessian_vector", "jacobian", "kernels", "load_model", "load_tokenizer", "manual_seed", "models", "nn", "no_grad",
    "ops", "optim", "pipeline", "pipelines", "pretrained", "set_default_device", "testing", "tokenizers", "training",
]

# What stands in a package that is imported when it is used.
_LATER = {"grad": "engine.derivatives", "hessian_vector": "engine.derivatives", "jacobian": "engine.derivatives",
          "load_model": "models", "load_tokenizer": "tokenizers", "pipeline": "pipelines"}


def __getattr__(name: str) -> Any:
    """Import a package, or the package that holds a function, when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'tinygpt' has no attribute {name!r}")
    if name in _LATER:
        return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)

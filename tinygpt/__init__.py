"""tinygpt: a language model's whole life in pure NumPy.

This docstring is the reading order. The package is built in floors; a file imports only from floors below its own, so
read from the top of this list down, and everything is explained before it is used. Each file says in its first lines
what it adds, and which file comes before and after. docs/reading.md follows one training step through all of it.

    backend.py       where arrays live: NumPy on the host, CuPy on a GPU
    autograd/        Tensor, the differentiable rule, and the walk backwards                    (start here)
    ops/             every operation once: its output, and beside it its derivative
    kernels/         faster twins of some of them, checked against them; skip it until you want speed
    nn/              layers: Linear, norms, attention, the transformer block
    tokenizers/      text to token ids and back
    data/            text to token ids to batches
    generation/      from logits to text: sampling, the decoding loop, beam search
    pretrained/      Hugging Face folders in and out
    models/          GPT; BERT; the encoder-decoder; their configurations
    optim/           all parameters in one array; AdamW, schedules, clipping
    evaluation/      how good is it: loss, perplexity, bits per byte
    training/        the loop, replicas, checkpoints; from a text file to a model folder
    chat.py          a conversation with a model, within what its context holds
    pipelines/       one line from a folder to what its model does
    testing/         the gradient checker: is your derivative right?
    cli/             the command line

`import tinygpt` loads the engine alone (backend, autograd, ops and their twins); the other packages are imported when
they are first named, so that `import tinygpt as tg` costs little and `tg.models.GPT` still works.
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import autograd, backend, kernels, machinery, ops
from ._version import __version__
from .autograd import Tensor, no_grad
from .backend import cuda_available, manual_seed, set_default_device

machinery.install()

if TYPE_CHECKING:
    from . import data, evaluation, generation, models, nn, optim, pipelines, pretrained, testing, tokenizers, training
    from .models import load_model
    from .pipelines import pipeline
    from .tokenizers import load_tokenizer

__all__ = [
    "Tensor", "__version__", "autograd", "backend", "cuda_available", "data", "evaluation", "generation", "kernels",
    "load_model", "load_tokenizer", "manual_seed", "models", "nn", "no_grad", "ops", "optim", "pipeline",
    "pipelines", "pretrained", "set_default_device", "testing", "tokenizers", "training",
]

# What stands in a package that is imported when it is used.
_LATER = {"load_model": "models", "load_tokenizer": "tokenizers", "pipeline": "pipelines"}


def __getattr__(name: str) -> Any:
    """Import a package, or the package that holds a function, when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'tinygpt' has no attribute {name!r}")
    if name in _LATER:
        return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)

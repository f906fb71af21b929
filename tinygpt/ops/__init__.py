"""The differentiable operations: one readable rule each.

docs/map.md has the reading order of the book's files; here they come first. Those below them follow the same pattern.
Further functions of NumPy's, such as `ops.cumsum`, are read when one is first asked for (numpy_functions.py).
"""

from typing import Any

from .elementwise import (add, divide, exp, log, maximum, multiply, negative, power, sqrt, subtract, tanh, where)
from .reduction import max, mean, sum
from .shape import concatenate, reshape, swapaxes, transpose
from .indexing import embedding, getitem
from .linalg import linear, matmul
from .activation import ACTIVATIONS, gelu_tanh, log_softmax, relu, relu_squared, softmax
from .normalization import layer_norm
from .dropout import dropout
from .attention import merge_heads, scaled_dot_product_attention, split_heads
from .loss import IGNORE_INDEX, cross_entropy
from . import operators  # noqa: F401  (gives Tensor its operators)
from .piecewise import absolute, clip, minimum
from .trigonometry import cos, sin
from .statistics import logsumexp, min, var
from .axes import broadcast_to, expand_dims, split, squeeze, stack
from .casting import astype, to_device
from .erf import erf
from .gelu import gelu
from .silu import sigmoid, silu
from .rotary import rotary_embedding
from .rms_norm import rms_norm
from .feedforward import gated_activation, linear_activation
from .linear_loss import linear_cross_entropy
from .recurrent import gru, gru_cell, lstm, lstm_cell, rnn, rnn_cell
from .convolution import average_pool, convolution, max_pool
from . import numpy_functions, precision  # noqa: F401  (NumPy's functions of Tensors; what becomes of bfloat16)

sum, mean, max, var, min = (numpy_functions.MORE_METHODS[op.__name__] for op in (sum, mean, max, var, min))

__all__ = [
    "ACTIVATIONS", "IGNORE_INDEX", "absolute", "add", "astype", "average_pool", "broadcast_to", "clip", "concatenate",
    "convolution", "cos", "cross_entropy", "divide", "dropout", "embedding", "erf", "exp", "expand_dims",
    "gated_activation", "gelu", "gelu_tanh", "getitem", "gru", "gru_cell", "layer_norm", "linear", "linear_activation",
    "linear_cross_entropy", "log", "log_softmax", "logsumexp", "lstm", "lstm_cell", "matmul", "max", "max_pool",
    "maximum", "mean", "merge_heads", "min", "minimum", "multiply", "negative", "power", "relu", "relu_squared",
    "reshape", "rms_norm", "rnn", "rnn_cell", "rotary_embedding", "scaled_dot_product_attention", "sigmoid", "silu",
    "sin", "softmax", "split", "split_heads", "sqrt", "squeeze", "stack", "subtract", "sum", "swapaxes", "tanh",
    "to_device", "transpose", "var", "where",
]


def __getattr__(name: str) -> Any:
    """A function of the library, which is read when it is first asked for."""
    if not name.startswith("_"):
        numpy_functions.library()
        if name in globals():
            return globals()[name]
        if name in numpy_functions.ENTRIES:
            return numpy_functions.ENTRIES[name].function
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    numpy_functions.library()
    return sorted({*globals(), *numpy_functions.ENTRIES})

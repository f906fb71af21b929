"""The differentiable operations: one readable rule each, in the order in which they build on one another."""

from .elementwise import (absolute, add, clip, cos, divide, exp, log, maximum, minimum, multiply, negative, power, sin,
                          sqrt, subtract, tanh, where)
from .reduction import logsumexp, max, mean, min, sum, var
from .shape import broadcast_to, concatenate, expand_dims, reshape, split, squeeze, stack, swapaxes, transpose
from .indexing import embedding, getitem
from .linalg import linear, matmul
from .erf import erf
from .activation import ACTIVATIONS, gelu, log_softmax, relu, sigmoid, silu, softmax
from .normalization import layer_norm
from .dropout import dropout
from .attention import merge_heads, scaled_dot_product_attention, split_heads
from .loss import IGNORE_INDEX, cross_entropy
from . import operators  # noqa: F401  (gives Tensor its operators)
from .casting import astype, to_device
from .rotary import rotary_embedding
from .rms_norm import rms_norm
from .feedforward import gated_activation, linear_activation
from .linear_loss import linear_cross_entropy
from . import numpy_functions, precision  # noqa: F401  (NumPy's functions of Tensors; what becomes of bfloat16)

__all__ = [
    "ACTIVATIONS", "IGNORE_INDEX", "absolute", "add", "astype", "broadcast_to", "clip", "concatenate",
    "cos", "cross_entropy", "divide", "dropout", "embedding", "erf", "exp", "expand_dims", "gated_activation", "gelu",
    "getitem", "layer_norm", "linear", "linear_activation", "linear_cross_entropy", "log", "log_softmax", "logsumexp",
    "matmul", "max", "maximum", "mean", "merge_heads", "min", "minimum", "multiply", "negative", "power", "relu",
    "reshape", "rms_norm", "rotary_embedding", "scaled_dot_product_attention", "sigmoid", "silu", "sin", "softmax",
    "split", "split_heads", "sqrt", "squeeze", "stack", "subtract", "sum", "swapaxes", "tanh", "to_device",
    "transpose", "var", "where",
]

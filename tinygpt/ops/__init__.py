"""The differentiable operations: one readable rule each, in the order in which they build on one another."""

from .elementwise import (absolute, add, astype, clip, cos, divide, exp, log, maximum, minimum, multiply, negative,
                          power, sin, sqrt, subtract, tanh, to_device, where)
from .erf import erf
from .reduction import logsumexp, max, mean, min, sum, var
from .shape import broadcast_to, concatenate, expand_dims, reshape, split, squeeze, stack, swapaxes, transpose
from .indexing import embedding, getitem
from .linalg import linear, matmul
from .activation import gelu, log_softmax, relu, sigmoid, silu, softmax
from .feedforward import ACTIVATIONS, gated_activation, linear_activation
from .normalization import layer_norm, rms_norm
from .dropout import dropout
from .attention import rotary_embedding, scaled_dot_product_attention
from .loss import IGNORE_INDEX, cross_entropy, linear_cross_entropy
from . import precision  # noqa: F401  (says what becomes of bfloat16)
from . import operators  # noqa: F401  (gives Tensor its operators)

__all__ = [
    "ACTIVATIONS", "IGNORE_INDEX", "absolute", "add", "astype", "broadcast_to", "clip", "concatenate", "cos",
    "cross_entropy", "divide", "dropout", "embedding", "erf", "exp", "expand_dims", "gated_activation", "gelu",
    "getitem", "layer_norm", "linear", "linear_activation", "linear_cross_entropy", "log", "log_softmax", "logsumexp",
    "matmul", "max", "maximum", "mean", "min", "minimum", "multiply", "negative", "power", "relu", "reshape",
    "rms_norm", "rotary_embedding", "scaled_dot_product_attention", "sigmoid", "silu", "sin", "softmax", "split",
    "sqrt", "squeeze", "stack", "subtract", "sum", "swapaxes", "tanh", "to_device", "transpose", "var", "where",
]

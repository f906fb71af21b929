"""The layers of a transformer, each a Module of a few lines, in the order in which they build on one another."""

from .module import Module, Parameter
from .linear import Linear
from .embedding import Embedding
from .normalization import LayerNorm, RMSNorm, make_norm
from .dropout import Dropout, seed_dropout
from .positional import RotaryPositions, SinusoidalPositions
from .cache import Cache, LayerCache
from .attention import MultiHeadAttention
from .feedforward import FeedForward
from .block import TransformerBlock

__all__ = [
    "Cache", "Dropout", "Embedding", "FeedForward", "LayerCache", "LayerNorm", "Linear", "Module",
    "MultiHeadAttention", "Parameter", "RMSNorm", "RotaryPositions", "SinusoidalPositions", "TransformerBlock",
    "make_norm", "seed_dropout",
]

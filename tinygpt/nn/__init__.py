"""The layers of a transformer, each a Module of a few lines.

docs/map.md has the reading order of the book's files. The others are further kinds (sinusoidal.py, rotary.py,
relative.py, alibi.py, rms_norm.py, experts.py, padding.py, window.py, post_norm.py, residual.py, normed_attention.py,
cross_attention.py), other networks (recurrent.py, convolution.py), what takes the place of the book's (gated.py,
cache.py), lora.py, blank.py, evaluating.py, and placement.py, which machinery.py puts into Module.
"""

from .module import Module, Parameter
from .placement import MODULE
from ..machinery import install_in
from .linear import Linear
from .embedding import Embedding
from .normalization import LayerNorm
from .dropout import Dropout, seed_dropout
from .evaluating import evaluating
from .positions import LearnedPositions, Positions
from .masks import Causal, Mask
from .sight import Sight
from .attention import MultiHeadAttention
from .feedforward import FeedForward
from .block import Block
from .sinusoidal import SinusoidalPositions
from .rotary import RotaryPositions
from .relative import RelativePositions
from .alibi import AlibiPositions
from .rms_norm import OffsetRMSNorm, RMSNorm
from .gated import FusedFeedForward, GatedFeedForward
from .experts import MixtureOfExperts, balance_loss
from .padding import Both, Padding
from .post_norm import CrossBlock, PostNormBlock, PreNormCrossBlock
from .residual import BranchNormBlock, ParallelBlock, SandwichBlock
from .cache import Cache, CachedSight, DecoderSight, LayerCache
from .window import Window, WindowCache
from .normed_attention import NormedAttention
from .cross_attention import CrossAttention
from .recurrent import GRU, LSTM, RNN
from .convolution import AvgPool1d, AvgPool2d, Conv1d, Conv2d, MaxPool1d, MaxPool2d

install_in(Module, MODULE)

__all__ = [
    "AlibiPositions", "AvgPool1d", "AvgPool2d", "Block", "Both", "BranchNormBlock", "Cache", "CachedSight", "Causal",
    "Conv1d", "Conv2d", "CrossAttention", "CrossBlock", "DecoderSight", "Dropout", "Embedding", "FeedForward",
    "FusedFeedForward", "GRU", "GatedFeedForward", "LSTM", "LayerCache", "LayerNorm", "LearnedPositions", "Linear",
    "Mask", "MaxPool1d", "MaxPool2d", "MixtureOfExperts", "Module", "MultiHeadAttention", "NormedAttention",
    "OffsetRMSNorm", "Padding", "ParallelBlock", "Parameter", "Positions", "PostNormBlock", "PreNormCrossBlock",
    "RMSNorm", "RNN", "RelativePositions", "RotaryPositions", "SandwichBlock", "Sight", "SinusoidalPositions",
    "Window", "WindowCache", "balance_loss", "evaluating", "seed_dropout",
]

"""Fast twins for the CPU, in NumPy: the same mathematics in blocks that stay in the cache, in fewer passes.

Reading order: blocks.py → activation.py → linear.py → feedforward.py → normalization.py → attention.py → loss.py →
embedding.py → dropout.py → shape.py → decoding.py → allocator.py.
"""

from .activation import gelu_blocked, gelu_tanh_blocked, silu_blocked
from .allocator import keep_freed_memory
from .attention import attention_blocked
from .blocks import BLOCK
from .decoding import (
    add_unrecorded, attention_of_a_token, embedding_of_a_token, gelu_of_a_token, gelu_tanh_of_a_token,
    layer_norm_of_a_row,
    linear_activation_of_a_row, linear_of_a_row, rms_norm_of_a_row,
)
from .dropout import dropout_blocked
from .embedding import embedding_segments
from .feedforward import gated_activation_blocked, linear_activation_blocked
from .linear import linear_in_place
from .loss import linear_cross_entropy_chunked
from .normalization import layer_norm_blocked, rms_norm_blocked
from .shape import (add_same_shape, merge_heads_of_a_token, split_heads_of_a_token, split_heads_rejoining,
                    split_rejoining)

__all__ = [
    "BLOCK", "add_same_shape", "add_unrecorded", "attention_blocked", "attention_of_a_token", "dropout_blocked",
    "embedding_of_a_token", "embedding_segments", "gated_activation_blocked", "gelu_blocked", "gelu_of_a_token",
    "gelu_tanh_blocked",
    "gelu_tanh_of_a_token",
    "keep_freed_memory", "layer_norm_blocked", "layer_norm_of_a_row", "linear_activation_blocked",
    "linear_activation_of_a_row", "linear_cross_entropy_chunked", "linear_in_place", "linear_of_a_row",
    "merge_heads_of_a_token", "rms_norm_blocked", "rms_norm_of_a_row", "silu_blocked", "split_heads_of_a_token",
    "split_heads_rejoining", "split_rejoining",
]

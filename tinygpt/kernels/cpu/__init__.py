"""Fast twins for the CPU, in NumPy: the same mathematics in blocks that stay in the cache, in fewer passes.

Reading order: blocks.py → activation.py → linear.py → feedforward.py → normalization.py → attention.py → loss.py →
embedding.py → dropout.py → shape.py → decoding.py → recurrent.py → allocator.py.
"""

from . import (activation, attention, decoding, dropout, embedding, feedforward, linear, loss, normalization, recurrent,
               shape)
from .allocator import keep_freed_memory

__all__ = ["activation", "attention", "decoding", "dropout", "embedding", "feedforward", "keep_freed_memory", "linear",
           "loss", "normalization", "recurrent", "shape"]

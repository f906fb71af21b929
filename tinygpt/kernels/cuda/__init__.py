"""Fused twins for an NVIDIA GPU: the kernels of ../cuda.cu, and how each operation uses them.

They are off unless asked for, with `TINYGPT_KERNELS=cuda` or `kernels.cuda.switch(True)`: a GPU runs the pure rules.
What has been verified of them, and how, stands in docs/cuda.md.

Matrix products of bfloat16 are cuBLAS's, by the twins of linear.py, attention.py and loss.py, whether the kernels are
on or off: nothing else multiplies it.

Reading order: ../cuda.cu → launch.py → activation.py → normalization.py → dropout.py → gemm.py → linear.py →
attention.py → loss.py → embedding.py → adamw.py.
"""

from . import activation, attention, dropout, embedding, linear, loss, normalization
from .adamw import adamw_fused, squared_norm_fused
from .launch import FUSED, fused_kernels, load, switch, switched_on

__all__ = ["FUSED", "activation", "adamw_fused", "attention", "dropout", "embedding", "fused_kernels", "linear", "load",
           "loss", "normalization", "squared_norm_fused", "switch", "switched_on"]

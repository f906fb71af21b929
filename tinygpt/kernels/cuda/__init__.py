"""Fused twins for an NVIDIA GPU: the kernels of ../cuda.cu, and how each operation uses them.

They are off unless asked for, with `TINYGPT_KERNELS=cuda` or `kernels.cuda.switch(True)`: a GPU runs the pure rules.
What has been verified of them, and how, stands in docs/cuda.md.

Matrix products of bfloat16 are cuBLAS's, by the twins of linear.py, attention.py and loss.py, whether the kernels are
on or off: nothing else multiplies it.

Reading order: ../cuda.cu → launch.py → activation.py → normalization.py → dropout.py → gemm.py → linear.py →
attention.py → loss.py → embedding.py → adamw.py.
"""

from .activation import gated_activation_fused, gelu_fused, gelu_tanh_fused, relu_fused, silu_fused
from .adamw import adamw_fused, squared_norm_fused
from .attention import attention_fused
from .dropout import dropout_fused
from .embedding import embedding_bfloat16, embedding_fused
from .launch import FUSED, fused_kernels, load, switch, switched_on
from .linear import add_bfloat16, linear_activation_fused, linear_fused
from .loss import linear_cross_entropy_fused
from .normalization import layer_norm_fused, rms_norm_fused

__all__ = [
    "FUSED", "adamw_fused", "add_bfloat16", "attention_fused", "dropout_fused", "embedding_bfloat16", "embedding_fused",
    "fused_kernels", "gated_activation_fused", "gelu_fused", "gelu_tanh_fused", "layer_norm_fused",
    "linear_activation_fused", "linear_cross_entropy_fused", "linear_fused", "load", "relu_fused", "rms_norm_fused",
    "silu_fused", "squared_norm_fused", "switch", "switched_on",
]

"""What becomes of bfloat16: the few operations that do not follow the rule of engine/bfloat16.py.

Prerequisites: engine/bfloat16.py, linear_loss.py. Next: kernels/.
"""

from ..engine.bfloat16 import PRECISION, Precision
from .attention import merge_heads, split_heads
from .axes import expand_dims, split, squeeze, stack
from .casting import astype, to_device
from .linear_loss import linear_cross_entropy
from .loss import cross_entropy
from .shape import concatenate, reshape, swapaxes, transpose

__all__: list[str] = []

for move in (reshape, transpose, swapaxes, expand_dims, squeeze, concatenate, stack, split, split_heads, merge_heads,
             astype):
    PRECISION[move.operation] = Precision.AS_IS  # type: ignore[attr-defined]

# A loss is one number, or one a token, that figures and decisions are taken from; and the host has no bfloat16.
for end in (cross_entropy, linear_cross_entropy, to_device):
    PRECISION[end.operation] = Precision.WIDE  # type: ignore[attr-defined]

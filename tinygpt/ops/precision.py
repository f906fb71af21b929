"""What becomes of bfloat16: the few operations that do not follow the rule of autograd/bfloat16.py.

Prerequisites: autograd/bfloat16.py, loss.py. Next: operators.py.
"""

from ..autograd import Precision
from .elementwise import astype, to_device
from .loss import cross_entropy, linear_cross_entropy
from .shape import concatenate, expand_dims, reshape, split, squeeze, stack, swapaxes, transpose

__all__: list[str] = []

for move in (reshape, transpose, swapaxes, expand_dims, squeeze, concatenate, stack, split, astype):
    move.operation.precision = Precision.AS_IS  # type: ignore[attr-defined]

# A loss is one number, or one a token, that figures and decisions are taken from; and the host has no bfloat16.
for end in (cross_entropy, linear_cross_entropy, to_device):
    end.operation.precision = Precision.WIDE  # type: ignore[attr-defined]

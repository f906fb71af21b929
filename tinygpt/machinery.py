"""What the whole program puts in the place of which part of the book. Nothing else reaches in.

| the book | in its place | why | compared by |
|---|---|---|---|
| `Operation.engine`: the rule | engine/dispatch.py: `Dispatch` | twins, devices, bfloat16 | every operation's samples |
| a gradient as an array | engine/deferred.py, by way of twins | written where it belongs | tests/kernels/ |
| `no_grad` | engine/no_grad.py | generators | tests/test_autograd.py |
| methods of `Tensor` | placement.py: `TENSOR` | devices | tests/test_fake_device.py |
| NumPy's functions of a `Tensor` | ops/numpy_functions.py | `np.exp(tensor)` | tests/test_operators.py |
| methods of `Module` | placement.py: `MODULE` | devices, types | tests/nn/test_module.py |
| `Parameter` | optim/flat_parameter.py: `FlatParameter` | one array for all | tests/optim/test_flat_adamw.py |
| `FeedForward` | nn/gated.py: `FusedFeedForward` | one pass | tests/nn/test_gated.py |
| `Sight` | nn/cache.py: `CachedSight` | decoding | tests/nn/test_cache.py |
| `GPT` | models/decoder.py: `GPT` | layouts, padding, folders | tests/models/test_book_gpt.py |
| `AdamW` | optim/flat_adamw.py: `AdamW` | in place | tests/optim/test_flat_adamw.py |
| `TextbookBPE`, `Characters` | tokenizers/byte_bpe.py, char.py | speed, files | tests/tokenizers/ |
| `generate` | generation/decode.py | cache, padding, stops | tests/generation/test_loop.py |
| `cross_entropy` of logits | training/losses.py, by ops/linear_loss.py | in chunks | tests/training/test_losses.py |
| `train` | training/trainer.py: `Trainer` | replicas, checkpoints | tests/test_book.py |

The lower half stands by itself: a name in its place is imported where it is used, and the class says which one of the
book it extends. The upper half has to be there before anything runs, and is put there by `install`.

Prerequisites: placement.py, and what the table names. Next: docs/map.md.
"""

from __future__ import annotations

from .autograd.operation import Operation
from .autograd.tensor import Tensor
from .backend import new_array
from .engine.dispatch import Dispatch
from .nn.module import Module
from .ops.numpy_functions import MORE_METHODS, array_function, array_ufunc
from .placement import MODULE, TENSOR

__all__ = ["install"]


def install() -> None:
    """Put the machinery into its places; `import tinygpt` does it once."""
    Operation.engine = Dispatch()
    Tensor.new_array = staticmethod(new_array)
    for owner, members in ((Tensor, MORE_METHODS), (Tensor, TENSOR), (Module, MODULE),
                           (Tensor, {"__array_ufunc__": array_ufunc, "__array_function__": array_function})):
        for name, member in members.items():
            setattr(owner, name, member)

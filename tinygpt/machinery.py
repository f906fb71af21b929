"""What the whole program puts in the place of which part of the book. Nothing else reaches in.

| the book | in its place | why | compared by |
|---|---|---|---|
| `Operation.engine` | engine/dispatch.py: `Dispatch` | twins, devices | tests/kernels/test_cpu_twins.py |
| a gradient's array | engine/deferred.py: `Deferred` | written in place | tests/kernels/test_deferred_gradients.py |
| `no_grad` | engine/no_grad.py: `no_grad` | generators | tests/test_autograd.py |
| `new_array` | backend/host.py: `new_array` | devices, bfloat16 | tests/test_backend.py |
| `Tensor` | placement.py: `TENSOR` | devices | tests/test_fake_device.py |
| `Tensor` in NumPy's calls | ops/numpy_table.py: `NUMPY_FUNCTIONS` | `np.exp(tensor)` | tests/test_operators.py |
| `Module` | nn/placement.py: `MODULE` | devices, types | tests/nn/test_module.py |
| `Parameter` | optim/flat_parameter.py: `FlatParameter` | one array for all | tests/optim/test_flat.py |
| `FeedForward` | nn/gated.py: `FusedFeedForward` | one pass | tests/nn/test_gated.py |
| `Sight` | nn/cache.py: `CachedSight` | decoding | tests/nn/test_cache.py |
| `GPT` | models/decoder.py: `GPT` | layouts, padding, folders | tests/models/test_book_gpt.py |
| `AdamW` | optim/flat_adamw.py: `AdamW` | in place | tests/optim/test_flat_adamw.py |
| `Characters` | tokenizers/char.py: `CharTokenizer` | files | tests/tokenizers/test_characters.py |
| `TextbookBPE` | tokenizers/byte_bpe.py: `ByteBPE` | speed, files | tests/tokenizers/test_textbook_bpe.py |
| `generate` | generation/decode.py: `generate` | cache, padding, stops | tests/generation/test_loop.py |
| `cross_entropy` of logits | ops/linear_loss.py: `linear_cross_entropy` | in chunks | tests/training/test_losses.py |
| `train` | training/trainer.py: `Trainer` | replicas, checkpoints | tests/test_book.py |

tests/test_machinery.py reads this table. It compares all rows at once, too: steps of training and texts by the book
(`by_the_book`) and by the whole program.

The lower half stands by itself: a name in its place is imported where it is used, and the class says which one of the
book it extends. The upper half has to be there before anything runs, and is put there by `install`
and `install_in`.

Prerequisites: placement.py, and what the table names. Next: docs/map.md.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .autograd.operation import Engine, Operation
from .autograd.tensor import Tensor
from .backend import new_array
from .engine.dispatch import Dispatch
from .ops.numpy_functions import MORE_METHODS, array_function, array_ufunc
from .placement import TENSOR

__all__ = ["by_the_book", "install", "install_in"]

_one_at_a_time = threading.RLock()


def install() -> None:
    """Put the machinery into its places, but for the Module's; `import tinygpt` does it once."""
    Operation.engine = Dispatch()
    Tensor.new_array = staticmethod(new_array)
    install_in(Tensor, {**MORE_METHODS, **TENSOR, "__array_ufunc__": array_ufunc,
                        "__array_function__": array_function})


def install_in(owner: type, members: Mapping[str, Any]) -> None:
    """Give a class of the book its further members; `import tinygpt.nn` does it for Module, with its `MODULE`."""
    for name, member in members.items():
        setattr(owner, name, member)


@contextmanager
def by_the_book() -> Iterator[None]:
    """Inside the block the book's engine is at the hook, in every thread: operations are their rules, without twins.
    It is for tests. A block in another thread waits until this one has ended."""
    with _one_at_a_time:
        engine, Operation.engine = Operation.engine, Engine()
        try:
            yield
        finally:
            Operation.engine = engine

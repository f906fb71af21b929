"""How operations are really carried out: by faster twins, on devices, in narrow types, with gradients written in place.

The book knows one hook, `Operation.engine`. This package holds what the whole program puts there.
Reading order: no_grad.py, deferred.py, bfloat16.py, dispatch.py; then kernels/.
"""

__all__: list[str] = []

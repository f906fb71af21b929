"""Reverse-mode automatic differentiation: Tensor, the differentiable rule, and the walk backwards.

A *rule* is a plain function of arrays. It returns its output and a closure that turns the gradient of the output
into the gradients of the inputs; the two stand side by side, so an operation is read, and checked, in one place:

    @differentiable
    def multiply(xp, x, y):
        def backward(g):                        # d(xy) = y dx + x dy
            return unbroadcast(g * y, x), unbroadcast(g * x, y)
        return x * y, backward

Called with Tensors, the operation leaves a `Node` behind that holds the closure and the nodes it came from.
`Tensor.backward` walks these nodes from the newest to the oldest. A node holds arrays, never the Tensors around
them, so a graph is freed the moment its last Tensor goes.

Prerequisites: backend.py. Read in this order: grad_mode.py, graph.py, tensor.py, bfloat16.py, operation.py;
then ops/ (the rules).

The method is that of Linnainmaa (1970); Baydin et al.,
"Automatic differentiation in machine learning: a survey" (JMLR 2018), is a good introduction.
"""

from .bfloat16 import Precision
from .grad_mode import is_grad_enabled, no_grad
from .graph import Backward, Deferred, Gradient, Node, Output, Rule
from .operation import OPS, Operation, Twin, differentiable, unbroadcast
from .tensor import Tensor, wrap

__all__ = [
    "Backward", "Deferred", "Gradient", "Node", "OPS", "Operation", "Output", "Precision", "Rule", "Tensor",
    "Twin", "differentiable", "is_grad_enabled", "no_grad", "unbroadcast", "wrap",
]

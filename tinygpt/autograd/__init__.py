"""Reverse-mode automatic differentiation: Tensor, the differentiable rule, and the walk backwards.

Called with Tensors, an operation leaves a `Node` behind that holds the closure of its rule and the nodes it came from.
`Tensor.backward` walks these nodes from the newest to the oldest. Reading order: graph.py, recording.py, tensor.py,
operation.py; then ops/ (the rules).
"""

from .graph import Backward, Gradient, Node, Output, Rule
from .recording import is_grad_enabled
from .tensor import Tensor, wrap
from .operation import OPS, Engine, Operation, differentiable, unbroadcast
from ..engine.no_grad import no_grad

__all__ = [
    "Backward", "Engine", "Gradient", "Node", "OPS", "Operation", "Output", "Rule", "Tensor", "differentiable",
    "is_grad_enabled", "no_grad", "unbroadcast", "wrap",
]

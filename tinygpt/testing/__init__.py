"""Gradient checking, for this engine's rules and for anybody's functions.

    gradcheck(func, *inputs)              any function of Tensors; with grad=, any function of arrays
    check_vjp(rule, *inputs)              a rule of your own
    @given_grads(x=strategies.tensors())  a property test that shrinks (needs Hypothesis)
    taylor_test(f, params)                a whole loss
    check_model(model, batch)             what a language model promises
    op_db                                 examples of every operation

Reading order, in which imports point back only; each room lists its files in its own first lines:

    oracles/     how a slope is known without a gradient, and what counts as agreement
    reports/     what a check reports
    samples/     examples of every operation
    contracts/   what must hold whatever the numbers are
    gradcheck.py, vjp.py, taylor.py, model.py, strategies.py     the calls above
    registry.py  every operation and every fast twin, for `tinygpt gradcheck`
"""

from . import strategies
from .gradcheck import gradcheck
from .model import check_model
from .reports.report import Finding, GradcheckError, GradcheckReport
from .samples import op_db
from .strategies import given_grads
from .taylor import taylor_test
from .vjp import check_vjp

__all__ = [
    "Finding", "GradcheckError", "GradcheckReport", "check_model", "check_vjp", "given_grads", "gradcheck", "op_db",
    "strategies", "taylor_test",
]

"""Gradient checking, for this engine's rules and for anybody's functions.

    gradcheck(func, *inputs)              any function of Tensors; with grad=, any function of arrays
    check_vjp(rule, *inputs)              a rule of your own
    @given_grads(x=strategies.tensors())  a property test that shrinks (needs Hypothesis)
    taylor_test(f, params)                a whole loss
    check_model(model, batch)             what a language model promises
    op_db                                 examples of every operation

Reading order: report.py, arguments.py, problem.py, oracles.py, compare.py, sweep.py, kinks.py; contracts.py,
tensor_contracts.py, plain_contracts.py; sources.py, snippet.py, gradcheck.py; rules.py, vjp.py, twins.py; samples/;
taylor.py, model.py; values.py, strategies.py.
"""

from . import strategies
from .gradcheck import gradcheck
from .model import check_model
from .report import Finding, GradcheckError, GradcheckReport
from .samples import op_db
from .strategies import given_grads
from .taylor import taylor_test
from .vjp import check_vjp

__all__ = [
    "Finding", "GradcheckError", "GradcheckReport", "check_model", "check_vjp", "given_grads", "gradcheck", "op_db",
    "strategies", "taylor_test",
]

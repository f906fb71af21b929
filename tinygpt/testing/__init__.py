"""Gradient checking, for this engine's rules and for anybody's functions."""

from .gradcheck import gradcheck
from .report import Finding, GradcheckError, GradcheckReport
from .samples import op_db
from .vjp import check_vjp

__all__ = ["Finding", "GradcheckError", "GradcheckReport", "check_vjp", "gradcheck", "op_db"]

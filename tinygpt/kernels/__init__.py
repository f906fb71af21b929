"""Fast twins: functions with the contract of a rule, and its results, that take less time or memory.

A rule says what an operation *is*; a twin says how to get there quickly on one kind of device. The twin is chosen
when the operation is called; what it does not serve (another dtype, an odd layout) it leaves to the rule by returning
NotImplemented. The test suite runs every twin on the samples of its rule and compares outputs and gradients.

Prerequisites: ops/. Next: twins.py, then cpu/, then cuda/.
"""

from .twins import accelerates, disabled
from . import cpu, cuda

__all__ = ["accelerates", "cpu", "cuda", "disabled"]

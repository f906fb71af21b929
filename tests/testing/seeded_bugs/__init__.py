"""Wrong gradients to test the checker with, each switched on by its name: `BUGS["tanh: 1 − y"]`.

A bug is an edit of the real source, so it is as large, and as easy to overlook, as a bug is. None is left out because
it is not caught, and no two differ in the name of the operation only.
"""

from . import engine, library, models, networks, rules, twins, waves  # noqa: F401  (each enters its bugs)
from .cases import BUGS, Bug, Example
from .standins import STANDINS

__all__ = ["BUGS", "Bug", "Example", "STANDINS"]

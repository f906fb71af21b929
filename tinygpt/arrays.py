"""Arrays of any device: the type's name, and the module that computes with them."""

from __future__ import annotations

from .backend import Array, array_module

__all__ = ["Array", "array_module"]

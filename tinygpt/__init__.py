"""tinygpt: a language model's whole life in pure NumPy."""

from ._version import __version__

__all__ = ["__version__"]

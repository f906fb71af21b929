"""A path as a person writes it, with "~" for a home folder.

Prerequisites: shown.py. Next: quiet.py.
"""

from __future__ import annotations

from pathlib import Path

from .shown import shown

__all__ = ["user_path"]


def user_path(path: str | Path) -> Path:
    """The path with "~" and "~name" replaced by home folders.

    Raises:
        FileNotFoundError: there is no such user, or nobody knows their home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise FileNotFoundError(f"{shown(str(path))} begins in a home folder that is not known: is there such a user?"
                                ) from None

"""The header of a .npy file as NumPy writes it for a list of numbers.

NumPy reads headers as Python literals, which nest as deeply as a file wants. A list needs much less: this reads what is
written here, and nothing else.

Next: tokens.py. Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import re
from typing import BinaryIO

import numpy as np

from ..files import shown

__all__ = ["read_npy_header"]

_FORM = re.compile(r"\{'descr': '([<>|=]?[a-zA-Z][0-9]{0,3})', 'fortran_order': (?:False|True), "
                   r"'shape': \(((?:\d{1,15}, ?){0,8}\d{0,15})\), \} *\n")


def read_npy_header(file: BinaryIO) -> tuple[np.dtype, tuple[int, ...]]:
    """(type, shape) of the array in a file of version 1.0, which is left where the array begins.

    Raises:
        ValueError: another version, or no header of a plain array.
    """
    magic, length = file.read(8), int.from_bytes(file.read(2), "little")
    if magic != b"\x93NUMPY\x01\x00":
        raise ValueError("not .npy version 1.0")
    header = file.read(length).decode("latin-1")
    match = _FORM.fullmatch(header)
    try:
        if len(header) == length and match:
            return np.dtype(match[1]), tuple(map(int, match[2].replace(",", " ").split()))
    except (TypeError, ValueError):
        pass
    raise ValueError(f"its header is malformed: {shown(header)}")

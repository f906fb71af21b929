"""Writes GGUF files as other programs do, honest ones and others."""

from __future__ import annotations

import struct

import numpy as np

KINDS = {bool: (7, "<?"), int: (4, "<I"), float: (6, "<f")}


def string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data


def value(found):
    """A kind and a value; of a list, the kind and the values."""
    if isinstance(found, bytes):                            # as it is
        return found
    if isinstance(found, str):
        return struct.pack("<I", 8) + string(found)
    if isinstance(found, list):
        inner = [value(each) for each in found]
        kind = inner[0][:4] if inner else struct.pack("<I", 4)
        return struct.pack("<I", 9) + kind + struct.pack("<Q", len(inner)) + b"".join(each[4:] for each in inner)
    kind, code = KINDS[type(found)]
    return struct.pack("<I", kind) + struct.pack(code, found)


def gguf(settings=(), tensors=(), *, magic=b"GGUF", version=3, n_tensors=None, n_settings=None, alignment=32):
    """The bytes of a file.

    Args:
        settings: values by name. tensors: arrays by name (written as F32), or (number of the type, shape, bytes), or
            the same with an offset.
    """
    settings, tensors = dict(settings), dict(tensors)
    head = magic + struct.pack("<IQQ", version, len(tensors) if n_tensors is None else n_tensors,
                               len(settings) if n_settings is None else n_settings)
    head += b"".join(string(name) + value(found) for name, found in settings.items())
    data = b""
    for name, tensor in tensors.items():
        number, shape, raw, *offset = tensor if isinstance(tensor, tuple) else (
            0, tensor.shape, np.ascontiguousarray(tensor, "<f4").tobytes())
        head += string(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
        head += struct.pack("<IQ", number, *(offset or [len(data)]))
        data += raw + bytes(-len(raw) % alignment)
    return head + bytes(-len(head) % alignment) + data

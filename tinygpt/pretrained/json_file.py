"""JSON objects read from files that nobody vouches for: bounded in size, plain values only, one kind of error.

Next: safetensors_file.py, whose header is JSON, and config_json.py.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..atomic_file import atomic_write

__all__ = ["parse_object", "read_json", "write_json"]

MAX_JSON_BYTES = 64 << 20  # an index of 100,000 tensors takes 10 MB


def parse_object(data: bytes, where: str) -> dict[str, Any]:
    """The JSON object in `data`; a name that stands twice, NaN and Infinity are refused.

    Raises:
        ValueError: not UTF-8, not JSON, nested too deeply, or not an object.
    """
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            raise ValueError("a name stands twice in one object")
        return mapping

    def constant(name: str) -> float:
        raise ValueError(f"{name} is not JSON")

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ValueError(f"{where} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{where} must hold a JSON object, found {type(value).__name__}")
    return value


def read_json(path: str | Path) -> dict[str, Any]:
    """The JSON object that the file `path` holds; `parse_object`'s errors, and a ValueError for a file over 64 MiB."""
    size = os.path.getsize(path)
    if size > MAX_JSON_BYTES:
        raise ValueError(f"{path} has {size:,} bytes; a JSON file of a model has at most {MAX_JSON_BYTES:,}")
    return parse_object(Path(path).read_bytes(), str(path))


def write_json(path: str | Path, value: dict[str, Any]) -> None:
    """Write `value` with sorted names and two spaces of indentation, as Hugging Face does; replaced in one step."""
    with atomic_write(path) as file:
        file.write((json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8"))

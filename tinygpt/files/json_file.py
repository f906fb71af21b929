"""JSON that nobody vouches for: the one reader of it.

Python's parser builds whatever it is given. Three bytes `{},` become 72 bytes of memory, a hundred thousand brackets
exhaust the stack, and a name that stands twice silently keeps its last value. So the text is measured before it is
parsed: how deep it nests and how many values it holds can be told from its brackets and commas, which NumPy counts.

Prerequisites: bounded.py, atomic_file.py. Next: paths.py. RFC 8259.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from .atomic_file import write_text
from .bounded import read_bounded
from .shown import shown

__all__ = ["MAX_JSON_BYTES", "MAX_VALUES", "parse_json", "parse_object", "read_json", "write_json"]

MAX_JSON_BYTES = 64 << 20  # the largest public tokenizer.json has 40 MB, an index of 100,000 tensors 10 MB
MAX_VALUES = 4_000_000  # names and values together: a vocabulary of 256,000 tokens with its merges has 1.3 million
MAX_DEPTH = 100
MAX_DIGITS = 4300  # of a number, as Python has it
_BLOCK = 1 << 20
# Half of a pair that JSON writes a character beyond U+FFFF with, alone; escaped backslashes have been taken out.
_LONE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
                   r"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}")


class _Refused(ValueError):
    """What the hooks below find; its message is for the user."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _Refused(f"the name {shown(name)} is given twice in one object")
    return found


def _constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not JSON")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _Refused(f"a number has {len(digits):,} digits, more than {MAX_DIGITS:,}")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _Refused(f"the number {digits:.40} is too large")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_constant=_constant, parse_int=_integer,
                            parse_float=_float)


def _measure(data: bytes) -> tuple[int, int]:
    """(how deep it nests, how many names and values it holds at most), of JSON or of anything else."""
    deepest = depth = values = 0
    inside = False  # a string
    for start in range(0, len(data), _BLOCK):
        codes = np.frombuffer(data, np.uint8, min(_BLOCK, len(data) - start), start)
        strings = np.logical_xor.accumulate(codes == ord('"')) ^ inside  # True from an opening quote to its closing one
        inside = bool(strings[-1])
        codes = codes[~strings]
        opening = (codes == ord("[")) | (codes == ord("{"))
        steps = opening.astype(np.int32) - ((codes == ord("]")) | (codes == ord("}")))
        heights = depth + np.cumsum(steps)
        if len(heights):
            deepest, depth = max(deepest, int(heights.max())), int(heights[-1])
        values += int(opening.sum() + (codes == ord(",")).sum() + (codes == ord(":")).sum())
    return deepest, values + 1


def _check_size(data: bytes, max_values: int) -> None:
    """Refuse what would take more stack or memory than any honest file."""
    n_brackets = data.count(b"[") + data.count(b"{")
    if n_brackets <= MAX_DEPTH and len(data) <= max_values:
        return  # neither limit can be reached
    deepest, values = _measure(data.replace(b"\\\\", b"  ").replace(b'\\"', b"  "))
    if deepest > MAX_DEPTH:
        raise _Refused(f"nested too deeply: {deepest:,} levels, at most {MAX_DEPTH}")
    if values > max_values:
        raise _Refused(f"it holds {values:,} values, at most {max_values:,} are read")


def _parse(data: bytes | str, max_values: int) -> Any:
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    _check_size(raw, max_values)
    text = data if isinstance(data, str) else data.decode("utf-8")
    text = text.removeprefix("\ufeff")  # a byte-order mark, which some editors write
    if "\\u" in text and (lone := _LONE.search(text.replace("\\\\", "  "))):
        raise _Refused(f"{lone[0]} is half of a character")
    return _DECODER.decode(text)


def parse_json(data: bytes | str, where: str, max_values: int = MAX_VALUES) -> Any:
    """The value that JSON text stands for.

    Refused beside what is no JSON: a name that is given twice in one object, NaN and infinities, half of a surrogate
    pair, and more than any honest file needs: nesting beyond 100 levels, more than `max_values` names and values, and
    numbers of more than 4300 digits.

    Args:
        data: UTF-8, with a byte-order mark or without; its length is the caller's to bound.
        where: the file, and the line if it is one of several, for messages.
        max_values: names and values together.

    Raises:
        ValueError: any of this; the message begins with `where`, and with the line in it where there are several.

    >>> parse_json('{"a": [1, 2.5, null]}', "x.json")
    {'a': [1, 2.5, None]}
    """
    try:
        return _parse(data, max_values)
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if "\n" in error.doc.rstrip() else ""
        raise ValueError(f"{where}{line}: not valid JSON ({error.msg} at column {error.colno})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: not valid JSON (not UTF-8 text: byte {error.object[error.start]:#04x} at "
                         f"{error.start:,})") from None
    except (_Refused, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(f"{where}: not valid JSON ({reason})") from None


def parse_object(data: bytes | str, where: str, max_values: int = MAX_VALUES) -> dict[str, Any]:
    """The JSON object in `data`; `parse_json`'s errors, and a ValueError for any other value."""
    value = parse_json(data, where, max_values)
    if not isinstance(value, dict):
        raise ValueError(f"{where} must hold a JSON object, found {type(value).__name__}")
    return value


def read_json(path: str | Path, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """The JSON object that the file `path` holds; errors as for `parse_object` and `read_bounded`."""
    return parse_object(read_bounded(path, max_bytes, "a JSON file of a model"), str(path))


def write_json(path: str | Path, value: dict[str, Any]) -> None:
    """Write `value` with sorted names and two spaces of indentation, as Hugging Face does; replaced in one step."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")

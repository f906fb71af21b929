"""What may happen to a file: damage, and what somebody with bad intentions writes into it. Seeded: no global state.

Bytes are flipped, cut, repeated and overwritten. In JSON, values are exchanged as well, so that what is wrong lies
deeper than the syntax; the header of a safetensors file is JSON too, and its length is set right again.
"""

from __future__ import annotations

import copy
import json
import random
from typing import Any

SNIPPETS = [b"[" * 3000, b'{"a":' * 3000, b"9" * 5000, b"1e999", b"NaN", b"-Infinity", b"null", b"true", b"\\ud83d",
            b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b[2J", b'"', b'""', b",", b"\n", b"\t", b"{}" * 500, b"\r",
            b"\\", b"\xed\xa0\x80", b"\x1f\x8b"]
VALUES: list[Any] = [None, True, False, 0, 1, -1, 2 ** 31, 2 ** 63, 10 ** 400, 1.5, -0.0, 1e308, "", "x", "x" * 5000,
                     "\x1b[2J", "é", "../../x", "a\nb", [], {}, [[]], [None], {"a": None}, {"": ""}, ["x"] * 50, [0, 0],
                     {"type": "x"}, {"role": "user"}, list(range(300))]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to three things done to them."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        data = rng.choice([_flipped, _cut, _repeated, _overwritten, _inserted, _mutated_json])(data, rng)
    return data


def _place(data: bytes, rng: random.Random) -> int:
    return rng.randrange(len(data) + 1)


def _flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 4])):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[:_place(data, rng)] if rng.random() < 0.5 else data[_place(data, rng):]


def _repeated(data: bytes, rng: random.Random) -> bytes:
    start = _place(data, rng)
    end = min(len(data), start + rng.choice([1, 10, 100, 1000]))
    return data[:start] + data[start:end] * rng.choice([2, 3, 50]) + data[end:]


def _overwritten(data: bytes, rng: random.Random) -> bytes:
    start, new = _place(data, rng), rng.choice(SNIPPETS)
    return data[:start] + new + data[start + len(new):]


def _inserted(data: bytes, rng: random.Random) -> bytes:
    start = _place(data, rng)
    return data[:start] + rng.choice(SNIPPETS) + data[start:]


def _mutated_json(data: bytes, rng: random.Random) -> bytes:
    """One value of the JSON exchanged, removed or moved; other bytes flipped where it is none."""
    head, text, tail = b"", data, b""
    if len(data) > 10 and data[8:9] == b"{":  # safetensors
        length = int.from_bytes(data[:8], "little")
        head, text, tail = data[:8], data[8:8 + length], data[8 + length:]
    lines = text.split(b"\n") if not head and text.count(b"\n{") else [text]
    line = rng.randrange(len(lines))
    try:
        value = json.loads(lines[line])
    except (ValueError, RecursionError):
        return _flipped(data, rng)
    lines[line] = json.dumps(_exchanged(value, rng), ensure_ascii=rng.random() < 0.5).encode("utf-8", "replace")
    text = b"\n".join(lines)
    return (len(text).to_bytes(8, "little") if head else b"") + text + tail


def _exchanged(value: Any, rng: random.Random) -> Any:
    """The value with one place in it changed; text that is JSON again is changed inside."""
    value = copy.deepcopy(value)
    places: list[tuple[Any, Any]] = []

    def walk(holder: Any) -> None:
        for key in (list(holder) if isinstance(holder, dict) else range(len(holder))):
            places.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                walk(holder[key])

    if not isinstance(value, (dict, list)):
        return rng.choice(VALUES)
    walk(value)
    if not places:
        return rng.choice(VALUES)
    holder, key = rng.choice(places[:40] if rng.random() < 0.5 else places)
    old = holder[key]
    what = rng.random()
    if isinstance(old, str) and old.startswith(("{", "[")) and what < 0.8:
        try:
            holder[key] = json.dumps(_exchanged(json.loads(old), rng))
            return value
        except ValueError:
            pass
    if what < 0.1:
        del holder[key]
    elif what < 0.2 and isinstance(old, int):
        holder[key] = old + rng.choice([-1, 1, 1000, 10 ** 9])
    elif what < 0.3:
        holder[key] = copy.deepcopy(rng.choice(places)[0])
    else:
        holder[key] = copy.deepcopy(rng.choice(VALUES))
    return value

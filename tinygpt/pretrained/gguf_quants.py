"""The types of tensors in a GGUF file, and how each becomes float32.

A quantised tensor is a row of blocks. Each block holds a few numbers that all its elements share, scales and minima,
and then its elements, a few bits each. The K types have blocks of 256, whose 16 or 8 parts have small scales of their
own, which are quantised as well.

    Q4_0   x = d (q − 8)        Q4_1   x = d q + m          q from 0 to 15, d and m float16, one for 32 elements
    Q4_K   x = d s q − dₘ m     s and m from 0 to 63, for 32 elements; d and dₘ for 256

Each function takes blocks as bytes, (n, bytes of a block), and gives (n, elements of a block).

Prerequisites: nothing. Next: gguf_file.py. Source: github.com/ggml-org/ggml, whose types these are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["OTHER_TYPES", "TYPES", "TensorType"]

_TWO_BITS = np.array([0, 2, 4, 6], np.uint8)[:, None]  # where the pairs of bits in a byte begin
_HALVES = np.array([0, 4], np.uint8)[:, None]
_EIGHT_BITS = np.arange(8, dtype=np.uint8)[:, None]


def _half(blocks: np.ndarray, at: int) -> np.ndarray:
    """(n, 1): the float16 that stands at a byte of each block."""
    return np.ascontiguousarray(blocks[:, at:at + 2]).view("<f2").astype(np.float32)


def _nibbles(data: np.ndarray) -> np.ndarray:
    """(n, k) bytes -> (n, 2 k): the lower halves, then the upper halves."""
    return np.concatenate([data & 15, data >> 4], axis=1)


def _fifth_bits(blocks: np.ndarray, at: int) -> np.ndarray:
    """(n, 32): 16 where the bit of an element is set, else 0; the bits stand in four bytes."""
    return np.unpackbits(blocks[:, at:at + 4], axis=1, bitorder="little") << 4


def _f32(blocks: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(blocks).view("<f4")


def _f16(blocks: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(blocks).view("<f2").astype(np.float32)


def _bf16(blocks: np.ndarray) -> np.ndarray:  # the upper half of a float32
    wide = np.ascontiguousarray(blocks).view("<u2").astype("<u4")
    wide <<= 16
    return wide.view("<f4")


def _q4_0(blocks: np.ndarray) -> np.ndarray:
    return (_nibbles(blocks[:, 2:]).astype(np.float32) - 8) * _half(blocks, 0)


def _q4_1(blocks: np.ndarray) -> np.ndarray:
    return _nibbles(blocks[:, 4:]) * _half(blocks, 0) + _half(blocks, 2)


def _q5_0(blocks: np.ndarray) -> np.ndarray:
    q = _nibbles(blocks[:, 6:]) | _fifth_bits(blocks, 2)
    return (q.astype(np.float32) - 16) * _half(blocks, 0)


def _q5_1(blocks: np.ndarray) -> np.ndarray:
    return (_nibbles(blocks[:, 8:]) | _fifth_bits(blocks, 4)) * _half(blocks, 0) + _half(blocks, 2)


def _q8_0(blocks: np.ndarray) -> np.ndarray:
    return blocks[:, 2:].view(np.int8) * _half(blocks, 0)


def _scaled(q: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """q (n, 256) in as many parts as there are scales (n, parts), each times its scale, as (n, parts, size)."""
    n, parts = scales.shape
    return q.reshape(n, parts, -1) * scales[:, :, None]


def _q2_k(blocks: np.ndarray) -> np.ndarray:
    n, scales = len(blocks), blocks[:, :16]
    q = blocks[:, 16:80].reshape(n, 2, 1, 32) >> _TWO_BITS & 3  # (n, 2, 4, 32): in the order of the elements
    x = _scaled(q, _half(blocks, 80) * (scales & 15)) - (_half(blocks, 82) * (scales >> 4))[:, :, None]
    return x.reshape(n, 256)


def _q3_k(blocks: np.ndarray) -> np.ndarray:
    n, packed = len(blocks), blocks[:, 96:108]
    low = (blocks[:, 32:96].reshape(n, 2, 1, 32) >> _TWO_BITS & 3).reshape(n, 256)
    third_bit = (blocks[:, None, :32] >> _EIGHT_BITS & 1).reshape(n, 256)
    q = low.astype(np.int8) - 4 * (1 - third_bit.astype(np.int8))
    upper = (packed[:, None, 8:] >> _TWO_BITS & 3).reshape(n, 16)  # of the scales: six bits, in two places
    scales = (_nibbles(packed[:, :8]) | upper << 4).astype(np.float32) - 32
    return _scaled(q, _half(blocks, 108) * scales).reshape(n, 256)


def _scales_and_minima(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 12) bytes -> eight scales and eight minima of six bits, each (n, 8)."""
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    return (np.concatenate([first & 63, third & 15 | first >> 6 << 4], axis=1),
            np.concatenate([second & 63, third >> 4 | second >> 6 << 4], axis=1))


def _with_minima(q: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """The elements of Q4_K and Q5_K, whose blocks begin alike."""
    scales, minima = _scales_and_minima(blocks[:, 4:16])
    x = _scaled(q, _half(blocks, 0) * scales) - (_half(blocks, 2) * minima)[:, :, None]
    return x.reshape(len(blocks), 256)


def _q4_k(blocks: np.ndarray) -> np.ndarray:
    return _with_minima(blocks[:, 16:144].reshape(-1, 4, 1, 32) >> _HALVES & 15, blocks)


def _q5_k(blocks: np.ndarray) -> np.ndarray:
    low = blocks[:, 48:176].reshape(-1, 4, 1, 32) >> _HALVES & 15  # (n, 4, 2, 32)
    fifth_bit = blocks[:, None, 16:48] >> _EIGHT_BITS & 1  # (n, 8, 32)
    return _with_minima(low.reshape(fifth_bit.shape) | fifth_bit << 4, blocks)


def _q6_k(blocks: np.ndarray) -> np.ndarray:
    n = len(blocks)
    low = (blocks[:, :128].reshape(n, 2, 1, 64) >> _HALVES & 15).reshape(n, 256)
    upper = (blocks[:, 128:192].reshape(n, 2, 1, 32) >> _TWO_BITS & 3).reshape(n, 256)
    q = (low | upper << 4).astype(np.int8) - 32
    return _scaled(q, _half(blocks, 208) * blocks[:, 192:208].view(np.int8)).reshape(n, 256)


@dataclass(frozen=True)
class TensorType:
    """A type that is read.

    Attributes:
        name: the format's.
        elements, size: of one block, the second in bytes.
        widen: bytes (n, size) -> float32 (n, elements).
    """

    name: str
    elements: int
    size: int
    widen: Callable[[np.ndarray], np.ndarray]


TYPES = {  # by the format's number
    0: TensorType("F32", 1, 4, _f32),
    1: TensorType("F16", 1, 2, _f16),
    30: TensorType("BF16", 1, 2, _bf16),
    2: TensorType("Q4_0", 32, 18, _q4_0),
    3: TensorType("Q4_1", 32, 20, _q4_1),
    6: TensorType("Q5_0", 32, 22, _q5_0),
    7: TensorType("Q5_1", 32, 24, _q5_1),
    8: TensorType("Q8_0", 32, 34, _q8_0),
    10: TensorType("Q2_K", 256, 84, _q2_k),
    11: TensorType("Q3_K", 256, 110, _q3_k),
    12: TensorType("Q4_K", 256, 144, _q4_k),
    13: TensorType("Q5_K", 256, 176, _q5_k),
    14: TensorType("Q6_K", 256, 210, _q6_k),
}
OTHER_TYPES = {  # which are not read, by name in the message
    9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S",
    22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0",
    35: "TQ2_0", 39: "MXFP4",
}

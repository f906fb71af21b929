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


def tiny_llama(path, *, n_layer=1, c=8, inner=12, context=64):
    """Write a llama of random weights, whose tokens are printable bytes, a space, a line end and two special ones."""
    tokens = [chr(i) for i in range(33, 127)] + ["Ġ", "Ċ", "<|im_start|>", "<|im_end|>"]
    rng, v = np.random.default_rng(0), len(tokens)
    shapes = {"token_embd.weight": (v, c), "output_norm.weight": (c,)}
    for i in range(n_layer):
        shapes |= {f"blk.{i}.{name}.weight": shape for name, shape in {
            "attn_norm": (c,), "ffn_norm": (c,), "attn_q": (c, c), "attn_k": (c // 2, c), "attn_v": (c // 2, c),
            "attn_output": (c, c), "ffn_gate": (inner, c), "ffn_up": (inner, c), "ffn_down": (c, inner)}.items()}
    settings = {
        "general.architecture": "llama", "general.license": "cc0", "llama.block_count": n_layer,
        "llama.context_length": context, "llama.embedding_length": c, "llama.feed_forward_length": inner,
        "llama.attention.head_count": 2, "llama.attention.head_count_kv": 1,
        "llama.attention.layer_norm_rms_epsilon": 1e-5, "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": [1] * (v - 2) + [3, 3],
        "tokenizer.ggml.merges": [], "tokenizer.ggml.bos_token_id": v - 2,
        "tokenizer.ggml.eos_token_id": v - 1}
    path.write_bytes(gguf(settings, {name: rng.normal(0, 0.3, shape) for name, shape in shapes.items()}))
    return path

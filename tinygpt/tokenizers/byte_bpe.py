"""Byte-level byte-pair encoding, GPT-2's tokenizer.

Read before: `base.py`, `patterns.py`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from .base import Tokenizer
from .byte_alphabet import BYTE_ORDER
from .patterns import compile_pattern
from .special import SpecialTokens

__all__ = ["ByteBPE"]

_ID_OF_BYTE = {byte: i for i, byte in enumerate(BYTE_ORDER)}


def _merge(ids: tuple[int, ...], pair: tuple[int, int], new_id: int) -> tuple[int, ...]:
    out: list[int] = []
    i = 0
    while i < len(ids):
        if ids[i:i + 2] == pair:
            out.append(new_id)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return tuple(out)


class ByteBPE(Tokenizer):
    """Byte-level BPE: ids 0–255 are the bytes in GPT-2's order, then one id per merge, then the special tokens."""

    def __init__(self, merges: Sequence[tuple[int, int]], special_tokens: Iterable[str] = (),
                 pattern: str = "gpt2") -> None:
        self.merges = [tuple(pair) for pair in merges]
        self.pattern = pattern
        self._split = compile_pattern(pattern)
        self._bytes = [bytes([byte]) for byte in BYTE_ORDER]
        for left, right in self.merges:
            self._bytes.append(self._bytes[left] + self._bytes[right])
        self._ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self.special = SpecialTokens({name: len(self._bytes) + i for i, name in enumerate(special_tokens)})

    @classmethod
    def train(cls, texts: str | Iterable[str], vocab_size: int = 1024, special_tokens: Iterable[str] = (),
              pattern: str = "gpt2") -> ByteBPE:
        """Learn the merges from a text, or from several."""
        special_tokens = list(special_tokens)
        n_merges = vocab_size - 256 - len(special_tokens)
        if n_merges < 0:
            raise ValueError(f"vocab_size is {vocab_size}, but 256 bytes and {len(special_tokens)} special tokens need "
                             f"{256 + len(special_tokens)} ids; raise vocab_size")
        split = compile_pattern(pattern)
        pieces: Counter[tuple[int, ...]] = Counter()
        for text in [texts] if isinstance(texts, str) else texts:
            for piece in split.findall(text):
                pieces[tuple(_ID_OF_BYTE[byte] for byte in piece.encode("utf-8"))] += 1
        merges: list[tuple[int, int]] = []
        while len(merges) < n_merges:
            counts: Counter[tuple[int, int]] = Counter()
            for ids, count in pieces.items():
                for pair in pairwise(ids):
                    counts[pair] += count
            if not counts:
                break
            best = min(counts, key=lambda pair: (-counts[pair], pair))
            pieces = Counter({_merge(ids, best, 256 + len(merges)): n for ids, n in pieces.items()})
            merges.append(best)
        return cls(merges, special_tokens, pattern)

    @property
    def n_vocab(self) -> int:
        return len(self._bytes) + len(self.special.ids)

    def token_bytes(self, token_id: int) -> bytes:
        if 0 <= token_id < len(self._bytes):
            return self._bytes[token_id]
        if token_id in self.special.names:
            return self.special.names[token_id].encode("utf-8")
        raise IndexError(f"token id {token_id} is outside the vocabulary of {self.n_vocab}")

    def _encode_plain(self, text: str) -> list[int]:
        out: list[int] = []
        for piece in self._split.findall(text):
            ids = tuple(_ID_OF_BYTE[byte] for byte in piece.encode("utf-8"))
            while len(ids) > 1:
                best = min(pairwise(ids), key=lambda pair: self._ranks.get(pair, len(self.merges)))
                if best not in self._ranks:
                    break
                ids = _merge(ids, best, 256 + self._ranks[best])
            out += ids
        return out

    def save(self, folder: str | Path) -> None:
        os.makedirs(folder, exist_ok=True)
        with open(Path(folder) / "tokenizer.json", "w", encoding="utf-8") as file:
            json.dump({"model": {"type": "BPE", "merges": self.merges}, "pattern": self.pattern,
                       "added_tokens": [{"id": i, "content": name} for name, i in self.special.ids.items()]}, file)

    @classmethod
    def load(cls, folder: str | Path) -> ByteBPE:
        with open(Path(folder) / "tokenizer.json", encoding="utf-8") as file:
            saved = json.load(file)
        return cls([tuple(pair) for pair in saved["model"]["merges"]],
                   [token["content"] for token in saved["added_tokens"]], saved["pattern"])

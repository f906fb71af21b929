"""SentenceEncoder: one vector for a text, such that texts of similar meaning have similar ones.

A model reads the text, and a few small steps make one vector of its tokens' features: pooling, perhaps a linear layer,
perhaps a norm. A folder of sentence-transformers says which (pretrained/sentence_folder.py).

Shapes: N texts, B batch, T time, C channels, D numbers of a vector.

Prerequisites: pooling.py, auto.py, data/texts.py. Next: evaluation/, pipelines/. Reimers and Gurevych, "Sentence-BERT"
(2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from .. import ops
from ..autograd import Tensor, no_grad
from ..backend import to_device, to_numpy
from ..data.texts import encode_within, similar_lengths
from ..nn import evaluating
from ..pretrained import resolve_folder
from ..pretrained.sentence_folder import DenseStep, Modules, PoolingStep, Step, read_modules
from ..tokenizers import Tokenizer, load_tokenizer
from .auto import load_model
from .bert import BERT
from .decoder import GPT
from .pooling import pool

__all__ = ["SentenceEncoder", "cosines"]

SMALLEST_LENGTH = 1e-12  # of a vector that is divided by its length


class SentenceEncoder:
    """Texts to vectors.

    Args:
        model: a BERT or a GPT; its head, if it has one, is not used.
        tokenizer: the model's.
        modules: what follows on the model, as a folder says it; by default the mean over the tokens.

    Raises:
        TypeError: another kind of model.
        ValueError: a linear layer of another width.

    Example: `SentenceEncoder.from_pretrained("all-MiniLM-L6-v2").encode(["How old are you?", "What is your age?"])`
    """

    def __init__(self, model: BERT | GPT, tokenizer: Tokenizer, modules: Modules | None = None) -> None:
        if not isinstance(model, (BERT, GPT)):
            raise TypeError(f"vectors of texts need a BERT or a GPT, got {type(model).__name__}")
        self.model, self.tokenizer, self.modules = model, tokenizer, Modules() if modules is None else modules
        width = model.config.n_embd
        for step in self.modules.steps:
            if isinstance(step, PoolingStep):
                width *= len(step.kinds)
            elif isinstance(step, DenseStep):
                if step.weight.shape[1] != width:
                    raise ValueError(f"a linear layer of these modules takes {step.weight.shape[1]} numbers, and gets "
                                     f"{width}")
                width = len(step.weight)
        self.size = width if self.modules.size is None else min(width, self.modules.size)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str | None = None, dtype: Any = None) -> Self:
        """The encoder of a folder, of a GGUF file, or of a name on the Hugging Face Hub; arguments as for `load_model`.

        Raises:
            FileNotFoundError, ValueError: as for `load_model`, `load_tokenizer` and `read_modules`.
        """
        path = resolve_folder(folder)
        modules = read_modules(path)
        inner = path / modules.base if modules.base else path
        model, tokenizer = load_model(inner, device=device, dtype=dtype), load_tokenizer(inner)
        model.check_tokenizer(len(tokenizer), f"the tokenizer in {folder}")
        return cls(model, tokenizer, modules)  # type: ignore[arg-type]  # checked there

    def encode(self, texts: str | Sequence[str], *, prompt: str | None = None, batch_size: int = 32,
               track: Callable[[Iterator[Any], int], Iterable[Any]] = lambda batches, total: batches) -> np.ndarray:
        """The vectors of texts, (N, D) float32 in their order; of a single text, (D,). Long texts lose their end.

        Args:
            texts: read in batches of similar length.
            prompt: what stands before every text; by default what the folder says.
            batch_size: texts read at once. It changes the speed, and results by rounding only.
            track: watches the batches: it is given them and their number, and yields them again.

        Raises:
            TypeError: something else than texts.
            ValueError: a text without a token, or no room beside the tokenizer's template.
        """
        if isinstance(texts, str):
            return self.encode([texts], prompt=prompt, batch_size=batch_size, track=track)[0]
        if other := [text for text in texts if not isinstance(text, str)]:
            raise TypeError(f"encode takes texts, got {type(other[0]).__name__}")
        prompt = self.modules.prompt if prompt is None else prompt
        rows = self._ids([prompt + text for text in texts])
        found = np.empty((len(rows), self.size), np.float32)
        n_prompt = self._prompt_length(prompt)
        with no_grad(), evaluating(self.model):
            batches = similar_lengths(rows, batch_size, self.model.config.pad_token_id or 0)
            for places, ids, mask in track(batches, -(-len(rows) // batch_size)):
                x = self.model.features(ids, mask)  # (B, T, C)
                for step in self.modules.steps:
                    x = _apply(step, x, mask, n_prompt)  # (B, D)
                found[places] = to_numpy(x.data)[:, :self.size]
        return found

    def _ids(self, texts: list[str]) -> list[list[int]]:
        block_size = self.model.config.block_size
        if self.modules.lower_case:
            texts = [text.lower() for text in texts]
        length = min(self.modules.max_length or block_size, block_size)
        return encode_within(self.tokenizer, texts, length, truncation=True)

    def _prompt_length(self, prompt: str) -> int:
        """How many tokens a prompt has, with what the tokenizer's template puts before it."""
        return len(self._ids([prompt])[0]) - len(self.tokenizer.suffix_ids) if prompt else 0


def _apply(step: Step, x: Tensor, mask: np.ndarray, n_prompt: int) -> Tensor:
    """One step: pooling (B, T, C) -> (B, C), then (B, C) -> (B, D)."""
    if isinstance(step, PoolingStep):
        if not step.include_prompt:
            mask = mask * (np.arange(mask.shape[1]) >= n_prompt)
        return ops.concatenate([pool(x, mask, kind) for kind in step.kinds], axis=-1)
    if isinstance(step, DenseStep):
        weight, bias = (None if array is None else to_device(array, x.device) for array in (step.weight, step.bias))
        x = ops.linear(x, weight, bias)
        return x if step.activation is None else getattr(ops, step.activation)(x)
    return x / ops.maximum(ops.sqrt(ops.sum(x * x, axis=-1, keepdims=True)), SMALLEST_LENGTH)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cosine of the angle between two vectors; (…, D) each, which broadcast, to (…) float64.

    >>> cosines(np.array([3.0, 4.0]), np.array([[3.0, 4.0], [4.0, -3.0]])).tolist()
    [1.0, 0.0]
    """
    a, b = (x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), SMALLEST_LENGTH)
            for x in (np.asarray(a, np.float64), np.asarray(b, np.float64)))
    return (a * b).sum(axis=-1)

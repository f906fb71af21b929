"""Texts continued by a model, to be judged: the beginnings of given texts, and what it makes of them.

Prerequisites: diversity.py. Next: robustness.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..generation import absent, left_pad
from ..models import CausalLM
from ..tokenizers import Tokenizer
from .running import Track, evaluating, untracked

__all__ = ["continue_texts"]


def continue_texts(model: CausalLM, tokenizer: Tokenizer, texts: Sequence[str], *, prompt_tokens: int = 8,
                   max_new_tokens: int = 64, temperature: float = 0.8, seed: int = 0,
                   batch_size: int = 32, track: Track = untracked) -> list[str]:
    """What the model writes after the first tokens of each text; the beginning itself is left out.

    Args:
        model: switched to `eval` for the time being.
        texts: none empty.
        prompt_tokens: how many tokens of each text to begin with, at most.
        max_new_tokens, temperature: as for `GPT.generate`.
        seed: text number k is continued with the seed `seed + k`.
        batch_size: texts continued at once.
        track: watches the batches.

    Raises:
        ValueError: an empty text, or settings that nothing can be generated with.
    """
    prompts = [[*tokenizer.prefix_ids, *ids[:prompt_tokens]][:model.config.block_size]
               for ids in tokenizer.encode_batch(texts, add_special_tokens=False)]
    nameless, found = absent(tokenizer.ids, model.config.vocab_size), []
    with evaluating(model):
        starts = range(0, len(prompts), batch_size)
        for start in track(starts, len(starts)):
            ids, mask = left_pad(prompts[start:start + batch_size], model.config.pad_token_id or 0)
            written = model.generate(ids, max_new_tokens, attention_mask=mask, temperature=temperature,
                                     seed=seed + start, suppress_tokens=nameless)[:, ids.shape[1]:]  # (B, new)
            found += [tokenizer.decode(row, skip_special_tokens=True) for row in written]
    return found

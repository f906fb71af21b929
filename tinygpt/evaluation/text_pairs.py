"""What a model thinks of a text after another one: a decoder by likelihood, an encoder by pseudo-likelihood.

A decoder predicts the second text token by token from all before it. A masked model sees both sides, so each token of
the second text is hidden in turn and guessed from all others:

    decoder          Σ log p(token t | tokens before t)
    masked model     Σ log p(token t | all other tokens)          a pseudo-likelihood: it is no probability of the text

Both order texts, so both answer questions of multiple choice. Costs of the two kinds cannot be compared.

Context and continuation are tokenized together and cut after as many tokens as the context alone has; a space at the
end of the context belongs to the continuation. So do lm-evaluation-harness and others, and the tokens are those that
the model met in training.

Prerequisites: likelihood.py, masked_words.py. Next: questions.py. Salazar et al., "Masked language model scoring"
(2020).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops
from ..autograd import no_grad
from ..data import similar_lengths
from ..models import BERT, CausalLM, PretrainedModel
from ..tokenizers import Tokenizer
from .likelihood import score_continuations
from .masked_words import guess_masked
from .running import Track, Unfit, evaluating, untracked

__all__ = ["TextScores", "encode_pair", "pair_scorer", "score_texts"]

TextPair = tuple[str, str]


@dataclass(frozen=True)
class TextScores:
    """What continuations came to, one element for each.

    Attributes:
        nats: what each costs: −log p, or the pseudo-likelihood's.
        first: whether the model's first choice was right at every token.
        n_tokens: how many tokens each has.
    """

    nats: np.ndarray
    first: np.ndarray
    n_tokens: np.ndarray


def encode_pair(tokenizer: Tokenizer, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """The ids of a context and of what follows it, tokenized together; without special tokens.

    Raises:
        ValueError: a text that the tokenizer cannot write, or a continuation without a token.

    >>> from tinygpt.tokenizers import ByteBPE
    >>> tok = ByteBPE.train("the cat sat on the mat " * 5, 280)
    >>> [tok.decode(ids) for ids in encode_pair(tok, "the cat ", "sat")]
    ['the cat', ' sat']
    """
    bare = context.rstrip()
    continuation, context = context[len(bare):] + continuation, bare
    before = tokenizer.encode(context, add_special_tokens=False) if context else []
    after = tokenizer.encode(context + continuation, add_special_tokens=False)[len(before):]
    if not after:  # the last word of the context and the continuation are one token
        after = tokenizer.encode(continuation, add_special_tokens=False)
    if not after:
        raise ValueError(f"the tokenizer makes no token of {continuation[:40]!r}")
    return before, after


def _by_likelihood(model: Any, tokenizer: Tokenizer, pairs: Sequence[tuple[list[int], list[int]]],
                   sizes: Sequence[int], places: Sequence[str], batch_size: int, track: Track) -> TextScores:
    """A decoder's. Nothing before the first token: what begins a text stands there, or else it is not predicted."""
    prefix = tokenizer.prefix_ids or tuple(
        token for token in (tokenizer.bos_token_id, tokenizer.eos_token_id) if token is not None)[:1]
    whole = []
    for where, (before, after) in zip(places, pairs):
        begun = [*tokenizer.prefix_ids, *before] if before else list(prefix)
        if not begun and len(after) < 2:
            raise Unfit(f"{where}: nothing stands before a text of one token, and this tokenizer has none that "
                        "begins texts")
        whole.append((begun, after) if begun else (after[:1], after[1:]))
    nats, first = score_continuations(model, whole, sizes, batch_size, track)
    return TextScores(nats, first, np.array([len(after) for _, after in pairs]))


def _by_pseudo_likelihood(model: Any, tokenizer: Tokenizer, pairs: Sequence[tuple[list[int], list[int]]],
                          sizes: Sequence[int], places: Sequence[str], batch_size: int, track: Track) -> TextScores:
    """A masked model's: as many rows as tokens, each with another one hidden."""
    if tokenizer.mask_token_id is None:
        raise ValueError("a pseudo-likelihood needs a tokenizer with a mask token")
    prefix, suffix = list(tokenizer.prefix_ids), list(tokenizer.suffix_ids)
    room = model.config.block_size - len(prefix) - len(suffix)
    rows: list[list[int]] = []
    hidden_at, targets, owners = [], [], []
    for owner, (before, after) in enumerate(pairs):
        if len(after) > room:
            raise Unfit(f"{places[owner]}: a text of {len(after):,} tokens does not fit the model's context of "
                        f"{model.config.block_size}")
        text = [*prefix, *(before[-(room - len(after)):] if len(after) < room else []), *after, *suffix]
        for place in range(len(text) - len(suffix) - len(after), len(text) - len(suffix)):
            rows.append([*text[:place], tokenizer.mask_token_id, *text[place + 1:]])
            hidden_at.append(place)
            targets.append(text[place])
            owners.append(owner)
    nats, first = np.zeros(len(pairs)), np.ones(len(pairs), dtype=bool)
    with evaluating(model), no_grad():
        batches = similar_lengths(rows, batch_size, model.config.pad_token_id or 0)
        for numbers, ids, mask in track(batches, -(-len(rows) // batch_size)):
            at = np.array([hidden_at[number] for number in numbers]) + np.arange(len(numbers)) * ids.shape[1]
            hidden = np.array([targets[number] for number in numbers])
            logits = guess_masked(model, ids, at, mask)  # (B, V)
            whose = [owners[number] for number in numbers]
            np.add.at(nats, whose, ops.cross_entropy(logits, hidden, reduction="none").data)
            np.logical_and.at(first, whose, logits.argmax(axis=1) == hidden)
    return TextScores(nats, first, np.array([len(after) for _, after in pairs]))


def pair_scorer(model: PretrainedModel) -> Callable[..., TextScores] | None:
    """What scores texts with this model; None where it can score none."""
    if isinstance(model, CausalLM) and getattr(model.config, "head") == "lm":
        return _by_likelihood
    return _by_pseudo_likelihood if isinstance(model, BERT) and model.config.head == "masked_lm" else None


def score_texts(model: PretrainedModel, tokenizer: Tokenizer, pairs: Sequence[TextPair], sizes: Sequence[int],
                places: Sequence[str] = (), batch_size: int = 64, track: Track = untracked) -> TextScores:
    """Score the second text of each pair after the first, which may be empty.

    Args:
        model: a decoder or a masked model; switched to `eval` for the time being.
        sizes: how many pairs in a row belong to one question, whose beginning is read once.
        places: where each question comes from, for messages.
        batch_size, track: as for `score_continuations`.

    Raises:
        ValueError: a model of another kind; or a text that the tokenizer cannot write, or one too long for a masked
            model, named by its place.
    """
    scorer = pair_scorer(model)
    if scorer is None:
        raise ValueError("scoring texts needs a decoder, or an encoder with a masked-word head")
    owners = np.repeat(np.arange(len(sizes)), sizes).tolist()
    encoded = []
    named = [places[owner] if len(places) else f"question {owner + 1}" for owner in owners]
    for where, (context, continuation) in zip(named, pairs):
        try:
            encoded.append(encode_pair(tokenizer, context, continuation))
        except ValueError as error:
            raise Unfit(f"{where}: {error}") from None
    return scorer(model, tokenizer, encoded, sizes, named, batch_size, track)

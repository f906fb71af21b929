"""The loop of loop.py with a cache, padding, ends and streaming: the same tokens, sooner and for more.

The loop knows no model. It calls a function

    step(ids, cache) -> logits              ids (B, t) -> (B, V), or (B, t, V), of which the last position counts

with a cache that `make_cache(B)` made, and gives it each token once: first the whole prompt, then one token at a time.
A cache that holds the beginning of the prompts already (`cache.length` tokens, all but the last at most) gets the rest.
Without a cache (`make_cache=None`) the step sees the whole text every time: slower, and the same result; that is the
simplest thing to decode from, any function of ids will do.

A step that treats each row for itself, whichever others come with it, may be called with fewer rows than there are
(`copies`): a prompt that stands there several times is read once, and rows that have finished are left out.

Rows of unequal length are padded on the left, so that all of them end in the last column. Then the step is called as
`step(ids, cache, attention_mask=mask)`, where mask (B, cache.length + t) is 1 at tokens and 0 at padding: it must look
at no padding and count positions from each row's first token, so that padding changes nothing.

When a text outgrows `context_length`, the window slides: the step sees the last `context_length` tokens, as in
nanoGPT. Every token then stands at a new position, so what the cache holds is void, and the whole window is read
again for each token. A *prompt* that is too long is more likely a mistake, and is an error unless the caller says
`long_prompt="crop"`.

Prerequisites: loop.py, strategies.py, rules.py, text.py. Next: beam.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from ..autograd import Tensor
from ..backend import to_numpy
from .sampling import row_generators
from .strategies import Sampling, choose
from .text import Decode, TextStream

__all__ = ["ApplyRules", "MakeCache", "Step", "as_list", "check_prompt", "generate", "last_logits", "left_pad",
           "stream", "stream_text"]

Step = Callable[..., Any]
ApplyRules = Callable[[np.ndarray, np.ndarray], np.ndarray]
MakeCache = Callable[[int], Any]
Stop = str | int | Sequence[str | int]


def left_pad(prompts: Sequence[Sequence[int]], pad_token_id: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Prompts of any lengths as one batch: ids (B, T), and the attention mask (B, T), 1 at tokens and 0 at padding.

    Raises:
        ValueError: no prompts, or an empty one.
    """
    for row, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {row} is empty, expected at least one token to start from")
    if not prompts:
        raise ValueError("no prompts, expected at least one")
    width = max(len(prompt) for prompt in prompts)
    ids = np.full((len(prompts), width), pad_token_id, dtype=np.int64)
    mask = np.zeros((len(prompts), width), dtype=np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt):] = prompt
        mask[row, width - len(prompt):] = 1
    return ids, mask


def as_list(value: Any) -> list[Any]:
    """None, one value or several, as a list."""
    return [] if value is None else [value] if isinstance(value, (str, int, np.integer)) else list(value)


def check_prompt(ids: Any, attention_mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """Prompts and attention mask (None: no padding) as int64 host arrays, both (B, T).

    Raises:
        ValueError, TypeError: shapes, dtypes or padding that decoding cannot start from.
    """
    ids = np.asarray(ids)
    if ids.ndim != 2:
        raise ValueError(f"prompt ids have shape {ids.shape}, expected (B, T): one row for each prompt")
    if 0 in ids.shape:
        raise ValueError(f"prompt ids have shape {ids.shape}, expected at least one row of at least one token")
    if ids.dtype.kind not in "iu":
        raise TypeError(f"prompt ids are {ids.dtype}, expected integers")
    mask = np.ones(ids.shape, dtype=np.int64) if attention_mask is None else np.asarray(attention_mask) != 0
    mask = mask.astype(np.int64)
    if mask.shape != ids.shape:
        raise ValueError(f"attention_mask has shape {mask.shape}, expected that of the ids, {ids.shape}")
    if not (np.diff(mask, axis=1) >= 0).all() or not mask[:, -1].all():
        raise ValueError("attention_mask must be 0s, then 1s, in each row: pad prompts on the left (left_pad does)")
    return ids.astype(np.int64), mask


def last_logits(output: Any) -> np.ndarray:
    """What a step returned, a Tensor or an array (B, V) or (B, t, V), as a host array (B, V)."""
    logits = output.data if isinstance(output, Tensor) else output
    return to_numpy(logits[:, -1] if logits.ndim == 3 else logits)


class _Reader:
    """Calls the step, with all rows or with those that matter, and keeps the cache.

    Attributes:
        at: the rows that the step is called with. place: for each row, which of those stands for it.
    """

    def __init__(self, step: Step, make_cache: MakeCache | None, n_rows: int, copies: int | None) -> None:
        self.step, self.make_cache, self.copies = step, make_cache, copies
        self.place = np.arange(n_rows) // (copies or 1)
        self.at = np.arange(n_rows)[::copies or 1]
        self.cache = self._new_cache()

    def _new_cache(self) -> Any:
        return None if self.make_cache is None else self.make_cache(len(self.at))

    @property
    def n_read(self) -> int:
        """How many tokens of each row the cache holds already."""
        return getattr(self.cache, "length", 0)

    def __call__(self, unread: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """Logits (B, V) for unread ids (B, t), with an attention mask where there is padding."""
        padding = {} if mask is None else {"attention_mask": mask[self.at]}
        return last_logits(self.step(unread[self.at], self.cache, **padding))[self.place]

    def leave_out(self, finished: np.ndarray) -> None:
        """From the second token on each row stands for itself; and when half of those that are read have finished, the
        others go on without them."""
        going = np.flatnonzero(~finished)
        if self.copies is None or not len(going) or self.copies == 1 and 2 * len(going) > len(self.at):
            return
        if self.cache is not None:
            self.cache = self.cache.taken(self.place[going], 0)
        self.copies, self.at = 1, going
        self.place = np.zeros_like(self.place)
        self.place[going] = np.arange(len(going))

    def forget(self) -> None:
        """Read everything again."""
        self.cache = self._new_cache()


def _loop(
    step: Step, ids: np.ndarray, mask: np.ndarray, max_new_tokens: int, sampling: Sampling,
    generators: list[np.random.Generator], make_cache: MakeCache | None, context_length: int | None,
    last_ids: np.ndarray, texts: list[TextStream], pad_token_id: int, rules: ApplyRules | None, copies: int | None,
) -> Iterator[np.ndarray]:
    """`stream` with its arguments checked."""
    rows = np.arange(len(ids))
    finished = np.zeros(len(ids), dtype=bool)
    seen: np.ndarray | None = None
    text = np.where(mask != 0, ids, -1)  # all that stands so far, for the rules; the window may have lost its beginning
    visible = min(int(mask.sum(axis=1).max()), context_length or ids.shape[1])  # columns that hold more than padding
    window, window_mask = ids[:, -visible:], mask[:, -visible:]  # what the step may look at
    padded = not window_mask.all()
    read = _Reader(step, make_cache, len(ids), copies)
    unread = window[:, read.n_read:]  # what the step has not been given yet
    for _ in range(max_new_tokens):
        logits = read(unread, window_mask if padded else None)  # (B, V)
        if rules is not None:
            logits = rules(logits.copy(), text)
        if sampling.repetition_penalty != 1.0:
            if seen is None:
                seen = np.zeros(logits.shape, dtype=bool)
                at_row, at_column = mask.nonzero()
                seen[at_row, ids[at_row, at_column]] = True
        tokens = np.where(finished, pad_token_id, choose(logits, generators, sampling, seen))  # (B,)
        if seen is not None:
            seen[rows, tokens] = True
        for row, streamed in enumerate(texts):
            if not finished[row]:
                streamed.push(int(tokens[row]))
                finished[row] = streamed.stopped
        if last_ids.size:
            finished |= np.isin(tokens, last_ids)

        text = text if rules is None else np.concatenate([text, tokens[:, None]], axis=1)
        window = np.concatenate([window, tokens[:, None]], axis=1)
        window_mask = np.concatenate([window_mask, np.ones_like(window_mask[:, :1])], axis=1)
        unread = tokens[:, None] if make_cache is not None else window
        if context_length is not None and window.shape[1] > context_length:
            window, window_mask = window[:, -context_length:], window_mask[:, -context_length:]
            padded = not window_mask.all()
            unread = window
            read.forget()
        yield tokens
        if finished.all():
            return
        read.leave_out(finished)


def stream(
    step: Step, ids: np.ndarray, *, max_new_tokens: int, sampling: Sampling = Sampling(), seed: int | None = None,
    make_cache: MakeCache | None = None, context_length: int | None = None,
    long_prompt: Literal["error", "crop"] = "error", attention_mask: np.ndarray | None = None,
    eos_token_id: int | Sequence[int] | None = None, stop: Stop | None = None, decode: Decode | None = None,
    pad_token_id: int | None = None, rules: ApplyRules | None = None, copies: int | None = None,
) -> Iterator[np.ndarray]:
    """Yield the next token of every row, (B,) int64, as soon as it is chosen.

    Args:
        step: (ids (B, t), cache) -> logits; see the top of this file.
        ids: prompts (B, T), T >= 1.
        max_new_tokens: at most so many tokens a row.
        sampling: how tokens are chosen.
        seed: row b draws from (seed, b), whatever the other rows do; None draws a fresh seed.
        make_cache: B -> an empty cache for B rows; None decodes without one.
        context_length: how many tokens the step can see; None for no limit.
        long_prompt: what to do with a prompt beyond `context_length`: raise, or let the step see its end, with a
            warning.
        attention_mask: (B, T), 1 at tokens and 0 at padding, which stands on the left; None for no padding.
        eos_token_id: tokens that finish a row; None for none.
        stop: further tokens (int) or texts (str) that finish a row. A text may be cut between tokens; it counts from
            the first new token on.
        decode: ids -> text; stop texts need it.
        pad_token_id: what finished rows are filled with; None takes the first end-of-sequence token, or else 0.
        rules: (logits (B, V), ids so far (B, T), -1 at padding) -> logits to choose by instead, such as -inf for tokens
            that must not be written (rules.py).
        copies: each prompt stands there so many times, in a row, and the step may be called with any of the rows; None
            if it wants them all.

    Raises:
        ValueError: a prompt that is empty, too long, or not padded on the left; a setting outside its range.
        TypeError: ids that are not integers.
    """
    ids, mask = check_prompt(ids, attention_mask)
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens is {max_new_tokens}, expected at least 0")
    longest = int(mask.sum(axis=1).max())
    if context_length is not None and longest > context_length:
        message = f"the prompt has {longest} tokens, but the model's context holds {context_length}"
        if long_prompt == "error":
            raise ValueError(f"{message}; shorten the prompt, or crop it to its last {context_length} tokens")
        warnings.warn(f"{message}: the model sees only the last {context_length} of them", stacklevel=2)
    end_ids = as_list(eos_token_id)
    stop_ids = [token for token in as_list(stop) if not isinstance(token, str)]
    stop_texts = [text for text in as_list(stop) if isinstance(text, str)]
    if stop_texts and decode is None:
        raise ValueError(f"stop texts {stop_texts} need `decode`, such as tokenizer.decode, to be found among tokens")
    texts = [TextStream(decode, stop_texts) for _ in ids] if stop_texts and decode is not None else []
    if pad_token_id is None:
        pad_token_id = end_ids[0] if end_ids else 0
    return _loop(step, ids, mask, max_new_tokens, sampling, row_generators(seed, len(ids)), make_cache,
                 context_length, np.array(end_ids + stop_ids, dtype=np.int64), texts, pad_token_id, rules, copies)


def generate(step: Step, ids: np.ndarray, *, max_new_tokens: int, **options: Any) -> np.ndarray:
    """Prompts (B, T) and their continuations, (B, T + new) int64.

    A row that finishes keeps the token that finished it and is filled with `pad_token_id` from there on. new is
    `max_new_tokens`, or less where every row has finished.

    Args:
        step, ids, max_new_tokens, options: as for `stream`.
    """
    columns = list(stream(step, ids, max_new_tokens=max_new_tokens, **options))
    return np.concatenate([np.asarray(ids, dtype=np.int64), *(tokens[:, None] for tokens in columns)], axis=1)


def _pieces(tokens: Iterator[np.ndarray], last_ids: set[int], text: TextStream) -> Iterator[str]:
    for (token,) in tokens:
        if token not in last_ids:
            piece = text.push(int(token))
            if piece:
                yield piece
    rest = text.flush()
    if rest:
        yield rest


def stream_text(
    step: Step, ids: np.ndarray, *, decode: Decode, max_new_tokens: int,
    eos_token_id: int | Sequence[int] | None = None, stop: Stop | None = None, **options: Any,
) -> Iterator[str]:
    """Yield the continuation of one prompt as text, piece by piece: whole characters, nothing from a stop text on.

    Tokens that end the text (`eos_token_id`, and `stop` where it is a token) are not part of it.

    Args:
        ids: one prompt (1, T).
        decode: ids -> text, as TextStream takes it.
        step, max_new_tokens, eos_token_id, stop, options: as for `stream`.

    Raises:
        ValueError: more than one prompt, and what `stream` raises.
    """
    if len(ids) != 1:
        raise ValueError(f"stream_text continues one prompt, got {len(ids)}; call it for each, or use stream")
    last_ids = {token for token in as_list(eos_token_id) + as_list(stop) if not isinstance(token, str)}
    text = TextStream(decode, [string for string in as_list(stop) if isinstance(string, str)])
    tokens = stream(step, ids, max_new_tokens=max_new_tokens, eos_token_id=eos_token_id, stop=stop, decode=decode,
                    **options)
    return _pieces(tokens, last_ids, text)

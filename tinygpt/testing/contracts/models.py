"""What a language model promises, one function each: not gradients alone, but what gradients are computed of.

Each takes a `Subject`, the model with a batch, and returns a sentence if the promise is broken, "" if it is kept, or
None if the model has nothing to keep it with (no cache, say). The model runs in float64.

Shapes: B batch, T time, V vocabulary.

Prerequisites: base.py. Next: samples/, gradcheck.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import ops
from ...autograd import Tensor, no_grad
from ...backend import to_device, to_numpy
from .base import near

__all__ = ["CHECKS", "CLOSE32", "Loss", "Subject", "gap", "loss_of_logits", "mean_gradients"]

CLOSE = 1e-8  # of the largest logit, in float64: the same sums in another order
CLOSE32 = 2e-2


Loss = Callable[[Any, dict[str, np.ndarray]], tuple[Tensor, float]]


class Subject:
    """A model, a batch, and random choices.

    Args:
        model: called as model(ids, …) or, for an encoder-decoder, model(ids, decoder_ids, …).
        batch: ids and targets, and what else the model is called with.
        rng: draws everything that is random.
        causal: whether later tokens must not matter.
        loss: (model, batch) -> the sum of the losses of its targets, and how many these are.

    Attributes:
        key: the batch's key for the text whose next tokens are predicted: "decoder_ids" or "ids".
        text: (B, T) its ids.
        n_vocab: V.
        logits: (B, T, V) for the whole batch.
    """

    def __init__(self, model: Any, batch: dict[str, np.ndarray], rng: np.random.Generator, causal: bool,
                 loss: Loss) -> None:
        self.model, self.batch, self.rng, self.causal, self.loss = model, batch, rng, causal, loss
        self.key = "decoder_ids" if "decoder_ids" in batch else "ids"
        self.text = batch[self.key]
        self.parameters = dict(model.named_parameters())
        self.logits = self.run()
        self.n_vocab = self.logits.shape[-1]

    def run(self, rows: Any = slice(None), **changes: Any) -> np.ndarray:
        """The logits of some rows of the batch, with inputs exchanged or added, without a graph."""
        with no_grad():
            return to_numpy(self.on_tape(rows, **changes).data)

    def on_tape(self, rows: Any = slice(None), **changes: Any) -> Tensor:
        """The same with a graph."""
        inputs: dict[str, Any] = {key: self.batch[key][rows] for key in ("ids", "decoder_ids", "attention_mask")
                                  if key in self.batch}
        inputs |= changes
        ordered = [inputs.pop(key) for key in ("ids", "decoder_ids") if key in inputs]
        return self.model(*ordered, **inputs)

    def accepts(self, name: str) -> bool:
        """Whether the model can be called with an argument of this name."""
        forward = getattr(self.model, "forward", self.model)
        return name in inspect.signature(forward).parameters

    def gradients(self, output: Tensor, cotangent: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """The gradient of every parameter, zeros where none arrives."""
        for p in self.parameters.values():
            p.grad = None
        output.backward(None if cotangent is None else to_device(cotangent.astype(output.dtype), output.device))
        return self.collected()

    def collected(self, times: float = 1.0) -> dict[str, np.ndarray]:
        """What has come together at every parameter, divided by a number."""
        return {name: np.zeros(p.shape) if p.grad is None else to_numpy(p.grad) / times
                for name, p in self.parameters.items()}

    def unlike(self, tokens: np.ndarray) -> np.ndarray:
        """Other tokens, each different from the one in its place."""
        return (tokens + self.rng.integers(1, max(2, self.n_vocab), tokens.shape)) % self.n_vocab


def loss_of_logits(model: Any, batch: dict[str, np.ndarray]) -> tuple[Tensor, float]:
    """The sum of the cross entropies of what a model predicts, and the weight of all targets."""
    inputs = {key: value for key, value in batch.items() if key not in ("targets", "weights")}
    ordered = [inputs.pop(key) for key in ("ids", "decoder_ids") if key in inputs]
    logits = model(*ordered, **inputs)
    targets, weights = batch["targets"], batch.get("weights")
    arrays = [None if x is None else to_device(x, logits.device) for x in (targets, weights)]
    counted = targets != ops.IGNORE_INDEX
    return ops.cross_entropy(logits, *arrays, reduction="sum"), float(
        counted.sum() if weights is None else weights[counted].sum())


def gap(a: np.ndarray, b: np.ndarray) -> str:
    """How far two arrays are apart, in words."""
    with np.errstate(all="ignore"):
        return f"{a.shape} to {b.shape}" if a.shape != b.shape else f"by up to {np.abs(a - b).max(initial=0):.3g}"


def mean_gradients(s: Subject) -> dict[str, np.ndarray]:
    """The gradients of the mean loss, half of what two backward passes add up to."""
    for p in s.parameters.values():
        p.grad = None
    for _ in range(2):
        total, count = s.loss(s.model, s.batch)
        (total / count).backward()
    return s.collected(2.0)


def repeatable(s: Subject) -> str | None:
    """The same batch gives the same logits."""
    again = s.run()
    if np.array_equal(s.logits, again):
        return ""
    return f"the logits change from one run to the next {gap(s.logits, again)}"


def finite(s: Subject) -> str | None:
    """No NaN and no infinity among the logits."""
    return "" if np.isfinite(s.logits).all() else "some logits are not finite"


def causal(s: Subject) -> str | None:
    """Changing the tokens after t leaves the logits up to t alone."""
    length = s.text.shape[1]
    if not s.causal or length < 2:
        return None
    for t in sorted({0, length - 2, *s.rng.integers(0, length - 1, 4).tolist()}):
        changed = s.text.copy()
        changed[:, t + 1:] = s.unlike(changed[:, t + 1:])
        logits = s.run(**{s.key: changed})
        if not near(s.logits[:, :t + 1], logits[:, :t + 1], 0.0, CLOSE):
            return (f"logits up to position {t} change with tokens after it "
                    f"{gap(s.logits[:, :t + 1], logits[:, :t + 1])}")
        if length > t + 1 and np.array_equal(s.logits[:, t + 1:], logits[:, t + 1:]):
            return f"logits after position {t} do not depend on the tokens there"
    return ""


def causal_gradient(s: Subject) -> str | None:
    """The gradient of the logits up to t is exactly zero for tokens after it."""
    length = s.text.shape[1]
    if not s.causal or length < 2 or s.n_vocab < 3:
        return None
    t = int(s.rng.integers(0, length - 1))
    marker = int(s.rng.integers(0, s.n_vocab))  # stands after t only; its logit is left out, for weights may be tied
    without: dict[str, np.ndarray] = {key: np.where(s.batch[key] == marker, (marker + 1) % s.n_vocab, s.batch[key])
                                      for key in ("ids", "decoder_ids") if key in s.batch}
    marked = {key: text.copy() for key, text in without.items()}
    marked[s.key][:, t + 1:] = marker

    def gradients(inputs: dict[str, np.ndarray], until: int) -> dict[str, np.ndarray]:
        logits = s.on_tape(**inputs)
        cotangent = s.rng.standard_normal(logits.shape)
        cotangent[:, until:] = 0
        cotangent[..., marker] = 0
        return s.gradients(logits, cotangent)
    # Tables of the vocabulary are known by this: a token that is not there has a row of zeros.
    tables = [name for name, g in gradients(without, length).items()
              if g.ndim == 2 and len(g) == s.n_vocab and not g[marker].any() and g.any()]
    if not tables:
        return None
    later = gradients(marked, t + 1)
    for name in tables:
        if later[name][marker].any():
            return f"logits up to position {t} have a gradient for {name} of a token that stands after it only"
    return ""


def cache(s: Subject) -> str | None:
    """Fed in random chunks, with a cache, the logits are those of one pass."""
    if not s.causal or not hasattr(s.model, "new_cache") or not s.accepts("cache"):
        return None
    rows, length = s.text.shape
    for _ in range(3):
        cuts = np.unique(s.rng.integers(0, length + 1, max(1, length // 2)))
        bounds = [0, *(int(cut) for cut in cuts if 0 < cut < length), length]
        held = s.model.new_cache(rows, length)
        parts = []
        for start, end in zip(bounds, bounds[1:]):
            changes: dict[str, Any] = {s.key: s.text[:, start:end], "cache": held}
            if "attention_mask" in s.batch and s.key == "ids":
                changes["attention_mask"] = s.batch["attention_mask"][:, :end]
            parts.append(s.run(**changes))
        logits = np.concatenate(parts, axis=1)
        if not near(s.logits, logits, 0.0, CLOSE):
            return f"with a cache, in chunks that end at {bounds[1:]}, the logits differ {gap(s.logits, logits)}"
    return ""


def batch_independence(s: Subject) -> str | None:
    """A row's logits do not depend on the other rows, and rows in another order give the logits in that order."""
    for row in range(len(s.text)):
        alone = s.run(slice(row, row + 1))
        if not near(s.logits[row:row + 1], alone, 0.0, CLOSE):
            return f"row {row} alone gives other logits than in the batch {gap(s.logits[row:row + 1], alone)}"
    order = s.rng.permutation(len(s.text))
    permuted = s.run(order)
    if not near(s.logits[order], permuted, 0.0, CLOSE):
        return f"rows in another order give other logits {gap(s.logits[order], permuted)}"
    return ""


def padding(s: Subject) -> str | None:
    """Padding changes nothing at the tokens, whatever ids it is made of: on the right, for decoders on the left too."""
    if not s.accepts("attention_mask") or "attention_mask" in s.batch:
        return None
    ids, extra = s.batch["ids"], 2
    room = getattr(getattr(s.model, "config", None), "block_size", None)
    if room is not None and ids.shape[1] + extra > room:
        if room <= extra:
            return None
        ids = ids[:, :room - extra]
    expected = s.logits if s.key != "ids" else s.run(ids=ids)
    n = ids.shape[1]
    for side in ("left", "right") if s.causal and s.key == "ids" else ("right",):
        for fill in (0, s.n_vocab - 1):
            block = np.full((len(ids), extra), fill, dtype=ids.dtype)
            parts = [block, ids] if side == "left" else [ids, block]
            mask = np.concatenate([np.zeros_like(p) if p is block else np.ones_like(p) for p in parts], axis=1)
            logits = s.run(ids=np.concatenate(parts, axis=1), attention_mask=mask)
            if s.key == "ids":
                logits = logits[:, extra:] if side == "left" else logits[:, :n]
            if not near(expected, logits, 0.0, CLOSE):
                return f"padding on the {side} with id {fill} changes the logits at the tokens {gap(expected, logits)}"
    return ""


def padding_gradient(s: Subject) -> str | None:
    """A text that is nothing but padding gives no NaN, forward or backward, and leaves the other rows alone."""
    if not s.accepts("attention_mask") or len(s.text) < 2:
        return None
    mask = s.batch.get("attention_mask", np.ones_like(s.batch["ids"])).copy()
    mask[0] = 0
    logits = s.on_tape(attention_mask=mask)
    rest = to_numpy(logits.data)[1:]
    if not near(s.logits[1:], rest, 0.0, CLOSE):
        return f"a row of nothing but padding changes the others {gap(s.logits[1:], rest)}"
    cotangent = s.rng.standard_normal(logits.shape)
    cotangent[0] = 0
    if not all(np.isfinite(g).all() for g in s.gradients(logits, cotangent).values()):
        return "a row of nothing but padding makes gradients that are not finite"
    return ""


def loss(s: Subject) -> str | None:
    """The loss is the cross entropy of the logits, fused or not, and counts its targets."""
    targets = s.batch["targets"]
    if targets.shape != s.logits.shape[:-1]:
        return None
    top = s.logits.max(axis=-1, keepdims=True)
    total = top[..., 0] + np.log(np.exp(s.logits - top).sum(axis=-1))
    picked = np.take_along_axis(s.logits, np.where(targets < 0, 0, targets)[..., None], axis=-1)[..., 0]
    weights = (targets != -100) * s.batch.get("weights", np.ones(targets.shape))
    expected = float(((total - picked) * weights).sum())
    with no_grad():
        got, count = s.loss(s.model, s.batch)
    if not near(np.asarray(expected), np.asarray(got.item()), 1.0, CLOSE):
        return f"the loss is {got.item():.9g}, the sum of the cross entropies of the logits {expected:.9g}"
    if not near(np.asarray(weights.sum()), np.asarray(float(count)), 1.0, CLOSE):
        return f"the loss counts {float(count):.9g} targets, the batch has {weights.sum():.9g}"
    return ""


def accumulation(s: Subject) -> str | None:
    """Sums over micro-batches of unequal token counts, divided by the count of all, are the whole batch's gradient."""
    rows = len(s.text)
    if rows < 2:
        return None
    batch = {key: value.copy() for key, value in s.batch.items()}
    targets = batch["targets"]
    ragged = s.rng.random(targets.shape) < np.linspace(0.1, 0.7, rows).reshape(-1, *[1] * (targets.ndim - 1))
    for row in ragged:
        row.flat[0] = False  # so that each row counts
    batch["targets"] = np.where(ragged, -100, targets)
    counted = (batch["targets"] != -100) * batch.get("weights", np.ones(targets.shape))
    if not counted.sum():
        return None
    total, count = s.loss(s.model, batch)
    whole = s.gradients(total / count)
    cut = int(s.rng.integers(1, rows))
    for p in s.parameters.values():
        p.grad = None
    for part in (slice(0, cut), slice(cut, None)):
        total, _ = s.loss(s.model, {key: value[part] for key, value in batch.items()})
        total.backward(to_device(np.asarray(1 / counted.sum(), dtype=total.dtype), total.device))
    for name, p in s.parameters.items():
        got = np.zeros(p.shape) if p.grad is None else to_numpy(p.grad)
        if not near(whole[name], got, 1e-6, CLOSE):
            return f"over two micro-batches the gradient of {name} differs from the whole {gap(whole[name], got)}"
    return ""


CHECKS: dict[str, Callable[[Subject], str | None]] = {
    check.__name__: check for check in (
        finite, repeatable, causal, causal_gradient, cache, batch_independence, padding, padding_gradient,
        loss, accumulation)}

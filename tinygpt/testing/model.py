"""`check_model`: what a language model promises, looked at on one batch.

The promises of contracts/models.py, then the gradient of the loss by a Taylor test, which sees a tied weight as what it
is, one number in two places; and float32 against float64.

Prerequisites: contracts/models.py, taylor.py. Next: strategies.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..nn.evaluating import evaluating
from ..ops import IGNORE_INDEX
from .contracts.base import near
from .contracts.models import CHECKS, CLOSE32, Loss, Subject, gap, loss_of_logits, mean_gradients
from .oracles.parameters import in_float64, named
from .oracles.problem import host_array, leaves_of, restored
from .reports.report import Finding, GradcheckReport
from .taylor import taylor_test

__all__ = ["check_model"]

SMALL_GRADIENT = 0.01  # of the largest of all parameters: what is smaller may be what is left where all cancels


def check_model(model: Any, batch: Any, *, causal: bool | None = None, loss: Loss = loss_of_logits,
                seed: int = 0, raise_exception: bool = True) -> GradcheckReport:
    """Check causality, cache, padding, batch independence, loss, accumulation, precision and gradient of a model.

    The model is called as `model(ids)`, `model(ids, attention_mask=…)` and `model(ids, cache=model.new_cache(B, T))`;
    encoder-decoders take `decoder_ids` as well. What it cannot do is left out, and the report says so. It runs in
    evaluation mode and in float64; weights and mode are restored.

    Args:
        model: any object that can be called so, with `named_parameters()`.
        batch: ids, targets, and what else the model takes, by name; or ids (B, T) alone, whose targets are the next
            ids.
        causal: whether later tokens must not matter; by default if the model has a cache.
        loss: (model, batch) -> the sum of the losses of the targets, and how many these are, as an objective has it; by
            default the cross entropy of the logits.
        seed: of all random choices.
        raise_exception: raise GradcheckError unless all promises are kept.

    Returns:
        a report, true only if all that was looked at is right; `oracles` names what was.

    Raises:
        GradcheckError: a promise is broken (with raise_exception).
        ValueError: a batch without ids or targets, ids of another form, or no target that counts.
    """
    batch = _as_batch(batch)
    report = GradcheckReport(type(model).__name__, seed)
    causal = hasattr(model, "new_cache") if causal is None else causal
    rng = np.random.default_rng(seed)
    parameters = named(model)
    others = leaves_of("the loss", lambda: [loss(model, batch)[0]], parameters.values())
    with evaluating(model), restored([*parameters.values(), *others]):
        narrow = Subject(model, batch, rng, causal, loss)
        slopes = _said(lambda: mean_gradients(narrow))
        with in_float64(parameters.values()):
            subject = Subject(model, batch, rng, causal, loss)
            for name, check in CHECKS.items():
                _record(report, name.replace("_", " "), _said(lambda: check(subject)))
            _record(report, "float32 against float64", slopes if isinstance(slopes, str) else
                    _said(lambda: _precision(narrow.logits, slopes, subject)))

    def mean_loss() -> Any:
        total, count = loss(model, batch)
        return total / count

    taylor = taylor_test(mean_loss, model, seed=seed, raise_exception=False)
    report.oracles["gradient of the loss"] += 1
    report.findings += taylor.findings
    report.evaluations += taylor.evaluations
    return report.checked(raise_exception)


def _said(check: Callable[[], Any]) -> Any:
    """What the check says; an exception is a broken promise too."""
    try:
        return check()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _precision(logits: np.ndarray, slopes: dict[str, np.ndarray], wide: Subject) -> str | None:
    """Logits and gradients in float32 are near to those in float64. Where an optimizer holds the weights, these
    gradients have come together in its array."""
    if logits.dtype != np.float32:
        return None
    if not near(wide.logits, logits.astype(np.float64), 1.0, CLOSE32):
        return f"the float32 logits differ from the float64 ones {gap(wide.logits, logits)}"
    expected = mean_gradients(wide)
    least = SMALL_GRADIENT * max(float(np.abs(g).max(initial=0)) for g in expected.values())
    for name, g in expected.items():
        if not near(g, slopes[name].astype(np.float64), least, CLOSE32):
            return f"the float32 gradient of {name} differs from the float64 one {gap(g, slopes[name])}"
    return ""


def _record(report: GradcheckReport, label: str, broken: str | None) -> None:
    if broken is None:
        report.note(f"{label}: not looked at, for this model or this batch has nothing to look at")
        return
    report.oracles[label] += 1
    if broken:
        report.findings.append(Finding("contract", f"{label}: {broken}", oracle=label))


def _as_batch(batch: Any) -> dict[str, np.ndarray]:
    """A dictionary of host arrays with ids and targets."""
    if not isinstance(batch, Mapping):
        ids = host_array(batch)
        _check_ids("ids", ids)
        targets = np.full_like(ids, IGNORE_INDEX)
        targets[:, :-1] = ids[:, 1:]
        batch = {"ids": ids, "targets": targets}
    missing = [key for key in ("ids", "targets") if key not in batch]
    if missing:
        raise ValueError(f"check_model: the batch has no {' and no '.join(missing)}; it has {', '.join(batch)}")
    found = {key: np.asarray(value) for key, value in batch.items() if value is not None}
    for key in ("ids", "decoder_ids"):
        _check_ids(key, found.get(key))
    if not (found["targets"] != IGNORE_INDEX).any():
        raise ValueError("check_model: none of the targets counts, so there is no loss to look at: give texts of two "
                         "tokens or more")
    return found


def _check_ids(key: str, ids: np.ndarray | None) -> None:
    if ids is not None and (ids.ndim != 2 or ids.dtype.kind not in "iu" or not ids.size):
        one = "; write ids[None, :] for one text" if ids.ndim == 1 else ""
        raise ValueError(f"check_model: {key} must be integers of shape (texts, tokens), at least one of each, got "
                         f"{ids.dtype} of shape {ids.shape}{one}")

"""Does a model know what it knows? Confidence beside accuracy, and one number that mends most of the difference.

A classifier that says 90% should be right nine times in ten. Answers are sorted into bins by the probability of the
label that was chosen; in each bin the mean confidence stands beside the accuracy. The **expected calibration error** is
their mean distance, weighted by how many answers a bin has. **Temperature scaling** divides all logits by one number T,
fitted on data that were not trained on: no label changes, only how sure it is. **Selective answering** leaves the least
sure answers to somebody else: accuracy against coverage.

What it does not see: errors that are alike for all inputs of a bin cancel out; data of another kind than those that T
was fitted on.

Shapes: N texts, K labels.

Prerequisites: classification.py, labelling.py. Next: bleu.py. Guo et al., "On calibration of modern neural networks"
(2017); Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning" (2015).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import ops

__all__ = ["Bin", "calibration_error", "fit_temperature", "reliability", "scaled", "selective_accuracy"]

COOLEST, HOTTEST = 1e-2, 1e2


@dataclass(frozen=True)
class Bin:
    """Answers of similar confidence: how many, how sure on average, and the share that was right."""

    n: int
    confidence: float
    accuracy: float


def _checked(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ValueError(f"calibration needs probabilities (N, K) and N labels, N ≥ 1; got {probabilities.shape} and "
                         f"{labels.shape}")
    return probabilities, labels


def reliability(probabilities: np.ndarray, labels: np.ndarray, n_bins: int = 10) -> list[Bin]:
    """The bins that hold an answer, from the least sure; bins are equally wide.

    Args:
        probabilities: (N, K). labels: (N,) numbers of the right labels.

    >>> reliability(np.array([[0.9, 0.1], [0.8, 0.2], [0.45, 0.55]]), np.array([0, 1, 1]), n_bins=2)
    [Bin(n=3, confidence=0.75, accuracy=0.6666666666666666)]
    """
    probabilities, labels = _checked(probabilities, labels)
    if n_bins < 1:
        raise ValueError(f"n_bins is {n_bins}, expected at least 1")
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum(np.ceil(sure * n_bins).astype(int) - 1, n_bins - 1)
    return [Bin(int(own.sum()), float(sure[own].mean()), float(right[own].mean()))
            for number in range(n_bins) if (own := place == number).any()]


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, n_bins: int = 10) -> float:
    """The expected calibration error, 0 … 1; arguments as for `reliability`."""
    bins = reliability(probabilities, labels, n_bins)
    return sum(found.n * abs(found.confidence - found.accuracy) for found in bins) / len(labels)


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """(N, K): the probabilities that logits divided by `temperature` give; above 1 less sure, below 1 surer."""
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), 1e-300))
    return ops.softmax(logits / temperature, axis=-1).data


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the least cross entropy; arguments as for `reliability`.

    The loss has one minimum in log T, which golden section search finds.

    >>> p = np.array([[0.99, 0.01]] * 10)
    >>> round(float(scaled(p, fit_temperature(p, np.array([0] * 8 + [1] * 2)))[0, 0]), 3)
    0.8
    """
    probabilities, labels = _checked(probabilities, labels)
    rows = np.arange(len(labels))

    def loss(log_t: float) -> float:
        return -float(np.log(np.maximum(scaled(probabilities, np.exp(log_t))[rows, labels], 1e-300)).mean())

    low, high = np.log(COOLEST), np.log(HOTTEST)
    ratio = (np.sqrt(5) - 1) / 2
    while high - low > 1e-6:
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return float(np.exp((low + high) / 2))


def selective_accuracy(probabilities: np.ndarray, labels: np.ndarray, coverage: float) -> float:
    """The accuracy on the surest `coverage` of all answers; arguments as for `reliability`.

    >>> selective_accuracy(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]), coverage=0.5)
    1.0
    """
    probabilities, labels = _checked(probabilities, labels)
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage is {coverage}, expected a share above 0, at most 1")
    n = max(1, round(coverage * len(labels)))
    kept = np.argsort(-probabilities.max(axis=1), kind="stable")[:n]
    return float((probabilities[kept].argmax(axis=1) == labels[kept]).mean())

"""The small network for pictures: its shapes, its errors, that it learns, and that it sees a stroke wherever it is."""

from __future__ import annotations

import numpy as np
import pytest

import tinygpt as tg
from tinygpt import ops
from tinygpt.data import drawn_digits
from tinygpt.models import PictureCNN
from tinygpt.optim import AdamW


@pytest.mark.parametrize("size", [4, 8, 11, 16])
def test_pictures_of_any_size_from_four(size: int) -> None:
    model = PictureCNN(3, size=size, n_kernels=2, n_embd=5)
    pictures = np.zeros((2, size, size), dtype=np.float32)
    assert model(pictures).shape == (2, 3) and model.features(tg.Tensor(pictures)).shape == (2, 5)


def test_errors_name_the_sizes() -> None:
    with pytest.raises(ValueError, match="3 by 3 points cannot be halved twice"):
        PictureCNN(2, size=3)
    with pytest.raises(ValueError, match=r"expected pictures \(B, 8, 8\), got \(2, 1, 8, 8\)"):
        PictureCNN(2)(np.zeros((2, 1, 8, 8)))


def test_it_learns_what_digits_are() -> None:
    """After a few steps most of 200 new pictures get their label; guessing finds a tenth."""
    tg.manual_seed(0)
    pictures, labels = drawn_digits(800)
    model, rng = PictureCNN(10), np.random.default_rng(0)
    optimizer = AdamW(model, lr=1e-2)
    for _ in range(60):
        some = rng.integers(600, size=50)
        ops.cross_entropy(model(pictures[some]), labels[some]).backward()
        optimizer.step()
        optimizer.zero_grad()
    with tg.no_grad():
        assert (model(pictures[600:]).data.argmax(axis=1) == labels[600:]).mean() > 0.9


def test_a_stroke_is_seen_alike_in_the_next_window() -> None:
    """Moved by the four points that two poolings make one of, a stroke gives the same features in the next place,
    away from the edges."""
    tg.manual_seed(0)
    model = PictureCNN(2, size=16)
    picture = np.zeros((1, 16, 16), dtype=np.float32)
    picture[0, 4:7, 4:6] = 1
    seen = [model.pool(ops.relu(model.second(model.pool(ops.relu(model.first(tg.Tensor(np.roll(
        picture, (moved, 0), (1, 2)))[:, None])))))).data for moved in (0, 4)]
    np.testing.assert_allclose(seen[1][:, :, 2, 1:3], seen[0][:, :, 1, 1:3], atol=1e-6)

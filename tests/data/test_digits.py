"""Drawn digits: the same from a seed, all ten, told apart by their nearest mean; handwritten ones where they are."""

from __future__ import annotations

import numpy as np
import pytest

from tinygpt.data import drawn_digits, handwritten_digits, picture_text


def test_fewer_are_a_prefix_of_more_and_another_seed_gives_others() -> None:
    pictures, labels = drawn_digits(30, seed=4)
    fewer, fewer_labels = drawn_digits(12, seed=4)
    np.testing.assert_array_equal(fewer, pictures[:12])
    np.testing.assert_array_equal(fewer_labels, labels[:12])
    assert not np.array_equal(drawn_digits(12, seed=5)[0], fewer)
    assert pictures.dtype == np.float32 and pictures.min() == 0 and pictures.max() == 1


@pytest.mark.parametrize("size", [1, 8, 16])
def test_any_size(size: int) -> None:
    pictures, labels = drawn_digits(5, size=size)
    assert pictures.shape == (5, size, size) and pictures.sum() > 0
    np.testing.assert_array_equal(labels, drawn_digits(5)[1])  # the same digits, drawn finer


def test_a_digit_looks_like_others_of_its_kind() -> None:
    """The nearest of ten mean pictures is right for most: there is something to learn, and something left to learn."""
    pictures, labels = drawn_digits(1500)
    assert set(labels) == set(range(10))
    flat = pictures.reshape(len(pictures), -1)
    means = np.stack([flat[:1000][labels[:1000] == digit].mean(axis=0) for digit in range(10)])
    nearest = ((flat[1000:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert 0.7 < (nearest == labels[1000:]).mean() < 0.97


@pytest.mark.parametrize("arguments", [dict(n=-1), dict(n=1, seed=-1), dict(n=1, size=0)])
def test_what_cannot_be_drawn_is_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match="n and seed must not be negative"):
        drawn_digits(**arguments)


@pytest.mark.oracle
def test_handwritten_ones() -> None:
    pytest.importorskip("sklearn")
    pictures, labels = handwritten_digits()
    assert pictures.shape == (1797, 8, 8) and pictures.dtype == np.float32 and pictures.max() == 1
    again, other = handwritten_digits()[1], handwritten_digits(1)[1]
    assert np.array_equal(labels, again) and not np.array_equal(labels, other)
    assert np.array_equal(np.bincount(labels), np.bincount(other))


def test_a_picture_as_text() -> None:
    pictures = np.zeros((2, 3, 3))
    pictures[0, 1, 1], pictures[1, 0, 2] = 1.0, 0.45
    assert picture_text(pictures) == "            ==\n  @@\n"

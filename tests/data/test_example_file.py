"""Examples on disk: what was written is read, and damage is noticed."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data.example_file import read_example_file, write_example_file

SIDE = st.lists(st.integers(-100, 60_000), max_size=6)


@given(st.lists(st.tuples(SIDE, SIDE), max_size=6))
def test_round_trip(examples) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "examples.npy"
        write_example_file(path, examples)
        found = read_example_file(path)
        assert [(a.tolist(), b.tolist()) for a, b in found] == examples
        first = path.read_bytes()
        write_example_file(path, examples)
        assert path.read_bytes() == first


@pytest.mark.parametrize("array", [
    np.array([], np.int32), np.array([1], np.int32), np.array([1, 1, 1, 5], np.int32), np.array([-1], np.int32),
    np.array([1, -1, 2, 5], np.int32), np.array([0, 7], np.int32), np.array([0], np.int64), np.zeros((1, 1), np.int32),
    np.array([2**31 - 1, 0, 0], np.int32),
])
def test_damage(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match="no file of examples"):
        read_example_file(tmp_path / "a.npy")

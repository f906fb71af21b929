"""The picture of a confusion matrix."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinygpt.evaluation import Classification, plot_confusion


@pytest.mark.parametrize("n", [2, 7, 25])
def test_a_picture(n: int, tmp_path: Path, pictures: None) -> None:
    names = [f"label number {i} with a long name" for i in range(n)]
    found = Classification.of(names * 2, names + names[1:] + names[:1])
    assert plot_confusion(found, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib(tmp_path: Path) -> None:
    assert not plot_confusion(Classification.of(["a"], ["a"]), tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()

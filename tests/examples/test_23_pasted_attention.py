"""The three mistakes of the pasted attention class: each question tells the wrong class from the right one."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "examples" / "23_pasted_attention.py"


def test_each_mistake_is_seen_and_put_right(capsys) -> None:
    spec = importlib.util.spec_from_file_location("pasted_attention", PATH)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    found = example.main([])
    assert found["without gradient"] == ["values.weight", "keys.weight", "queries.weight"]
    assert found["without gradient, right"] == []
    assert found["one head"] < 1e-14 and found["one head, right"] > 0.1
    assert found["scores, right"] / found["scores"] == pytest.approx(math.sqrt(example.H))
    assert found["scores, right"] == pytest.approx(1, abs=0.05) and found["from ours"] < 1e-12
    assert "made and never used: values.weight, keys.weight, queries.weight" in capsys.readouterr().out

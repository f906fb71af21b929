"""`tinygpt gradcheck`: the table, the exit code, and what a wrong rule looks like."""

from __future__ import annotations

import pytest

from tinygpt.autograd import OPS
from tinygpt.cli import main
from tinygpt.testing import op_db


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradcheck", "softmax", "silu", "--examples", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["operation", "examples", "worst", "error", "oracle", "time"]
    assert [line.split()[0] for line in lines[1:4]] == ["softmax", "silu", "silu_blocked"]
    assert "complex, central" in lines[1] and "its rule" in lines[3]
    assert lines[-1].startswith("2 operations and 1 fast twin, ") and lines[-1].endswith("all right")


def test_the_table_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    longest = sorted((name for name in OPS if name in op_db), key=len)[-10:]
    assert main(["gradcheck", *longest, "--examples", "1"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_a_wrong_rule_is_shown_and_the_exit_code_is_1(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def exp(xp, x):
        return xp.exp(x), lambda g: (g * x,)
    monkeypatch.setattr(OPS["exp"], "rule", exp)
    assert main(["gradcheck", "exp", "--examples", "4"]) == 1
    out = capsys.readouterr().out
    assert "3 of 4 WRONG" in out  # the fourth sample is empty
    assert "wrong or undecided" in out
    assert "wrong gradient" in out and "To reproduce" in out


def test_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradcheck", "qqq"]) == 2
    assert "no operation qqq: expected one of absolute, add" in capsys.readouterr().err
    assert main(["gradcheck", "tanh", "sofmax"]) == 2
    assert "no operation sofmax: did you mean softmax" in capsys.readouterr().err
    assert main(["gradcheck", "attention"]) == 2
    assert "did you mean scaled_dot_product_attention?" in capsys.readouterr().err
    assert main(["gradcheck", "--seed", "-1"]) == 2
    assert main(["gradcheck", "--examples", "0"]) == 2

"""`tinygpt gradcheck`: the table, the exit code, and what a wrong rule looks like."""

from __future__ import annotations

import pytest

from tinygpt.autograd import OPS
from tinygpt.cli import main


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradcheck", "softmax", "silu", "--examples", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["operation", "examples", "worst"]
    assert [line.split()[0] for line in lines[1:]] == ["softmax", "silu", "silu:"]
    assert all("ok" in line for line in lines[1:])


def test_a_wrong_rule_is_shown_and_the_exit_code_is_1(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def exp(xp, x):
        return xp.exp(x), lambda g: (g * x,)
    monkeypatch.setattr(OPS["exp"], "rule", exp)
    assert main(["gradcheck", "exp", "--examples", "4"]) == 1
    out = capsys.readouterr().out
    assert "4 of 4 WRONG" in out or "3 of 4 WRONG" in out
    assert "wrong gradient" in out and "To reproduce" in out


def test_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradcheck", "nothing"]) == 2
    assert "no operation nothing; there are absolute, add" in capsys.readouterr().err
    assert main(["gradcheck", "--examples", "0"]) == 2

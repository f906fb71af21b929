"""The battery of alignment_bugs.py passes, and fails with each of the bugs in place."""

from __future__ import annotations

import pytest
from alignment_bugs import BUGS, battery


def test_the_battery_passes() -> None:
    battery()


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_caught(name, monkeypatch) -> None:
    where, what, instead = BUGS[name]
    if isinstance(where, dict):
        monkeypatch.setitem(where, what, instead)
    else:
        monkeypatch.setattr(where, what, instead)
    with pytest.raises(AssertionError):
        battery()

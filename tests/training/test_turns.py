"""Turns: a fixed order at every place, whatever the threads do; and nobody waits for ever."""

from __future__ import annotations

import random
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.nn import Parameter
from tinygpt.optim.flat_parameter import FlatParameter
from tinygpt.training import turns
from tinygpt.training.turns import SharedParameter, Turns


def run(routes: list[list[str]], seed: int) -> tuple[dict[str, list[int]], list[tuple[int, str]]]:
    """Each replica goes its route, at a random pace: who was at each place, in order; and who was first somewhere."""
    everyone, visits, firsts = Turns(len(routes)), {}, []  # type: ignore[var-annotated]
    inside: set[str] = set()

    def go(i: int) -> None:
        pace = random.Random(seed * 100 + i)
        for place in routes[i]:
            if pace.random() < 0.3:
                time.sleep(pace.random() * 1e-3)
            with everyone.turn(i, place) as first:
                assert place not in inside
                inside.add(place)
                visits.setdefault(place, []).append(i)
                if first:
                    firsts.append((i, place))
                inside.discard(place)
        everyone.finish(i)

    threads = [threading.Thread(target=go, args=(i,)) for i in range(len(routes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return visits, sorted(firsts)


def test_equal_routes_are_gone_round_by_round():
    visits, firsts = run([["a", "b", "a"]] * 3, seed=0)
    assert visits == {"a": [0, 1, 2, 0, 1, 2], "b": [0, 1, 2]}
    assert firsts == [(0, "a"), (0, "b")]


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=5), min_size=1, max_size=4), st.integers(0, 99))
@settings(deadline=None, max_examples=40, derandomize=True)
def test_any_routes_end_and_in_the_same_order_every_time(routes, seed):
    visits, firsts = run(routes, seed)
    for place, order in visits.items():
        assert sorted(order) == sorted(i for i, route in enumerate(routes) for p in route if p == place)
        assert [f for f in firsts if f[1] == place] == [(order[0], place)]
    assert run(routes, seed + 1) == (visits, firsts)


def test_a_replica_that_fails_holds_nobody_up():
    everyone = Turns(2)
    with pytest.raises(RuntimeError):
        with everyone.turn(0, "a"):
            raise RuntimeError
    everyone.finish(0)
    with everyone.turn(1, "a") as first:
        assert not first
    with everyone.turn(1, "b") as first:
        assert first


def test_a_shared_parameter_adds_up_in_pieces_and_settles(monkeypatch):
    monkeypatch.setattr(turns, "PIECE", 6)
    original, unused = Parameter(np.zeros((5, 3))), Parameter(np.zeros(()))
    for p in (original, unused):
        FlatParameter.move_in(p, np.zeros(p.shape), np.full(p.shape, 7.0))
    original.grad[...] = np.nan
    everyone = Turns(2)
    twins = [SharedParameter.of("weight", original, everyone, i) for i in range(2)]
    others = [SharedParameter.of("unused", unused, everyone, i) for i in range(2)]
    for i, twin in enumerate(twins):
        twin.receive(np.full((5, 3), 1.0 + i))
    for p in (twins[0], others[0]):
        p.settle_after()
    np.testing.assert_array_equal(original.grad, np.full((5, 3), 3.0))
    assert others[1].grad == 0
    assert twins[0].data is original.data

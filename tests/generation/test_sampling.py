"""The sampling strategies: what each keeps, against its definition and against transformers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.generation import sampling, strategies
from tinygpt.generation.sampling import filter_logits, row_generators, sampler
from tinygpt.generation.strategies import STRATEGIES, Sampling, choose

seeds = st.integers(0, 10_000)


def random_logits(seed: int, rows: int = 4, n_vocab: int = 50, scale: float = 3.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).standard_normal((rows, n_vocab))  # all distinct, with probability one


def kept(logits: np.ndarray) -> np.ndarray:
    return np.isfinite(logits)


def softmax(x: np.ndarray) -> np.ndarray:
    """An oracle: by the logarithm of the sum, another way than the package's."""
    return np.exp(x - np.logaddexp.reduce(x, axis=-1, keepdims=True))


@settings(deadline=None, max_examples=40, derandomize=True)
@given(seeds, st.floats(-1e4, 1e4))
def test_softmax_is_its_definition_whatever_is_added_to_all_logits(seed, shift):
    logits = random_logits(seed)
    # A shift of 1e4 costs four of the 16 digits of a logit, and an error in a logit is a relative one of p.
    np.testing.assert_allclose(sampling.softmax(logits + shift), softmax(logits), rtol=1e-10)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(seeds, st.integers(1, 60))
def test_top_k_keeps_the_k_largest_of_distinct_logits(seed, k):
    logits = random_logits(seed)
    out = sampling.top_k(logits, k)
    assert (kept(out).sum(-1) == min(k, 50)).all()
    for row, new in zip(logits, out):
        assert set(np.flatnonzero(np.isfinite(new))) == set(np.argsort(row)[-k:])
    np.testing.assert_array_equal(out[kept(out)], logits[kept(out)])


def test_top_k_keeps_ties_with_the_last():
    assert kept(sampling.top_k(np.array([[1.0, 3.0, 2.0, 2.0]]), 2)).tolist() == [[False, True, True, True]]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(seeds, st.floats(0.001, 1.0))
def test_top_p_keeps_the_smallest_set_that_reaches_the_mass(seed, p):
    logits = random_logits(seed)
    out = sampling.top_p(logits, p)
    for probabilities, keep in zip(softmax(logits), kept(out)):
        assert keep.any()
        assert probabilities[keep].sum() >= p - 1e-12  # enough
        assert p == 1.0 or probabilities[keep].sum() - probabilities[keep].min() < p + 1e-12  # one fewer is too few
        assert not keep.all() and probabilities[keep].min() > probabilities[~keep].max() or keep.all()


def test_top_p_of_equal_tokens_keeps_the_lower_ids():
    assert kept(sampling.top_p(np.zeros((1, 4)), 0.5)).tolist() == [[True, True, False, False]]


def test_top_p_ignores_what_is_removed_already():
    out = sampling.top_p(np.array([[-np.inf, 1.0, 0.0, -np.inf]]), 0.99)
    assert kept(out).tolist() == [[False, True, True, False]]


@settings(deadline=None, max_examples=40, derandomize=True)
@given(seeds, st.floats(0.0, 1.0))
def test_min_p_keeps_tokens_within_a_factor_of_the_best(seed, p):
    logits = random_logits(seed)
    probabilities = softmax(logits)
    ratio = probabilities / probabilities.max(-1, keepdims=True)
    keep = kept(strategies.min_p(logits, p))
    assert keep[ratio > p * (1 + 1e-9)].all()
    assert not keep[ratio < p * (1 - 1e-9)].any()
    assert keep.any(-1).all()


@settings(deadline=None, max_examples=40, derandomize=True)
@given(seeds, st.floats(1.0001, 5.0))
def test_repetition_penalty_lowers_seen_tokens_alone(seed, penalty):
    logits = random_logits(seed)
    seen = np.random.default_rng(seed + 1).random(logits.shape) < 0.3
    out = strategies.repetition_penalty(logits, seen, penalty)
    assert (out[seen] < logits[seen]).all()
    np.testing.assert_array_equal(out[~seen], logits[~seen])
    back = strategies.repetition_penalty(out, seen, 1 / penalty)
    np.testing.assert_allclose(back, logits, rtol=1e-12)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(seeds)
def test_low_temperature_is_greedy(seed):
    logits = random_logits(seed)
    draws = choose(logits, row_generators(seed, 4), Sampling(temperature=1e-9))
    np.testing.assert_array_equal(draws, logits.argmax(-1))
    np.testing.assert_array_equal(choose(logits, [], Sampling(temperature=0.0)), logits.argmax(-1))
    np.testing.assert_array_equal(choose(logits.astype(np.float32), row_generators(seed, 4), Sampling(1e-320)),
                                  logits.argmax(-1))


def test_greedy_takes_the_lowest_id_of_equals():
    assert sampling.greedy(np.array([[0.0, 2.0, 2.0], [1.0, 1.0, 1.0]])).tolist() == [1, 0]


def test_frequencies_are_the_softmax():
    logits = np.log(np.array([[0.5, 0.3, 0.2, 0.0 + 1e-300]]))
    (generator,) = row_generators(0, 1)
    draws = np.array([choose(logits, [generator])[0] for _ in range(4000)])
    counts = np.bincount(draws, minlength=4)
    # Three standard deviations of a binomial.
    for count, p in zip(counts, (0.5, 0.3, 0.2, 0.0)):
        assert abs(count - 4000 * p) <= 3 * math.sqrt(4000 * p * (1 - p))


class Constant:
    """A generator that always returns one number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


@pytest.mark.parametrize("u", [0.0, np.nextafter(1.0, 0.0)])
def test_removed_tokens_are_never_drawn_at_the_ends_of_the_interval(u):
    logits = np.array([[-np.inf, 0.3, 0.1, -np.inf, 0.7, -np.inf]])
    assert choose(logits, [Constant(u)])[0] == (1 if u == 0.0 else 4)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(seeds, st.sampled_from([None, 1, 5]), st.sampled_from([None, 0.3, 0.9]), st.sampled_from([None, 0.0, 0.2, 1.0]))
def test_draws_come_from_what_the_filters_keep(seed, k, p, m):
    logits = random_logits(seed)
    chosen = Sampling(temperature=0.7, top_k=k, top_p=p, min_p=m)
    keep = kept(filter_logits(logits, vars(chosen), STRATEGIES))
    generators = row_generators(seed, 4)
    for _ in range(5):
        assert keep[np.arange(4), choose(logits, generators, chosen)].all()


def test_rows_do_not_depend_on_each_other():
    logits = random_logits(3, rows=5)
    together = [choose(logits, g) for g in [row_generators(9, 5)] for _ in range(6)]
    alone = [choose(logits[:1], g) for g in [row_generators(9, 1)] for _ in range(6)]
    assert [int(t[0]) for t in together] == [int(t[0]) for t in alone]
    other = [choose(np.roll(logits, 1, axis=1), g) for g in [row_generators(9, 5)] for _ in range(6)]
    assert np.array_equal(together, [choose(logits, g) for g in [row_generators(9, 5)] for _ in range(6)])
    assert not np.array_equal(together, other)
    assert len({g.random() for g in row_generators(9, 5)}) == 5


def test_no_seed_is_a_fresh_seed():
    assert row_generators(None, 1)[0].random() != row_generators(None, 1)[0].random()


def test_strategies_leave_their_argument_alone():
    logits = random_logits(0)
    before = logits.copy()
    choose(logits, row_generators(0, 4), Sampling(0.5, 10, 0.9, 0.1, 1.3), np.ones(logits.shape, dtype=bool))
    np.testing.assert_array_equal(logits, before)


@pytest.mark.parametrize("setting", [
    {"temperature": -0.1}, {"temperature": math.nan}, {"temperature": math.inf}, {"top_p": 0.0}, {"top_p": 1.1},
    {"top_p": math.nan}, {"top_k": -1}, {"top_k": 2.5}, {"min_p": -0.1}, {"min_p": 1.5}, {"repetition_penalty": 0.0},
    {"repetition_penalty": -1.0},
])
def test_settings_out_of_range_are_named(setting):
    (name,) = setting
    with pytest.raises(ValueError, match=name):
        Sampling(**setting)


@pytest.mark.parametrize("setting", [
    {}, {"temperature": 0.0}, {"temperature": 0.7}, {"top_k": 3}, {"top_p": 0.8},
    {"temperature": 0.5, "top_k": 10, "top_p": 0.9}])
def test_the_textbooks_sampler_chooses_as_all_settings_do(setting):
    textbook, generators = sampler(seed=4, **setting), row_generators(4, 4)
    for step in range(20):
        logits = random_logits(step).astype(np.float32)
        np.testing.assert_array_equal(textbook(logits), choose(logits, generators, Sampling.of(setting)))


def test_the_sampler_refuses_what_it_does_not_know():
    with pytest.raises(TypeError, match="top_q.*temperature.*top_k.*top_p"):
        sampler(top_q=0.5)


def test_settings_of_keyword_arguments():
    assert Sampling.of({"top_k": 3}) == Sampling(top_k=3)
    assert Sampling.of({}, temperature=0.0) == Sampling(temperature=0.0)
    assert Sampling.of({"temperature": 0.5}, temperature=0.0) == Sampling(temperature=0.5)


@pytest.mark.parametrize("name, message", [
    ("temprature", "'temprature'; did you mean temperature"), ("topk", "did you mean top_k"),
    ("colour", "'colour'; sampling is set by temperature, top_k, top_p, min_p, repetition_penalty")])
def test_an_unknown_setting_is_named_with_what_is_near(name, message):
    with pytest.raises(TypeError, match=message):
        Sampling.of({name: 1})


def test_every_strategy_is_a_setting():
    assert STRATEGIES.keys() < vars(Sampling()).keys()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("t", [0.0, 1.0])
def test_logits_that_are_not_numbers_name_their_row(bad, t):
    logits = random_logits(0)
    logits[2, 7] = bad
    with pytest.raises(ValueError, match=f"row 2 is {bad}"):
        choose(logits, row_generators(0, 4), Sampling(t))


def test_a_row_without_any_token_left_is_an_error():
    with pytest.raises(ValueError, match="row 0 is -inf"):
        choose(np.full((1, 3), -np.inf), row_generators(0, 1))


def test_negative_seed():
    with pytest.raises(ValueError, match="seed is -1"):
        row_generators(-1, 1)


@pytest.mark.oracle
@pytest.mark.parametrize("seed", range(5))
def test_strategies_equal_transformers(seed):
    torch = pytest.importorskip("torch")
    hf = pytest.importorskip("transformers")
    logits = random_logits(seed, rows=6, n_vocab=80)
    theirs = torch.from_numpy(logits)
    previous = np.random.default_rng(seed).integers(0, 80, (6, 12))
    seen = np.zeros(logits.shape, dtype=bool)
    np.put_along_axis(seen, previous, True, axis=1)
    ids = torch.from_numpy(previous)

    def check(ours, processor):
        np.testing.assert_allclose(ours, processor(ids, theirs.clone()).numpy(), rtol=1e-12)

    for k in (1, 7, 80, 200):
        check(sampling.top_k(logits, k), hf.TopKLogitsWarper(k))
    for p in (0.01, 0.3, 0.9, 0.999):
        check(sampling.top_p(logits, p), hf.TopPLogitsWarper(p))
        check(strategies.min_p(logits, p), hf.MinPLogitsWarper(p))
    for x in (0.5, 1.3, 2.0):
        check(sampling.temperature(logits, x), hf.TemperatureLogitsWarper(x))
        check(strategies.repetition_penalty(logits, seen, x), hf.RepetitionPenaltyLogitsProcessor(x))

    ours = filter_logits(logits, vars(Sampling(0.8, 30, 0.9, 0.02)), STRATEGIES)
    chain = theirs
    for processor in (hf.TemperatureLogitsWarper(0.8), hf.TopKLogitsWarper(30), hf.TopPLogitsWarper(0.9),
                      hf.MinPLogitsWarper(0.02)):
        chain = processor(ids, chain)
    np.testing.assert_allclose(softmax(ours), softmax(chain.numpy()), rtol=1e-12)

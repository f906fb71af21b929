"""Sliding windows: the mask, a cache that forgets, and texts far longer than the context in constant memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tinygpt import kernels, no_grad, ops
from tinygpt.autograd import Tensor
from tinygpt.generation import left_pad
from tinygpt.models import GPT, GPTConfig
from tinygpt.nn import RotaryPositions, Window, WindowCache

# Sums of some tens of terms of size 1, rounded to float32 in another order.
ATOL = 2e-5
SIZES = dict(vocab_size=17, block_size=8, n_layer=2, n_head=4, n_embd=16, initializer_range=0.5)
ENDLESS = {
    "mistral": dict(architecture="mistral", n_kv_head=2, window=5),
    "mistral of one token": dict(architecture="mistral", window=1),
    "window beyond the context": dict(architecture="mistral", window=11),
    "gpt2 with rotary positions": dict(positions="rotary", window=3),
    "gpt2 with alibi": dict(positions="alibi", window=4),
}


@pytest.fixture(params=ENDLESS, scope="module")
def model(request):
    return GPT(GPTConfig(**SIZES, **ENDLESS[request.param])).eval()


# -- the mask ---------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(window=st.integers(1, 6), n_queries=st.integers(1, 6), n_earlier=st.integers(0, 6))
def test_the_mask_is_the_loop(window, n_queries, n_earlier):
    mask, n_keys = Window(window), n_queries + n_earlier
    allowed = mask.allowed(n_queries, n_keys)
    assert mask.causal
    for t in range(n_queries):
        for j in range(n_keys):
            i = t + n_earlier
            hidden = not i - window < j <= i
            assert (j > i if allowed is None else not allowed[t, j]) == hidden


# -- the cache --------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(window=st.integers(1, 6), spare=st.integers(0, 20), cuts=st.lists(st.integers(1, 17), max_size=12),
       seed=st.integers(0, 99))
def test_it_shows_what_the_window_shows_of_any_pieces(window, spare, cuts, seed):
    rng = np.random.default_rng(seed)
    cache = WindowCache(np, (3, 2, window + spare, 4), np.float32, window)
    whole, size = np.zeros((2, 3, 2, 0, 4), np.float32), cache.keys.shape
    assert size[2] <= 2 * window
    for cut in cuts:
        new = rng.standard_normal((2, 3, 2, cut, 4)).astype(np.float32)
        whole = np.concatenate([whole, new], axis=3)
        seen = cache.append(*new)
        visible = min(whole.shape[3], cut + window - 1)  # the new tokens, and what the first of them looks at
        for table, expected in zip(seen, whole):
            np.testing.assert_array_equal(table, expected[:, :, whole.shape[3] - visible:])
        assert cache.length == whole.shape[3] and cache.kept == min(cache.length, window - 1)
        assert cache.keys.shape == cache.values.shape == size
        rows = rng.integers(0, 3, 3)  # a beam goes on twice, another is dropped
        cache.reorder(rows)
        whole = whole[:, rows]


def test_a_room_of_less_than_a_window_is_an_error_when_it_is_full():
    cache = WindowCache(np, (1, 1, 3, 2), np.float32, 4)
    x = np.ones((1, 1, 2, 2), np.float32)
    cache.append(x, x)
    with pytest.raises(ValueError, match="room for 1 sequences of 3 tokens, got 1 sequences of 4"):
        cache.append(x, x)
    with pytest.raises(ValueError, match="got 2 sequences of 3"):
        cache.append(np.ones((2, 1, 1, 2)), np.ones((2, 1, 1, 2)))


# -- texts without end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_prompt", [1, 5, 13, 20])  # also one beyond the context, and beyond two windows
def test_three_contexts_by_the_cache_are_those_of_one_pass(model, n_prompt):
    n = 3 * model.config.block_size
    ids = np.random.default_rng(n_prompt).integers(0, 17, (2, n_prompt))
    text = model.generate(ids, max_new_tokens=n, temperature=0.0)
    with no_grad():
        logits = model(text).data  # all at once, with the window as a mask
    np.testing.assert_array_equal(text[:, n_prompt:], logits[:, n_prompt - 1:-1].argmax(-1))
    np.testing.assert_array_equal(text, model.generate(ids, max_new_tokens=n, temperature=0.0, use_cache=False))


@settings(deadline=None, max_examples=15)
@given(cuts=st.lists(st.integers(1, 13), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_logits_in_pieces_are_those_of_the_whole(model, cuts, seed):
    ids = np.random.default_rng(seed).integers(0, 17, (2, sum(cuts)))
    with no_grad():
        whole, cache, at = model(ids).data, model.new_cache(2), 0
        for cut in cuts:
            piece = model(ids[:, at:at + cut], cache=cache).data
            np.testing.assert_allclose(piece, whole[:, at:at + cut], atol=ATOL)
            at += cut


def test_padding_on_the_left_changes_nothing(model):
    rng, n = np.random.default_rng(3), 3 * model.config.block_size
    prompts = [rng.integers(0, 17, length).tolist() for length in (2, 9, 6)]
    ids, mask = left_pad(prompts)
    texts = model.generate(ids, max_new_tokens=n, temperature=0.0, attention_mask=mask)
    for prompt, text in zip(prompts, texts):
        alone = model.generate([prompt], max_new_tokens=n, temperature=0.0)
        np.testing.assert_array_equal(text[-n:], alone[0, -n:])


def test_beams_go_on_beyond_the_context(model):
    ids = np.random.default_rng(4).integers(0, 17, (2, 6))
    options = dict(max_new_tokens=2 * model.config.block_size, num_beams=3)
    np.testing.assert_array_equal(model.generate(ids, **options), model.generate(ids, **options, use_cache=False))


def test_no_token_is_read_twice(model, monkeypatch):
    read, features = [], model.features
    monkeypatch.setattr(model, "features", lambda ids, *rest: read.append(ids.shape[1]) or features(ids, *rest))
    model.generate(np.zeros((1, 3), int), max_new_tokens=4 * model.config.block_size, temperature=0.0)
    assert read == [3] + [1] * (4 * model.config.block_size - 1)


def test_memory_stays_as_it_is(model):
    cache, token = model.new_cache(1), np.zeros((1, 1), int)

    def peak(n: int) -> int:
        tracemalloc.start()
        try:
            for _ in range(n):
                model.step(token, cache)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    for _ in range(1000):  # whatever is made once, and Python's free lists
        model.step(token, cache)
    sizes = [layer.keys.shape for layer in cache.layers]
    few, many = peak(10), peak(300)
    # The keys and values of 300 tokens would be 38,400 bytes, of two heads; the rest is room for free lists.
    assert many < few + 16_384
    assert [layer.keys.shape for layer in cache.layers] == sizes and sizes[0][2] == 2 * model.config.window


def test_positions_with_a_table_end_with_the_context():
    model = GPT(GPTConfig(**SIZES, window=3)).eval()  # learned positions: there is none for the ninth token
    with pytest.raises(ValueError, match="a text of 9 tokens does not fit the context of 8 tokens"):
        model(np.zeros((1, 9), int))
    ids = np.random.default_rng(0).integers(0, 17, (2, 5))  # but generation slides, as without a window
    options = dict(max_new_tokens=20, temperature=0.0)
    np.testing.assert_array_equal(model.generate(ids, **options), model.generate(ids, **options, use_cache=False))


# -- its parts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [np.arange(9), np.array([[0, 1, 2], [5, 8, 3]])])
def test_angles_without_a_table_are_those_of_the_table(where):
    scaling = {"rope_type": "linear", "factor": 3.0}
    for dtype in (np.float32, np.float64):
        like = Tensor(np.zeros(1, dtype))
        table, computed = (RotaryPositions(n, 6, theta=50.0, scaling=scaling).angles(like, where) for n in (9, None))
        for ours, theirs in zip(computed, table):
            assert ours.dtype == theirs.dtype == dtype
            np.testing.assert_array_equal(ours, theirs)


def test_gradients_by_the_fast_attention_are_those_of_the_rule():
    model = GPT(GPTConfig(vocab_size=7, block_size=150, n_layer=1, n_head=2, n_embd=8, architecture="mistral",
                          window=70))
    ids = np.random.default_rng(0).integers(0, 7, (2, 151))

    def gradients() -> dict[str, np.ndarray]:
        for parameter in model.parameters():
            parameter.grad = None
        ops.cross_entropy(model(ids[:, :-1]), ids[:, 1:]).backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    fast = gradients()
    with kernels.disabled():
        slow = gradients()
    for name, gradient in slow.items():
        # Sums of 300 float32 numbers in two orders.
        np.testing.assert_allclose(fast[name], gradient, rtol=0, atol=3e-6 * np.abs(gradient).max(), err_msg=name)

"""The decoding loop over a toy step function, and over transformers' GPT-2."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_decoder import Toy

from tinygpt.autograd import Tensor
from tinygpt.generation import Sampling, generate, left_pad, stream, stream_text

GREEDY = Sampling(temperature=0.0)
hypothesis = settings(deadline=None, max_examples=40, derandomize=True)
prompts = st.lists(st.lists(st.integers(0, 10), min_size=1, max_size=6), min_size=1, max_size=4)
choices = st.sampled_from([GREEDY, Sampling(), Sampling(0.7, top_k=4, repetition_penalty=1.4), Sampling(top_p=0.8)])


def by_hand(toy: Toy, prompt: list[int], n: int) -> list[int]:
    """nanoGPT's loop, greedy: the last `context` tokens, anew for each token."""
    text = list(prompt)
    for _ in range(n):
        text.append(int(toy(np.array([text[-toy.context:]]))[0, -1].argmax()))
    return text


@hypothesis
@given(st.lists(st.integers(0, 10), min_size=1, max_size=12), st.integers(0, 20))
def test_greedy_is_the_naive_loop_with_and_without_cache_and_past_the_context(prompt, n):
    toy = Toy()
    want = by_hand(toy, prompt, n)
    for make_cache in (None, toy.cache):
        out = generate(toy, np.array([prompt]), max_new_tokens=n, sampling=GREEDY, make_cache=make_cache,
                       context_length=toy.context)
        assert out.dtype == np.int64 and out[0].tolist() == want


@hypothesis
@given(prompts, choices, st.integers(0, 5))
def test_left_padding_changes_nothing(prompts, sampling, extra):
    """Row 0 of a padded batch goes on as alone, past the context too, cached or not."""
    toy = Toy(context=9)
    ids, mask = left_pad(prompts, pad_token_id=3)
    ids = np.pad(ids, ((0, 0), (extra, 0)), constant_values=7)  # more padding than needed
    mask = np.pad(mask, ((0, 0), (extra, 0)))
    options = dict(max_new_tokens=8, sampling=sampling, seed=5, context_length=9)
    alone = generate(toy, np.array([prompts[0]]), **options)[0, len(prompts[0]):]
    for make_cache in (None, toy.cache):
        out = generate(toy, ids, attention_mask=mask, make_cache=make_cache, **options)
        np.testing.assert_array_equal(out[:, :ids.shape[1]], ids)
        np.testing.assert_array_equal(out[0, ids.shape[1]:], alone)
    if sampling is GREEDY:
        for row, prompt in enumerate(prompts):
            assert out[row, ids.shape[1]:].tolist() == by_hand(toy, prompt, 8)[len(prompt):]


def test_the_cache_is_given_each_token_once():
    toy = Toy()
    generate(toy, np.zeros((2, 5), dtype=int), max_new_tokens=4, make_cache=toy.cache, context_length=12)
    assert toy.read == [(2, 5), (2, 1), (2, 1), (2, 1)] and toy.masked == 0
    toy = Toy()
    generate(toy, np.zeros((1, 11), dtype=int), max_new_tokens=4, make_cache=toy.cache, context_length=12)
    assert toy.read == [(1, 11), (1, 1), (1, 12), (1, 12)]  # full: the window slides and is read anew
    toy = Toy()
    ids, mask = left_pad([[1, 2, 3], [4]])
    generate(toy, ids, attention_mask=mask, max_new_tokens=3, make_cache=toy.cache)
    assert toy.read == [(2, 3), (2, 1), (2, 1)] and toy.masked == 3


@hypothesis
@given(choices.filter(lambda s: s.temperature > 0), st.integers(0, 100))
def test_the_same_seed_gives_the_same_text(sampling, seed):
    toy = Toy()
    ids = np.array([[1, 2], [1, 2], [3, 4]])
    run = lambda ids, seed: generate(toy, ids, max_new_tokens=9, sampling=sampling, seed=seed)  # noqa: E731
    one = run(ids, seed)
    np.testing.assert_array_equal(one, run(ids, seed))
    np.testing.assert_array_equal(one[:1], run(ids[:1], seed))
    np.testing.assert_array_equal(one[:2], run(ids[:2], seed))
    different = [run(ids, other).tolist() != one.tolist() for other in range(seed + 1, seed + 6)]
    assert any(different)


def test_equal_prompts_in_a_batch_go_different_ways():
    out = generate(Toy(scale=0.5), np.array([[1, 2]] * 4), max_new_tokens=10, seed=0)
    assert len({tuple(row) for row in out.tolist()}) == 4


def test_stream_yields_what_generate_returns():
    toy, ids = Toy(), np.array([[1, 2], [3, 4]])
    columns = list(stream(toy, ids, max_new_tokens=5, seed=1))
    assert all(tokens.shape == (2,) for tokens in columns)
    np.testing.assert_array_equal(np.stack(columns, 1), generate(toy, ids, max_new_tokens=5, seed=1)[:, 2:])


def script(*rows: list[int]):
    """A step function that says given tokens, row by row, whatever it reads."""
    count = iter(range(1000))

    def step(ids, cache):
        n = next(count)
        logits = np.zeros((len(ids), 300), dtype=np.float32)
        for row, tokens in enumerate(rows):
            logits[row, tokens[min(n, len(tokens) - 1)]] = 5.0
        return logits
    return step


@pytest.mark.parametrize("ends", [{"eos_token_id": 9}, {"eos_token_id": [8, 9]}, {"stop": 9}, {"stop": [9]},
                                  {"eos_token_id": np.int64(9)}])
def test_a_row_ends_at_its_end_token_and_is_padded(ends):
    step = script([1, 9, 5, 5, 5], [2, 3, 4, 9, 5])
    out = generate(step, np.zeros((2, 1), dtype=int), max_new_tokens=10, sampling=GREEDY, pad_token_id=7, **ends)
    assert out.tolist() == [[0, 1, 9, 7, 7], [0, 2, 3, 4, 9]]


def test_padding_defaults_to_the_end_token():
    step = script([9, 5], [1, 9])
    out = generate(step, np.zeros((2, 1), dtype=int), max_new_tokens=5, sampling=GREEDY, eos_token_id=[9, 8])
    assert out.tolist() == [[0, 9, 9], [0, 1, 9]]


def test_none_never_stops():
    assert generate(script([9]), np.zeros((1, 1), dtype=int), max_new_tokens=6, sampling=GREEDY).shape == (1, 7)


@hypothesis
@given(prompts, choices, st.integers(1, 3), st.sampled_from([[9], [0, 1, 2, 3, 4, 5]]), st.booleans())
def test_prompts_read_once_and_rows_left_out_change_nothing(prompts, sampling, copies, ends, cached):
    """Past the context too."""
    toy = Toy(context=9)
    ids, mask = (np.repeat(array, copies, axis=0) for array in left_pad(prompts))
    options = dict(attention_mask=mask, max_new_tokens=12, sampling=sampling, seed=1, context_length=9,
                   eos_token_id=ends, make_cache=toy.cache if cached else None)
    expected = generate(toy, ids, **options)
    toy.read.clear()
    np.testing.assert_array_equal(generate(toy, ids, copies=copies, **options), expected)
    ended = np.logical_or.accumulate(np.isin(expected[:, mask.shape[1]:], ends), axis=1)
    assert toy.read[0][0] == len(prompts)
    for (rows, _), going in zip(toy.read[1:], (~ended).sum(axis=0).tolist()):
        assert going <= rows and (rows == going or rows < 2 * going)


def test_a_step_that_wants_all_rows_gets_them():
    toy = Toy()
    generate(toy, np.repeat([[1, 2], [3, 4]], 2, axis=0), max_new_tokens=6, seed=0, eos_token_id=[0, 1, 2, 3, 4])
    assert {rows for rows, _ in toy.read} == {4}


def decode(ids: list[int]) -> str:
    return bytes(ids).decode("utf-8", "replace")


def test_a_stop_text_may_span_tokens_and_starts_no_earlier_than_the_new_text():
    ids = np.array([[ord("E"), ord("N")], [ord("x"), ord("x")]])
    step = script(list(b"D aEND!!!"), list(b"aaaaaaEND"))
    out = generate(step, ids, max_new_tokens=20, sampling=GREEDY, stop="END", decode=decode, pad_token_id=0)
    assert bytes(out[0].tolist()) == b"END aEND\0\0\0" and bytes(out[1].tolist()) == b"xxaaaaaaEND"


def test_stream_text_ends_before_the_stop_text_and_without_the_end_token():
    def run(text: bytes, **options) -> str:
        ids = np.zeros((1, 1), dtype=int)
        return "".join(stream_text(script(list(text)), ids, decode=decode, sampling=GREEDY, **options))

    text = "né😀 END more".encode()
    assert run(text, max_new_tokens=50, stop="END") == "né😀 "
    assert run(text, max_new_tokens=50, stop=["zz", "é"]) == "n"
    assert run(text, max_new_tokens=9, stop="END") == "né😀 E"  # cut short: what was held back comes out
    assert run(text, max_new_tokens=4) == "né\ufffd"
    assert run(b"ab\x09cd", max_new_tokens=50, eos_token_id=9) == "ab"
    assert run(b"ab\x09cd", max_new_tokens=50, stop=[9, "d"]) == "ab"


def test_repetition_penalty_counts_the_prompt_and_the_new_tokens_but_no_padding():
    def step(ids, cache, attention_mask=None):
        return np.tile(np.array([[4.0, 3.0, 2.0, 1.0]], dtype=np.float32), (len(ids), 1))

    ids, mask = left_pad([[0], [1, 2]], pad_token_id=3)
    out = generate(step, ids, attention_mask=mask, max_new_tokens=3, sampling=Sampling(0.0, repetition_penalty=100.0))
    assert out[:, 2:].tolist() == [[1, 2, 3], [0, 3, 0]]


def test_steps_may_return_tensors_and_the_last_position_only():
    toy, ids = Toy(), np.array([[1, 2, 3]])
    want = generate(toy, ids, max_new_tokens=4, sampling=GREEDY)
    for step in (lambda ids, cache: Tensor(toy(ids)), lambda ids, cache: toy(ids)[:, -1]):
        np.testing.assert_array_equal(generate(step, ids, max_new_tokens=4, sampling=GREEDY), want)


def test_a_long_prompt_is_an_error_or_cropped():
    toy = Toy()
    ids = np.arange(15)[None] % 11
    options = dict(max_new_tokens=3, sampling=GREEDY, context_length=12, make_cache=toy.cache)
    with pytest.raises(ValueError, match="15 tokens, but the model's context holds 12"):
        generate(toy, ids, **options)
    with pytest.warns(UserWarning, match="sees only the last 12"):
        out = generate(toy, ids, long_prompt="crop", **options)
    assert out[0].tolist() == by_hand(toy, ids[0].tolist(), 3)


@pytest.mark.parametrize("change, error, message", [
    ({"ids": np.array([1, 2])}, ValueError, r"expected \(B, T\)"),
    ({"ids": np.zeros((1, 0), dtype=int)}, ValueError, "at least one token"),
    ({"ids": np.zeros((0, 2), dtype=int)}, ValueError, "at least one row"),
    ({"ids": np.array([[1.5]])}, TypeError, "float64, expected integers"),
    ({"max_new_tokens": -1}, ValueError, "max_new_tokens is -1"),
    ({"attention_mask": np.ones((1, 3))}, ValueError, r"shape \(1, 3\)"),
    ({"attention_mask": np.array([[1, 0]])}, ValueError, "pad prompts on the left"),
    ({"attention_mask": np.array([[0, 0]])}, ValueError, "pad prompts on the left"),
    ({"stop": "END"}, ValueError, "need `decode`"),
    ({"stop": "", "decode": decode}, ValueError, "stop string is empty"),
    ({"seed": -3}, ValueError, "seed is -3"),
])
def test_errors_come_before_the_first_step(change, error, message):
    def step(ids, cache):
        raise AssertionError("called")
    arguments = {"ids": np.array([[1, 2]]), "max_new_tokens": 2, **change}
    with pytest.raises(error, match=message):
        stream(step, **arguments)


def test_left_pad():
    ids, mask = left_pad([[1, 2, 3], [4]], pad_token_id=9)
    assert ids.tolist() == [[1, 2, 3], [9, 9, 4]] and mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        left_pad([[1], []])
    with pytest.raises(ValueError, match="no prompts"):
        left_pad([])


def test_stream_text_wants_one_prompt():
    with pytest.raises(ValueError, match="got 2"):
        stream_text(Toy(), np.array([[1], [2]]), decode=decode, max_new_tokens=1)


@pytest.mark.oracle
def test_greedy_equals_transformers():
    torch = pytest.importorskip("torch")
    hf = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = hf.GPT2Config(vocab_size=31, n_positions=24, n_embd=16, n_layer=2, n_head=2, initializer_range=0.6)
    model = hf.GPT2LMHeadModel(config).eval()

    def step(ids, cache, attention_mask=None):
        mask = np.ones_like(ids) if attention_mask is None else attention_mask
        positions = np.maximum(mask.cumsum(1) - 1, 0)
        with torch.no_grad():
            return model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask),
                         position_ids=torch.tensor(positions)).logits.numpy()

    ids, mask = left_pad([[5, 6, 7, 8], [9, 3], [1]], pad_token_id=0)
    for penalty in (1.0, 1.3):
        # transformers counts padding as text for the penalty: compare an unpadded batch there.
        batch, attention = (ids, mask) if penalty == 1.0 else (ids[:1], mask[:1])
        theirs = model.generate(torch.tensor(batch), attention_mask=torch.tensor(attention), max_new_tokens=12,
                                do_sample=False, repetition_penalty=penalty, eos_token_id=30, pad_token_id=0)
        ours = generate(step, batch, attention_mask=attention, max_new_tokens=12, eos_token_id=30, pad_token_id=0,
                        sampling=Sampling(0.0, repetition_penalty=penalty))
        np.testing.assert_array_equal(ours, theirs.numpy())

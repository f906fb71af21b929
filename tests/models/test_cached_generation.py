"""With the cache or without it, every family and position scheme gives the same; a beam of width one is greedy."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tinygpt import no_grad
from tinygpt.generation import beam_search
from tinygpt.models import GPT, EncoderDecoder, EncoderDecoderConfig, GPTConfig

SIZES = dict(vocab_size=17, block_size=12, n_layer=2, n_head=4, n_embd=16, initializer_range=0.5)
MODELS = {
    "gpt2": lambda: GPT(GPTConfig(**SIZES)),
    "llama": lambda: GPT(GPTConfig(**SIZES, architecture="llama", n_kv_head=2)),
    "llama-scaled": lambda: GPT(GPTConfig(**SIZES, architecture="llama", rope_theta=100.0,
                                          rope_scaling={"rope_type": "linear", "factor": 2.0})),
    "mixtral": lambda: GPT(GPTConfig(**SIZES, architecture="mixtral", n_kv_head=2, n_inner=8, n_experts=4)),
    "gpt2-alibi": lambda: GPT(GPTConfig(**SIZES, positions="alibi")),
    "llama-alibi": lambda: GPT(GPTConfig(**SIZES, architecture="llama", positions="alibi", n_kv_head=2)),
    "gpt2-rotary": lambda: GPT(GPTConfig(**SIZES, positions="rotary")),
    "llama-sinusoidal": lambda: GPT(GPTConfig(**SIZES, architecture="llama", positions="sinusoidal")),
    "mistral": lambda: GPT(GPTConfig(**SIZES, architecture="mistral", n_kv_head=2, window=4)),
    "gpt2-window": lambda: GPT(GPTConfig(**SIZES, window=3)),
    "gpt2-alibi-window": lambda: GPT(GPTConfig(**SIZES, positions="alibi", window=1)),
    "no-layers": lambda: GPT(GPTConfig(**SIZES | {"n_layer": 0})),
    "bart": lambda: EncoderDecoder(EncoderDecoderConfig(**SIZES, architecture="bart", n_decoder_head=2)),
    "marian": lambda: EncoderDecoder(EncoderDecoderConfig(**SIZES, tie_word_embeddings=False)),
    "no-decoder-layers": lambda: EncoderDecoder(EncoderDecoderConfig(**SIZES, n_decoder_layer=0)),
}


@pytest.fixture(params=MODELS, scope="module")
def model(request):
    return MODELS[request.param]().eval()


@pytest.fixture(params=[name for name, build in MODELS.items() if isinstance(build(), GPT)], scope="module")
def decoder(request):
    return MODELS[request.param]().eval()


def next_logits(model, source, mask):
    """A function (ids, cache) -> logits (B, T, V) of the tokens' successors, for either family."""
    if isinstance(model, GPT):
        return lambda ids, cache=None: model(ids, cache=cache).data
    memory, memory_mask = model.encode(source, mask)
    weight, bias = model.output_weight.data, model.lm_head.bias.data
    return lambda ids, cache=None: model.decode(ids, memory, memory_mask, cache).data @ weight.T + bias


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 999), cuts=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_logits_in_pieces_are_those_of_the_whole(model, seed, cuts):
    rng = np.random.default_rng(seed)
    length = min(sum(cuts), 12)
    ids, source, mask = rng.integers(0, 17, (2, length)), rng.integers(0, 17, (2, 5)), np.ones((2, 5))
    mask[1, 3:] = 0
    with no_grad():
        logits = next_logits(model, source, mask)
        cache, whole, at = model.new_cache(2), logits(ids), 0
        for cut in cuts:
            piece = ids[:, at:at + cut]
            if piece.shape[1]:
                np.testing.assert_allclose(logits(piece, cache), whole[:, at:at + cut], atol=2e-5)
            at += cut


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 999), length=st.integers(1, 6), n_padding=st.integers(1, 5), start=st.integers(1, 9))
def test_padding_on_the_left_changes_nothing(decoder, seed, length, n_padding, start):
    model, rng = decoder, np.random.default_rng(seed)
    ids = np.pad(rng.integers(0, 17, (1, length)), ((0, 0), (n_padding, 0)))
    ids, mask = np.concatenate([ids, rng.integers(0, 17, ids.shape)]), np.ones((2, ids.shape[1]), np.int64)
    mask[0, :n_padding] = 0
    start = min(start, ids.shape[1])
    with no_grad():
        alone, cache = model(ids[:1, n_padding:]).data, model.new_cache(2)
        whole = model(ids, attention_mask=mask).data
        pieces = [model(ids[:, :start], attention_mask=mask[:, :start], cache=cache).data]
        for at in range(start, ids.shape[1]):
            pieces.append(model(ids[:, at:at + 1], attention_mask=mask[:, :at + 1], cache=cache).data)
    # Sums of some tens of terms of size 1, rounded to float32 in another order.
    np.testing.assert_allclose(whole[:1, n_padding:], alone, atol=2e-5)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1)[0, n_padding:], alone[0], atol=2e-5)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1)[1], whole[1], atol=2e-5)


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 999), temperature=st.sampled_from([0.0, 1.0]), beams=st.integers(1, 3))
def test_generation(model, seed, temperature, beams):
    ids = np.random.default_rng(seed).integers(0, 17, (2, 4))
    options = dict(max_new_tokens=7, temperature=temperature, seed=seed, num_beams=beams, eos_token_id=None)
    np.testing.assert_array_equal(model.generate(ids, **options), model.generate(ids, **options, use_cache=False))


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 999), eos=st.integers(0, 16) | st.none())
def test_a_beam_of_width_one_is_greedy(model, seed, eos):
    ids = np.random.default_rng(seed).integers(0, 17, (2, 4))
    greedy = model.generate(ids, max_new_tokens=6, temperature=0.0, eos_token_id=eos)
    gpt = isinstance(model, GPT)
    start = ids if gpt else np.full((2, 1), model.config.decoder_start_token_id)
    with no_grad():
        logits = next_logits(model, ids, None)
        beam = beam_search(lambda text, cache: logits(text, cache), start, num_beams=1, max_new_tokens=6,
                           eos_token_id=eos, make_cache=model.new_cache, pad_token_id=None if gpt else 1)
    np.testing.assert_array_equal(beam, greedy)

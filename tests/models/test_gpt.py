"""GPT: initial weights, size, causality, cache, padding, loss and gradients, generation, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_losses import loss_of

from tinygpt import ops
from tinygpt.autograd import is_grad_enabled, no_grad
from tinygpt.backend import manual_seed
from tinygpt.generation import left_pad
from tinygpt.models import GPT, GPTConfig

few = settings(deadline=None, max_examples=25, derandomize=True)
SIZES = dict(vocab_size=17, block_size=12, n_layer=2, n_head=4, n_embd=16, initializer_range=0.3)
LAYOUTS = {
    "gpt2": dict(),
    "gpt2-bare": dict(bias=False, activation="gelu", tie_word_embeddings=False),
    "llama": dict(architecture="llama", n_kv_head=2),
    "llama-wide": dict(architecture="llama", head_dim=6, bias=True, tie_word_embeddings=False),
}
layouts = st.sampled_from(sorted(LAYOUTS))


def model_of(layout: str = "gpt2", seed: int = 0, **options) -> GPT:
    """A model in float64 whose biases and gains are random too."""
    manual_seed(seed)
    model = GPT(GPTConfig(**{**SIZES, **LAYOUTS[layout], **options})).to(dtype="float64").eval()
    rng = np.random.default_rng(seed)
    for p in model.parameters():
        p.data = p.data + 0.1 * rng.standard_normal(p.shape)
    return model


def ids_of(b: int, t: int, seed: int = 0, v: int = 17) -> np.ndarray:
    return np.random.default_rng(seed).integers(v, size=(b, t))


# -- weights ----------------------------------------------------------------------------------------------------------


@given(layouts, st.integers(0, 3), st.sampled_from([(2, 8), (4, 16)]), st.integers(1, 9), st.integers(2, 30))
@few
def test_number_of_parameters(layout, n_layer, width, block_size, vocab_size):
    heads, c = width
    config = GPTConfig(**{**SIZES, **LAYOUTS[layout], "n_head": heads, "n_embd": c, "n_layer": n_layer,
                          "block_size": block_size, "vocab_size": vocab_size})
    d, kv, inner = config.head_dim, config.n_kv_head, config.n_inner
    norm = c * (2 if config.bias and layout.startswith("gpt2") else 1)
    matrices = [(heads + 2 * kv) * d * c, c * heads * d] + [inner * c] * (3 if (config.feed_forward == "gated") else 2)
    biases = [(heads + 2 * kv) * d, c, inner, c] + ([inner] if (config.feed_forward == "gated") else [])
    block = sum(matrices) + (sum(biases) if config.bias else 0) + 2 * norm
    positions = block_size * c if layout.startswith("gpt2") else 0
    heads_apart = 0 if config.tie_word_embeddings else vocab_size * c
    assert GPT(config).n_parameters == vocab_size * c + positions + n_layer * block + norm + heads_apart


def test_gpt2_small_has_124_million_parameters():
    config = GPTConfig(vocab_size=50257)
    c = config.n_embd
    assert 50257 * c + 1024 * c + 12 * (12 * c * c + 13 * c) + 2 * c == 124_439_808  # as OpenAI's
    assert (config.n_layer, config.n_head, c, config.block_size, config.n_inner) == (12, 12, 768, 1024, 3072)


def test_weights_start_as_gpt2s():
    manual_seed(1)
    model = GPT(GPTConfig(vocab_size=500, block_size=64, n_layer=8, n_head=4, n_embd=64))
    for name, p in model.named_parameters():
        assert p.dtype == np.float32
        if name.endswith("norm.weight"):
            assert (p.data == 1).all()
        elif name.endswith("bias"):
            assert not p.data.any()
        else:
            std = 0.02 / math.sqrt(16) if name.endswith(("out.weight", "down.weight")) else 0.02
            assert abs(p.data.std() / std - 1) < 5 / math.sqrt(2 * p.size), name
            assert abs(p.data.mean()) < 5 * std / math.sqrt(p.size), name
    ids = ids_of(4, 64, v=500)
    assert abs(float(loss_of(model, ids, ids_of(4, 64, 1, 500))) - math.log(500)) < 0.1  # knows nothing


def test_the_seed_decides_the_weights():
    config = GPTConfig(**SIZES)
    states = []
    for seed in (1, 1, 2):
        manual_seed(seed)
        states.append(GPT(config).state_dict())
    assert all((states[0][name] == states[1][name]).all() for name in states[0])
    assert (states[0]["token_embedding.weight"] != states[2]["token_embedding.weight"]).all()


def test_names_of_the_parameters():
    names = set(model_of("gpt2-bare", n_layer=1).state_dict())
    assert names == {"token_embedding.weight", "positions.weight", "norm.weight", "lm_head.weight"} | {
        f"blocks.0.{part}.weight" for part in ("attention_norm", "attention.qkv", "attention.out",
                                               "feed_forward_norm", "feed_forward.up", "feed_forward.down")}


# -- what a token may see ---------------------------------------------------------------------------------------------


@given(layouts, st.integers(1, 12), st.data())
@few
def test_causal_values_and_gradients(layout, t, data):
    """Logits at position i do not change with later tokens, and their gradient towards those is exactly zero."""
    model, at = model_of(layout), data.draw(st.integers(0, t - 1))
    ids = ids_of(2, t)
    changed = ids.copy()
    changed[:, at + 1:] = (changed[:, at + 1:] + 1 + data.draw(st.integers(0, 15))) % 17
    np.testing.assert_array_equal(model(ids).data[:, :at + 1], model(changed).data[:, :at + 1])

    seen = {}
    embed = model.token_embedding.forward

    def watched(ids):
        seen["x"] = embed(ids).detach()
        seen["x"].requires_grad = True
        return seen["x"]

    model.token_embedding.forward = watched
    model(ids)[:, at].sum().backward()
    gradient = seen["x"].grad
    assert not gradient[:, at + 1:].any()
    assert np.abs(gradient[:, :at + 1]).max(axis=-1).min() > 0  # and every earlier token does count


@given(layouts, st.lists(st.integers(1, 4), min_size=1, max_size=5))
@few
def test_the_cache_in_pieces_of_any_size_gives_the_same(layout, pieces):
    t = min(12, sum(pieces))
    bounds = np.minimum(np.cumsum([0, *pieces]), t)
    model, ids = model_of(layout), ids_of(3, t)
    cache = model.new_cache(3)
    parts = [model(ids[:, a:b], cache=cache).data for a, b in zip(bounds, bounds[1:]) if b > a]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), model(ids).data, rtol=1e-9, atol=1e-10)
    assert cache.length == t and cache.capacity == 12
    if t == 12:
        with pytest.raises(ValueError, match="a text of 13 tokens does not fit the context of 12 tokens"):
            model(ids[:, :1], cache=cache)


@given(layouts, st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 3), st.booleans())
@few
def test_left_padding_changes_nothing(layout, lengths, extra, cached):
    """Each row alone, and all rows padded to the longest (and more): equal logits at every token."""
    model = model_of(layout)
    prompts = [ids_of(1, n, seed)[0].tolist() for seed, n in enumerate(lengths)]
    ids, mask = left_pad(prompts)
    ids, mask = (np.pad(a, ((0, 0), (extra, 0)), constant_values=value) for a, value in ((ids, 3), (mask, 0)))
    if cached and ids.shape[1] > 1:
        cache, cut = model.new_cache(len(ids)), ids.shape[1] - 1
        logits = np.concatenate([model(ids[:, :cut], mask[:, :cut], cache).data,
                                 model(ids[:, cut:], mask, cache).data], axis=1)
    else:
        logits = model(ids, attention_mask=mask).data
    assert np.isfinite(logits).all()
    for row, prompt in enumerate(prompts):
        alone = model(np.array([prompt])).data[0]
        np.testing.assert_allclose(logits[row, -len(prompt):], alone, rtol=1e-8, atol=1e-9)


@given(layouts, st.integers(1, 4), st.integers(1, 12))
@few
def test_rows_of_a_batch_know_nothing_of_each_other(layout, b, t):
    model, ids = model_of(layout), ids_of(b, t)
    together = model(ids).data
    assert together.shape == (b, t, 17)
    for row in range(b):
        np.testing.assert_allclose(model(ids[row:row + 1]).data[0], together[row], rtol=1e-9, atol=1e-10)


# -- loss and gradients -----------------------------------------------------------------------------------------------


@given(layouts, st.integers(1, 3), st.integers(1, 6), st.booleans(), st.sampled_from(["mean", "sum"]),
       st.integers(0, 99))
@few
def test_loss_is_the_cross_entropy_of_the_logits(layout, b, t, weighted, reduction, seed):
    model, ids = model_of(layout), ids_of(b, t, seed)
    rng = np.random.default_rng(seed)
    targets = np.where(rng.random((b, t)) < 0.3, -100, rng.integers(17, size=(b, t)))
    weights = rng.random((b, t)) if weighted else None
    loss = loss_of(model, ids, targets, weights, reduction=reduction)
    np.testing.assert_allclose(loss.data, ops.cross_entropy(model(ids), targets, weights, reduction=reduction).data)
    logits = model(ids).data
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    counted = [(i, j) for i in range(b) for j in range(t) if targets[i, j] >= 0]
    w = {at: 1.0 if weights is None else weights[at] for at in counted}
    total = -sum(w[i, j] * log_p[i, j, targets[i, j]] for i, j in counted)
    expected = total / sum(w.values()) if reduction == "mean" and counted else total
    np.testing.assert_allclose(float(loss), expected, rtol=1e-9, atol=1e-12)


def test_a_tied_matrix_gets_the_gradients_of_both_its_uses():
    tied, apart = model_of(), model_of(tie_word_embeddings=False)
    state = tied.state_dict()
    apart.load_state_dict({**state, "lm_head.weight": state["token_embedding.weight"]})
    ids, targets = ids_of(2, 8), ids_of(2, 8, 1)
    for model in (tied, apart):
        loss_of(model, ids, targets).backward()
    np.testing.assert_allclose(tied.token_embedding.weight.grad,
                               apart.token_embedding.weight.grad + apart.lm_head.weight.grad, rtol=1e-9, atol=1e-12)
    assert tied.output_weight is tied.token_embedding.weight


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_gradients_of_the_whole_model_in_float32_and_float64_agree(layout):
    double = model_of(layout, initializer_range=0.1)
    single = GPT(double.config)
    single.load_state_dict(double.state_dict())
    double.load_state_dict(single.state_dict())  # both at the rounded weights
    ids, targets = ids_of(4, 12), ids_of(4, 12, 1)
    for model in (single, double):
        loss_of(model, ids, targets).backward()
    exact = np.concatenate([p.grad.ravel() for p in double.parameters()])
    rounded = np.concatenate([p.grad.ravel() for p in single.parameters()])
    assert rounded.dtype == np.float32
    assert np.linalg.norm(exact - rounded) <= 1e-5 * np.linalg.norm(exact)
    for (name, a), b in zip(double.named_parameters(), single.parameters()):
        assert np.linalg.norm(a.grad - b.grad) <= 1e-5 * np.linalg.norm(a.grad) + 1e-12, name


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_gradient_is_the_slope_of_the_loss(layout):
    model, ids, targets = model_of(layout), ids_of(2, 6), ids_of(2, 6, 1)
    loss_of(model, ids, targets).backward()
    rng = np.random.default_rng(0)
    directions = [rng.standard_normal(p.shape) for p in model.parameters()]
    slope = sum((p.grad * d).sum() for p, d in zip(model.parameters(), directions))
    starts = [p.data for p in model.parameters()]
    values = []
    for step in (1e-5, -1e-5):
        for p, start, d in zip(model.parameters(), starts, directions):
            p.data = start + step * d
        values.append(float(loss_of(model, ids, targets)))
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(slope, rel=1e-6)


def test_dropout_acts_in_training_only():
    model, ids = model_of(dropout=0.5), ids_of(2, 8)
    np.testing.assert_array_equal(model(ids).data, model(ids).data)
    model.train()
    assert (model(ids).data != model(ids).data).any()


# -- classification ---------------------------------------------------------------------------------------------------


@given(layouts, st.lists(st.integers(1, 5), min_size=1, max_size=4), st.sampled_from(["left", "right"]))
@few
def test_a_classifier_reads_the_last_token_that_is_no_padding(layout, lengths, side):
    model = model_of(layout, head="classification", n_labels=3, tie_word_embeddings=True)
    prompts = [ids_of(1, n, seed)[0].tolist() for seed, n in enumerate(lengths)]
    ids, mask = left_pad(prompts)
    if side == "right":
        ids, mask = (np.array([np.roll(row, n) for row, n in zip(a, lengths)]) for a in (ids, mask))
    logits = model(ids, attention_mask=mask)
    assert logits.shape == (len(prompts), 3)
    for row, prompt in enumerate(prompts):
        alone = model(np.array([prompt])).data[0]
        np.testing.assert_allclose(alone, model.features(np.array([prompt])).data[0, -1] @ model.score.weight.data.T)
        np.testing.assert_allclose(logits.data[row], alone, rtol=1e-8, atol=1e-9)
    labels = np.arange(len(prompts)) % 3
    loss = loss_of(model, ids, labels, attention_mask=mask)
    np.testing.assert_allclose(loss.data, ops.cross_entropy(logits, labels).data)
    loss.backward()
    assert model.score.weight.grad.any()


def test_a_classifier_with_a_padding_token_reads_the_last_other_token():
    """With or without a mask, and also where a text ends in that token: so does transformers."""
    model = model_of("gpt2", head="classification", n_labels=3, tie_word_embeddings=True, pad_token_id=0)
    ids = np.array([[3, 4, 0, 0], [0, 0, 5, 6], [1, 0, 2, 0], [0, 0, 0, 0]])
    features = model.features(ids).data
    expected = features[np.arange(4), [1, 3, 2, 0]] @ model.score.weight.data.T
    np.testing.assert_allclose(model(ids).data, expected)
    np.testing.assert_allclose(model(ids.tolist(), attention_mask=np.ones((4, 4))).data, expected)


def test_a_classifier_does_not_generate():
    with pytest.raises(ValueError, match="a classifier does not generate text"):
        model_of(head="classification").generate([[1]])


# -- generation -------------------------------------------------------------------------------------------------------


@given(layouts, st.integers(1, 3), st.integers(1, 8), st.integers(0, 12), st.booleans())
@few
def test_greedy_takes_the_likeliest_token_each_time_over_a_sliding_window(layout, b, t, new, use_cache):
    model, ids = model_of(layout), ids_of(b, t)
    out = model.generate(ids, max_new_tokens=new, temperature=0.0, use_cache=use_cache)
    assert out.shape == (b, t + new) and out.dtype == np.int64
    expected = ids
    for _ in range(new):
        likeliest = model(expected[:, -12:]).data[:, -1].argmax(-1)
        expected = np.concatenate([expected, likeliest[:, None]], axis=1)
    np.testing.assert_array_equal(out, expected)


@given(layouts, st.lists(st.integers(1, 6), min_size=2, max_size=4), st.sampled_from([0.0, 0.9]), st.booleans())
@few
def test_a_batch_of_unequal_prompts_gives_what_each_gives_alone(layout, lengths, temperature, use_cache):
    model = model_of(layout)
    prompts = [ids_of(1, n, seed)[0].tolist() for seed, n in enumerate(lengths)]
    ids, mask = left_pad(prompts)
    out = model.generate(ids, 9, attention_mask=mask, temperature=temperature, seed=4, use_cache=use_cache)
    alone = model.generate([prompts[0]], 9, temperature=temperature, seed=4)  # row 0 draws from (seed, 0)
    np.testing.assert_array_equal(out[0, len(ids[0]) - len(prompts[0]):], alone[0])
    if temperature == 0:
        for row, prompt in enumerate(prompts):
            np.testing.assert_array_equal(out[row, len(ids[0]) - len(prompt):],
                                          model.generate([prompt], 9, temperature=0.0)[0])


def test_the_seed_decides_what_is_drawn_and_nothing_else_does():
    model, ids = model_of(), ids_of(2, 3)
    first = model.generate(ids, 30, seed=1)
    np.random.seed(0)
    model.generate(ids, 5, seed=9)
    np.testing.assert_array_equal(first, model.generate(ids, 30, seed=1))
    assert (first != model.generate(ids, 30, seed=2)).any() and (first[0, 3:] != first[1, 3:]).any()
    assert (model.generate(ids, 30) != model.generate(ids, 30)).any()


def test_sampling_follows_the_models_distribution():
    model = model_of()
    p = np.exp(logits := model(np.array([[1, 2]])).data[0, -1]) / np.exp(logits).sum()
    drawn = model.generate(np.tile([1, 2], (4000, 1)), 1, seed=0)[:, -1]
    np.testing.assert_allclose(np.bincount(drawn, minlength=17) / 4000, p, atol=4 * np.sqrt(0.25 / 4000))
    best = set(np.argsort(-p)[:3].tolist())
    assert set(model.generate(np.tile([1, 2], (200, 1)), 1, seed=0, top_k=3)[:, -1].tolist()) == best


def test_an_end_token_ends_a_row_which_is_filled_up():
    model = model_of(pad_token_id=16)
    free = model.generate([[1, 2]], 10, temperature=0.0)[0]
    end = int(free[5])
    first = int(np.flatnonzero(free[2:] == end)[0]) + 2
    np.testing.assert_array_equal(model.generate([[1, 2]], 10, temperature=0.0, eos_token_id=end)[0], free[:first + 1])
    configured = model_of(pad_token_id=16, eos_token_id=end)
    np.testing.assert_array_equal(configured.generate([[1, 2]], 10, temperature=0.0)[0], free[:first + 1])
    np.testing.assert_array_equal(configured.generate([[1, 2]], 10, temperature=0.0, eos_token_id=None)[0], free)
    both = configured.generate([[1, 2], [3, 4]], 10, temperature=0.0)
    assert end in both[0, 2:]  # or the loop would look at nothing
    for row in both:
        after = np.flatnonzero(row[2:] == end)
        assert not len(after) or (row[3 + after[0]:] == 16).all()


def letters(ids) -> str:
    return "".join(chr(97 + i) for i in ids)


def test_stop_strings_and_streaming():
    model = model_of()
    free = model.generate([[1, 2]], 10, temperature=0.0)[0]
    text = letters(free[2:])
    stop = text[4:6]
    end = text.index(stop) + 2
    stopped = model.generate([[1, 2]], 10, temperature=0.0, stop=stop, decode=letters)[0]
    np.testing.assert_array_equal(stopped, free[:2 + end])
    assert [int(t[0]) for t in model.stream([[1, 2]], 10, temperature=0.0)] == free[2:].tolist()
    assert "".join(model.stream_text([[1, 2]], 10, decode=letters, temperature=0.0)) == text
    assert "".join(model.stream_text([[1, 2]], 10, decode=letters, temperature=0.0, stop=stop)) == text[:end - 2]
    with pytest.raises(ValueError, match="stop texts .* need `decode`"):
        model.generate([[1]], stop="x")


def test_nothing_is_recorded_and_gradients_stay_switched_on_outside():
    model = model_of()
    for _ in model.stream([[1]], 2):
        assert is_grad_enabled()
    assert all(p.grad is None for p in model.parameters())


def test_beams_find_a_text_at_least_as_likely_as_greedy():
    model = model_of()

    def log_p(out):
        with no_grad():
            logits = model(out[:, :-1]).data
        p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        return np.take_along_axis(p, out[:, 1:, None], axis=-1)[:, 2:].sum()

    ids = ids_of(1, 3)
    assert log_p(model.generate(ids, 6, num_beams=17 ** 2, eos_token_id=None)) >= \
        log_p(model.generate(ids, 6, temperature=0.0, eos_token_id=None)) - 1e-9


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids, kind, message", [
    (np.zeros((1, 13), int), ValueError, "a text of 13 tokens does not fit the context of 12 tokens"),
    (np.array([[17]]), IndexError, "id 17 is outside the vocabulary, 0 … 16"),
    (np.array([[3, -1]]), IndexError, "id -1 is outside the vocabulary"),
    (np.array([[1.0]]), TypeError, "expected integer ids, got float64"),
    (np.array([1, 2]), ValueError, r"write ids\[None, :\]"),
    (np.zeros((1, 1, 1), int), ValueError, r"expected ids of shape \(batch, time\)"),
    ([[1, 2], [3]], ValueError, "rows of one length"),
    (3, ValueError, r"expected ids of shape \(batch, time\)"),
])
def test_ids_that_no_text_can_have(ids, kind, message):
    with pytest.raises(kind, match=message):
        model_of()(ids)


def test_ids_may_be_lists_of_any_integer_type_and_empty():
    model = model_of()
    expected = model(np.array([[1, 2, 3]])).data
    for ids in ([[1, 2, 3]], np.array([[1, 2, 3]], np.uint8), np.array([[1, 2, 3]], np.int32)):
        np.testing.assert_array_equal(model(ids).data, expected)
    assert model(np.zeros((2, 0), int)).shape == (2, 0, 17) and model(np.zeros((0, 3), int)).shape == (0, 3, 17)


@pytest.mark.parametrize("arguments, kind, message", [
    (dict(ids=np.zeros((1, 13), int)), ValueError, "the prompt has 13 tokens, but the model's context holds 12"),
    (dict(ids=np.zeros((1, 0), int)), ValueError, "at least one token"),
    (dict(ids=[[99]]), IndexError, "id 99 is outside the vocabulary"),
    (dict(ids=[[1]], temperature=-1.0), ValueError, "temperature"),
    (dict(ids=[[1]], top_p=0.0), ValueError, "top_p"),
    (dict(ids=[[1]], top_k=-1), ValueError, "top_k"),
    (dict(ids=[[1]], max_new_tokens=-1), ValueError, "max_new_tokens"),
    (dict(ids=[[1, 2]], attention_mask=[[1, 0]]), ValueError, "pad prompts on the left"),
    (dict(ids=[[1]], num_beams=0), ValueError, "num_beams"),
    (dict(ids=[[1]], num_beams=2, stop="x", decode=letters), ValueError, "beam search knows no stop texts"),
])
def test_what_cannot_be_generated_from(arguments, kind, message):
    with pytest.raises(kind, match=message):
        model_of().generate(**arguments)


def test_a_long_prompt_can_be_cropped_with_a_warning():
    model, ids = model_of(), ids_of(1, 15)
    with pytest.warns(UserWarning, match="sees only the last 12"):
        out = model.generate(ids, 3, temperature=0.0, long_prompt="crop")
    np.testing.assert_array_equal(out[:, 15:], model.generate(ids[:, -12:], 3, temperature=0.0)[:, 12:])


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"attention_mask must have the shape \(1, 3\)"):
        model_of()(np.zeros((1, 3), int), attention_mask=np.ones((1, 2)))


def test_weights_that_are_damaged_are_not_sampled_from():
    model = model_of()
    model.norm.weight.data[0] = np.nan
    with pytest.raises(ValueError, match="expected a finite number"):
        model.generate([[1]])


# -- folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_saved_and_loaded_it_is_the_same_model(layout, tmp_path):
    manual_seed(0)
    model = GPT(GPTConfig(**SIZES, **LAYOUTS[layout]))
    model.save_pretrained(tmp_path)
    loaded = GPT.from_pretrained(tmp_path)
    assert loaded.config == model.config and not loaded.training
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[name], value)
    before = (tmp_path / "model.safetensors").read_bytes()
    loaded.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before

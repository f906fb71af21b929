"""T5: its buckets, its function and its gradients, and random models of both versions that transformers makes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tinygpt.models import EncoderDecoder, EncoderDecoderConfig, load_model
from tinygpt.nn import RelativePositions
from tinygpt.nn.relative import buckets
from tinygpt.testing import check_model
from tinygpt.tokenizers import CharTokenizer
from tinygpt.training import FinetuneOptions, finetune, read_metrics

SIZES = dict(vocab_size=47, d_model=20, d_kv=6, d_ff=24, num_layers=3, num_heads=3, num_decoder_layers=2,
             relative_attention_num_buckets=8, relative_attention_max_distance=12, decoder_start_token_id=0)
MADE = {
    "t5": SIZES, "t5-gelu": SIZES | dict(feed_forward_proj="gelu", relative_attention_num_buckets=7),
    "flan": SIZES | dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "gated-silu": SIZES | dict(feed_forward_proj="gated-silu", layer_norm_epsilon=1e-3),
}


@pytest.fixture(scope="module")
def transformers():
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


@given(st.integers(4, 40), st.integers(21, 300), st.booleans())
def test_buckets_grow_with_the_distance_and_short_ones_are_alone(n, farthest, both_sides):
    past = buckets(-np.arange(400), n, farthest, both_sides)
    half = n // 2 if both_sides else n
    assert (np.diff(past) >= 0).all() and past.max() == half - 1
    np.testing.assert_array_equal(past[:half // 2], np.arange(half // 2))
    assert (past[farthest:] == half - 1).all()
    future = buckets(np.arange(400), n, farthest, both_sides)
    np.testing.assert_array_equal(future[1:], past[1:] + half if both_sides else 0)


def test_later_queries_get_the_rows_of_the_whole():
    positions = RelativePositions(3, n_buckets=8, farthest=12)
    whole = positions.learned_bias(9, 9).data
    assert whole.shape == (3, 9, 9)
    np.testing.assert_array_equal(positions.learned_bias(2, 9).data, whole[:, -2:])


@pytest.mark.parametrize("options", [dict(), dict(feed_forward="gated", activation="gelu_tanh",
                                                  tie_word_embeddings=False, n_decoder_layer=2)])
def test_gradients_are_those_of_its_function(options):
    config = EncoderDecoderConfig(vocab_size=7, block_size=8, n_layer=1, n_head=2, n_embd=6, head_dim=4, n_inner=5,
                                  architecture="t5", eos_token_id=1, relative_buckets=4, relative_distance=4,
                                  initializer_range=0.4, **options)
    assert check_model(EncoderDecoder(config), {
        "ids": np.array([[3, 4, 5, 2], [6, 2, 0, 0]]), "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 0, 0]]),
        "decoder_ids": np.array([[0, 2, 3], [0, 5, 0]]), "targets": np.array([[2, 3, 4], [5, -100, -100]])})


@pytest.mark.parametrize("options, message", [
    (dict(architecture="bart", head_dim=8), "'bart' has no head_dim to choose; leave it out, or choose 't5'"),
    (dict(architecture="marian", feed_forward="gated"), "has no feed_forward to choose"),
    (dict(architecture="t5", feed_forward="experts"), "feed_forward='experts' is not supported"),
    (dict(architecture="t5", n_decoder_head=4), "one n_head for both stacks"),
    (dict(architecture="t5", relative_buckets=2), "relative_buckets must be at least 4"),
    (dict(architecture="t5", relative_distance=16), "relative_distance more than half of them"),
    (dict(architecture="t5", head_dim=0), "head_dim must be at least 1")])
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EncoderDecoderConfig(vocab_size=9, n_embd=8, n_head=2, n_inner=8, **options)


def test_finetuning_keeps_the_layout(tmp_path):
    tokenizer = CharTokenizer.train(["abcdefgh"], special_tokens=["<pad>", "</s>"])
    tokenizer.set_template((), ("</s>",))
    EncoderDecoder(EncoderDecoderConfig(
        vocab_size=len(tokenizer), block_size=16, n_layer=1, n_head=2, n_embd=16, head_dim=6, n_inner=16,
        architecture="t5", eos_token_id=tokenizer.token_id("</s>"), pad_token_id=tokenizer.token_id("<pad>"),
        relative_buckets=8, relative_distance=16, feed_forward="gated", activation="gelu_tanh",
        tie_word_embeddings=False)).save_pretrained(tmp_path / "t5", tokenizer)
    data = tmp_path / "pairs.tsv"
    data.write_text("".join(f"{word}\t{word[::-1]}\n" for word in ("abc", "cad", "feg", "hab")))
    finetune(FinetuneOptions(task="translation", model=str(tmp_path / "t5"), data=(str(data),), steps=40, lr=1e-2,
                             batch_size=3, validation=0.25, patience=0, threads=1), tmp_path / "out",
             stream=io.StringIO())
    losses = [line["loss"] for line in read_metrics(tmp_path / "out" / "metrics.jsonl") if "loss" in line]
    assert losses[-1] < losses[0] / 3
    config = load_model(tmp_path / "out").config
    assert (config.architecture, config.relative_buckets, config.head_dim) == ("t5", 8, 6)


@pytest.mark.oracle
def test_buckets_are_those_of_transformers(transformers):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("transformers.models.t5.modeling_t5").T5Attention._relative_position_bucket
    distance = np.arange(-3000, 3000)
    for n, farthest in ((32, 128), (8, 12), (7, 100), (64, 256)):
        for both_sides in (True, False):
            expected = theirs(torch.tensor(distance), both_sides, n, farthest).numpy()
            np.testing.assert_array_equal(buckets(distance, n, farthest, both_sides), expected)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("width", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", MADE)
def test_a_model_that_transformers_made(transformers, tmp_path, name, width):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    kind = transformers.T5ForConditionalGeneration
    theirs = kind(transformers.T5Config(**MADE[name]))
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        if name == "flan":  # its output has a matrix of its own, which transformers keeps if it is another
            theirs.lm_head.weight = torch.nn.Parameter(torch.randn_like(theirs.shared.weight))
    theirs.to(getattr(torch, width)).save_pretrained(tmp_path)
    theirs = kind.from_pretrained(tmp_path, dtype=torch.float32).eval()

    def logits(model):
        with torch.no_grad():
            return model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask),
                         decoder_input_ids=torch.tensor(read)).logits.numpy()

    ours = load_model(tmp_path)
    assert ours.config.tie_word_embeddings == (name != "flan")
    rng = np.random.default_rng(0)
    ids, mask = rng.integers(2, 47, (3, 30)), np.ones((3, 30), np.int64)
    mask[1, 11:] = mask[2, 25:] = 0
    ids, read = np.where(mask, ids, 0), np.concatenate([np.zeros((3, 1), int), rng.integers(2, 47, (3, 20))], axis=1)
    expected = logits(theirs)
    # In float64: scores are not divided by √D, so random weights make of the rounding of float32 more than 1e-4.
    exactly = load_model(tmp_path).to(dtype=np.float64)(ids, read, attention_mask=mask).data
    np.testing.assert_allclose(exactly, logits(kind.from_pretrained(tmp_path, dtype=torch.float64).eval()), rtol=0,
                               atol=1e-4)
    np.testing.assert_allclose(ours(ids, read, attention_mask=mask).data, expected, rtol=0, atol=1e-3)
    assert np.abs(expected).max() > 1
    for beams in (1, 3):
        with torch.no_grad():
            wanted = theirs.generate(torch.tensor(ids), attention_mask=torch.tensor(mask), max_new_tokens=20,
                                     num_beams=beams, do_sample=False).numpy()
        found = ours.generate(ids, 20, attention_mask=mask, num_beams=beams)
        np.testing.assert_array_equal(found[:, :wanted.shape[1]], wanted)
        assert found.shape == wanted.shape

    ours.save_pretrained(tmp_path / "back")
    again, info = kind.from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(info.values()), info
    np.testing.assert_allclose(logits(again.eval()), expected, rtol=0, atol=1e-6)
    assert load_model(tmp_path / "back").config == ours.config

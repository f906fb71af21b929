"""EncoderDecoder: masks and shapes, the loss, generation with the configuration's rules."""

import numpy as np
import pytest
from model_losses import loss_of

from tinygpt import manual_seed, no_grad, ops
from tinygpt.models import EncoderDecoder, EncoderDecoderConfig
from tinygpt.models.encoder_decoder import shift_right

SIZES = dict(vocab_size=17, block_size=12, n_layer=2, n_head=2, n_embd=8, initializer_range=0.5, eos_token_id=0)
ARCHITECTURES = ["bart", "marian"]


def make(architecture="marian", **options):
    manual_seed(0)  # so that no test depends on those before it
    return EncoderDecoder(EncoderDecoderConfig(**SIZES | options, architecture=architecture)).eval()


def texts(seed=0, shape=(3, 6)):
    return np.random.default_rng(seed).integers(3, 17, shape)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_stacks_of_their_own_sizes(architecture, tied):
    model = make(architecture, n_decoder_layer=1, n_decoder_head=4, n_inner=20, n_decoder_inner=12,
                 tie_word_embeddings=tied)
    assert model(texts(), texts(1, (3, 4))).shape == (3, 4, 17)
    matrices = [name for name, p in model.named_parameters() if p.shape == (17, 8)]
    assert matrices == (["token_embedding.weight"] if tied else
                        ["encoder.token_embedding.weight", "decoder.token_embedding.weight", "lm_head.weight"])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_of_the_source_changes_nothing(architecture):
    model, ids, target = make(architecture), texts(), texts(1, (3, 4))
    padded = np.concatenate([ids, np.full((3, 3), 1)], axis=1)
    mask = np.concatenate([np.ones((3, 6)), np.zeros((3, 3))], axis=1)
    np.testing.assert_allclose(model(padded, target, mask).data, model(ids, target).data, rtol=1e-5,
                               atol=5e-5)  # float32, logits of a few units through large weights, sums in another order
    for beams in (1, 3):
        np.testing.assert_array_equal(model.generate(padded, 5, attention_mask=mask, num_beams=beams),
                                      model.generate(ids, 5, num_beams=beams))


def test_the_decoder_sees_no_later_token_and_the_encoder_all():
    model, ids, target = make(), texts(), texts(1, (3, 4))
    later = target.copy()
    later[:, -1] = (later[:, -1] + 1) % 17
    np.testing.assert_array_equal(model(ids, target).data[:, :-1], model(ids, later).data[:, :-1])
    source = ids.copy()
    source[:, -1] = (source[:, -1] + 1) % 17
    assert not np.allclose(model(ids, target).data[:, 0], model(source, target).data[:, 0], atol=1e-4)


def test_shift_right_is_the_default_of_the_loss():
    model, ids = make(), texts()
    targets = np.array([[5, 6, 0], [7, 0, -100], [8, -100, -100]])
    read = shift_right(targets, model.config.decoder_start_token_id, model.config.pad_token_id)
    np.testing.assert_array_equal(read, [[1, 5, 6], [1, 7, 0], [1, 8, 1]])
    expected = ops.cross_entropy(model(ids, read), targets)
    np.testing.assert_allclose(loss_of(model, ids, targets).data, expected.data, rtol=1e-6)
    weights = np.full(targets.shape, 0.5, np.float32)
    np.testing.assert_allclose(loss_of(model, ids, targets, weights, decoder_ids=read, reduction="sum").data,
                               0.5 * 6 * expected.data, rtol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_are_the_slopes(architecture, tied):
    """Along a random direction the loss changes as the gradient says (float64, central difference)."""
    model = make(architecture, tie_word_embeddings=tied).to(dtype=np.float64)
    rng, ids, targets, mask = np.random.default_rng(0), texts(), texts(1, (3, 4)), np.ones((3, 6))
    targets[1, 2:] = -100
    mask[2, 3:] = 0
    loss_of(model, ids, targets, attention_mask=mask).backward()
    directions = [rng.normal(size=p.shape) for p in model.parameters()]
    slope = sum(float((p.grad * d).sum()) for p, d in zip(model.parameters(), directions))

    def moved(step):
        for p, d in zip(model.parameters(), directions):
            p.data = p.data + step * d
        return float(loss_of(model, ids, targets, attention_mask=mask).data)

    with no_grad():
        above, below = moved(1e-6), moved(-2e-6)
    assert (above - below) / 2e-6 == pytest.approx(slope, rel=1e-6)


def test_each_source_is_translated_as_if_alone():
    model, ids = make(), texts()
    for beams in (1, 3):
        together = model.generate(ids, 6, num_beams=beams, eos_token_id=None)
        for row in range(3):
            np.testing.assert_array_equal(together[row:row + 1],
                                          model.generate(ids[row:row + 1], 6, num_beams=beams, eos_token_id=None))


def test_rules_of_the_configuration():
    ids = texts()
    model = make(forced_bos_token_id=5, forced_eos_token_id=0)
    for beams in (1, 3):
        out = model.generate(ids, 4, num_beams=beams)
        assert (out[:, 0] == 1).all() and (out[:, 1] == 5).all()
        assert ((out[:, -1] == 0) | (out == 0).any(axis=1)).all()             # every row ends
        free = model.generate(ids, 4, num_beams=beams, eos_token_id=None)
        assert free.shape == (3, 5)
    plain = make(suppress_token_ids=())
    favourite = int(plain.generate(ids[:1], 1, eos_token_id=None)[0, 1])
    shy = EncoderDecoder.from_fields(plain.config.to_dict() | {"suppress_token_ids": (favourite,)}, plain.state_dict())
    assert favourite not in shy.generate(ids, 8, eos_token_id=None)[:, 1:]
    assert favourite not in shy.generate(ids, 8, temperature=1.0, seed=0, eos_token_id=None)[:, 1:]


def test_sampling_is_seeded():
    model, ids = make(), texts()
    first = model.generate(ids, 8, temperature=1.0, seed=3)
    np.testing.assert_array_equal(first, model.generate(ids, 8, temperature=1.0, seed=3, use_cache=False))
    assert not np.array_equal(first, model.generate(ids, 8, temperature=1.0, seed=4))


@pytest.mark.parametrize("call, error, message", [
    (lambda m: m(texts(shape=(1, 13)), [[1]]), ValueError, "a text of 13 tokens does not fit the context of 12"),
    (lambda m: m([[1]], texts(shape=(1, 13))), ValueError, "a text of 13 tokens does not fit"),
    (lambda m: m([[17]], [[1]]), IndexError, "id 17 is outside the vocabulary"),
    (lambda m: m([[1, 2]], [[1]], [[1]]), ValueError, "attention_mask must have the shape"),
    (lambda m: m.generate([[1, 2]], 13), ValueError, "max_new_tokens=13 does not fit the context of 12 tokens"),
])
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(make())


def test_the_longest_target_fits():
    assert make().generate(texts(), 12, eos_token_id=None).shape == (3, 13)
    assert make("bart").generate(texts(), 12, eos_token_id=None, num_beams=2, use_cache=False).shape == (3, 13)

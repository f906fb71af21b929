"""Reference models made with transformers: logits, loss, gradient and generated tokens agree."""

import numpy as np
import pytest
from model_losses import loss_of

from tinygpt import ops
from tinygpt.models import load_model

TOLERANCE = dict(rtol=0, atol=1e-4)  # float32 noise at these sizes


def load(golden, name):
    return load_model(golden / name), dict(np.load(golden / name / "expected.npz"))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_causal(golden, name):
    model, expected = load(golden, name)
    ids = expected["input_ids"]
    np.testing.assert_allclose(model(ids).data, expected["logits"], **TOLERANCE)
    loss = loss_of(model, ids[:, :-1], ids[:, 1:])
    loss.backward()
    np.testing.assert_allclose(loss.data, expected["loss"], **TOLERANCE)
    np.testing.assert_allclose(model.token_embedding.weight.grad, expected["first_matrix_grad"], **TOLERANCE)
    for use_cache in (True, False):
        generated = model.generate(ids[:1, :5], max_new_tokens=10, temperature=0.0, eos_token_id=None,
                                   use_cache=use_cache)
        np.testing.assert_array_equal(generated, expected["generated"])


@pytest.mark.parametrize("name", ["bert_mlm", "roberta_mlm", "bert_classifier", "roberta_classifier"])
def test_encoders(golden, name):
    model, expected = load(golden, name)
    mask = expected["attention_mask"]
    logits = model(expected["input_ids"], attention_mask=mask).data
    counted = mask == 1 if name.endswith("mlm") else ...
    assert logits.shape == expected["logits"].shape
    np.testing.assert_allclose(logits[counted], expected["logits"][counted], **TOLERANCE)


@pytest.mark.parametrize("name", ["bart", "marian"])
def test_encoder_decoders(golden, name):
    model, expected = load(golden, name)
    ids, mask, decoder_ids = (expected[key] for key in ("input_ids", "attention_mask", "decoder_input_ids"))
    logits = model(ids, decoder_ids, attention_mask=mask)
    np.testing.assert_allclose(logits.data, expected["logits"], **TOLERANCE)
    targets = np.roll(decoder_ids, -1, axis=1)
    np.testing.assert_allclose(loss_of(model, ids, targets, attention_mask=mask, decoder_ids=decoder_ids).data,
                               ops.cross_entropy(logits, targets).data, **TOLERANCE)
    for use_cache in (True, False):
        for beams, wanted in ((1, "generated"), (4, "beam4")):
            generated = model.generate(ids[:1], attention_mask=mask[:1], max_new_tokens=8, num_beams=beams,
                                       length_penalty=1.0, eos_token_id=None, use_cache=use_cache)
            np.testing.assert_array_equal(generated, expected[wanted])

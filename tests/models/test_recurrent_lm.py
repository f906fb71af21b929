"""RecurrentLM: its state is all it needs of a text, padding changes nothing, and it is saved, trained and asked to
write as GPT is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tinygpt as tg
from tinygpt.models import GPT, CausalLM, RecurrentConfig, RecurrentLM, new_model
from tinygpt.training.losses import language_loss

SIZES = dict(vocab_size=11, n_embd=8, n_layer=2, initializer_range=0.5)
ARCHITECTURES = RecurrentConfig.ARCHITECTURES
drawn = settings(max_examples=20, deadline=None)


def model_of(architecture="lstm", **options):
    tg.manual_seed(0)
    return RecurrentLM(RecurrentConfig(**SIZES | dict(architecture=architecture) | options)).eval()


MODELS = {name: model_of(name) for name in ARCHITECTURES}
IDS = st.lists(st.integers(0, 10), min_size=1, max_size=9)


@drawn
@given(name=st.sampled_from(ARCHITECTURES), ids=IDS, cut=st.integers(0, 9))
def test_a_text_read_in_parts_has_the_same_logits(name, ids, cut):
    model, cache = MODELS[name], MODELS[name].new_cache(1)
    whole = model([ids]).data
    parts = [model([part], cache=cache).data for part in (ids[:cut], ids[cut:]) if part]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-6)
    assert cache.length == len(ids)


@drawn
@given(name=st.sampled_from(ARCHITECTURES), rows=st.lists(IDS, min_size=1, max_size=4), left=st.booleans())
def test_padding_changes_nothing_wherever_it_stands(name, rows, left):
    model, width = MODELS[name], max(map(len, rows))
    ids, mask = np.full((len(rows), width), 3), np.zeros((len(rows), width), int)
    for row, text in enumerate(rows):
        where = slice(width - len(text), width) if left else slice(0, len(text))
        ids[row, where], mask[row, where] = text, 1
    logits = model(ids, attention_mask=mask).data
    for row, text in enumerate(rows):
        np.testing.assert_allclose(logits[row, mask[row] == 1], model([text]).data[0], atol=1e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_writes_the_same_with_its_state_and_without(name):
    model, ids = MODELS[name], np.array([[1, 2, 3], [4, 5, 6]])
    for settings_ in (dict(temperature=0.0), dict(seed=1), dict(num_beams=3)):
        texts = [model.generate(ids, 20, use_cache=use, **settings_) for use in (True, False)]
        assert np.array_equal(*texts)
    padded = model.generate([[0, 0, 1, 2, 3]], 20, temperature=0.0, attention_mask=[[0, 0, 1, 1, 1]])
    assert np.array_equal(padded[0, 2:], model.generate(ids[:1], 20, temperature=0.0)[0])


def test_the_state_has_one_size_whatever_the_length():
    model = MODELS["lstm"]
    cache = model.new_cache(1)
    sizes = []
    for _ in range(3):
        model(np.ones((1, 500), int), cache=cache)
        sizes.append([part.size for part in cache.state])
    assert cache.length == 1500 > model.config.block_size and sizes[0] == sizes[2]
    assert cache.cut(1500) and not cache.cut(1499) and cache.cut(0) and cache.length == 0


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("tied", [True, False])
def test_it_is_saved_under_a_type_that_no_other_program_takes_for_its_own(name, tied, tmp_path):
    model = model_of(name, tie_word_embeddings=tied, dropout=0.25, eos_token_id=(1, 2))
    model.save_pretrained(tmp_path)
    again = tg.load_model(tmp_path)
    assert again.config == model.config and isinstance(again, CausalLM) and not isinstance(again, GPT)
    assert all(np.array_equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "tinygpt" and config["layout"] == name
    assert new_model(model.config.to_dict()).config == model.config
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": name}))
    with pytest.raises(ValueError, match=f"model_type='{name}' is not supported"):
        tg.load_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"n_embd": 9}))
    with pytest.raises(ValueError, match="has shape"):
        tg.load_model(tmp_path)


@pytest.mark.parametrize("options, message", [
    (dict(architecture="gpt2"), "choose one of 'lstm', 'gru', 'rnn'"), (dict(n_layer=0), "n_layer must be at least 1"),
    (dict(dropout=1.0), "dropout must be"), (dict(eos_token_id=11), "outside the vocabulary")])
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RecurrentConfig(**SIZES | options)


def test_a_row_of_padding_alone_is_refused():
    with pytest.raises(ValueError, match="there is nothing to read"):
        MODELS["gru"]([[1, 2], [1, 2]], attention_mask=[[1, 1], [0, 0]])


def test_the_loss_of_texts_reaches_every_parameter():
    model = model_of("lstm").train()
    language_loss(model, {"ids": np.array([[1, 2, 3]]), "targets": np.array([[2, 3, 4]])}).backward()
    assert all(np.abs(parameter.grad).max() > 0 for parameter in model.parameters())

"""Vectors of texts: properties of the encoder, and the vectors of sentence-transformers from the same folder."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from tinygpt.backend import manual_seed
from tinygpt.models import (BERT, GPT, BERTConfig, EncoderDecoder, EncoderDecoderConfig, GPTConfig, SentenceEncoder,
                            cosines)
from tinygpt.pretrained.sentence_folder import DenseStep, Modules, NormalizeStep, PoolingStep
from tinygpt.tokenizers import ByteBPE

TEXTS = ["the dog", "a quick brown fox jumps over the lazy dog", "", "The QUICK fox", "dog " * 40, "sleep"]
SIZES = dict(block_size=32, n_layer=2, n_head=2, n_embd=16, initializer_range=0.3)


@pytest.fixture(scope="module")
def tokenizer():
    tok = ByteBPE.train("the quick brown fox jumps over the lazy dog " * 9, 280, ["<s>", "<pad>", "</s>", "<mask>"])
    tok.set_template(["<s>"], ["</s>"])
    return tok


@pytest.fixture(scope="module")
def model(tokenizer):
    manual_seed(0)
    return BERT(BERTConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **SIZES)).eval()


@pytest.mark.parametrize("kinds", [("mean",), ("first", "max"), ("last",), ("weighted_mean", "mean_sqrt")])
def test_batches_change_nothing_but_rounding(kinds, model, tokenizer):
    encoder = SentenceEncoder(model, tokenizer, Modules((PoolingStep(kinds), NormalizeStep())))
    found = encoder.encode(TEXTS, batch_size=2)
    assert found.shape == (len(TEXTS), encoder.size) == (len(TEXTS), 16 * len(kinds)) and found.dtype == np.float32
    for text, vector in zip(TEXTS, found):
        np.testing.assert_allclose(encoder.encode(text), vector, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_texts_are_cut_written_small_prompted_and_shortened_as_the_folder_says(model, tokenizer):
    plain = SentenceEncoder(model, tokenizer)
    cut = SentenceEncoder(model, tokenizer, Modules(max_length=5))
    ids = tokenizer.encode("the quick brown fox", add_special_tokens=False)
    np.testing.assert_allclose(cut.encode("the quick brown fox"), plain.encode(tokenizer.decode(ids[:3])), atol=1e-6)
    small = SentenceEncoder(model, tokenizer, Modules(lower_case=True, size=4))
    np.testing.assert_array_equal(small.encode("The DOG"), plain.encode("the dog")[:4])
    prompted = SentenceEncoder(model, tokenizer, Modules(prompt="the "))
    np.testing.assert_array_equal(prompted.encode("dog"), plain.encode("the dog"))
    np.testing.assert_array_equal(prompted.encode("dog", prompt=""), plain.encode("dog"))
    hidden = SentenceEncoder(model, tokenizer, Modules((PoolingStep(("first",), include_prompt=False),)))
    whole, n = tokenizer.encode("the dog"), len(tokenizer.encode("the ")) - 1
    np.testing.assert_allclose(hidden.encode("dog", prompt="the "), model.features([whole]).data[0, n], atol=1e-6)


def test_a_decoder_makes_vectors_too(tokenizer):
    manual_seed(0)
    gpt = GPT(GPTConfig(vocab_size=len(tokenizer), **SIZES)).eval()
    found = SentenceEncoder(gpt, tokenizer, Modules((PoolingStep(("last",)),))).encode(["the dog", "fox"])
    np.testing.assert_allclose(found[1], gpt.features([tokenizer.encode("fox")]).data[0, -1], atol=1e-6)


def test_what_cannot_be_encoded_is_refused(model, tokenizer):
    with pytest.raises(TypeError, match="encode takes texts, got int"):
        SentenceEncoder(model, tokenizer).encode(["a", 3])
    with pytest.raises(TypeError, match="need a BERT or a GPT, got EncoderDecoder"):
        SentenceEncoder(EncoderDecoder(EncoderDecoderConfig(vocab_size=5, **SIZES)), tokenizer)
    dense = DenseStep(np.ones((2, 3), np.float32), None, None)
    with pytest.raises(ValueError, match="takes 3 numbers, and gets 16"):
        SentenceEncoder(model, tokenizer, Modules((PoolingStep(), dense)))


def test_no_texts_give_no_vectors(model, tokenizer):
    assert SentenceEncoder(model, tokenizer).encode([]).shape == (0, 16)


def test_cosines_of_nothing_are_nothing():
    assert cosines(np.zeros(3), np.ones((2, 3))).tolist() == [0, 0]


# ---------------------------------------------------------------------------------------------------------------------
# sentence-transformers


def folder_of(tmp_path, model, tokenizer, modules) -> str:
    """A folder as sentence-transformers writes it, from modules of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pytest.importorskip("sentence_transformers")
        parts = pytest.importorskip("sentence_transformers.sentence_transformer.modules")
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        model.save_pretrained(tmp_path / "base", tokenizer)
        made = theirs.SentenceTransformer(modules=modules(parts, torch, str(tmp_path / "base")), device="cpu")
        made.save(str(tmp_path / "whole"))
    return str(tmp_path / "whole")


def their_vectors(folder, texts, **options):
    from sentence_transformers import SentenceTransformer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SentenceTransformer(folder, device="cpu").encode(texts, **options)


@pytest.mark.oracle
@pytest.mark.parametrize("modules", [
    lambda p, torch, base: [p.Transformer(base), p.Pooling(16, "mean"), p.Normalize()],
    lambda p, torch, base: [p.Transformer(base), p.Pooling(16, "cls"), p.Dense(16, 5)],
    lambda p, torch, base: [p.Transformer(base), p.Pooling(16, "max"), p.Dense(16, 3, bias=False,
                                                                               activation_function=torch.nn.GELU())],
    lambda p, torch, base: [p.Transformer(base), p.Pooling(16, ("lasttoken", "mean_sqrt_len_tokens", "weightedmean")),
                            p.Dense(48, 8, activation_function=torch.nn.Identity()), p.Normalize()],
    lambda p, torch, base: [p.Transformer(base), p.Pooling(16, ("mean", "max"))],
], ids=["mean-norm", "cls-tanh", "max-gelu", "three-norm", "two"])
def test_vectors_are_those_of_sentence_transformers(modules, model, tokenizer, tmp_path):
    folder = folder_of(tmp_path, model, tokenizer, modules)
    ours = SentenceEncoder.from_pretrained(folder)
    np.testing.assert_allclose(ours.encode(TEXTS, batch_size=2), their_vectors(folder, TEXTS), atol=1e-5)
    np.testing.assert_allclose(ours.encode(TEXTS, prompt="the fox: "),
                               their_vectors(folder, TEXTS, prompt="the fox: "), atol=1e-5)


@pytest.mark.oracle
def test_settings_beside_the_modules_are_those_of_sentence_transformers(model, tokenizer, tmp_path):
    folder = folder_of(tmp_path, model, tokenizer, lambda p, torch, base: [
        p.Transformer(base), p.Pooling(16, "mean", include_prompt=False), p.Normalize()])
    for name, more in (("sentence_bert_config.json", {"max_seq_length": 9, "do_lower_case": True}),
                       ("config_sentence_transformers.json", {"prompts": {"q": "query: "}, "default_prompt_name": "q",
                                                              "truncate_dim": 7})):
        path = tmp_path / "whole" / name
        path.write_text(json.dumps(json.loads(path.read_text()) | more))
    texts = [text for text in TEXTS if text]  # of nothing but a prompt that is left out there is no mean
    found = SentenceEncoder.from_pretrained(folder).encode(texts)
    np.testing.assert_allclose(found, their_vectors(folder, texts), atol=1e-5)
    assert found.shape == (len(texts), 7)

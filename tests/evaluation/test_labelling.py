"""Running models over lists of texts: labels from classification heads, translations from encoder-decoders."""

from __future__ import annotations

import numpy as np
import pytest

from tinygpt.backend import manual_seed
from tinygpt.evaluation import label_numbers, label_probabilities, translate
from tinygpt.models import BERT, BERTConfig, EncoderDecoder, EncoderDecoderConfig, GPT, GPTConfig
from tinygpt.tokenizers import CharTokenizer

TEXTS = ["good", "a bad one", "no", "the food was not good at all"]
CHARACTERS = "abcdefghijklmnopqrstuvwxyz "


def tokenizer() -> CharTokenizer:
    tok = CharTokenizer.train(CHARACTERS, ["<pad>", "<s>", "</s>"])
    tok.set_template(["<s>"], ["</s>"])
    return tok


def classifier(kind: str, tok: CharTokenizer, block_size: int = 40):
    manual_seed(0)
    sizes = dict(vocab_size=len(tok), block_size=block_size, n_layer=1, n_head=2, n_embd=8, initializer_range=0.5,
                 dropout=0.3, pad_token_id=tok.pad_token_id)
    if kind == "gpt":
        return GPT(GPTConfig(**sizes, head="classification", n_labels=3))
    return BERT.for_classification(BERTConfig(**sizes, architecture=kind), n_labels=3)


@pytest.mark.parametrize("kind", ["gpt", "bert", "roberta"])
def test_a_batch_gives_each_text_what_it_gets_alone(kind):
    tok = tokenizer()
    model = classifier(kind, tok)
    found = label_probabilities(model, tok, TEXTS, batch_size=3)
    assert model.training and found.shape == (4, 3) and found.sum(axis=1) == pytest.approx(np.ones(4))
    model.eval()
    for text, row in zip(TEXTS, found):
        logits = model([tok.encode(text)]).data[0].astype(np.float64)
        assert row == pytest.approx(np.exp(logits) / np.exp(logits).sum(), rel=1e-4)


def test_long_texts_lose_their_end():
    tok = tokenizer()
    model = classifier("bert", tok, block_size=8)
    with pytest.warns(UserWarning, match="2 of 4 texts are longer than the model's context of 8 tokens and were cut"):
        found = label_probabilities(model, tok, TEXTS)
    assert found[3] == pytest.approx(label_probabilities(model, tok, ["the fo"])[0], rel=1e-4)
    with pytest.raises(ValueError, match="classification head"):
        label_probabilities(model.for_masked_lm(), tok, ["a"])


def test_labels_by_name_by_number_and_in_any_case():
    places = ["line 1", "line 2", "line 3"]
    assert label_numbers(["ham", "spam", "ham"], ["ham", "spam"], places) == [0, 1, 0]
    assert label_numbers(["Ham", "SPAM", "ham"], ["ham", "spam"], places) == [0, 1, 0]
    assert label_numbers(["1", "0", "1"], ["NEGATIVE", "POSITIVE"], places) == [1, 0, 1]
    assert label_numbers(["1", "0", "1"], ["1", "0"], places) == [0, 1, 0]  # names come first
    with pytest.raises(ValueError, match="line 2: the model has no label 'eggs'; its labels are ham, spam"):
        label_numbers(["ham", "eggs", "spam"], ["ham", "spam"], places)
    with pytest.raises(ValueError, match="line 3: the model has no label '2'"):
        label_numbers(["0", "1", "2"], ["ham", "spam"], places)


def test_translations_do_not_depend_on_their_neighbours():
    tok = CharTokenizer.train(CHARACTERS, ["</s>", "<pad>"])
    tok.set_template([], ["</s>"])
    manual_seed(1)
    model = EncoderDecoder(EncoderDecoderConfig(
        vocab_size=len(tok), block_size=40, n_layer=1, n_head=2, n_embd=8, initializer_range=0.7,
        eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id, dropout=0.3))
    for beams in (1, 3):
        found = translate(model, tok, TEXTS, num_beams=beams, max_new_tokens=12, batch_size=3)
        assert model.training and found == [
            translate(model, tok, [text], num_beams=beams, max_new_tokens=12)[0] for text in TEXTS]
    model.eval()
    ids = model.generate([tok.encode(TEXTS[1])], 39)[0]
    assert translate(model, tok, TEXTS[1:2]) == [tok.decode(ids, skip_special_tokens=True)]
    assert translate(model, tok, []) == []

"""What `generate` can be told beside sampling, as in transformers: several texts for a prompt, rules, filling."""

from __future__ import annotations

import numpy as np
import pytest

from tinygpt.backend import manual_seed
from tinygpt.generation import Sampling, left_pad
from tinygpt.models import GPT, GPTConfig

V, EOS = 13, 5
PROMPTS = np.array([[1, 2, 3, 1], [7, 7, 8, 2]])


def model_of(seed: int = 0, **more) -> GPT:
    manual_seed(seed)
    return GPT(GPTConfig(**{**dict(vocab_size=V, block_size=48, n_layer=2, n_head=2, n_embd=16, initializer_range=0.6,
                                   eos_token_id=EOS), **more})).eval()


def ngrams(text, n: int) -> list[tuple[int, ...]]:
    return [tuple(text[at:at + n]) for at in range(len(text) - n + 1)]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """The same model in transformers: ids, settings -> ids."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("gpt2")
    model_of().save_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()

    def generate(ids, **settings):
        ids = torch.tensor(ids)
        return model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=EOS,
                              **settings).numpy()
    return generate


@pytest.mark.oracle
@pytest.mark.parametrize("settings", [
    {"no_repeat_ngram_size": 1}, {"no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 3}, {"min_new_tokens": 5},
    {"min_new_tokens": 12}, {"min_new_tokens": 4, "no_repeat_ngram_size": 2}, {"suppress_tokens": [0, 3, EOS]},
    {"no_repeat_ngram_size": 2, "repetition_penalty": 1.4}, {"num_beams": 3, "no_repeat_ngram_size": 1},
    {"num_beams": 3, "no_repeat_ngram_size": 2}, {"num_beams": 2, "min_new_tokens": 6},
    {"num_beams": 3, "suppress_tokens": [0, 3, EOS]}], ids=str)
def test_rules_of_a_gpt_as_in_transformers(theirs, settings):
    n = 8 if settings.get("no_repeat_ngram_size") == 1 else 12  # of 13 tokens none twice
    expected = theirs(PROMPTS, max_new_tokens=n, **settings)
    found = model_of().generate(PROMPTS, n, temperature=0.0, **settings)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.oracle
@pytest.mark.parametrize("num_beams, n", [(2, 2), (3, 2), (4, 3), (5, 1)])
@pytest.mark.parametrize("settings", [{}, {"length_penalty": 0.3}, {"early_stopping": True}], ids=str)
def test_the_best_beams_as_in_transformers(theirs, num_beams, n, settings):
    expected = theirs(PROMPTS, max_new_tokens=9, num_beams=num_beams, num_return_sequences=n, **settings)
    found = model_of().generate(PROMPTS, 9, num_beams=num_beams, num_return_sequences=n, **settings)
    assert found.shape[0] == 2 * n
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("num_beams", [1, 2])
def test_no_ngram_is_written_twice_past_the_context_too(n, num_beams):
    """Also where the window has lost the first occurrence, and with the cache and without."""
    model = model_of(vocab_size=40, block_size=10 if num_beams == 1 else 48, eos_token_id=None)
    for use_cache in (True, False):
        text, = model.generate([[1, 2, 3]], 20, temperature=0.0, no_repeat_ngram_size=n, num_beams=num_beams,
                               use_cache=use_cache).tolist()
        assert len(text) == 23 and len(set(ngrams(text, n))) == len(ngrams(text, n))
    drawn, = model.generate([[1, 2, 3]], 20, seed=1, no_repeat_ngram_size=n).tolist()
    assert len(set(ngrams(drawn, n))) == len(ngrams(drawn, n))


@pytest.mark.parametrize("settings", [{"no_repeat_ngram_size": 1}, {"no_repeat_ngram_size": 2}, {"min_new_tokens": 4},
                                      {"num_beams": 3, "no_repeat_ngram_size": 2},
                                      {"num_beams": 2, "min_new_tokens": 6}], ids=str)
@pytest.mark.parametrize("pad", [0, 1, 12])
def test_padding_is_no_text_that_could_be_repeated(settings, pad):
    """A row of a padded batch goes on as alone, whatever token fills it up."""
    model, prompts = model_of(1), [[1, 2, 3, 1, 9], [4, 2]]
    ids, mask = left_pad(prompts, pad)
    together = model.generate(ids, 7, attention_mask=mask, temperature=0.0, pad_token_id=EOS, **settings)
    for row, prompt in enumerate(prompts):
        alone = model.generate([prompt], 7, temperature=0.0, pad_token_id=EOS, **settings)[0, len(prompt):].tolist()
        assert together[row, 5:].tolist()[:len(alone)] == alone


def test_no_text_ends_before_its_least_length():
    model = model_of()
    model.token_embedding.weight.data[EOS] = 0
    model.norm.weight.data[:] = 0
    model.norm.bias.data[:] = -1.0
    model.token_embedding.weight.data[:EOS] = model.token_embedding.weight.data[EOS + 1:] = 0.5  # EOS is the likeliest
    for least in (0, 1, 4):
        for how in ({"temperature": 0.0}, {"num_beams": 2, "early_stopping": True}, {"seed": 0, "top_k": 1}):
            assert model.generate([[1, 2]], 9, min_new_tokens=least, **how).shape == (1, 2 + least + 1)
    streamed = [int(token) for token, in model.stream([[1, 2]], 9, temperature=0.0, min_new_tokens=3)]
    assert len(streamed) == 4 and streamed[-1] == EOS and EOS not in streamed[:3]


def test_several_drawn_texts_of_a_prompt():
    model = model_of()
    found = model.generate(PROMPTS, 6, seed=3, num_return_sequences=3, eos_token_id=None)
    np.testing.assert_array_equal(found, model.generate(np.repeat(PROMPTS, 3, axis=0), 6, seed=3, eos_token_id=None))
    assert len({tuple(row) for row in found[:3].tolist()}) == 3
    ids, mask = left_pad([[1], [2, 3]])
    assert model.generate(ids, 4, attention_mask=mask, seed=0, num_return_sequences=2).shape[0] == 4


@pytest.mark.parametrize("k", [0, None, V, 10_000])
def test_top_k_of_nothing_keeps_everything(k):
    model = model_of()
    np.testing.assert_array_equal(model.generate(PROMPTS, 8, seed=1, top_k=k), model.generate(PROMPTS, 8, seed=1))
    assert Sampling(top_k=0) == Sampling(top_k=None)


@pytest.mark.parametrize("pad", [0, 3, EOS])
def test_what_fills_a_row_that_has_ended(pad):
    model = model_of()
    free = model.generate(PROMPTS, 10, temperature=0.0, eos_token_id=None)[:, 4:]
    end = int(next(token for token in free[0] if token not in free[1][:5]))
    out = model.generate(PROMPTS, 10, temperature=0.0, eos_token_id=end, pad_token_id=pad)[:, 4:]
    at = free[0].tolist().index(end)
    assert out[0, :at + 1].tolist() == free[0, :at + 1].tolist() and set(out[0, at + 1:].tolist()) == {pad}
    streamed = np.stack(list(model.stream(PROMPTS, 10, temperature=0.0, eos_token_id=end, pad_token_id=pad)), axis=1)
    np.testing.assert_array_equal(streamed, out)


@pytest.mark.parametrize("settings, message", [
    ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences is 3, expected 1 to 2"),
    ({"num_beams": 2, "num_return_sequences": 0}, "num_return_sequences is 0"),
    ({"num_return_sequences": 0}, "num_return_sequences is 0, expected at least 1"),
    ({"num_return_sequences": 2, "temperature": 0.0}, "num_return_sequences is 2, but at temperature 0 all"),
    ({"top_k": -1}, "top_k is -1"), ({"min_new_tokens": -1}, "min_new_tokens is -1"),
    ({"no_repeat_ngram_size": 1.5}, "no_repeat_ngram_size is 1.5"),
    ({"min_new_tokens": None}, "min_new_tokens is None")])
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        model_of().generate(PROMPTS, 3, **settings)

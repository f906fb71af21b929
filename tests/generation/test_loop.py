"""The textbook's loop writes what a model's `generate` writes, with its cache and its sliding window."""

from __future__ import annotations

import numpy as np
import pytest

from tinygpt.generation.loop import generate
from tinygpt.generation.sampling import sampler
from tinygpt.models import GPT, GPTConfig

PROMPTS = np.array([[3, 1, 4, 1, 5], [2, 7, 1, 8, 2]])


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request) -> GPT:
    """Weights ten times as large as at the start of training: its logits differ enough to tell tokens apart."""
    return GPT(GPTConfig(vocab_size=13, block_size=9, n_layer=2, n_head=2, n_embd=16, initializer_range=0.2,
                         architecture=request.param)).eval()


@pytest.mark.parametrize("n", [0, 1, 4, 15])  # 15: beyond the context of 9, where the window slides
def test_greedy(model, n):
    text = generate(model, PROMPTS, n)
    assert text.shape == (2, 5 + n)
    np.testing.assert_array_equal(text, model.generate(PROMPTS, n, temperature=0.0))


@pytest.mark.parametrize("setting", [
    {}, {"temperature": 0.0}, {"temperature": 0.8, "top_k": 5}, {"top_p": 0.9},
    {"temperature": 1.3, "top_k": 9, "top_p": 0.7}])
def test_sampled(model, setting):
    text = generate(model, PROMPTS, 15, sampler(seed=1, **setting))
    np.testing.assert_array_equal(text, model.generate(PROMPTS, 15, seed=1, **setting))


def test_another_seed_writes_another_text(model):
    assert not np.array_equal(*(generate(model, PROMPTS, 15, sampler(seed=seed)) for seed in (1, 2)))


def test_a_prompt_beyond_the_context_is_continued_from_its_end(model):
    long = np.arange(24).reshape(2, 12) % 13
    with pytest.warns(UserWarning, match="sees only the last 9"):
        expected = model.generate(long, 4, temperature=0.0, long_prompt="crop")
    np.testing.assert_array_equal(generate(model, long, 4), expected)


def test_nothing_is_recorded(model):
    """`model` gets no graph to keep alive: what it returns requires no gradient."""
    recorded = []

    class Watched:
        config = model.config

        def __call__(self, ids):
            logits = model(ids)
            recorded.append(logits.requires_grad)
            return logits

    generate(Watched(), PROMPTS, 2)
    assert recorded == [False, False]

"""Decoding with a model on the pretend GPU: sampling is on the host, and the text is the same."""

from __future__ import annotations

import fake_device  # noqa: F401  (registers the device)
import numpy as np
import pytest

from tinygpt.generation import left_pad
from tinygpt.models import GPT, GPTConfig


@pytest.mark.parametrize("options", [
    {"temperature": 0.0}, {"seed": 3, "top_k": 5, "repetition_penalty": 1.2}, {"num_beams": 3}])
def test_the_same_text_as_on_the_host(options):
    model = GPT(GPTConfig(vocab_size=17, block_size=12, n_layer=2, n_head=2, n_embd=8)).eval()
    ids, mask = left_pad([[1, 2, 3], [4]])
    host = model.generate(ids, 8, attention_mask=mask, **options)
    np.testing.assert_array_equal(model.to("fake").generate(ids, 8, attention_mask=mask, **options), host)

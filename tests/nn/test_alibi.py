"""ALiBi: slopes and biases are the paper's, and BLOOM's in transformers; texts may be longer than in training."""

from __future__ import annotations

import numpy as np
import pytest

from tinygpt import kernels, ops
from tinygpt.models import GPT, GPTConfig
from tinygpt.nn import AlibiPositions
from tinygpt.nn.alibi import alibi_slopes

HEADS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 25, 32, 71)


def test_slopes_of_eight_heads_are_halves_of_halves():
    np.testing.assert_array_equal(alibi_slopes(8), [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256])


def test_slopes_of_twelve_heads_go_on_with_every_second_of_sixteen():
    np.testing.assert_array_equal(alibi_slopes(12), [*alibi_slopes(8), *alibi_slopes(16)[[0, 2, 4, 6]]])


def test_the_bias_is_the_loop():
    bias = AlibiPositions(3).bias(2, 5)
    assert bias.dtype == np.float32 and bias.shape == (3, 2, 5)
    for h, slope in enumerate(alibi_slopes(3)):
        for i in range(2):
            for j in range(5):
                # One rounding to float32, of the slope; a distance is exact.
                assert bias[h, i, j] == pytest.approx(-slope * abs(i + 3 - j), rel=1e-7)


def test_other_lengths_after_the_first_get_biases_of_their_own():
    positions = AlibiPositions(2)
    for n_queries, n_keys in ((3, 3), (1, 4), (1, 4), (3, 3)):
        np.testing.assert_array_equal(positions.bias(n_queries, n_keys), AlibiPositions(2).bias(n_queries, n_keys))


@pytest.mark.oracle
@pytest.mark.parametrize("n_head", HEADS)
def test_biases_are_blooms_up_to_a_constant_for_each_query(n_head):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    theirs = transformers.models.bloom.modeling_bloom.build_alibi_tensor(
        torch.ones(1, 7), n_head, torch.float32).numpy()  # (H, 1, S)
    ours = AlibiPositions(n_head).bias(7, 7)
    for i in range(7):  # of what the query may look at: the softmax takes no notice of a constant
        difference = theirs[:, 0, :i + 1] - ours[:, i, :i + 1]
        np.testing.assert_allclose(difference, np.broadcast_to(difference[:, -1:], difference.shape), atol=1e-6)


def test_nothing_is_learned_and_nothing_added_at_the_entrance():
    model = GPT(GPTConfig(vocab_size=7, block_size=8, n_layer=1, n_head=2, n_embd=8, positions="alibi"))
    assert not [name for name in model.state_dict() if "position" in name]
    x = model.token_embedding(np.array([[1, 2]]))
    assert model.positions.add(x, np.arange(2)) is x


def test_a_longer_context_needs_no_other_weights():
    model = GPT(GPTConfig(vocab_size=7, block_size=8, n_layer=2, n_head=2, n_embd=8, positions="alibi")).eval()
    ids = np.random.default_rng(0).integers(0, 7, (1, 20))
    longer = model.with_options(block_size=20)
    np.testing.assert_allclose(longer(ids).data[:, :8], model(ids[:, :8]).data, atol=1e-6)


def test_gradients_by_the_fast_attention_are_those_of_the_rule():
    model = GPT(GPTConfig(vocab_size=7, block_size=80, n_layer=1, n_head=2, n_embd=8, positions="alibi"))
    ids = np.random.default_rng(0).integers(0, 7, (2, 80))

    def gradients() -> dict[str, np.ndarray]:
        for parameter in model.parameters():
            parameter.grad = None
        ops.cross_entropy(model(ids[:, :-1]), ids[:, 1:]).backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    fast = gradients()
    with kernels.disabled():
        slow = gradients()
    for name, gradient in slow.items():
        # Sums of 160 float32 numbers in two orders, of which some are a difference of larger ones.
        np.testing.assert_allclose(fast[name], gradient, rtol=0, atol=1e-5 * np.abs(gradient).max(), err_msg=name)

"""Policy gradients: the formulas are those of CS336's public tests and of PyTorch's autograd, in value and gradient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinygpt import Tensor
from tinygpt.training.objectives.grpo import clipped, group_advantages, policy_loss, reinforced, surprise
from tinygpt.training.rollouts import answer_batch, entropy, k3

NUMBERS = st.floats(-3, 3, width=32)


# ---------------------------------------------------------------------------------------------------------------------
# CS336, assignment 5


@pytest.fixture
def cs336(golden):
    """name -> array; the inputs begin with "in_"."""
    return dict(np.load(golden / "alignment.npz"))


def near(found, expected):
    np.testing.assert_allclose(found.data if isinstance(found, Tensor) else found, expected, rtol=1e-5, atol=1e-6)


def inputs(cs336):
    advantages = cs336["in_raw_rewards"] - cs336["in_raw_rewards"].mean(axis=0)  # (B, 1)
    return Tensor(cs336["in_log_probs"], requires_grad=True), cs336["in_old_log_probs"], advantages


@pytest.mark.parametrize("normalize", [True, False])
def test_group_normalized_rewards(cs336, normalize):
    name = f"compute_group_normalized_rewards_{'' if normalize else 'no_'}normalize_by_std"
    near(group_advantages(cs336[f"{name}/raw_rewards"], 4, normalize), cs336[f"{name}/normalized_rewards"])


def test_entropy(cs336):
    near(entropy(cs336["in_logits"]), cs336["compute_entropy/array"])


def test_policy_gradient_losses(cs336):
    log_p, old, advantages = inputs(cs336)
    near(reinforced(log_p, old, cs336["in_raw_rewards"], 0.0), cs336["compute_naive_policy_gradient_loss/array"])
    near(reinforced(log_p, old, cs336["in_raw_rewards"], 0.0), cs336["compute_policy_gradient_loss_no_baseline/array"])
    near(reinforced(log_p, old, advantages, 0.0), cs336["compute_policy_gradient_loss_reinforce_with_baseline/array"])
    for clip, name in ((10.0, "compute_grpo_clip_loss_large_cliprange"),
                       (0.1, "compute_grpo_clip_loss_small_cliprange"),
                       (0.5, "compute_policy_gradient_loss_grpo_clip")):
        near(clipped(log_p, old, advantages, clip), cs336[f"{name}/array"])


@pytest.mark.parametrize("steps", [1, 10])
def test_microbatch_steps(cs336, steps):
    """The mean over answers of the mean over their tokens, a half of it for two accumulated steps."""
    name = "grpo_microbatch_train_step_grpo_clip" + ("_10_steps" if steps > 1 else "")
    log_p, old, advantages = inputs(cs336)
    mask = cs336["in_response_mask"]
    batch = {"advantages": advantages, "old": old, "weights": mask / mask.sum(axis=1, keepdims=True)}
    for step in range(steps):
        loss = policy_loss(log_p, batch, "clip", 0.1, beta=0.0) / len(mask) / 2
        loss.backward()
        near(float(loss), cs336[f"{name}/loss"].reshape(-1)[step])
    near(log_p.grad, cs336[f"{name}/policy_log_probs_grad"].reshape(-1, *mask.shape)[-1])


@pytest.mark.parametrize("steps, constant, name", [
    (1, 1.0, "sft_microbatch_train_step"), (1, 42.0, "sft_microbatch_train_step_normalize"),
    (10, 1.0, "sft_microbatch_train_step_10_steps")])
def test_supervised_microbatch_steps(cs336, steps, constant, name):
    """A supervised step is REINFORCE with a reward of 1 for what the data say."""
    log_p, old, _ = inputs(cs336)
    mask = cs336["in_response_mask"]
    batch = {"advantages": np.ones((len(mask), 1)), "old": old, "weights": mask / constant}
    for step in range(steps):
        loss = policy_loss(log_p, batch, "reinforce", 0.0, beta=0.0) / len(mask) / 2
        loss.backward()
        near(float(loss), cs336[f"{name}/loss"].reshape(-1)[step])
    near(log_p.grad, cs336[f"{name}/policy_log_probs_grad"].reshape(-1, *mask.shape)[-1])


@pytest.mark.parametrize("axis, name", [(0, "dim0"), (1, "dim1"), (-1, "dimlast"), (None, "dimNone")])
def test_masked_means_and_sums(cs336, axis, name):
    """What weights of 1/n at n tokens add up to."""
    x, mask = cs336["in_logits"], cs336["in_mask"]
    with np.errstate(invalid="ignore", divide="ignore"):
        near((x * (mask / mask.sum(axis=axis, keepdims=True))).sum(axis=axis), cs336[f"masked_mean_{name}/array"])
    near((x * mask / 42.0).sum(axis=axis), cs336[f"masked_normalize_{name}/array"])


# ---------------------------------------------------------------------------------------------------------------------
# PyTorch


@pytest.mark.oracle
@pytest.mark.parametrize("loss", ["clip", "reinforce"])
def test_value_and_gradient_are_those_of_pytorch(loss):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    log_p, old, reference = -rng.random((3, 6, 5)) * 3
    advantages, weights = rng.standard_normal((6, 5)), rng.random((6, 5)) * (rng.random((6, 5)) < 0.7)
    ours = Tensor(log_p, requires_grad=True)
    found = policy_loss(ours, {"advantages": advantages, "old": old, "reference": reference, "weights": weights}, loss,
                        0.2, 0.3)
    found.backward()
    theirs = torch.tensor(log_p, requires_grad=True)
    a, d = torch.tensor(advantages), torch.tensor(reference) - theirs
    ratio = torch.exp(theirs - torch.tensor(old))
    each = -torch.minimum(ratio * a, torch.clamp(ratio, 0.8, 1.2) * a) if loss == "clip" else -a * theirs
    expected = ((each + 0.3 * (torch.exp(d) - d - 1)) * torch.tensor(weights)).sum()
    expected.backward()
    np.testing.assert_allclose(float(found), expected.item(), rtol=1e-12)
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Properties


@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(2, 5)), elements=NUMBERS), st.booleans())
def test_advantages_of_a_group_add_up_to_nothing_and_keep_the_order(rewards, normalize):
    found = group_advantages(rewards.reshape(-1), rewards.shape[1], normalize).reshape(rewards.shape)
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-6)
    assert all(np.all(np.diff(row[np.argsort(given, kind="stable")]) >= -1e-9) for row, given in zip(found, rewards))
    alike = np.ptp(rewards, axis=1) == 0
    assert np.abs(found[alike]).max(initial=0) < 1e-6


@given(arrays(np.float64, (3, 4), elements=NUMBERS), arrays(np.float64, (3, 1), elements=NUMBERS))
def test_where_nothing_has_moved_the_clipped_gradient_is_reinforce(log_p, advantages):
    gradients = []
    for loss in (clipped, reinforced):
        x = Tensor(log_p, requires_grad=True)
        loss(x, log_p, advantages, 0.2).sum().backward()
        gradients.append(x.grad)
    np.testing.assert_allclose(*gradients, atol=1e-9)


@given(arrays(np.float64, (2, 3), elements=NUMBERS), st.floats(0.25, 3), st.sampled_from([-1.0, 1.0]))
def test_a_token_that_moved_far_enough_is_not_moved_further(old, moved, sign):
    """Only in the direction in which its advantage pushes it."""
    x = Tensor(old + sign * moved, requires_grad=True)
    clipped(x, old, np.full((2, 1), sign), 0.2).sum().backward()
    assert not x.grad.any()
    clipped(x, old, np.full((2, 1), -sign), 0.2).sum().backward()
    assert x.grad.all()


@given(arrays(np.float64, 5, elements=NUMBERS))
def test_surprise_as_an_advantage_is_the_gradient_of_the_entropy(logits):
    """The mean over tokens of surprise · ∇ log p, beside ∇H = −p (log p + H), written down by hand."""
    log_p = logits - np.log(np.exp(logits).sum())
    p, h = np.exp(log_p), float(entropy(logits[None])[0])
    advantages = surprise(log_p[:, None], np.full((5, 1), h))[:, 0]
    mean = (p * advantages) @ (np.eye(5) - p)  # ∇ log p of token i is e_i − p
    np.testing.assert_allclose(mean, -p * (log_p + h), atol=1e-12)
    np.testing.assert_allclose(p @ advantages, 0, atol=1e-12)


@given(st.lists(st.lists(NUMBERS, min_size=1, max_size=4), min_size=4, max_size=4))
def test_tokens_are_compared_with_those_at_the_same_place_of_their_group(rows):
    given_ = np.full((len(rows), max(map(len, rows))), np.nan)
    for line, row in zip(given_, rows):
        line[:len(row)] = row
    found = group_advantages(given_, 2, normalize=False)
    for i in range(0, len(rows), 2):
        for place in range(given_.shape[1]):
            pair = given_[i:i + 2, place]
            expected = [0, 0] if np.isnan(pair).any() else pair - pair.mean()
            np.testing.assert_allclose(found[i:i + 2, place], expected, atol=1e-12)


def test_the_divergence_is_estimated_without_bias_and_never_below_zero():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(5), 2)
    tokens = rng.choice(5, size=200_000, p=p)
    estimates = k3(np.log(p[tokens]), np.log(q[tokens]))
    assert estimates.min() >= 0
    assert estimates.mean() == pytest.approx((p * np.log(p / q)).sum(), rel=0.02)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=5))
def test_the_tokens_of_an_answer_weigh_one_together(lengths):
    prompts = [np.arange(1, n + 1) for n, _ in lengths]
    answers = [np.arange(10, 10 + n) for _, n in lengths]
    batch = answer_batch(prompts, answers, pad_id=7)
    np.testing.assert_allclose(batch["weights"].sum(axis=1), 1, rtol=1e-6)
    for row, (prompt, answer) in enumerate(zip(prompts, answers)):
        counted = batch["targets"][row] != -100
        assert batch["targets"][row][counted].tolist() == answer.tolist()
        whole = [*prompt, *answer]
        assert batch["ids"][row][:len(whole) - 1].tolist() == whole[:-1]
        assert np.flatnonzero(counted)[0] == len(prompt) - 1 and not batch["weights"][row][~counted].any()
        assert (batch["ids"][row][len(whole) - 1:] == 7).all()

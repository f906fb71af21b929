"""The CUDA twins on bfloat16, with the fused kernels (compiled for the host) and without them, against the rules in
float32 on the same rounded numbers; on the pretend device."""

from __future__ import annotations

import cuda_on_host
import fake_device
import numpy as np
import pytest
from model_losses import loss_of

import tinygpt as tg
from tinygpt import kernels, ops
from tinygpt.autograd import OPS, Tensor
from tinygpt.backend import is_bfloat16, resolve_dtype, to_device, to_numpy
from tinygpt.kernels.cuda import loss
from tinygpt.models import GPT, GPTConfig
from tinygpt.optim import FlatParameters

pytest.importorskip("ml_dtypes")
BF16 = resolve_dtype("bfloat16", "fake")
EPSILON = 2.0 ** -8  # of bfloat16: the largest error of one rounding, relative


@pytest.fixture(params=["kernels", "products"], autouse=True)
def fused(request):
    """Whether the kernels are on; without them, the twins that serve bfloat16 at all times."""
    if request.param == "kernels" and not cuda_on_host.AVAILABLE:
        pytest.skip("needs g++ on Linux to run kernels on the host")
    with cuda_on_host.on_the_pretend_device(request.param == "kernels"):
        yield request.param == "kernels"


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Float32 numbers that are bfloat16 already."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32).astype(BF16).astype(np.float32)


def check(op, *inputs, wide: tuple[int, ...] = (), roundings: float = 2, result=BF16, **settings) -> None:
    """The rule's outputs and gradients, to so many roundings of the largest entry.

    Args:
        inputs: floating-point ones are bfloat16 there, but for those numbered in `wide`, which stay float32.
    """
    def run(device):
        leaves = []
        for i, x in enumerate(inputs):
            if isinstance(x, np.ndarray) and x.dtype.kind == "f":
                there = x if device == "cpu" or i in wide else x.astype(BF16)
                leaves.append(Tensor(there, device=device, requires_grad=True))
            else:
                leaves.append(Tensor(x, device=device) if isinstance(x, np.ndarray) else x)
        out = op(*leaves, **settings)
        out.backward(to_device(normal(*out.shape, seed=9), device))
        return out, [x.grad for x in leaves if isinstance(x, Tensor) and x.grad is not None], leaves
    with kernels.disabled():
        expected, expected_grads, _ = run("cpu")
    with fake_device.count_syncs() as count:
        out, grads, leaves = run("fake")
    assert not count.reasons
    assert out.dtype == result
    for g, x in zip(grads, (x for x in leaves if isinstance(x, Tensor) and x.grad is not None), strict=True):
        assert g.dtype == x.dtype and g.shape == x.shape
    for ours, theirs in zip([out.data, *grads], [expected.data, *expected_grads], strict=True):
        size = np.abs(theirs).max(initial=1e-3)
        np.testing.assert_allclose(to_numpy(ours) / size, theirs / size, rtol=0, atol=roundings * EPSILON)


def test_activations_dropout_and_norms():
    """What computes inside and rounds once: with the kernels or by the rule."""
    x = normal(5, 33) * 2
    for op, settings in ((ops.gelu, {"approximate": "tanh"}), (ops.gelu, {}), (ops.silu, {}), (ops.relu, {}),
                         (ops.dropout, {"p": 0.3, "key": (1, 2, 3)})):
        check(op, x, roundings=1, **settings)
    weight, bias = normal(33, seed=1), normal(33, seed=2)
    for wide in ((), (1, 2)):  # parameters of a model that is only used, and of one that is trained
        check(ops.layer_norm, x, weight, bias, wide=wide)
        check(ops.rms_norm, x, weight, wide=wide)
    check(ops.layer_norm, x, None, None)


def test_the_weights_of_a_norm_are_not_rounded():
    x, weight = normal(4, 8), np.full(8, 1.003, np.float32)  # 1 in bfloat16
    out = ops.rms_norm(Tensor(x.astype(BF16), device="fake"), Tensor(weight, device="fake"))
    ones = ops.rms_norm(Tensor(x.astype(BF16), device="fake"), Tensor(np.ones(8, np.float32), device="fake"))
    assert (out.numpy() != ones.numpy()).any()


@pytest.mark.parametrize("wide", [(), (1, 2)])
@pytest.mark.parametrize("shape", [(3, 5, 16), (7, 16), (16,)])
def test_linear(shape, wide):
    check(ops.linear, normal(*shape), normal(6, 16, seed=1), normal(6, seed=2), wide=wide)
    check(ops.linear, normal(*shape), normal(6, 16, seed=1), wide=wide)


@pytest.mark.parametrize("wide", [(), (1, 2)])
@pytest.mark.parametrize("activation", ops.ACTIVATIONS)
def test_linear_with_its_activation_and_gates(activation, wide):
    for shape in ((3, 5, 16), (16,)):
        check(ops.linear_activation, normal(*shape), normal(6, 16, seed=1), normal(6, seed=2), wide=wide, roundings=3,
              activation=activation)  # the kernel gets a rounded product
    check(ops.linear_activation, normal(3, 16), normal(6, 16, seed=1), wide=wide[:1], roundings=3,
          activation=activation)
    check(ops.gated_activation, normal(3, 40), normal(3, 40, seed=1), roundings=1, activation=activation)


def test_a_bias_before_an_activation_is_not_rounded():
    x, weight, bias = np.ones((2, 1)), np.full((3, 1), -1, np.float32), np.full(3, 1.003, np.float32)  # 1 in bfloat16
    there = [Tensor(x.astype(BF16), device="fake"), Tensor(weight, device="fake"), Tensor(bias, device="fake")]
    out = ops.linear_activation(*there, activation="relu").numpy()
    np.testing.assert_allclose(out.astype(np.float32), np.full((2, 3), 0.003), rtol=2 * EPSILON)


def test_linear_takes_views_and_refuses_what_does_not_fit():
    x = normal(3, 4, 16)
    check(lambda x, w: ops.linear(x.transpose(1, 0, 2), w), x, normal(6, 16, seed=1), wide=(1,))
    with pytest.raises(ValueError, match="linear: x has"):
        ops.linear(Tensor(x.astype(BF16), device="fake"), Tensor(normal(6, 5), device="fake"))


def test_a_weights_gradient_is_added_where_it_lies():
    """Of two micro-batches in float32: the second does not vanish beside the first, as it would in bfloat16."""
    layer = tg.nn.Linear(4, 3).to("fake")
    flat = FlatParameters(layer)
    home = layer.weight.grad
    for factor in (1.0, 2.0 ** -12):
        x = Tensor(np.full((2, 4), factor, np.float32).astype(BF16), device="fake")
        layer(x).backward(to_device(np.ones((2, 3), np.float32), "fake"))
    assert layer.weight.grad is home and home.dtype == np.float32
    np.testing.assert_array_equal(to_numpy(layer.weight.grad), np.full((3, 4), 2 + 2 * 2.0 ** -12))
    np.testing.assert_array_equal(to_numpy(layer.bias.grad), np.full(3, 4))
    assert to_numpy(flat.grad).max() == 4


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length, n_keys, n_heads, n_key_heads", [(5, 5, 2, 2), (3, 9, 4, 2), (1, 33, 2, 1)])
def test_attention(length, n_keys, n_heads, n_key_heads, causal, fused):
    """The kernels get rounded scores: a score of 6 is off by 6 roundings, and e to that by as many."""
    more = {"roundings": 6 if fused else 2}
    q = normal(2, n_heads, length, 8)
    k, v = normal(2, 2, n_key_heads, n_keys, 8, seed=1)
    padding = np.random.default_rng(0).random((2, 1, 1, n_keys)) < 0.6
    padding[0] = False  # looks nowhere: zeros
    check(ops.scaled_dot_product_attention, q, k, v, causal=causal, **more)
    check(ops.scaled_dot_product_attention, q, k, v, padding, causal=causal, scale=0.7, **more)
    check(ops.scaled_dot_product_attention, q, k, v, causal=causal, dropout=0.3, key=(1, 2, 3), **more)
    check(ops.scaled_dot_product_attention, q, k, v, normal(length, n_keys), causal=causal)  # the rule's
    check(lambda q, k, v: ops.scaled_dot_product_attention(
        *(x.transpose(0, 2, 1, 3) for x in (q, k, v)), causal=causal),
        *(np.ascontiguousarray(x.swapaxes(1, 2)) for x in (q, k, v)), **more)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("rows_at_once", [5, 36])
def test_loss(reduction, rows_at_once, fused, monkeypatch):
    """In float32, and the gradient of the weight too. The kernel gets rounded logits, as it gets rounded scores."""
    more = {"roundings": 6 if fused else 2, "result": np.float32, "reduction": reduction}
    monkeypatch.setattr(loss, "LOGITS", rows_at_once * 70)
    rng = np.random.default_rng(0)
    x, weight, bias = normal(4, 9, 7), normal(70, 7, seed=1), normal(70, seed=2)
    targets = rng.integers(0, 70, (4, 9))
    some = np.where(rng.random((4, 9)) < 0.4, -100, targets)
    for t in (targets, some, np.full_like(targets, -100)):
        for wide in ((1, 2), ()):
            check(ops.linear_cross_entropy, x, weight, bias, t, wide=wide, **more)
        check(ops.linear_cross_entropy, x, weight, None, t, wide=(1,), **more)
    importance = Tensor(rng.random((4, 9)).astype(np.float32))
    check(lambda x, w, **options: ops.linear_cross_entropy(
        x, w, None, to_device(some, x.device), to_device(importance.data, x.device), **options),
        x, weight, wide=(1,), **more)
    check(ops.linear_cross_entropy, x, weight, None, some, wide=(1,), **more | {"reduction": "none"})  # the rule's


def test_embedding_and_the_residual_sum():
    ids = np.random.default_rng(0).integers(0, 11, (4, 9))
    check(ops.embedding, ids, normal(11, 6), roundings=1)
    x, y = normal(3, 4), normal(3, 4, seed=1)
    check(ops.add, x, y, roundings=1)
    check(ops.add, x, y[0], roundings=1)
    check(ops.add, x, y, wide=(1,), roundings=1)


PRODUCTS = ("linear", "linear_activation", "scaled_dot_product_attention", "linear_cross_entropy", "matmul")


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_every_product_of_a_step_is_one_of_bfloat16(architecture, fused, monkeypatch):
    """No rule that multiplies matrices runs, forward or backward, and the loss and its gradient are near float32's."""
    tg.manual_seed(0)
    sizes = dict(vocab_size=17, block_size=8, n_layer=2, n_head=2, n_embd=16)
    model = GPT(GPTConfig(**sizes, architecture=architecture)).eval()
    ids = np.random.default_rng(0).integers(0, 17, (3, 9))
    expected = loss_of(model, ids[:, :-1], ids[:, 1:])
    expected.backward()
    slopes = {name: p.grad for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = None
    model.to("fake").compute_in("bfloat16")
    for name in PRODUCTS:
        def refuse(*arrays, name=name, **settings):
            raise AssertionError(f"the rule of {name} runs")
        monkeypatch.setattr(OPS[name], "rule", refuse)
    seen = []
    matmul = kernels.cuda.linear.matmul

    def watched(a, b, **options):
        seen.append((is_bfloat16(a), is_bfloat16(b)))
        return matmul(a, b, **options)
    for module in (kernels.cuda.linear, kernels.cuda.attention, kernels.cuda.loss, kernels.cuda.gemm):
        monkeypatch.setattr(module, "matmul", watched)
    loss = loss_of(model, ids[:, :-1], ids[:, 1:])
    loss.backward()
    linears = 2 * (4 if architecture == "gpt2" else 5)
    assert len(seen) == 3 * linears + 2 * 6 + 3 and all(a and b for a, b in seen)
    assert float(loss) == pytest.approx(float(expected), rel=2e-3)
    for name, p in model.named_parameters():
        size = np.linalg.norm(slopes[name])
        assert p.grad.dtype == np.float32
        assert np.linalg.norm(to_numpy(p.grad) - slopes[name]) < 0.05 * size + 1e-3, name
    assert bool(cuda_on_host.launched) == fused


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_training_run_in_bfloat16(architecture, fused):
    """All twins together, with dropout, accumulation and (without kernels) two replicas: losses near the host's in
    float32, and the same bits when it is run again."""
    from tinygpt.training import Criterion, Trainer, TrainingOptions, language_loss

    class Source:
        def batch(self, step):
            ids = np.random.default_rng(step).integers(0, 17, (4, 9))
            return {"ids": ids[:, :-1], "targets": np.where(ids[:, 1:] == 5, -100, ids[:, 1:])}

    class Losses(list):
        def write(self, step, loss, lr, grad_norm, **rest):
            self.append(loss)

    runs = []
    for device, dtype in (("cpu", "float32"), ("fake", "bfloat16"), ("fake", "bfloat16")):
        tg.manual_seed(0)
        model = GPT(GPTConfig(vocab_size=17, block_size=8, n_layer=1, n_head=2, n_embd=16, dropout=0.2,
                              architecture=architecture, n_kv_head=1 if architecture == "llama" else None)).to(device)
        options = TrainingOptions(steps=4, batch_size=4, lr=0.01, accumulate=2, device=device, dtype=dtype,
                                  threads=1 if fused else 2)  # kernels on the host run one at a time
        trainer = Trainer(model, Criterion(language_loss), Source(), options, metrics=Losses())
        trainer.run()
        runs.append((trainer.metrics, to_numpy(trainer.optimizer.flat.data)))
    (expected, _), (losses, weights), (again, same) = runs
    assert len(expected) == 4
    np.testing.assert_allclose(losses, expected, rtol=1e-2)
    assert losses == again
    np.testing.assert_array_equal(weights, same)
    assert ("adamw" in cuda_on_host.launched) == fused

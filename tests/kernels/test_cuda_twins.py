"""The fused CUDA kernels without a GPU: compiled for the host, launched by their twins on the pretend device, and
compared with the rules, outputs and gradients; each run with its threads forwards and backwards."""

from __future__ import annotations

import contextlib
from typing import Any

import cuda_on_host
import fake_device
import numpy as np
import pytest

import tinygpt as tg
from tinygpt import kernels, ops
from tinygpt.autograd import OPS, Tensor, no_grad
from tinygpt.backend import on_device, to_device, to_numpy
from tinygpt.kernels import cuda
from tinygpt.kernels.cuda import activation, launch, loss
from tinygpt.ops.dropout import keep_scale
from tinygpt.optim import AdamW, FlatParameters, grad_norm_on_device
from tinygpt.testing import op_db
from tinygpt.engine.dispatch import twins_of
from tinygpt.testing.contracts.twins import check_twin

pytestmark = pytest.mark.skipif(not cuda_on_host.AVAILABLE, reason="needs g++ on Linux to run kernels on the host")
FUSED = [name for name in OPS if name in launch.FUSED]
DTYPES = (np.float32, np.float64)
CLOSE = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-13}  # of the largest entry: rounding


@pytest.fixture(autouse=True)
def on_the_pretend_device():
    """The CUDA twins serve the pretend device, with kernels that run on the host."""
    with cuda_on_host.on_the_pretend_device():
        yield


def run(op, arrays: list[Any], settings: dict[str, Any], device: str = "fake") -> list[np.ndarray]:
    """The output and the gradients, on the host."""
    tensors = [Tensor(a, requires_grad=a.dtype.kind == "f", device=device) if isinstance(a, np.ndarray) else a
               for a in arrays]
    out = op(*tensors, **settings)
    g = np.random.default_rng(9).standard_normal(out.shape).astype(out.dtype)
    out.backward(to_device(g, device))
    return [to_numpy(out.data)] + [to_numpy(t.grad) for t in tensors if isinstance(t, Tensor) and t.grad is not None]


def check(op, *arrays: Any, served: bool = True, tolerance: float = 1.0, **settings: Any) -> None:
    """Kernels ran, and gave what the rule gives on the host in float64, whichever way their threads run."""
    wide = [a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in arrays]
    with kernels.disabled():
        expected = run(op, wide, settings, "cpu")
    first: list[np.ndarray] = []
    for backwards in (False, True):
        cuda_on_host.launched.clear()
        cuda_on_host.order["backwards"] = backwards
        with fake_device.count_syncs() as count:
            results = run(op, list(arrays), settings)
        assert count.syncs == len(results), count.reasons  # the looks of `run` itself
        assert bool(cuda_on_host.launched) == served, (op.operation.name, cuda_on_host.launched)
        for ours, theirs in zip(results, expected, strict=True):
            assert ours.shape == theirs.shape
            size = np.abs(theirs).max(initial=1e-3)
            np.testing.assert_allclose(ours / size, theirs / size, rtol=0, atol=tolerance * CLOSE[ours.dtype])
        first = first or results
        for one, other in zip(first, results):
            np.testing.assert_array_equal(one, other)  # an order of threads that shows is a race
    cuda_on_host.order["backwards"] = False


def normal(*shape: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# -- the harness itself -----------------------------------------------------------------------------------------------

WRONG = """
typedef float Wide;
extern "C" __global__ void beside(ELEMENT* x, long long n) { x[blockIdx.x * blockDim.x + threadIdx.x] = 1; }
extern "C" __global__ void races(ELEMENT* x, long long n) {
    __shared__ float shared[64];
    shared[threadIdx.x] = threadIdx.x;
    x[threadIdx.x] = shared[63 - threadIdx.x];
}
extern "C" __global__ void diverges(ELEMENT* x, long long n) {
    if (threadIdx.x < 40) __syncthreads(); else x[0] = __shfl_xor_sync(0xffffffffu, 1.0f, 16);
}
extern "C" __global__ void sums(ELEMENT* x, long long n) {
    __shared__ float shared[64];
    shared[threadIdx.x] = threadIdx.x;
    __syncthreads();
    x[threadIdx.x] = shared[63 - threadIdx.x] + __shfl_xor_sync(0xffffffffu, (float)threadIdx.x, 1);
}
"""


def test_the_emulation_finds_what_is_wrong():
    module = cuda_on_host.HostModule(WRONG, ("-DELEMENT=float",))

    def call(name, x, *rest):
        module.get_function(name)((1,), (64,), (x, *(rest or (np.int64(x.size),))))
        return to_numpy(x)
    x = to_device(np.zeros(64, np.float32), "fake")
    with pytest.raises(AssertionError, match="beside writes beside an array"):
        call("beside", to_device(np.zeros(60, np.float32), "fake"))
    assert call("beside", x).all()
    forwards = call("races", x)
    cuda_on_host.order["backwards"] = True
    backwards = call("races", x)
    cuda_on_host.order["backwards"] = False
    assert (forwards != backwards).any()
    with pytest.raises(AssertionError, match="diverges: divergent"):
        call("diverges", x)
    np.testing.assert_array_equal(call("sums", x), 63 - np.arange(64) + (np.arange(64) ^ 1))
    for wrong in (to_device(np.zeros(64), "fake"), to_device(np.zeros((64, 2), np.float32), "fake")[:, 0],
                  np.zeros(64, np.float32)):
        with pytest.raises(AssertionError, match="argument 0 is"):
            call("sums", wrong)
    with pytest.raises(AssertionError, match="argument 1 is"):
        call("sums", x, 64)
    with pytest.raises(AssertionError, match="takes 2 arguments"):
        call("sums", x, np.int64(64), np.int64(64))


# -- every sample of every operation that has fused kernels -----------------------------------------------------------


def test_what_is_fused():
    assert set(FUSED) == {"layer_norm", "rms_norm", "gelu", "gelu_tanh", "silu", "relu", "linear", "linear_activation",
                          "gated_activation", "dropout", "scaled_dot_product_attention", "linear_cross_entropy",
                          "embedding"}
    assert cuda.fused_kernels() == sorted({*FUSED, "AdamW", "gradient norm"})
    with kernels.disabled():
        assert cuda.fused_kernels() == []
    with cuda.switch(False):
        assert cuda.fused_kernels() == [] and twins_of(OPS["gelu"])[0].function(normal(3)) is NotImplemented


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUSED)
def test_samples(name, dtype):
    served = 0
    for sample in op_db[name].samples(16):
        inputs = [x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in sample.inputs]
        cuda_on_host.launched.clear()
        results = run(getattr(ops, name), inputs, sample.settings)
        served += bool(cuda_on_host.launched)
        with kernels.disabled():
            expected = run(getattr(ops, name), inputs, sample.settings, "cpu")
        for ours, theirs in zip(results, expected, strict=True):
            assert ours.shape == theirs.shape and ours.dtype == theirs.dtype == dtype
            size = np.abs(theirs).max(initial=1.0)
            np.testing.assert_allclose(ours / size, theirs / size, rtol=0, atol=20 * CLOSE[np.dtype(dtype)])
    assert served >= 5


@pytest.mark.parametrize("name", FUSED)
def test_the_contracts_of_a_twin(name):
    """What the gradient checker asks of every twin: nothing changed in place, the same bits again, every layout."""
    twin = next(twin for twin in twins_of(OPS[name]) if twin.device == "fake")
    reports = [check_twin(OPS[name], twin, sample) for sample in op_db[name].samples(6)]
    assert any(report.oracles for report in reports)
    for report in reports:
        assert report or not report.oracles, str(report)


# -- sizes around warps and blocks ------------------------------------------------------------------------------------

SIZES = (1, 31, 32, 33, 255, 256, 257, 3000)
ACTIVATIONS = {name: (op, {}) for name, op in ops.ACTIVATIONS.items() if name in activation.KINDS} | {
    "gelu, asked for tanh": (ops.gelu, {"approximate": "tanh"})}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op, settings", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_activations(op, settings, dtype):
    for n in SIZES:
        check(op, normal(n, dtype=dtype) * 4)
    check(op, np.array([-1e4, -90, -20, -0.0, 0, 20, 90, 1e4], dtype))


@pytest.mark.parametrize("op, settings", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_what_is_not_finite_goes_through_activations_as_through_the_rule(op, settings):
    x = np.array([np.nan, np.inf, -np.inf], np.float32)
    with np.errstate(invalid="ignore"):
        there = to_numpy(op(Tensor(x, device="fake")).data)
        with kernels.disabled():
            here = op(x).data
    assert cuda_on_host.launched and np.isnan(here[0])
    np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows, width", [(1, 1), (3, 31), (257, 32), (2, 255), (3, 257), (513, 40), (2, 600)])
def test_a_matrix_with_its_bias_and_activation(rows, width, dtype):
    """Rows around the 256 groups that they are summed in, columns around warps and blocks."""
    x, weight, bias = normal(rows, 3, dtype=dtype), normal(width, 3, dtype=dtype, seed=1), normal(width, dtype=dtype)
    check(ops.linear, x, weight, bias, tolerance=5)
    check(ops.linear, x, weight, None, served=False, tolerance=5)
    for name in set(ops.ACTIVATIONS) & set(activation.KINDS):
        check(ops.linear_activation, x, weight, bias, activation=name, tolerance=5)
    check(ops.linear_activation, x, weight, None, activation="gelu_tanh", tolerance=5)


def test_a_matrix_takes_any_leading_axes_and_leaves_errors_to_the_rule():
    weight, bias = normal(6, 4), normal(6)
    for x in (normal(4), normal(2, 3, 4), normal(2, 1, 3, 4)):
        check(ops.linear, x, weight, bias, tolerance=5)
        check(ops.linear_activation, x, weight, bias, activation="silu", tolerance=5)
    check(ops.linear_activation, normal(0, 4), weight, bias, activation="silu", served=False)
    there = [Tensor(a, device="fake") for a in (normal(2, 5), weight, bias)]
    for op, settings in ((ops.linear, {}), (ops.linear_activation, {"activation": "gelu"})):
        with pytest.raises(ValueError, match="linear: x has"):
            op(*there, **settings)
    for op in (ops.linear_activation, ops.gated_activation):
        with pytest.raises(ValueError, match="activation='swish' is not known"):
            op(there[1], there[1].detach(), activation="swish")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(set(ops.ACTIVATIONS) & set(activation.KINDS)))
def test_gates(name, dtype):
    for n in SIZES:
        check(ops.gated_activation, normal(n, dtype=dtype) * 4, normal(n, dtype=dtype, seed=1), activation=name)
    check(ops.gated_activation, normal(3, 4, dtype=dtype), normal(4, dtype=dtype), activation=name, served=False)


def test_the_kernels_know_the_activations_that_models_are_trained_with():
    assert set(activation.KINDS) >= {"gelu", "gelu_tanh", "silu", "relu"}


def test_an_activation_that_the_kernels_do_not_know_is_left_to_the_rule(monkeypatch):
    monkeypatch.setitem(ops.ACTIVATIONS, "new", ops.tanh)
    check(ops.gated_activation, normal(3, 40), normal(3, 40, seed=1), activation="new", served=False)
    check(ops.linear_activation, normal(3, 4), normal(6, 4), normal(6), activation="new", served=False, tolerance=5)
    there = Tensor(normal(3, 4), device="fake", dtype="bfloat16")
    weight, bias = (Tensor(x, device="fake") for x in (normal(6, 4), normal(6)))
    out = ops.linear_activation(there, weight, bias, activation="new").numpy()
    expected = np.tanh(there.numpy() @ weight.astype("bfloat16").numpy().T + bias.numpy())
    np.testing.assert_allclose(out, expected, rtol=0, atol=2.0 ** -8)  # of bfloat16, for numbers up to 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows, width", [(1, 1), (3, 31), (257, 32), (2, 768), (2, 600)])
def test_norms(rows, width, dtype):
    shapes = [(rows, width), (width,), (width,)]
    x, weight, bias = (normal(*shape, dtype=dtype, seed=i) for i, shape in enumerate(shapes))
    x += 2
    for parameters in ((weight, bias), (None, bias), (None, None)):
        check(ops.layer_norm, x, *parameters, tolerance=30)  # 1 of 3,000 digits of an f32 sum over 600 rows
    check(ops.rms_norm, x, weight, epsilon=0.1, tolerance=30)
    check(ops.rms_norm, x, None, tolerance=30)


@pytest.mark.parametrize("length, n_keys, n_heads, n_key_heads, dtype", [
    (1, 1, 1, 1, np.float64), (5, 5, 2, 2, np.float32), (10, 30, 4, 2, np.float64), (33, 33, 2, 1, np.float32),
    (1, 70, 4, 4, np.float32), (3, 260, 2, 2, np.float64)])
def test_attention(length, n_keys, n_heads, n_key_heads, dtype):
    q = normal(2, n_heads, length, 8, dtype=dtype) * 2
    k, v = normal(2, 2, n_key_heads, n_keys, 8, dtype=dtype, seed=1)
    rng = np.random.default_rng(0)
    padding = rng.random((2, 1, 1, n_keys)) < 0.6
    padding[0] = False  # looks nowhere: zeros
    for causal in (False, True):
        check(ops.scaled_dot_product_attention, q, k, v, causal=causal, tolerance=5)
        check(ops.scaled_dot_product_attention, q, k, v, padding, causal=causal, scale=0.7, tolerance=5)
    shapes = [(length, n_keys), (n_heads, 1, n_keys), (2, n_heads, length, n_keys), (1, 1, length, 1)]
    for i, shape in enumerate(shapes):
        mask = rng.random(shape) < 0.6
        check(ops.scaled_dot_product_attention, q, k, v, mask, causal=i % 2 == 0, tolerance=5)
    check(ops.scaled_dot_product_attention, q, k, v, causal=True, dropout=0.3, key=(1, 2, 3, 4), tolerance=5)


def test_attention_of_fewer_keys_than_queries_and_what_is_left_to_the_rule():
    q, k, v = normal(3, 2, 2, 6, 4)
    check(ops.scaled_dot_product_attention, q, k[:, :, :4], v[:, :, :4], causal=True, tolerance=5)
    check(ops.scaled_dot_product_attention, q, k, v, np.zeros((6, 6), np.float32), served=False, tolerance=5)
    check(ops.scaled_dot_product_attention, q[0], k[0], v[0], served=False, tolerance=5)
    with pytest.raises(ValueError, match="expected q"):
        ops.scaled_dot_product_attention(*(Tensor(x, device="fake") for x in (q, k[..., :2], v)))


def test_attention_takes_the_views_that_the_layers_make():
    x = normal(2, 7, 8, 4)

    def attend(x: Tensor) -> Tensor:
        q, k, v = (part.transpose(0, 2, 1, 3) for part in ops.split(x, lengths=(4, 2, 2), axis=2))
        return ops.scaled_dot_product_attention(q, k, v, causal=True)
    attend.operation = ops.scaled_dot_product_attention.operation
    check(attend, x, tolerance=5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("rows_at_once", [5, 35, 36])
def test_loss(dtype, reduction, rows_at_once, monkeypatch):
    monkeypatch.setattr(loss, "LOGITS", rows_at_once * 70)
    rng = np.random.default_rng(0)
    x, weight, bias = normal(4, 9, 7, dtype=dtype), normal(70, 7, dtype=dtype) * 3, normal(70, dtype=dtype, seed=1)
    targets = rng.integers(0, 70, (4, 9))
    some = np.where(rng.random((4, 9)) < 0.4, -100, targets)
    for t in (targets, some, np.full_like(targets, -100)):
        check(ops.linear_cross_entropy, x, weight, bias, t, reduction=reduction, tolerance=10)
        check(ops.linear_cross_entropy, x, weight, None, t.astype(np.int32), reduction=reduction, tolerance=10)
    weights = rng.random((4, 9))
    weights[0] = 0

    def weighted(x, w, b):
        there = to_device(weights.astype(dtype) if x.device != "cpu" else weights, x.device)
        return ops.linear_cross_entropy(x, w, b, to_device(some, x.device), there, reduction=reduction)
    weighted.operation = ops.linear_cross_entropy.operation
    check(weighted, x, weight, bias, tolerance=10)


def test_loss_survives_huge_logits_and_leaves_the_rest_to_the_rule():
    x = np.array([[1000.0, 0.0], [-1000.0, 3.0]], dtype=np.float32)
    check(ops.linear_cross_entropy, x, np.eye(2, dtype=np.float32), None, np.array([1, 0]))
    check(ops.linear_cross_entropy, x, np.eye(2, dtype=np.float32), None, np.array([1, 0]), reduction="none",
          served=False)
    with pytest.raises(ValueError, match="cross_entropy: logits"):
        ops.linear_cross_entropy(*(Tensor(a, device="fake") for a in (x, np.eye(2, dtype=np.float32))), None,
                                 to_device(np.zeros(3, int), "fake"))


def test_a_target_outside_gives_no_number_and_reads_nothing_beside_the_row():
    x, weight = normal(2, 4), normal(9, 4)
    for target in (9, 10**9, -1):
        out = ops.linear_cross_entropy(*(Tensor(a, device="fake") for a in (x, weight)), None,
                                       to_device(np.array([0, target]), "fake"))
        assert np.isnan(float(out))


def test_loss_without_recording():
    x, weight, targets = normal(6, 4), normal(9, 4), np.arange(6)
    with no_grad():
        there = ops.linear_cross_entropy(*(Tensor(a, device="fake") for a in (x, weight)), None,
                                         to_device(targets, "fake"))
    assert float(there) == pytest.approx(float(ops.linear_cross_entropy(x, weight, None, targets)), rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 7, 8, 9, 2047, 2049, 5000])
def test_dropout_masks_are_numpys_to_the_bit(n, dtype):
    x = np.ones(n, dtype)
    for key in ((0,), (3, 1, 4, 1), (2**64 - 1, 2**40, 2**63 + 5, 2**33)):
        for p in (0.0, 0.1, 0.5, 0.999):
            out, dx = run(ops.dropout, [x], {"p": p, "key": key})
            mask = keep_scale(x, x.shape, p, key)
            np.testing.assert_array_equal(out == 0, mask == 0)
            np.testing.assert_allclose(out, mask, rtol=1e-6)
            np.testing.assert_array_equal(dx == 0, mask == 0)
    check(ops.dropout, normal(n, dtype=dtype), p=0.3, key=(1, 2, 3, 4))


@pytest.mark.parametrize("dtype", DTYPES)
def test_embedding_adds_up_repeated_rows(dtype):
    weight = normal(11, 6, dtype=dtype)
    many = np.random.default_rng(0).integers(0, 11, 999)
    for ids in (np.array(4), np.array([[3, 3, 3]]), many, many.astype(np.uint16), np.arange(10, -1, -1)):
        check(ops.embedding, ids, weight, tolerance=10)
    check(ops.embedding, many[:300], normal(11, 300, dtype=dtype), tolerance=10)
    check(ops.embedding, np.zeros((0, 3), int), weight, served=False)


@pytest.mark.parametrize("name", FUSED)
def test_odd_layouts_fall_back_or_are_made_contiguous(name):
    """Arrays that run backwards through memory, and gradients that do: the rule's results, by whichever way."""
    for sample in list(op_db[name].samples(8)):
        def reversed_(x):
            return np.ascontiguousarray(x[..., ::-1])[..., ::-1] if isinstance(x, np.ndarray) and x.ndim else x
        results = []
        for where in ("cpu", "fake"):
            inputs = [reversed_(x) for x in sample.inputs]
            tensors = [Tensor(to_device(x, where), requires_grad=x.dtype.kind == "f")
                       if isinstance(x, np.ndarray) else x for x in inputs]
            for tensor, x in zip(tensors, inputs):
                if where == "fake" and isinstance(x, np.ndarray):
                    tensor.data = fake_device.FakeArray(x, 0)  # with the strides as they are
            out = getattr(ops, name)(*tensors, **sample.settings)
            g = reversed_(np.random.default_rng(1).standard_normal(out.shape))
            out.backward(g if where == "cpu" else fake_device.FakeArray(np.asarray(g), 0))
            results.append([to_numpy(t.grad) for t in tensors if isinstance(t, Tensor) and t.grad is not None])
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)


# -- the optimizer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_adamw_and_the_norm(dtype):
    rng = np.random.default_rng(0)
    values = {"w": normal(40, 30, dtype=dtype), "b": normal(30, dtype=dtype), "s": np.ones((), dtype)}
    flats = [FlatParameters([(name, tg.nn.Parameter(np.array(x), device=device)) for name, x in values.items()])
             for device in ("cpu", "fake:1")]
    a, b = (AdamW(flat, lr=0.01, weight_decay=0.3) for flat in flats)
    for step in range(18):  # past the step that flushes what is tiny
        g = (rng.standard_normal(a.flat.size) * 10.0 ** -(step % 3)).astype(dtype)
        g[5] = 1e-34 if step == 0 else 0
        a.flat.grad[:] = g
        with on_device("fake:1"):
            b.flat.grad[:] = to_device(g, "fake:1")
        norm = grad_norm_on_device(b.flat)
        assert norm.dtype == np.float64 and norm.shape == ()
        assert float(to_numpy(norm)) == pytest.approx(np.linalg.norm(g.astype(np.float64)), rel=1e-12)
        a.step(grad_scale=0.37)
        b.step(grad_scale=to_device(np.float64(0.37), "fake:1") if step % 2 else 0.37)
    assert cuda_on_host.launched.count("adamw") == 18 and "sum_of_squares" in cuda_on_host.launched
    np.testing.assert_allclose(to_numpy(b.flat.data), a.flat.data, rtol=5e-6 if dtype == np.float32 else 1e-13)
    np.testing.assert_allclose(to_numpy(b.second_moment), a.second_moment, rtol=5e-6)
    assert to_numpy(b.second_moment)[5] == a.second_moment[5] == 0


def test_the_kernels_serve_no_host_arrays():
    flat = FlatParameters([tg.nn.Parameter(np.ones(3))])
    AdamW(flat).step()
    assert grad_norm_on_device(flat) == 0 and not cuda_on_host.launched
    assert not launch.serves(np.ones(3))


# -- bfloat16 ---------------------------------------------------------------------------------------------------------


def test_bfloat16_rounds_to_nearest_even():
    """The kernels' own conversion, through the one that copies: dropout of nothing."""
    bits = np.random.default_rng(0).integers(0, 2**16, 4096).astype(np.uint16)
    bits[:8] = [0, 0x8000, 0x7f80, 0xff80, 0x7fc0, 0x3f80, 1, 0x7f7f]
    module = cuda_on_host.HostModule(launch.SOURCE.read_text(encoding="utf-8"), ("-DELEMENT=bfloat16",))
    x, out = (to_device(a, "fake") for a in (bits, np.zeros_like(bits)))
    values = (bits.astype(np.uint32) << 16).view(np.float32)
    scale = 1 / 3

    module.get_function("dropout_apply")((2,), (256,), (x, out, *(np.int64(n) for n in (4096, 0, 0, 0, 0, 0)),
                                                        np.float64(scale)))
    with np.errstate(all="ignore"):
        product = values * np.float32(scale)
    wide = product.view(np.uint32).astype(np.uint64)
    expected = ((wide + 0x7fff + ((wide >> 16) & 1)) >> 16).astype(np.uint16)
    got = to_numpy(out)
    nan = np.isnan(values)
    np.testing.assert_array_equal(got[~nan], expected[~nan])
    assert np.isnan((got[nan].astype(np.uint32) << 16).view(np.float32)).all()


def test_bfloat16_is_widened_for_bias_and_activation_and_sums():
    """4,096 ones add up to 4,096; bfloat16 would stop at 256."""
    def rounded(x):
        wide = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
        return ((wide + 0x7fff + ((wide >> 16) & 1)) >> 16).astype(np.uint16)

    def widened(bits):
        return (bits.astype(np.uint32) << 16).view(np.float32)

    module = cuda_on_host.HostModule(launch.SOURCE.read_text(encoding="utf-8"), ("-DELEMENT=bfloat16",))
    n_rows, width = 4096, 3
    x, bias, g = rounded(normal(n_rows, width)), normal(width, seed=1), rounded(np.ones((n_rows, width)))
    arrays = [to_device(a, "fake") for a in (x, bias, np.zeros_like(x), g, np.zeros_like(x),
                                             np.zeros((1, width), np.float32))]
    there, shift, out, upper, dx, dbias = arrays
    sizes = (np.int64(n_rows), np.int64(width), np.int64(n_rows))
    for kind, name in ((1, "gelu_tanh"), (4, None)):
        module.get_function("activation_forward")((1, 1), (32,), (there, shift, out, *sizes, np.int64(kind)))
        module.get_function("activation_backward")(
            (1, 1), (32,), (upper, there, shift, dx, dbias, *sizes, np.int64(kind)))
        h = Tensor(widened(x).astype(np.float64) + bias, requires_grad=True)
        y = h * 1.0 if name is None else ops.gelu(h, approximate="tanh")
        y.backward(np.ones(y.shape))
        np.testing.assert_allclose(widened(to_numpy(out)), y.data, rtol=2**-8, atol=1e-6)
        np.testing.assert_allclose(widened(to_numpy(dx)), h.grad, rtol=2**-8, atol=1e-6)
        np.testing.assert_allclose(to_numpy(dbias)[0], h.grad.sum(axis=0), rtol=1e-5)


# -- a whole step -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_training_run_is_the_hosts(architecture):
    """All kernels together, float32, with dropout: losses to rounding."""
    from tinygpt.models import GPT, GPTConfig
    from tinygpt.training import Criterion, Trainer, TrainingOptions, language_loss

    class Source:
        def batch(self, step):
            ids = np.random.default_rng(step).integers(0, 17, (3, 9))
            return {"ids": ids[:, :-1], "targets": np.where(ids[:, 1:] == 5, -100, ids[:, 1:])}

    losses = {}
    for device in ("cpu", "fake"):
        tg.manual_seed(0)
        model = GPT(GPTConfig(vocab_size=17, block_size=8, n_layer=2, n_head=2, n_embd=16, dropout=0.2,
                              architecture=architecture, n_kv_head=1 if architecture == "llama" else None)).to(device)
        seen = losses[device] = []

        class Log:
            def write(self, step, loss, lr, grad_norm, **rest):
                seen.append((loss, grad_norm))
        with kernels.disabled() if device == "cpu" else contextlib.nullcontext():
            options = TrainingOptions(steps=12, batch_size=3, lr=0.01, threads=1)
            Trainer(model, Criterion(language_loss), Source(), options, metrics=Log()).run()
    np.testing.assert_allclose(losses["fake"], losses["cpu"], rtol=1e-4)
    assert len(losses["cpu"]) == 12
    expected = {"adamw", "sum_of_squares", "norm_forward", "norm_backward_x", "norm_backward_parameters",
                "activation_forward", "activation_backward", "attention_softmax", "attention_softmax_backward",
                "cross_entropy_rows", "dropout_apply", "embedding_backward"}
    gate = {"gate_forward", "gate_backward"} if architecture == "llama" else set()  # and no bias to be added
    assert set(cuda_on_host.launched) == (expected - {"activation_forward", "activation_backward"}
                                          if gate else expected) | gate

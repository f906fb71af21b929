"""The pretend GPU itself, then every operation, a training step of each model, and generation on it."""

from __future__ import annotations

import inspect

import fake_device
import numpy as np
import pytest
from model_losses import loss_of
from op_calls import LOOKS, MADE, NO_DEVICE, RULES, call as call_by_name, place, samples_of

import tinygpt as tg
from tinygpt import ops
from tinygpt.backend import device_of, on_device, to_device, to_numpy
from tinygpt.models import BERT, GPT, BERTConfig, EncoderDecoder, EncoderDecoderConfig, GPTConfig
from tinygpt.optim import AdamW, FlatParameters
from tinygpt.testing import op_db

xp = fake_device.xp
RNG = np.random.default_rng(0)


def there(x, device="fake"):
    return to_device(x, device)


# -- it refuses what CuPy refuses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [
    np.asarray, np.array, lambda x: np.exp(x), lambda x: np.sum(x), lambda x: np.ones(3) + x, lambda x: x * np.ones(3),
    lambda x: xp.maximum(x, np.ones(3)), lambda x: xp.concatenate([x, np.ones(3)]), lambda x: xp.asarray(np.ones(3)),
    lambda x: x.__setitem__(slice(None), np.ones(3)), lambda x: x.__iadd__(np.ones(3)), lambda x: np.add.at(x, [0], 1)])
def test_no_conversion_and_no_mixing(convert):
    with pytest.raises(TypeError):
        convert(there(np.ones(3)))


@pytest.mark.parametrize("name", ["errstate", "einsum_path", "vecdot", "unstack", "nditer", "insert", "_core", "x"])
def test_missing_functions(name):
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
        getattr(xp, name)


def test_missing_arguments():
    x = there(np.ones((2, 3)))
    for run in (lambda: x.sum(where=x > 0), lambda: xp.max(x, initial=0.0), lambda: xp.exp(x, where=x > 0),
                lambda: xp.mean(x, where=x > 0), lambda: xp.argsort(x, stable=True), lambda: xp.clip(x, min=0.0),
                lambda: xp.zeros(3, device="cpu"), lambda: xp.reshape(x, shape=(3, 2))):
        with pytest.raises(TypeError):
            run()
    for run in (lambda: xp.maximum.reduce(x), lambda: xp.logical_and.reduce(x), lambda: xp.divide.at(x, 0, 1.0),
                lambda: xp.maximum.accumulate(x)):
        with pytest.raises(NotImplementedError):
            run()
    with pytest.raises(AttributeError):
        xp.where(True, x, x)
    with pytest.raises(AttributeError):
        xp.random
    with pytest.raises(TypeError):
        [1, 2, 3][there(np.array(1))]  # no __index__
    assert to_numpy(xp.add.reduce(x, axis=1)).tolist() == [3, 3]


@pytest.mark.oracle
def test_the_lists_are_cupys():
    """What the pretend GPU offers and refuses, against CuPy itself, which imports without a GPU."""
    cupy = pytest.importorskip("cupy")

    def has(owner, name):
        try:
            getattr(owner, name)
        except AttributeError:
            return False
        return True
    elsewhere = {"exceptions", "fft", "lib", "polynomial", "random", "testing", "typing"}  # modules, not for arrays
    names = {name for name in dir(np) if not name.startswith("_")} - elsewhere
    assert {name for name in names if has(xp, name)} == {name for name in names if hasattr(cupy, name)}
    array = there(np.ones((2, 2)))
    methods = [name for name in dir(np.ndarray) if not name.startswith("_")]
    assert [n for n in methods if has(array, n)] == [n for n in methods if hasattr(cupy.ndarray, n)]
    linalg = [name for name in dir(np.linalg) if not name.startswith("_")]
    assert [n for n in linalg if has(xp.linalg, n)] == [n for n in linalg if hasattr(cupy.linalg, n)]
    special = [name for name in dir(np.ndarray) if name.startswith("__")]
    assert not [n for n in special if n in dir(fake_device.FakeArray) and n not in dir(cupy.ndarray)]
    for name, missing in fake_device.MISSING_ARGUMENTS.items():
        signature = inspect.signature(getattr(cupy, name))
        assert not set(missing.split()) & set(signature.parameters), name
    for name in fake_device.REDUCTIONS:
        assert not {"where", "initial"} & set(inspect.signature(getattr(cupy, name)).parameters), name


def test_reductions_are_arrays_and_in_place_writes_into_them():
    x = there(np.ones(3, np.float32))
    total = x.sum()
    alias = total
    total += 1
    assert isinstance(total, fake_device.FakeArray) and total.shape == () and total.dtype == np.float32
    assert alias is total and to_numpy(alias) == 4
    assert (total * np.float64(3)).dtype == np.float64 and (total * 3.0).dtype == np.float32


def test_numpys_numbers_go_with_arrays_on_either_side():
    x = there(np.arange(3.0))
    assert to_numpy(np.float64(1) < x).tolist() == [False, False, True] == to_numpy(x > np.float64(1)).tolist()
    assert to_numpy(np.float32(2) * x).tolist() == [0, 2, 4]


def test_indices_wrap_in_silence():
    x = there(np.arange(5.0))
    ids = there(np.array([5, -6, 12]))
    assert to_numpy(x[ids]).tolist() == [0, 4, 2] == to_numpy(x.take(ids)).tolist()
    y = there(np.zeros((2, 5)))
    xp.add.at(y, (slice(None), there(np.array([5, 0]))), 1.0)
    assert to_numpy(y).tolist() == [[2, 0, 0, 0, 0]] * 2
    with pytest.raises(IndexError):
        x[5]
    for key in ([0, 1], np.array([0, 1]), ([0],)):
        with pytest.raises(IndexError, match="as an index of a device array"):
            x[key]
    with pytest.raises(AssertionError, match="one element twice"):
        x[there(np.array([1, 1]))] = 2.0


def test_tensors_are_made_and_converted_on_their_device():
    x = tg.Tensor(np.ones(2), device="fake:1", dtype=np.float32)
    assert x.device == "fake:1" and x.dtype == np.float32
    assert x.astype(np.int64).device == (x > 0).device == (~(x > 0)).device == "fake:1"
    y = tg.Tensor(np.ones(2), device="fake:1", requires_grad=True)
    for _ in range(2):
        y.backward([1, 2])
    assert device_of(y.grad) == "fake:1" and to_numpy(y.grad).tolist() == [2, 4]


def test_arrays_belong_to_their_device():
    a, b = there(np.ones(2), "fake:0"), there(np.ones(2), "fake:1")
    for run in (lambda: a + b, lambda: b + b, lambda: b.sum(), lambda: xp.exp(b), lambda: b[0], lambda: b.copy()):
        with pytest.raises(RuntimeError, match="an array of fake:1 is used on fake:0, the current device"):
            run()
    with on_device("fake:1"):
        assert device_of(b + b) == "fake:1" == device_of(xp.zeros(2)) == device_of(b.copy())


def test_what_waits_is_counted():
    x = there(np.ones(3))
    with fake_device.count_syncs() as count:
        y = (x @ x + xp.exp(x).sum(axis=0, keepdims=True))[0] * 2.0
        y += x[0]
        x[x > 2] = 0.0
        xp.where(x > 0, x, 0).mean().reshape(1).astype(np.float32).any()
    assert count.syncs == 0
    for look in (float, bool, repr, to_numpy, lambda x: x.item(), lambda x: x.tolist(), lambda x: x[x > 0],
                 lambda x: xp.nonzero(x.reshape(1)), lambda x: int(x)):
        with fake_device.count_syncs() as count:
            look(xp.ones(()))
        assert count.syncs == 1, look


# -- every operation --------------------------------------------------------------------------------------------------


def normal(*shape):
    return np.asarray(RNG.standard_normal(shape))


IDS, TARGETS = RNG.integers(0, 5, (2, 3)), np.array([[0, -100, 4], [1, 2, 2]])
Q, K = normal(2, 4, 3, 6), normal(2, 2, 5, 6)
MASK = RNG.random((2, 1, 3, 5)) < 0.7
SAMPLES = {  # operation -> calls: inputs, settings
    "add": [((normal(3, 4), normal(4)), {}), ((2, normal(3)), {})], "subtract": [((normal(3, 1), normal(1, 4)), {})],
    "multiply": [((normal(3, 4), normal(3, 1)), {}), ((normal(), normal()), {})],
    "divide": [((normal(3), normal(3)), {}), ((1.0, normal(3)), {})],
    "power": [((abs(normal(3, 4)), normal(4)), {}), ((normal(3), 3), {}), ((2.0, normal(3)), {})],
    "maximum": [((normal(3, 4), normal(4)), {}), ((normal(4), 0.0), {})], "minimum": [((normal(4), normal(4)), {})],
    "where": [((normal(3, 4) > 0, normal(4), normal(3, 4)), {}), ((True, normal(2), 0.0), {})],
    "negative": [((normal(3),), {})], "absolute": [((normal(3),), {})], "exp": [((normal(3),), {}), ((normal(),), {})],
    "log": [((abs(normal(3)),), {})], "sqrt": [((abs(normal(3)),), {})], "sin": [((normal(3),), {})],
    "cos": [((normal(3),), {})], "tanh": [((normal(3),), {})], "erf": [((normal(3),), {})],
    "clip": [((normal(9),), {"low": -0.5, "high": 0.5}), ((normal(9),), {"low": 0.0})],
    "astype": [((normal(3),), {"dtype": np.dtype(np.float32)})],
    "sum": [((normal(3, 4),), {}), ((normal(3, 4),), {"axis": 0}),
            ((normal(3, 4),), {"axis": (0, 1), "keepdims": True})],
    "mean": [((normal(3, 4),), {}), ((normal(3, 4),), {"axis": -1})],
    "var": [((normal(3, 4),), {}), ((normal(3, 4),), {"axis": 1, "keepdims": True})],
    "max": [((normal(3, 4),), {}), ((normal(3, 4),), {"axis": 1})], "min": [((normal(3, 4),), {"axis": (0, 1)})],
    "logsumexp": [((normal(3, 4),), {"axis": 1}), ((normal(3),), {})],
    "reshape": [((normal(3, 4),), {"shape": (2, -1)})],
    "squeeze": [((normal(3, 1, 2),), {}), ((normal(1, 3),), {"axis": 0})],
    "transpose": [((normal(2, 3, 4),), {}), ((normal(2, 3, 4),), {"axes": (1, 2, 0)})],
    "swapaxes": [((normal(2, 3, 4),), {"axis1": 0, "axis2": -1})],
    "expand_dims": [((normal(2, 3),), {"axis": (0, 2)})],
    "broadcast_to": [((normal(3, 1),), {"shape": (2, 3, 4)})],
    "concatenate": [(([normal(2, 3), normal(2, 1)],), {"axis": 1})],
    "stack": [(([normal(3), normal(3)],), {"axis": 1})],
    "split": [((normal(2, 6),), {"lengths": (1, 2, 3), "axis": 1})],
    "getitem": [((normal(4, 3),), {"key": key})
                for key in (1, (slice(None), None, 1), ..., [0, 0, 2], ([1, 1], [2, 2]))],
    "matmul": [((normal(3, 4), normal(4, 2)), {}), ((normal(4), normal(2, 4, 3)), {}), ((normal(4), normal(4)), {}),
               ((normal(2, 1, 3, 4), normal(5, 4, 2)), {})],
    "split_heads": [((normal(2, 3, 8),), {"heads": (2, 1, 1)})], "merge_heads": [((normal(2, 3, 4, 5),), {})],
    "linear": [((normal(2, 3, 4), normal(5, 4), normal(5)), {}), ((normal(3, 4), normal(5, 4)), {})],
    "linear_activation": [((normal(2, 3, 4), normal(5, 4), normal(5)), {"activation": "gelu_tanh"}),
                          ((normal(3, 4), normal(5, 4)), {"activation": "relu"})],
    "embedding": [((IDS, normal(5, 4)), {})],
    "relu": [((normal(9),), {})], "relu_squared": [((normal(9),), {})],
    "sigmoid": [((normal(9),), {})], "silu": [((normal(9),), {})],
    "gelu": [((normal(9),), {}), ((normal(9),), {"approximate": "tanh"})], "gelu_tanh": [((normal(9),), {})],
    "gated_activation": [((normal(3, 4), normal(3, 4)), {"activation": name}) for name in ops.ACTIVATIONS],
    "softmax": [((normal(3, 4),), {}), ((normal(3, 4),), {"axis": 0})], "log_softmax": [((normal(3, 4),), {})],
    "layer_norm": [((normal(3, 4), normal(4), normal(4)), {}), ((normal(3, 4),), {})],
    "rms_norm": [((normal(3, 4), normal(4)), {}), ((normal(3, 4),), {})],
    "dropout": [((normal(3, 4),), {"p": 0.5, "key": (1, 2)})],
    "scaled_dot_product_attention": [
        ((Q, K, normal(*K.shape)), {"causal": True}), ((Q, K, normal(*K.shape), MASK), {}),
        ((Q, K, normal(*K.shape), normal(3, 5)), {"scale": 0.3}),
        ((Q, K, normal(*K.shape)), {"dropout": 0.5, "key": (1, 2, 3)})],
    "rotary_embedding": [((Q, np.cos(normal(3, 3)), np.sin(normal(3, 3))), {})],
    "cross_entropy": [((normal(2, 3, 5), TARGETS), {"reduction": reduction}) for reduction in ("mean", "sum", "none")]
    + [((normal(2, 3, 5), TARGETS, RNG.random((2, 3))), {})],
    "linear_cross_entropy": [
        ((normal(2, 3, 4), normal(5, 4), normal(5), TARGETS), {}),
        ((normal(2, 3, 4), normal(5, 4), None, TARGETS, RNG.random((2, 3))), {"reduction": "sum"})],
}
for _name in ("rnn", "lstm", "gru", "rnn_cell", "lstm_cell", "gru_cell", "convolution", "max_pool", "average_pool"):
    SAMPLES[_name] = [(sample.inputs, dict(sample.settings)) for sample in op_db[_name].samples(2, seed=0)]
EXEMPT = {"to_device": "moving data is what test_operators.py tests"}


def test_every_operation_has_a_sample():
    assert {name for name in ops.__all__ if callable(getattr(ops, name))} == set(SAMPLES) | set(EXEMPT)


def by_name(name, inputs, settings):
    outputs = getattr(ops, name)(*inputs, **settings)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def run(name, inputs, settings, device, apply=by_name):
    """Outputs and gradients, as host arrays, of the operation on a device."""
    leaves = []

    def put(x):
        leaves.append(tg.Tensor(x, requires_grad=x.dtype.kind == "f", device=device))
        return leaves[-1]

    inputs = [place(x, put) for x in inputs]
    with fake_device.count_syncs() as count:
        outputs = apply(name, inputs, settings)
        with on_device(device):
            parts = [y.real + y.imag if y.dtype.kind == "c" else y for y in outputs]
            total = sum((y * y).sum() if y.dtype.kind == "f" else y.sum() for y in parts)
        total.backward()
    assert count.syncs == 0 or name in LOOKS, count.reasons
    grads = [x.grad for x in leaves]
    arrays = [y.data for y in outputs] + [g for g in grads if g is not None]
    assert {device_of(a) for a in arrays} == {leaves[0].device}
    return [to_numpy(y.data) for y in outputs], [None if g is None else to_numpy(g) for g in grads]


@pytest.mark.parametrize("device", ["fake:0", "fake:1"])
@pytest.mark.parametrize("name, i", [(name, i) for name in SAMPLES for i in range(len(SAMPLES[name]))])
def test_operations_equal_numpy(name, i, device):
    inputs, settings = SAMPLES[name][i]
    outputs, grads = run(name, inputs, settings, device)
    expected_outputs, expected_grads = run(name, inputs, settings, "cpu")
    for got, expected in zip(outputs + grads, expected_outputs + expected_grads, strict=True):
        if expected is None:
            assert got is None
        else:
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in RULES + MADE if name not in NO_DEVICE])
def test_what_is_checked_on_the_host_runs_on_the_device(name):
    """The samples of the gradient checker: the rule's results, without a look at the device (boolean keys aside)."""
    for sample in op_db[name].samples(samples_of(name, 8)):
        key = sample.settings.get("key") if name == "getitem" else None
        masks = any(getattr(part, "dtype", None) == bool for part in (key if isinstance(key, tuple) else (key,)))
        settings = sample.settings
        if name == "to_device" or masks:
            continue
        if name == "getitem":
            def moved(part):
                return there(part, "fake:1") if isinstance(part, np.ndarray) else part
            settings = {"key": tuple(map(moved, key)) if isinstance(key, tuple) else moved(key)}
        if not any(isinstance(x, (np.ndarray, list)) for x in sample.inputs):
            continue
        with np.errstate(all="ignore"):
            expected_outputs, expected_grads = run(name, sample.inputs, sample.settings, "cpu", call_by_name)
        outputs, grads = run(name, sample.inputs, settings, "fake:1", call_by_name)
        for got, expected in zip(outputs + grads, expected_outputs + expected_grads, strict=True):
            if expected is None:
                assert got is None
            else:
                assert got.dtype == expected.dtype and got.shape == expected.shape
                np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-11)


def test_what_is_left_out_is_there():
    """No name in the lists of exceptions stands for nothing."""
    assert {*NO_DEVICE, *LOOKS} <= {*RULES, *MADE} and len(RULES) > 150 and len(MADE) > 80


def test_boolean_masks_pick_elements_after_a_look():
    x = tg.Tensor(normal(4, 3), requires_grad=True, device="fake")
    with fake_device.count_syncs() as count:
        x[x > 0].sum().backward()
    assert count.syncs > 0
    np.testing.assert_array_equal(to_numpy(x.grad), to_numpy(x.data) > 0)


def test_a_chain_never_waits():
    x = tg.Tensor(normal(3, 3), requires_grad=True, device="fake")
    with fake_device.count_syncs() as count:
        y = x
        for _ in range(20):
            y = (y @ x).tanh() * 0.5 + x.softmax(-1)
        (y.sum() + (x > 0).astype(np.float32).mean()).backward()
    assert count.syncs == 0
    with fake_device.count_syncs() as count:
        float(y.sum())
    assert count.syncs == 1


# -- models -----------------------------------------------------------------------------------------------------------

GPT_OPTIONS = dict(vocab_size=17, block_size=8, n_layer=2, n_head=2, n_embd=8, dropout=0.1)
IDS17, TARGETS17 = RNG.integers(0, 17, (3, 8)), np.where(RNG.random((3, 8)) < 0.2, -100, RNG.integers(0, 17, (3, 8)))
BATCH = dict(ids=IDS17, targets=TARGETS17)
PADDING = np.arange(8) < np.array([[8], [5], [7]])
MODELS = {
    "gpt2": lambda: (GPT(GPTConfig(**GPT_OPTIONS)), BATCH),
    "llama": lambda: (GPT(GPTConfig(**GPT_OPTIONS | {"dropout": 0.0}, architecture="llama", n_kv_head=1)), BATCH),
    "mistral": lambda: (GPT(GPTConfig(**GPT_OPTIONS, architecture="mistral", n_kv_head=1, window=2)), BATCH),
    "gpt2-alibi": lambda: (GPT(GPTConfig(**GPT_OPTIONS, positions="alibi")), BATCH),
    "bert": lambda: (BERT.for_masked_lm(BERTConfig(**GPT_OPTIONS)), BATCH | {"attention_mask": PADDING}),
    "marian": lambda: (EncoderDecoder(EncoderDecoderConfig(**GPT_OPTIONS)), BATCH | {
        "attention_mask": PADDING, "decoder_ids": IDS17[:, ::-1]}),
}


def train(name, device, n_steps=2):
    """Losses and final weights of a few steps with AdamW; and what the host waited for in the last one."""
    tg.manual_seed(0)
    model, batch = MODELS[name]()
    model = model.to(device, dtype=np.float64)
    flat = FlatParameters(model.named_parameters())
    optimizer = AdamW(flat)
    losses = []
    for _ in range(n_steps):
        with fake_device.count_syncs() as count:
            flat.zero_grad()
            loss = loss_of(model, **batch)
            loss.backward()
            optimizer.step()
        waited = list(count.reasons)
        losses.append(float(loss))
    return losses, to_numpy(flat.data), waited


@pytest.mark.parametrize("name", MODELS)
def test_a_training_step_equals_numpys_and_never_waits(name):
    losses, weights, _ = train(name, "cpu")
    for device in ("fake:0", "fake:1"):
        fake_losses, fake_weights, waited = train(name, device)
        assert waited == []
        np.testing.assert_allclose(fake_losses, losses, rtol=1e-10)
        np.testing.assert_allclose(fake_weights, weights, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_ids_and_targets_are_checked_before_they_go_to_the_device(name):
    """There an index out of range wraps in silence."""
    model, batch = MODELS[name]()
    model.to("fake")
    for key, bad in (("targets", 17), ("targets", -1), ("ids", 17), ("ids", -1)):
        wrong = np.array(batch[key])
        wrong[1, 2] = bad
        with pytest.raises(IndexError, match=f"{bad} is outside"):
            loss_of(model, **batch | {key: wrong})


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral", "gpt2-alibi", "marian"])
@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"seed": 1, "top_k": 5, "top_p": 0.9}, {"num_beams": 2}])
def test_generation_equals_numpys(name, options):
    tg.manual_seed(0)
    model = MODELS[name]()[0].to(dtype=np.float64).eval()
    prompt = IDS17[:2, :3]
    expected = model.generate(prompt, max_new_tokens=5, eos_token_id=None, **options)
    for device in ("fake:0", "fake:1"):
        model.to(device)
        with fake_device.count_syncs() as count:
            out = model.generate(prompt, max_new_tokens=5, eos_token_id=None, **options)
        np.testing.assert_array_equal(out, expected)
        assert type(out) is np.ndarray and count.syncs <= 5  # the logits of each token, and nothing else

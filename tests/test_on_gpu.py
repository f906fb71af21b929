"""What is checked on a real GPU, with `pytest --device cuda`: samples, twins, models, resuming, and a parity run; in
float32, and in TF32 and bfloat16 with the tolerances that docs/cuda.md names.

Nothing here has a stand-in; tests/test_fake_device.py and tests/kernels/test_cuda_twins.py are for machines without a
GPU.
"""

from __future__ import annotations

import numpy as np
import pytest
from op_calls import NO_DEVICE, RULES, call, place, samples_of

from tinygpt import kernels
from tinygpt.autograd import OPS, Tensor
from tinygpt.backend import allow_tf32, array_module, manual_seed, on_device, resolve_dtype, to_device, to_numpy
from tinygpt.data import WindowSampler
from tinygpt.models import BERT, GPT, BERTConfig, EncoderDecoder, EncoderDecoderConfig, GPTConfig, load_model
from tinygpt.testing import op_db
from tinygpt.training import Criterion, Trainer, TrainingOptions, language_loss, masked_loss, seq2seq_loss
from tinygpt.training.checkpoint import read_checkpoint, write_checkpoint
from tinygpt.engine.dispatch import twins_of

FUSED = [name for name in OPS if any(twin.device == "cuda" for twin in twins_of(OPS[name]))]
SAMPLED = [name for name in RULES if name not in NO_DEVICE]
SIZES = dict(vocab_size=65, block_size=32, n_layer=2, n_head=4, n_embd=64)


BFLOAT16 = 2.0 ** -8  # the largest error of rounding to it, relative


@pytest.fixture
def bfloat16(device):
    """The dtype; the tests that ask for it are skipped where ml_dtypes is missing."""
    pytest.importorskip("ml_dtypes")
    return resolve_dtype("bfloat16", device)


@pytest.fixture(params=[False, True], ids=["rules", "fused"])
def fused(request, device):
    with kernels.cuda.switch(request.param):
        yield request.param


def run(name, sample, dtype, device, wide=False):
    """Outputs and gradients of one sample, on the host; if `wide`, of the numbers of `dtype` in float64."""
    leaves = []

    def put(x):
        floating = x.dtype.kind == "f"
        if floating:
            x = x.astype(dtype).astype(np.float64 if wide else dtype)
        leaves.append(Tensor(x, requires_grad=floating, device=device))
        return leaves[-1]

    def key_on(part):
        return to_device(part, device) if isinstance(part, np.ndarray) else part
    settings = dict(sample.settings)
    if name == "getitem":
        key = settings["key"]
        settings["key"] = tuple(map(key_on, key)) if isinstance(key, tuple) else key_on(key)
    outputs = call(name, [place(x, put) for x in sample.inputs], settings)
    rng, total = np.random.default_rng(0), None
    for y in outputs:
        if y.requires_grad:
            y = y.real + y.imag if y.dtype.kind == "c" else y
            g = rng.standard_normal(y.shape).astype(dtype).astype(y.dtype)
            part = (y * Tensor(g, device=device)).sum()
            total = part if total is None else total + part
    if total is not None:
        total.backward()
    return [to_numpy(y.data) for y in outputs] + [to_numpy(x.grad) for x in leaves if x.grad is not None]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [name for name in SAMPLED if name != "to_device"])
def test_samples(name, dtype, device, fused):
    if fused and name not in FUSED:
        pytest.skip("no fused kernel")
    samples = [*op_db[name].samples(samples_of(name, 10)), *(op_db[name].large_samples() if fused else ())]
    for sample in samples:
        with np.errstate(all="ignore"), kernels.disabled():
            expected = run(name, sample, dtype, "cpu", wide=True)
        for ours, theirs in zip(run(name, sample, dtype, device), expected, strict=True):
            assert ours.shape == theirs.shape
            size = np.abs(theirs).max(initial=1.0, where=np.isfinite(theirs))
            np.testing.assert_allclose(ours / size, theirs / size, rtol=0, atol=1e-10 if dtype == np.float64 else 1e-4)


@pytest.mark.parametrize("name", [name for name in SAMPLED if name not in ("to_device", "astype")])
def test_samples_in_bfloat16(name, device, fused, bfloat16):
    """Against the rules in float64 on the same rounded numbers. Most results are rounded once; the kernels of attention
    and loss get scores and logits that were rounded before."""
    if fused and name not in FUSED:
        pytest.skip("no fused kernel")
    for sample in [*op_db[name].samples(samples_of(name, 10)), *(op_db[name].large_samples() if fused else ())]:
        with np.errstate(all="ignore"), kernels.disabled():
            expected = run(name, sample, bfloat16, "cpu", wide=True)
        for ours, theirs in zip(run(name, sample, bfloat16, device), expected, strict=True):
            assert ours.shape == theirs.shape
            size = np.abs(theirs).max(initial=1.0, where=np.isfinite(theirs))
            np.testing.assert_allclose(ours / size, theirs / size, rtol=0, atol=8 * BFLOAT16)


def test_tf32_rounds_the_factors_and_not_the_sums(device):
    x, y = np.random.default_rng(0).standard_normal((2, 256, 256)).astype(np.float32)
    expected, errors = x.astype(np.float64) @ y, {}
    there = [to_device(a, device) for a in (x, y)]
    for on in (False, True):
        before = allow_tf32(device, on)
        with on_device(device):
            for product in (lambda: array_module(there[0]).matmul(*there), lambda: kernels.cuda.gemm.matmul(*there)):
                errors[on] = np.abs(to_numpy(product()) - expected).max() / np.abs(expected).max()
                assert errors[on] < (1e-3 if on else 1e-5)
        allow_tf32(device, before)
    if device.startswith("cuda"):
        assert errors[True] > 1e-5  # it did


MODELS = {
    "gpt2": lambda: GPT(GPTConfig(**SIZES)), "llama": lambda: GPT(GPTConfig(**SIZES, architecture="llama")),
    "bert": lambda: BERT.for_masked_lm(BERTConfig(**SIZES)),
    "marian": lambda: EncoderDecoder(EncoderDecoderConfig(**SIZES)),
}
DATA_LOSSES = {"bert": masked_loss, "marian": seq2seq_loss}  # of the others: that of texts


def mean_loss(model, ids, targets, data_loss=language_loss):
    """The loss of each target that counts, on average."""
    loss, count = Criterion(data_loss).loss(model, {"ids": ids, "targets": targets})
    return loss / count


@pytest.mark.parametrize("name", MODELS)
def test_models(name, device, fused):
    manual_seed(0)
    model = MODELS[name]().eval()
    ids = np.random.default_rng(0).integers(3, 65, (2, 20))
    more = {"decoder_ids": ids[:, ::-1]} if name == "marian" else {}
    host = model(ids, **more).numpy()
    there = model.to(device)(ids, **more)
    assert there.device == device
    np.testing.assert_allclose(there.numpy(), host, rtol=1e-4, atol=1e-4)
    if name != "bert":
        greedy = model.generate(ids[:, :5], max_new_tokens=8, temperature=0.0, eos_token_id=None)
        expected = model.to("cpu").generate(ids[:, :5], max_new_tokens=8, temperature=0.0, eos_token_id=None)
        np.testing.assert_array_equal(greedy, expected)


@pytest.mark.parametrize("name", MODELS)
def test_models_in_bfloat16(name, device, fused, bfloat16):
    """The loss and its gradient near the host's in float32; then weights in bfloat16, generating with a cache."""
    manual_seed(0)
    model = MODELS[name]().eval()
    ids = np.random.default_rng(0).integers(3, 65, (4, 20))
    data_loss = DATA_LOSSES.get(name, language_loss)
    expected = mean_loss(model, ids, ids, data_loss)
    expected.backward()
    slopes = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    for p in model.parameters():
        p.grad = None
    loss = mean_loss(model.to(device).compute_in("bfloat16"), ids, ids, data_loss)
    loss.backward()
    assert float(loss) == pytest.approx(float(expected), rel=1e-2) and loss.dtype == np.float32
    for key, p in model.named_parameters():
        if key in slopes:
            assert p.grad.dtype == np.float32
            size = np.linalg.norm(slopes[key])
            assert np.linalg.norm(to_numpy(p.grad) - slopes[key]) < 0.1 * size + 1e-3, key
    model.to(dtype="bfloat16")
    if name != "bert":
        texts = [model.generate(ids[:, :5], max_new_tokens=8, temperature=0.0, eos_token_id=None, use_cache=use)
                 for use in (False, True)]
        assert texts[0].shape == texts[1].shape and (texts[0] == texts[1]).mean() > 0.9  # ties may break either way


GOLDEN = ["gpt2", "llama", "bert_mlm", "roberta_mlm", "bert_classifier", "roberta_classifier", "bart", "marian"]


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_models(name, golden, device, fused):
    """Hugging Face's own logits, gradient and text; the tolerance is that of tests/models/test_golden.py."""
    model, expected = load_model(golden / name, device=device), dict(np.load(golden / name / "expected.npz"))
    ids, mask = expected["input_ids"], expected.get("attention_mask")
    more = {"decoder_ids": expected["decoder_input_ids"]} if "decoder_input_ids" in expected else {}
    logits = model(ids, **more, **({} if mask is None else {"attention_mask": mask})).numpy()
    counted = mask == 1 if name.endswith("mlm") else ...
    np.testing.assert_allclose(logits[counted], expected["logits"][counted], rtol=0, atol=1e-4)
    if "first_matrix_grad" in expected:
        mean_loss(model, ids[:, :-1], ids[:, 1:]).backward()
        np.testing.assert_allclose(to_numpy(model.token_embedding.weight.grad), expected["first_matrix_grad"], rtol=0,
                                   atol=1e-4)
        generated = model.generate(ids[:1, :5], max_new_tokens=10, temperature=0.0, eos_token_id=None)
        np.testing.assert_array_equal(generated, expected["generated"])
    for beams, wanted in ((1, "generated"), (4, "beam4")) if more else ():
        generated = model.generate(ids[:1], attention_mask=mask[:1], max_new_tokens=8, num_beams=beams,
                                   length_penalty=1.0, eos_token_id=None)
        np.testing.assert_array_equal(generated, expected[wanted])


PRECISIONS = {  # options; how near the losses of the first steps are to the host's, and those of all
    "float32": ({}, 1e-5, 1e-2), "tf32": ({"tf32": True}, 1e-3, 1e-2), "bfloat16": ({"dtype": "bfloat16"}, 1e-2, 2e-2)}


@pytest.fixture(params=PRECISIONS)
def precision(request, device):
    if request.param == "bfloat16":
        request.getfixturevalue("bfloat16")
    return PRECISIONS[request.param]


def trainer_of(where, steps, **more):
    manual_seed(0)
    model = GPT(GPTConfig(**SIZES, dropout=0.1)).to(where)
    tokens = np.random.default_rng(0).integers(0, 65, 5000)
    options = TrainingOptions(steps=steps, batch_size=8, lr=1e-3, seed=1, threads=1, eval_every=steps, device=where,
                              **more)
    return Trainer(model, Criterion(language_loss), WindowSampler(tokens, 32, 8, 1), options)


class Losses:
    """Stands in for a metrics file."""

    def __init__(self):
        self.values = []

    def write(self, *, step, **figures):
        self.values += [figures["loss"]] if "loss" in figures else []


def test_two_hundred_steps_are_the_hosts(device, fused, precision):
    """The same weights, data and masks, so the runs part slowly."""
    options, close_at_first, close = precision
    losses = {}
    for where in ("cpu", device):
        trainer = trainer_of(where, 200, **(options if where == device else {}))
        log = trainer.metrics = Losses()
        trainer.run()
        losses[where] = np.array(log.values)
    assert len(losses[device]) == 200
    np.testing.assert_allclose(losses[device][:10], losses["cpu"][:10], rtol=close_at_first)
    np.testing.assert_allclose(losses[device], losses["cpu"], rtol=close)


def test_a_run_goes_on(device, fused, precision, tmp_path):
    whole, first, second = (trainer_of(device, 20, save_every=10, **precision[0]) for _ in range(3))
    whole.run()
    first.save = lambda trainer: trainer.step == 10 and write_checkpoint(
        tmp_path / "state", trainer.model, trainer.optimizer, trainer.step, {})
    first.run()
    state = read_checkpoint(tmp_path / "state")
    state.restore(second.model, second.optimizer)
    second.step = state.step
    second.run()
    close = 1e-5 if precision is PRECISIONS["float32"] else 1e-3  # CuPy's add.at adds in any order
    np.testing.assert_allclose(to_numpy(second.optimizer.flat.data), to_numpy(whole.optimizer.flat.data), rtol=1e-4,
                               atol=close)

"""What is checked on a real GPU, with `pytest --device cuda`: samples, twins, models, resuming, and a parity run.

Nothing here has a stand-in; tests/test_fake_device.py and tests/kernels/test_cuda_twins.py are for machines without a
GPU.
"""

from __future__ import annotations

import numpy as np
import pytest

from tinygpt import kernels, ops
from tinygpt.autograd import OPS, Tensor
from tinygpt.backend import manual_seed, to_device, to_numpy
from tinygpt.data import WindowSampler
from tinygpt.models import BERT, GPT, BERTConfig, EncoderDecoder, EncoderDecoderConfig, GPTConfig, load_model
from tinygpt.testing import op_db
from tinygpt.training import Trainer, TrainingOptions
from tinygpt.training.checkpoint import read_checkpoint, write_checkpoint

FUSED = [name for name in OPS if any(twin.device == "cuda" for twin in OPS[name].twins)]
SIZES = dict(vocab_size=65, block_size=32, n_layer=2, n_head=4, n_embd=64)


@pytest.fixture(params=[False, True], ids=["rules", "fused"])
def fused(request, device):
    with kernels.cuda.switch(request.param):
        yield request.param


def run(name, sample, dtype, device, wide=False):
    """Outputs and gradients of one sample, on the host; if `wide`, of the numbers of `dtype` in float64."""
    leaves = []

    def place(x):
        if not isinstance(x, np.ndarray):
            return x
        if x.dtype.kind == "f":
            x = x.astype(dtype).astype(np.float64 if wide else dtype)
        leaves.append(Tensor(x, requires_grad=x.dtype.kind == "f", device=device))
        return leaves[-1]

    def key_on(part):
        return to_device(part, device) if isinstance(part, np.ndarray) else part
    settings = dict(sample.settings)
    if name == "getitem":
        key = settings["key"]
        settings["key"] = tuple(map(key_on, key)) if isinstance(key, tuple) else key_on(key)
    inputs = [place(x) for x in sample.inputs]
    outputs = getattr(ops, name)(*([inputs] if OPS[name].variadic else inputs), **settings)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    rng, total = np.random.default_rng(0), None
    for y in outputs:
        if y.requires_grad:
            part = (y * Tensor(rng.standard_normal(y.shape).astype(y.dtype), device=device)).sum()
            total = part if total is None else total + part
    if total is not None:
        total.backward()
    return [to_numpy(y.data) for y in outputs] + [to_numpy(x.grad) for x in leaves if x.grad is not None]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [name for name in op_db if name != "to_device"])
def test_samples(name, dtype, device, fused):
    if fused and name not in FUSED:
        pytest.skip("no fused kernel")
    samples = [*op_db[name].samples(10), *(op_db[name].large_samples() if fused else ())]
    for sample in samples:
        with np.errstate(all="ignore"), kernels.disabled():
            expected = run(name, sample, dtype, "cpu", wide=True)
        for ours, theirs in zip(run(name, sample, dtype, device), expected, strict=True):
            assert ours.shape == theirs.shape
            size = np.abs(theirs).max(initial=1.0, where=np.isfinite(theirs))
            np.testing.assert_allclose(ours / size, theirs / size, rtol=0, atol=1e-10 if dtype == np.float64 else 1e-4)


MODELS = {
    "gpt2": lambda: GPT(GPTConfig(**SIZES)), "llama": lambda: GPT(GPTConfig(**SIZES, architecture="llama")),
    "bert": lambda: BERT.for_masked_lm(BERTConfig(**SIZES)),
    "marian": lambda: EncoderDecoder(EncoderDecoderConfig(**SIZES)),
}


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
        model.loss(ids[:, :-1], ids[:, 1:]).backward()
        np.testing.assert_allclose(to_numpy(model.token_embedding.weight.grad), expected["first_matrix_grad"], rtol=0,
                                   atol=1e-4)
        generated = model.generate(ids[:1, :5], max_new_tokens=10, temperature=0.0, eos_token_id=None)
        np.testing.assert_array_equal(generated, expected["generated"])
    for beams, wanted in ((1, "generated"), (4, "beam4")) if more else ():
        generated = model.generate(ids[:1], attention_mask=mask[:1], max_new_tokens=8, num_beams=beams,
                                   length_penalty=1.0, eos_token_id=None)
        np.testing.assert_array_equal(generated, expected[wanted])


def trainer_of(where, steps, **more):
    manual_seed(0)
    model = GPT(GPTConfig(**SIZES, dropout=0.1)).to(where)
    tokens = np.random.default_rng(0).integers(0, 65, 5000)
    options = TrainingOptions(steps=steps, batch_size=8, lr=1e-3, seed=1, threads=1, eval_every=steps, **more)
    return Trainer(model, WindowSampler(tokens, 32, 8, 1), options)


class Losses:
    """Stands in for a metrics file."""

    def __init__(self):
        self.values = []

    def write(self, *, step, **figures):
        self.values += [figures["loss"]] if "loss" in figures else []


def test_two_hundred_steps_are_the_hosts(device, fused):
    """The same weights, data and masks; float32, so the runs part slowly."""
    losses = {}
    for where in ("cpu", device):
        trainer = trainer_of(where, 200)
        log = trainer.metrics = Losses()
        trainer.run()
        losses[where] = np.array(log.values)
    assert len(losses[device]) == 200
    np.testing.assert_allclose(losses[device][:10], losses["cpu"][:10], rtol=1e-5)
    np.testing.assert_allclose(losses[device], losses["cpu"], rtol=1e-2)


def test_a_run_goes_on(device, fused, tmp_path):
    whole, first, second = (trainer_of(device, 20, save_every=10) for _ in range(3))
    whole.run()
    first.save = lambda trainer: trainer.step == 10 and write_checkpoint(
        tmp_path / "state", trainer.model, trainer.optimizer, trainer.step, {})
    first.run()
    state = read_checkpoint(tmp_path / "state")
    state.restore(second.model, second.optimizer)
    second.step = state.step
    second.run()
    np.testing.assert_allclose(to_numpy(second.optimizer.flat.data), to_numpy(whole.optimizer.flat.data), rtol=1e-4,
                               atol=1e-5)

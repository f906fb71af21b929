"""The training state: everything comes back bit for bit; what is truncated or foreign is told apart."""

from __future__ import annotations

import os

import numpy as np
import pytest

from tinygpt.backend import manual_seed
from tinygpt.models import GPT, GPTConfig
from tinygpt.optim import AdamW, FlatParameters
from tinygpt.pretrained import write_safetensors
from tinygpt.training import language_loss, read_checkpoint, write_checkpoint

RUN = {"options": {"steps": 3, "data": ["é.txt"]}, "note": 0.1}


def trained(seed: int, n_embd: int = 8, steps: int = 2) -> tuple[GPT, AdamW]:
    manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=2, n_embd=n_embd))
    optimizer = AdamW(FlatParameters(model), lr=0.01)
    for step in range(steps):
        optimizer.zero_grad()
        language_loss(model, {"ids": np.array([[1, 2, 3]]), "targets": np.array([[2, 3, step]])}).backward(1 / 3)
        optimizer.step()
    return model, optimizer


def test_weights_moments_step_and_run_come_back_exactly(tmp_path):
    path = tmp_path / "state"
    model, optimizer = trained(0)
    write_checkpoint(path, model, optimizer, 2, RUN)
    checkpoint = read_checkpoint(path)
    assert checkpoint.step == 2 and checkpoint.run == RUN and checkpoint.path == path
    other, moments = trained(1, steps=1)
    checkpoint.restore(other, moments)
    assert moments.steps == 2
    for name in ("data",):
        np.testing.assert_array_equal(getattr(moments.flat, name), getattr(optimizer.flat, name))
    np.testing.assert_array_equal(moments.first_moment, optimizer.first_moment)
    np.testing.assert_array_equal(moments.second_moment, optimizer.second_moment)
    for name, value in checkpoint.weights().items():
        np.testing.assert_array_equal(value, model.state_dict()[name])
    write_checkpoint(tmp_path / "again", other, moments, 2, RUN)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_another_models_state_is_refused_and_changes_nothing(tmp_path):
    write_checkpoint(tmp_path / "state", *trained(0, n_embd=16), 2, {})
    model, optimizer = trained(1)
    before = optimizer.flat.data.copy()
    with pytest.raises(ValueError, match="has shape"):
        read_checkpoint(tmp_path / "state").restore(model, optimizer)
    np.testing.assert_array_equal(optimizer.flat.data, before)


def test_a_state_truncated_anywhere_is_refused(tmp_path):
    path = tmp_path / "state"
    write_checkpoint(path, *trained(0), 2, RUN)
    whole = path.read_bytes()
    for length in [0, 4, 8, 100, *np.linspace(101, len(whole) - 1, 20).astype(int)]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"{path} is not a valid safetensors file"):
            read_checkpoint(path)


@pytest.mark.parametrize("metadata", [
    {}, {"format": "pt"}, {"format": "tinygpt-training-state-1"},
    {"format": "tinygpt-training-state-1", "step": "x", "run": "{}"},
    {"format": "tinygpt-training-state-1", "step": "-1", "run": "{}"},
    {"format": "tinygpt-training-state-1", "step": "1", "run": "[]"},
    {"format": "tinygpt-training-state-1", "step": "1", "run": "{"},
])
def test_a_foreign_file_is_no_training_state(tmp_path, metadata):
    write_safetensors(tmp_path / "state", {"a": np.zeros(2)}, metadata)
    with pytest.raises(ValueError, match="is no training state of tinygpt"):
        read_checkpoint(tmp_path / "state")


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "state")


def test_a_failed_write_leaves_the_old_state_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "state"
    write_checkpoint(path, *trained(0), 2, RUN)
    whole = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(path, *trained(1), 3, RUN)
    assert path.read_bytes() == whole and [p.name for p in tmp_path.iterdir()] == ["state"]

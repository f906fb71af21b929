"""Adapters on disk: small, whole again with their base, and refused by any other model."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import tinygpt as tg
from tinygpt.models import ADAPTER, BERT, GPT, BERTConfig, GPTConfig, load_adapted
from tinygpt.models.adapter import LoRA, fingerprint, save_adapter
from tinygpt.nn.lora import LoRALinear
from tinygpt.pretrained import SafetensorsFile, write_safetensors

IDS = np.arange(10).reshape(2, 5)


def base_model(**more) -> GPT:
    return GPT(GPTConfig(**dict(vocab_size=12, block_size=8, n_layer=2, n_head=2, n_embd=8) | more))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, np.ndarray]:
    """A base, an adapter for it, and what the adapted model computes."""
    tg.manual_seed(1)
    model, lora = base_model(), LoRA(2, 4.0, ("q", "v"))
    model.save_pretrained(tmp_path / "base")
    lora.add_to(model)
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = rng.normal(size=parameter.shape).astype(np.float32)
    save_adapter(tmp_path / "adapter", model, lora, tmp_path / "base")
    return tmp_path / "base", tmp_path / "adapter", model.eval()(IDS).data


def test_round_trip(folders) -> None:
    base, adapter, expected = folders
    assert [path.name for path in adapter.iterdir()] == [ADAPTER]
    assert all(".lora_" in name for name in SafetensorsFile(adapter / ADAPTER))
    for model in (tg.load_model(adapter), load_adapted(adapter), load_adapted(adapter, merge=False)):
        np.testing.assert_allclose(model(IDS).data, expected, rtol=0, atol=1e-5)
        assert not model.training
    assert any(isinstance(module, LoRALinear) for module in load_adapted(adapter, merge=False).modules())
    tg.load_model(adapter).save_pretrained(adapter.parent / "merged")  # a model like any other
    np.testing.assert_allclose(tg.load_model(adapter.parent / "merged")(IDS).data, expected, rtol=0, atol=1e-5)


def test_both_folders_may_move_together(folders, tmp_path: Path) -> None:
    _, _, expected = folders
    (tmp_path / "elsewhere").mkdir()
    for name in ("base", "adapter"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    np.testing.assert_allclose(tg.load_model(tmp_path / "elsewhere/adapter")(IDS).data, expected, rtol=0, atol=1e-5)
    (tmp_path / "elsewhere/base").rename(tmp_path / "base2")
    with pytest.raises(FileNotFoundError, match="adapts the model in .*base, which is no longer there"):
        tg.load_model(tmp_path / "elsewhere/adapter")
    np.testing.assert_allclose(load_adapted(tmp_path / "elsewhere/adapter", tmp_path / "base2")(IDS).data, expected,
                               rtol=0, atol=1e-5)


@pytest.mark.parametrize("other, about", [
    (dict(), "the sizes are the same and the weights are not"), (dict(n_layer=3), "its n_layer is 2, and that of .* 3"),
    (dict(vocab_size=13), "its vocab_size is 12"),
    (dict(architecture="llama"), "adapter for another model"),
])
def test_another_model_is_refused(folders, tmp_path: Path, other: dict, about: str) -> None:
    tg.manual_seed(2)
    base_model(**other).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match=about):
        load_adapted(tmp_path / "adapter", tmp_path / "other")


def test_a_new_head_is_in_the_file(tmp_path: Path) -> None:
    encoder = BERT.for_masked_lm(BERTConfig(vocab_size=12, block_size=8, n_layer=1, n_head=2, n_embd=8))
    encoder.save_pretrained(tmp_path / "base")
    model, lora = encoder.for_classification(id2label={0: "no", 1: "yes"}), LoRA(1, 1.0, ("q",))
    lora.add_to(model, ("classifier.",))
    save_adapter(tmp_path / "adapter", model, lora, tmp_path / "base")
    found = tg.load_model(tmp_path / "adapter")
    assert isinstance(found, BERT) and found.config.id2label == {0: "no", 1: "yes"}
    np.testing.assert_allclose(found(IDS).data, model.eval()(IDS).data, rtol=0, atol=1e-5)


def test_fingerprint_sees_names_shapes_and_values() -> None:
    def of(**arrays) -> str:
        return fingerprint((name, tg.nn.Parameter(np.float32(array))) for name, array in arrays.items())

    assert of(a=[1, 2], b=[3]) == of(b=[3], a=[1, 2])
    assert len({of(a=[1, 2]), of(b=[1, 2]), of(a=[[1, 2]]), of(a=[1, 3]), of(a=[1], b=[2])}) == 5


@pytest.mark.parametrize("change, about", [
    (dict(format="x"), "format is 'x'"), (dict(lora="{}"), "no adapter"), (dict(lora="["), "no adapter"),
    (dict(config="[]"), "must hold a JSON object"),
    (dict(lora='{"rank": 1000000, "alpha": 1, "targets": ["q"]}'), "rank must be"),
    (dict(lora='{"rank": Infinity, "alpha": 1, "targets": ["q"]}'), "Infinity is not JSON"),
    (dict(lora='{"rank": 1e300, "alpha": 1, "targets": ["q"]}'), "must be an integer, a number and names"),
    (dict(lora='{"rank": 1, "alpha": null, "targets": ["q"]}'), "must be an integer, a number and names"),
    (dict(lora='{"rank": 1, "alpha": 1, "targets": "q"}'), "must be an integer, a number and names"),
    (dict(lora="[" * 100_000), "nested too deeply"), (dict(config='{"vocab_size": 12, "nonsense": 1}'), "for another"),
    (dict(lora='{"rank": 2, "alpha": 1, "targets": ["out"]}'), "is no part of the model"),
    (dict(config='{"vocab_size": 1000000000}'), "for another model"),
    (dict(base_sha256="0"), "the weights are not"),
])
def test_hostile_files(folders, change: dict, about: str) -> None:
    _, adapter, _ = folders
    file = SafetensorsFile(adapter / ADAPTER)
    write_safetensors(adapter / ADAPTER, dict(file.items()), {**file.metadata, **change})
    with pytest.raises(ValueError, match=about):
        tg.load_model(adapter)


def test_wrong_tensors(folders) -> None:
    _, adapter, _ = folders
    file = SafetensorsFile(adapter / ADAPTER)
    tensors = dict(file.items())
    name = next(iter(tensors))
    for changed, about in (({**tensors, name: tensors[name][:1]}, "has the shape"), (
            {**tensors, "extra": tensors[name]}, "is no part"),
            ({key: value for key, value in tensors.items() if key != name}, "is missing|weights are not")):
        write_safetensors(adapter / ADAPTER, changed, file.metadata)
        with pytest.raises(ValueError, match=about):
            tg.load_model(adapter)


def test_adapters_that_name_one_another(folders) -> None:
    _, adapter, _ = folders
    file = SafetensorsFile(adapter / ADAPTER)
    write_safetensors(adapter / ADAPTER, dict(file.items()), {**file.metadata, "base": str(adapter)})
    with pytest.raises(ValueError, match="upon adapters"):
        tg.load_model(adapter)


def test_an_adapter_of_the_token_table(tmp_path: Path) -> None:
    tg.manual_seed(2)
    encoder = BERT(BERTConfig(vocab_size=12, block_size=8, n_layer=1, n_head=2, n_embd=8))
    encoder.save_pretrained(tmp_path / "base")
    lora = LoRA(1, 2.0, ("q", "embedding"))
    with pytest.raises(ValueError, match="the output projection of this model is the same table"):
        lora.add_to(encoder)
    model = encoder.for_classification(id2label={0: "no", 1: "yes"})
    lora.add_to(model, ("classifier.",))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = np.random.default_rng(0).normal(size=parameter.shape).astype(np.float32)
    save_adapter(tmp_path / "adapter", model, lora, tmp_path / "base")
    names = set(SafetensorsFile(tmp_path / "adapter" / ADAPTER))
    assert {"token_embedding.lora_embedding.a", "token_embedding.lora_embedding.b"} < names
    assert "token_embedding.weight" not in names
    expected = model.eval()(IDS).data
    for again in (load_adapted(tmp_path / "adapter", merge=False), tg.load_model(tmp_path / "adapter")):
        np.testing.assert_allclose(again(IDS).data, expected, rtol=0, atol=1e-5)


def with_config(adapter: Path, **changes) -> None:
    file = SafetensorsFile(adapter / ADAPTER)
    config = json.loads(file.metadata["config"]) | changes
    write_safetensors(adapter / ADAPTER, dict(file.items()), {**file.metadata, "config": json.dumps(config)})


@pytest.mark.parametrize("changes, about", [
    (dict(head="classification", n_labels=30_000_000), "n_labels=30000000 is too much"),
    (dict(head="classification", n_labels=100_000), "'score.weight' of the shape .100000, 8., which is missing"),
    (dict(vocab_size=40_000_000), "its vocab_size is 40000000"), (dict(dropout="x" * 100_000), "malformed"),
])
def test_sizes_are_borne_out_by_bytes(folders, changes: dict, about: str) -> None:
    """Nothing of a size that the file only claims is made."""
    _, adapter, _ = folders
    with_config(adapter, **changes)
    tracemalloc.start()
    with pytest.raises(ValueError, match=about) as caught:
        tg.load_model(adapter)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400e6 and len(str(caught.value)) < 1000

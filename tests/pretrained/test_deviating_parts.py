"""Models that no class of transformers computes: saved under a model_type of our own, read back, refused by others."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tinygpt.models import BERTConfig, GPT, GPTConfig, load_model
from tinygpt.models.kinds import FEED_FORWARDS, POSITIONS
from tinygpt.models.layout import LAYOUTS
from tinygpt.pretrained import SafetensorsFile, config_fields
from tinygpt.pretrained.config_json import read_config, write_config
from tinygpt.pretrained.config_fields import WITH_WINDOWS

SIZES = dict(vocab_size=13, block_size=7, n_layer=2, n_head=2, n_embd=8)
DECODERS = GPTConfig.ARCHITECTURES


@pytest.mark.parametrize("architecture", DECODERS)
@pytest.mark.parametrize("part, kind", [*(("positions", kind) for kind in POSITIONS),
                                        *(("feed_forward", kind) for kind in FEED_FORWARDS)])
@pytest.mark.parametrize("bias", [None, True])
def test_every_kind_of_a_part_is_saved_and_read_back(tmp_path, architecture, part, kind, bias):
    if bias and architecture in ("mistral", "mixtral"):
        bias = None                                            # they have none
    model = GPT(GPTConfig(**SIZES, architecture=architecture, bias=bias, **{part: kind})).eval()
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.data += rng.normal(scale=0.1, size=parameter.shape).astype(parameter.dtype)
    model.save_pretrained(tmp_path)
    again, ids = load_model(tmp_path), np.array([[1, 5, 2, 9]])
    assert again.config == model.config
    np.testing.assert_array_equal(again(ids).data, model(ids).data)
    own = kind != getattr(LAYOUTS[architecture], part)
    written = json.loads((tmp_path / "config.json").read_bytes())
    assert (written["model_type"], written.get("layout")) == (("tinygpt", architecture) if own
                                                              else (architecture, None))
    assert ("architectures" in written, written.get(part)) == (not own, kind if own else None)


@pytest.mark.parametrize("architecture", DECODERS)
def test_a_window_is_some_layouts_own_and_deviates_elsewhere(tmp_path, architecture):
    if "window" not in LAYOUTS[architecture].views:
        with pytest.raises(ValueError, match="has no layers with a window; leave window out"):
            GPTConfig(**SIZES, architecture=architecture, window=2)
        return
    model = GPT(GPTConfig(**SIZES, architecture=architecture, window=2)).eval()
    model.save_pretrained(tmp_path)
    again, ids = load_model(tmp_path), np.array([[1, 5, 2, 9]])
    assert again.config == model.config
    np.testing.assert_array_equal(again(ids).data, model(ids).data)
    written = json.loads((tmp_path / "config.json").read_bytes())
    assert (written["model_type"], written.get("window"), written.get("sliding_window")) == (
        (architecture, None, 2) if architecture in ("mistral", "mixtral", *WITH_WINDOWS) else ("tinygpt", 2, None))


def test_a_part_that_the_layout_has_no_name_for_keeps_ours(tmp_path):
    GPT(GPTConfig(**SIZES, architecture="llama", positions="learned")).save_pretrained(tmp_path)
    names = SafetensorsFile(tmp_path / "model.safetensors").keys()
    assert "positions.weight" in names and "model.layers.0.self_attn.q_proj.weight" in names


def test_a_part_keeps_its_options(tmp_path):
    sizes = dict(n_experts=3, n_experts_per_token=1, router_aux_loss_coef=0.5)
    config = GPTConfig(**SIZES, feed_forward="experts", bias=True, **sizes)
    GPT(config).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_bytes())
    assert {name: written[name] for name in sizes} == sizes and load_model(tmp_path).config == config
    assert "blocks.1.feed_forward.experts.2.down.bias" in SafetensorsFile(tmp_path / "model.safetensors").keys()
    GPT(GPTConfig(**SIZES, positions="alibi", **sizes)).save_pretrained(tmp_path)
    assert not sizes.keys() & json.loads((tmp_path / "config.json").read_bytes()).keys()


def test_a_part_that_is_not_there_has_no_tensor(tmp_path):
    GPT(GPTConfig(**SIZES, positions="alibi")).save_pretrained(tmp_path)
    names = SafetensorsFile(tmp_path / "model.safetensors").keys()
    assert not [name for name in names if "wpe" in name] and "transformer.wte.weight" in names


@pytest.mark.parametrize("config", [GPTConfig(**SIZES, activation="silu"), BERTConfig(**SIZES, activation="silu")])
def test_an_activation_that_transformers_lacks(tmp_path, monkeypatch, config):
    for spelling in ("silu", "swish"):
        monkeypatch.delitem(config_fields.ACTIVATIONS, spelling)
    write_config(tmp_path, config.to_dict())
    written = json.loads((tmp_path / "config.json").read_bytes())
    assert (written["model_type"], written["activation"]) == ("tinygpt", "silu")
    assert "activation_function" not in written and "hidden_act" not in written
    fields = read_config(tmp_path)
    assert fields["activation"] == "silu" and fields["head"] == config.head


def test_a_classifier_of_our_own_type_keeps_its_labels(tmp_path):
    model = GPT(GPTConfig(**SIZES, positions="alibi", head="classification", id2label={0: "no", 1: "yes"}))
    model.save_pretrained(tmp_path)
    assert load_model(tmp_path).config == model.config


@pytest.mark.parametrize("options, message", [
    ({"layout": "xlnet"}, "layout='xlnet' is not supported; supported: gpt2, llama"),
    ({"layout": ["gpt2"]}, "layout=.*is not supported"),
    ({"head": "masked_lm"}, "head='masked_lm' is not supported for layout='gpt2'; supported: lm, classification"),
    ({"head": []}, "head=.*is not supported"),
    ({"positions": 3}, "positions must be a string, got 3"),
])
def test_what_is_not_supported_is_named(tmp_path, options, message):
    GPT(GPTConfig(**SIZES, positions="alibi")).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | options), encoding="utf-8")
    with pytest.raises(ValueError, match=f"config.json: .*{message}"):
        load_model(tmp_path)


def test_a_kind_that_does_not_exist_is_named(tmp_path):
    GPT(GPTConfig(**SIZES, positions="alibi")).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text("utf-8").replace("alibi", "nowhere"), encoding="utf-8")
    with pytest.raises(ValueError, match="positions='nowhere' is not supported; choose one of 'learned'"):
        load_model(tmp_path)


@pytest.mark.oracle
@pytest.mark.parametrize("part", [{"positions": "alibi"}, {"positions": "rotary"}, {"feed_forward": "gated"}])
def test_transformers_refuses_it_by_its_type(tmp_path, part):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    GPT(GPTConfig(**SIZES, **part)).save_pretrained(tmp_path)
    for auto in (transformers.AutoConfig, transformers.AutoModel, transformers.AutoModelForCausalLM):
        with pytest.raises(ValueError, match="tinygpt"):
            auto.from_pretrained(tmp_path)

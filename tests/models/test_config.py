"""Configurations: resolved defaults, the table, and an error for every option that does not fit."""

import dataclasses

import numpy as np
import pytest

from tinygpt.models.config import BERTConfig, EncoderDecoderConfig, GPTConfig
from tinygpt.models.layout import LAYOUTS
from tinygpt.ops import ACTIVATIONS

CLASSES = {architecture: kind for kind in (GPTConfig, BERTConfig, EncoderDecoderConfig)
           for architecture in kind.ARCHITECTURES}


def make(architecture="gpt2", **options):
    options = {"vocab_size": 69, "n_embd": 24, "n_head": 2, "architecture": architecture} | options
    return CLASSES[architecture](**options)


@pytest.mark.parametrize("architecture", LAYOUTS)
def test_none_means_the_architectures_own_default(architecture):
    config, layout = make(architecture), LAYOUTS[architecture]
    assert config.layout is layout
    for name in ("norm", "positions", "mask", "feed_forward", "activation", "bias", "norm_epsilon"):
        assert getattr(config, name) == getattr(layout, name), name
    for field in dataclasses.fields(config):  # annotated as never None: resolved
        assert "None" in field.type or getattr(config, field.name) is not None, field.name


@pytest.mark.parametrize("architecture", LAYOUTS)
def test_to_dict_gives_the_configuration_back(architecture):
    config = make(architecture, dropout=0.1, eos_token_id=3)
    assert type(config)(**config.to_dict()) == config


def test_parts_other_than_the_architectures_own():
    config = make("gpt2", positions="rotary", feed_forward="gated", rope_scaling={"rope_type": "linear", "factor": 2.0})
    assert (config.positions, config.feed_forward, config.n_inner) == ("rotary", "gated", 64)
    assert config.to_dict()["positions"] == "rotary" and type(config)(**config.to_dict()) == config
    assert make("llama", positions="learned").to_dict()["positions"] == "learned"
    assert not {"positions", "feed_forward"} & make("llama", positions="rotary").to_dict().keys()
    assert make("gpt2", window=3).mask == make("mistral").mask == "window" and make("gpt2").mask == "causal"
    assert make("mistral", window=3).endless and make("gpt2", window=3, positions="alibi").endless
    assert not (make("mistral").endless or make("gpt2", window=3).endless or make("gpt2", positions="alibi").endless)
    assert make("llama", n_embd=6, positions="alibi").head_dim == 3  # only what turns needs pairs
    assert make("llama", block_size=2**31 - 1, positions="alibi").block_size == 2**31 - 1  # no table


def test_resolved_sizes():
    assert make("gpt2").n_inner == 96 and make("gpt2").n_kv_head == 2 and make("gpt2").head_dim == 12
    assert make("llama").n_inner == 64                      # 8·24/3 = 64, a multiple of 32
    assert make("llama", n_embd=28).n_inner == 96           # 74.7 rounded up
    assert make("bert").type_vocab_size == 2 and make("roberta").type_vocab_size == 1
    assert make("roberta").position_offset == 2 and make("roberta", pad_token_id=5).position_offset == 6
    assert make("bart").position_offset == 2 and make("marian").position_offset == make("bert").position_offset == 0
    config = make("marian", n_layer=3, n_decoder_layer=1, n_inner=48)
    assert (config.n_decoder_layer, config.n_decoder_head, config.n_decoder_inner) == (1, 2, 48)
    assert config.decoder_start_token_id == config.pad_token_id and config.scale_embedding
    assert make("bart", eos_token_id=2).decoder_start_token_id == 2 and not make("bart").scale_embedding


def test_labels():
    assert make("bert", head="classification").id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert make("bert", head="classification", n_labels=3).id2label[2] == "LABEL_2"
    config = make("gpt2", head="classification", id2label={"1": "spam", "0": "ham"})
    assert config.n_labels == 2 and list(config.id2label.items()) == [(0, "ham"), (1, "spam")]


def test_numpy_integers_become_integers():
    config = make(n_embd=np.int64(32), eos_token_id=np.array([3, 4]).tolist())
    assert type(config.n_embd) is int and config.eos_token_id == (3, 4)


def test_configurations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().n_embd = 48


@pytest.mark.parametrize("architecture, options, message", [
    ("gpt2", dict(n_embd=25), "n_embd=25 is not divisible by n_head=2"),
    ("llama", dict(n_head=4, n_kv_head=3), "n_head=4 is not divisible by n_kv_head=3"),
    ("llama", dict(n_embd=6), "head_dim must be even, got 3"),
    ("gpt2", dict(n_kv_head=1), "architecture='llama'"),
    ("gpt2", dict(head_dim=10), "architecture='llama'"),
    ("gpt2", dict(activation="swish"), "activation='swish' is not supported; choose one of "
     + ", ".join(map(repr, ACTIVATIONS))),
    ("gpt2", dict(vocab_size=0), "vocab_size must be at least 1, got 0"),
    ("gpt2", dict(n_layer=-1), "n_layer must be at least 0, got -1"),
    ("gpt2", dict(n_inner=-4), "n_inner must be at least 1"),
    ("gpt2", dict(dropout=1.0), "dropout must be at least 0.0 and below 1.0, got 1.0"),
    ("gpt2", dict(dropout=float("nan")), "dropout must be"),
    ("gpt2", dict(norm_epsilon=0.0), "norm_epsilon must be more than 0.0"),
    ("gpt2", dict(eos_token_id=69), "eos_token_id=69 lies outside the vocabulary of 69 tokens"),
    ("gpt2", dict(eos_token_id=[1, -1]), "eos_token_id=-1 lies outside"),
    ("gpt2", dict(rope_scaling={"rope_type": "linear", "factor": 2.0}), "needs rotary positions"),
    ("llama", dict(rope_scaling={"rope_type": "linear", "factor": 2.0}, positions="alibi"), "needs rotary positions"),
    ("gpt2", dict(positions="rotary", n_embd=6), "head_dim must be even, got 3"),
    ("gpt2", dict(positions="nowhere"), "positions='nowhere' is not supported; choose one of 'learned'"),
    ("gpt2", dict(window=0), "window must be at least 1, got 0"),
    ("mistral", dict(bias=True), "architecture='mistral' has no biases"),
    ("mistral", dict(window=4, positions="learned", rope_scaling={"rope_type": "linear", "factor": 2.0}), "rotary"),
    ("gpt2", dict(feed_forward="wide"), "feed_forward='wide' is not supported; choose one of 'plain', 'gated'"),
    ("gpt2", dict(block_size=2**31 - 1, positions="sinusoidal"), "is too much: a table of 24 numbers"),
    ("llama", dict(rope_scaling={"rope_type": "yarn", "factor": 2.0}), "rope_type='yarn' is not supported"),
    ("llama", dict(rope_scaling={"rope_type": "linear"}), "needs 'factor' > 0, got None"),
    ("llama", dict(rope_scaling={"rope_type": "linear", "factor": 2.0, "x": 1}), "takes no 'x'"),
    ("bert", dict(head="lm"), "head='lm' is not supported; choose one of None"),
    ("bert", dict(n_labels=2), "belong to head='classification', not to None"),
    ("bert", dict(head="classification", n_labels=2, id2label={0: "a"}), "n_labels=2, but id2label names 1"),
    ("bert", dict(head="classification", id2label={1: "a"}), "must number the labels"),
    ("llama", dict(block_size=2**31 - 1), "block_size=2147483647 is too much: a table of 12 numbers"),
    ("marian", dict(block_size=2**31 - 1), "block_size=2147483647 is too much: a table of 24 numbers"),
    ("marian", dict(n_decoder_head=5), "n_embd=24 is not divisible by n_decoder_head=5"),
    ("marian", dict(suppress_token_ids=[70]), "suppress_token_ids=70 lies outside"),
    ("marian", dict(decoder_start_token_id=70), "decoder_start_token_id=70 lies outside"),
])
def test_options_that_do_not_fit(architecture, options, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        make(architecture, **options)


@pytest.mark.parametrize("options", [dict(n_embd=24.0), dict(n_layer=True), dict(vocab_size="69"), dict(dropout="0.1"),
                                     dict(bias=1), dict(tie_word_embeddings=None), dict(pad_token_id=1.0)])
def test_wrong_types(options):
    with pytest.raises(TypeError, match=f"GPTConfig: {next(iter(options))} must be"):
        make(**options)


def test_unknown_architecture():
    with pytest.raises(ValueError, match="architecture='t5' is not supported; choose one of 'gpt2', 'llama'"):
        GPTConfig(vocab_size=69, architecture="t5")

"""The tables of parts: every row builds one, every architecture's names are in them, and its model is made of these."""

from __future__ import annotations

import numpy as np
import pytest

from tinygpt.models import BERT, GPT, BERTConfig, EncoderDecoder, EncoderDecoderConfig, GPTConfig
from tinygpt.models.kinds import (BLOCKS, CROSS_BLOCKS, FEED_FORWARDS, MASKS, NORMS, POSITIONS, VIEWS, new_attention,
                                  new_feed_forward, new_mask, new_norm, new_positions)
from tinygpt.models.layout import LAYOUTS
from tinygpt.nn import (AlibiPositions, Block, BranchNormBlock, Causal, CrossAttention, CrossBlock, FusedFeedForward,
                        GatedFeedForward, LayerNorm, LearnedPositions, Mask, MixtureOfExperts, Module,
                        MultiHeadAttention, NormedAttention, OffsetRMSNorm, ParallelBlock, Positions, PostNormBlock,
                        PreNormCrossBlock, RMSNorm, RelativePositions, RotaryPositions, SandwichBlock,
                        SinusoidalPositions, Window)

SIZES = dict(vocab_size=17, block_size=12, n_layer=1, n_head=4, n_embd=16)
LLAMA = GPTConfig(**SIZES, architecture="llama", n_kv_head=2, rope_theta=100.0)
FULL = GPTConfig(**SIZES, architecture="mixtral", n_kv_head=2, window=3)  # has every field that a row reads
MODELS = {"gpt2": GPT(GPTConfig(**SIZES)), "llama": GPT(LLAMA),
          "mistral": GPT(GPTConfig(**SIZES, architecture="mistral", window=3)),
          **{name: GPT(GPTConfig(**SIZES, architecture=name)) for name in (
              "mixtral", "qwen2", "qwen3", "olmo2", "smollm3", "gpt_neox", "gemma3_text")},
          **{name: BERT(BERTConfig(**SIZES, architecture=name)) for name in BERTConfig.ARCHITECTURES},
          "bart": EncoderDecoder(EncoderDecoderConfig(**SIZES, architecture="bart")),
          "marian": EncoderDecoder(EncoderDecoderConfig(**SIZES)),
          "t5": EncoderDecoder(EncoderDecoderConfig(**SIZES, architecture="t5"))}
KINDS = {"learned": LearnedPositions, "sinusoidal": SinusoidalPositions, "rotary": RotaryPositions,
         "alibi": AlibiPositions, "relative": RelativePositions, "full": Mask,
         "causal": Causal, "window": Window, "layer": LayerNorm, "rms": RMSNorm,
         "offset_rms": OffsetRMSNorm,
         "plain": FusedFeedForward, "gated": GatedFeedForward, "experts": MixtureOfExperts}


def test_every_row_builds_its_part():
    assert set(KINDS) == POSITIONS.keys() | MASKS.keys() | NORMS.keys() | FEED_FORWARDS.keys()
    for table, base in ((POSITIONS, Positions), (MASKS, Mask), (NORMS, Module)):
        made = {name: build(FULL) for name, build in table.items()}
        assert all(isinstance(part, base) and type(part) is KINDS[name] for name, part in made.items())
    for name, build in FEED_FORWARDS.items():
        part = build(FULL, 16, 20, activation="silu")
        assert type(part) is KINDS[name]
        for layer in getattr(part, "experts", [part]):
            assert layer.activation == "silu" and layer.down.weight.shape == (16, 20)


@pytest.mark.parametrize("architecture", LAYOUTS)
def test_a_model_is_made_of_what_its_layout_names(architecture):
    model, layout = MODELS[architecture], LAYOUTS[architecture]
    assert layout.norm in NORMS and layout.positions in POSITIONS and layout.mask in MASKS \
        and layout.feed_forward in FEED_FORWARDS
    stack = model.decoder if isinstance(model, EncoderDecoder) else model
    block = stack.blocks[0]
    assert type(stack.positions) is KINDS[layout.positions]
    assert type(block.attention_norm) is type(block.feed_forward_norm) is KINDS[layout.norm]
    assert block.attention_norm.epsilon == layout.norm_epsilon
    assert type(block.feed_forward) is KINDS[layout.feed_forward]
    for layer in getattr(block.feed_forward, "experts", [block.feed_forward]):
        assert layer.activation == layout.activation
    assert (block.attention.qkv.bias is not None) == layout.bias
    assert type(block) is (CROSS_BLOCKS if isinstance(model, EncoderDecoder) else BLOCKS)[layout.block]
    assert layout.norm_first == (layout.block != "post")
    if isinstance(model, GPT):
        assert (type(block.attention) is NormedAttention) == (bool(layout.qk_norm) or layout.biases == "qkv")
        assert (block.attention.out.bias is not None) == (layout.bias and layout.biases != "qkv")
        assert set(model.views) == set(model.config.layers or [""])
    assert (getattr(stack, "embedding_norm", None) is not None) == layout.embedding_norm
    assert type(new_mask(model.config)) is KINDS[layout.mask]
    if isinstance(model, EncoderDecoder):
        assert type(model.encoder.blocks[0]) is BLOCKS[layout.block]
        assert type(model.encoder.positions) is type(stack.positions)


def test_blocks_and_what_they_look_at():
    assert BLOCKS == {"pre": Block, "post": PostNormBlock, "branch": BranchNormBlock, "sandwich": SandwichBlock,
                      "parallel": ParallelBlock}
    assert CROSS_BLOCKS == {"pre": PreNormCrossBlock, "post": CrossBlock}
    config = GPTConfig(**SIZES | {"n_layer": 3}, architecture="gemma3_text", layers=("window", "full", "window"),
                       window=3, local_rope_theta=50.0)
    model = GPT(config)
    still = GPT(GPTConfig(**SIZES | {"n_layer": 2}, architecture="smollm3", layers=("full", "still"))).views
    assert {*model.views, *still} == set(VIEWS) and type(model.views["window"][1]) is Window
    assert model.views["full"][0] is model.positions is not model.views["window"][0]
    assert type(still["still"][0]) is Positions and type(still["still"][1]) is Causal
    assert new_norm(config, 5).weight.shape == (5,)


def test_what_a_configuration_says_reaches_the_parts():
    attention = new_attention(LLAMA, std=0.5)
    assert (attention.n_head, attention.n_kv_head, attention.head_dim, attention.qkv.bias) == (4, 2, 4, None)
    cross = new_attention(MODELS["bart"].config, CrossAttention, n_head=2)
    assert type(cross) is CrossAttention and (cross.n_head, cross.head_dim) == (2, 8)
    assert type(new_attention(LLAMA)) is MultiHeadAttention
    assert new_feed_forward(LLAMA, n_inner=7).down.weight.shape == (16, 7)
    assert new_feed_forward(LLAMA).down.weight.shape == (16, LLAMA.n_inner)
    assert new_norm(GPTConfig(**SIZES, bias=False)).bias is None
    assert new_norm(GPTConfig(**SIZES, architecture="llama", norm_epsilon=0.5)).epsilon == 0.5
    scaled = GPTConfig(**SIZES, architecture="llama", rope_theta=100.0,
                       rope_scaling={"rope_type": "linear", "factor": 2.0})
    where = np.arange(12)
    plain, slower = (new_positions(config) for config in (LLAMA, scaled))
    like = MODELS["gpt2"].token_embedding.weight
    np.testing.assert_allclose(slower.angles(like, where[::2])[0], plain.angles(like, where[:6])[0], atol=1e-6)

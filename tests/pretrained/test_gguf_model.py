"""GGUF files of every architecture open as the model that they were made from, and what does not fit is named."""

import numpy as np
import pytest
from gguf_writer import gguf

from tinygpt.models import BERT, BERTConfig, GPT, GPTConfig, load_model
from tinygpt.nn.rotary import rotary_frequencies
from tinygpt.pretrained import SafetensorsFile, read_folder
from tinygpt.pretrained.gguf_model import ARCHITECTURES

SIZES = dict(vocab_size=32, block_size=16, n_layer=2, n_head=4, n_embd=32, n_inner=64, initializer_range=0.3)
LLAMA3 = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192}
TOKENS = {"tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2}
CONFIGS = {
    "llama": GPTConfig(**SIZES, architecture="llama", n_kv_head=2, rope_theta=500.0, bos_token_id=1, eos_token_id=2),
    "llama-untied": GPTConfig(**SIZES, architecture="llama", head_dim=16, tie_word_embeddings=False, bos_token_id=1,
                              eos_token_id=2),
    "llama-3": GPTConfig(**SIZES, architecture="llama", rope_theta=500000.0, rope_scaling=LLAMA3, bos_token_id=1,
                         eos_token_id=2),
    "llama-linear": GPTConfig(**SIZES, architecture="llama", rope_scaling={"rope_type": "linear", "factor": 2.0},
                              bos_token_id=1, eos_token_id=2),
    "qwen2": GPTConfig(**SIZES, architecture="qwen2", n_kv_head=2, bos_token_id=1, eos_token_id=2),
    "qwen3": GPTConfig(**SIZES, architecture="qwen3", n_kv_head=1, head_dim=16, bos_token_id=1, eos_token_id=2),
    "gpt2": GPTConfig(**SIZES, bos_token_id=1, eos_token_id=2),
    "bert": BERTConfig(**SIZES, bos_token_id=1, eos_token_id=2),
}


def random_model(config):
    model, rng = (BERT if isinstance(config, BERTConfig) else GPT)(config).eval(), np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.data = parameter.data + rng.normal(0, 0.1, parameter.shape).astype(np.float32)
    return model


def neighbours(rows, n_head):
    """Rows as llama.cpp orders them: the halves of each head interleaved."""
    return rows.reshape(n_head, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def as_gguf(model, folder, *, kind=0, **more):
    """The file that llama.cpp's converter makes of a model: names from the tables that its authors keep."""
    reference, c = pytest.importorskip("gguf"), model.config
    model.save_pretrained(folder)
    architecture = {value: key for key, value in reference.MODEL_ARCH_NAMES.items()}[c.architecture]
    names = reference.get_tensor_name_map(architecture, c.n_layer)
    tensors = {}
    for name, array in SafetensorsFile(folder / "model.safetensors").items():
        if c.architecture == "gpt2" and "attn.c_" in name + "." * array.ndim or ".mlp.c_" in name:
            array = array.T if array.ndim == 2 else array                   # as torch's Linear has it
        if c.architecture == "llama" and ("q_proj" in name or "k_proj" in name):
            array = neighbours(array, c.n_head if "q_proj" in name else c.n_kv_head)
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert found is not None, name
        tensors[found] = array
    prefix = c.architecture
    settings = {"general.architecture": prefix, f"{prefix}.block_count": c.n_layer, f"{prefix}.context_length": 16,
                f"{prefix}.embedding_length": c.n_embd, f"{prefix}.feed_forward_length": c.n_inner,
                f"{prefix}.attention.head_count": c.n_head, **TOKENS}
    if isinstance(c, GPTConfig) and c.positions == "rotary":
        settings |= {f"{prefix}.attention.head_count_kv": c.n_kv_head, f"{prefix}.rope.freq_base": c.rope_theta,
                     f"{prefix}.attention.key_length": c.head_dim, f"{prefix}.attention.value_length": c.head_dim,
                     f"{prefix}.attention.layer_norm_rms_epsilon": c.norm_epsilon}
        if c.rope_scaling == LLAMA3:
            plain, scaled = rotary_frequencies(c.head_dim, c.rope_theta), rotary_frequencies(
                c.head_dim, c.rope_theta, LLAMA3)
            tensors["rope_freqs.weight"] = (plain / scaled).astype(np.float32)
        elif c.rope_scaling:
            settings |= {f"{prefix}.rope.scaling.type": "linear", f"{prefix}.rope.scaling.factor": 2.0}
    else:
        settings[f"{prefix}.attention.layer_norm_epsilon"] = c.norm_epsilon
    path = folder / "m.gguf"
    settings |= more.pop("settings", {})
    path.write_bytes(gguf({name: found for name, found in settings.items() if found is not None},
                          tensors | more.pop("tensors", {})))
    return path


@pytest.mark.oracle
@pytest.mark.parametrize("kind", CONFIGS)
def test_the_model_that_it_was_made_from(tmp_path, kind):
    model = random_model(CONFIGS[kind])
    again = load_model(as_gguf(model, tmp_path))
    assert again.config == model.config.__class__(**model.config.to_dict() | {
        "initializer_range": again.config.initializer_range, "dropout": again.config.dropout})
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array, err_msg=name)
    assert not again.training


@pytest.mark.oracle
@pytest.mark.parametrize("settings, tensors, message", [
    ({"general.architecture": "mamba"}, {}, "general.architecture='mamba' is not supported; supported: llama"),
    ({"general.architecture": 3}, {}, "general.architecture=3 is not supported"),
    ({"llama.expert_count": 8}, {}, "llama.expert_count=8 is not supported; supported: 0"),
    ({"llama.block_count": None}, {}, "the setting llama.block_count is missing"),
    ({"llama.block_count": "two"}, {}, "num_hidden_layers must be an integer"),
    ({"llama.block_count": 2_000_000}, {}, "tensors .* are missing"),
    ({"llama.attention.head_count": [4, 4]}, {}, "head_count=.4, 4. and .* must be integers"),
    ({"llama.rope.dimension_count": 4}, {}, "rope.dimension_count=4 is not supported; supported: 8"),
    ({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 2.0}, {}, "'yarn' is not supported"),
    ({}, {"rope_freqs.weight": np.arange(1, 5, dtype=np.float32)}, "in another way than Llama 3"),
    ({}, {"blk.0.attn_q.weight": np.ones((31, 32), np.float32)}, "has shape .31, 32., but .32, 32. follows"),
    ({}, {"blk.0.strange.weight": np.ones(3, np.float32)}, "'blk.0.strange.weight' belong to no part"),
    ({}, {"blk.0.ffn_up.weight": (23, (64, 256), bytes(64 * 136))}, "has shape"),
])
def test_what_does_not_fit_is_named(tmp_path, settings, tensors, message):
    path = as_gguf(random_model(CONFIGS["llama"]), tmp_path, settings=settings, tensors=tensors)
    with pytest.raises(ValueError, match=message):
        load_model(path)


@pytest.mark.oracle
def test_a_type_that_is_not_read(tmp_path):
    model = random_model(GPTConfig(**SIZES | {"n_embd": 256}, architecture="llama"))
    path = as_gguf(model, tmp_path, tensors={"blk.0.ffn_up.weight": (23, (64, 256), bytes(64 * 136))})
    with pytest.raises(ValueError, match="holds IQ4_XS; weights must be F32, F16, BF16, Q4_0"):
        load_model(path)


@pytest.mark.oracle
def test_several_tokens_end_a_text(tmp_path):
    path = as_gguf(random_model(CONFIGS["llama"]), tmp_path, settings={"tokenizer.ggml.eot_token_id": 5})
    assert load_model(path).config.eos_token_id == (2, 5)


def test_a_vocabulary_alone_is_no_model(tmp_path):
    settings = {f"llama.{key}": 1 for key in ARCHITECTURES["llama"].options.values()}
    (tmp_path / "m.gguf").write_bytes(gguf({"general.architecture": "llama"} | settings))
    with pytest.raises(ValueError, match="'token_embd.weight' is missing; does the file hold a vocabulary alone"):
        load_model(tmp_path / "m.gguf")


def test_a_file_that_is_no_gguf_file(tmp_path):
    (tmp_path / "m.bin").write_bytes(b"something else")
    with pytest.raises(ValueError, match="is a file, and no GGUF file"):
        load_model(tmp_path / "m.bin")


def test_arrays_are_read_when_they_are_asked_for(tmp_path):
    GPT(CONFIGS["llama"]).save_pretrained(tmp_path)
    _, state = read_folder(tmp_path)
    first = state["norm.weight"]
    first[:] = 7
    assert state["norm.weight"].max() == 1 and len(state) == len(list(state))

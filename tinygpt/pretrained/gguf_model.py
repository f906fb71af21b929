"""A GGUF file as the Hugging Face folder that it was made from: its config.json, and its tensors under their old names.

What differs between architectures is in the tables below: which setting is which option of config.json, and which
tensor had which name. So nothing behind this file knows of GGUF, and a model comes the same way in as any other.

Two things were changed on the way into the file and are undone here. In llama's files, queries and keys are in another
order: rotary positions turn neighbouring channels there, and the two halves of a head in a Hugging Face file. GPT-2's
matrices are transposed.

Prerequisites: gguf_file.py, config_json.py. Next: folder.py. Source: github.com/ggml-org/llama.cpp,
which writes such files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..nn.rotary import rotary_frequencies
from .gguf_file import GGUFFile, GGUFTensor

__all__ = ["ARCHITECTURES", "Architecture", "GGUFWeights", "gguf_config"]

ROPE_FACTORS = "rope_freqs.weight"  # by what each frequency of rotary positions is divided


@dataclass(frozen=True)
class Architecture:
    """What a value of `general.architecture` stands for.

    Attributes:
        options: option of config.json -> setting, without the architecture's name before it.
        names: tensor -> its name in a Hugging Face file, both without ".weight" or ".bias"; `{}` is the block's number.
        fixed: settings that may have this value only, if they are there.
        optional: settings that may be absent.
        config: further options of config.json.
        sizes: option -> the tensor whose rows it counts.
        turned: tensors whose rows are in another order, and the option that says how many heads they have.
        transposed: a pattern of the tensors that are transposed.
        rotary: whether the settings of rotary positions are looked at.
    """

    options: Mapping[str, str]
    names: Mapping[str, str]
    config: Mapping[str, Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    sizes: Mapping[str, str] = field(default_factory=dict)
    turned: Mapping[str, str] = field(default_factory=dict)
    transposed: str = "$^"
    rotary: bool = False


_LAYER = "model.layers.{}."
_LLAMA_NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "blk.{}.attn_norm": _LAYER + "input_layernorm", "blk.{}.attn_q": _LAYER + "self_attn.q_proj",
    "blk.{}.attn_k": _LAYER + "self_attn.k_proj", "blk.{}.attn_v": _LAYER + "self_attn.v_proj",
    "blk.{}.attn_output": _LAYER + "self_attn.o_proj", "blk.{}.attn_q_norm": _LAYER + "self_attn.q_norm",
    "blk.{}.attn_k_norm": _LAYER + "self_attn.k_norm", "blk.{}.ffn_norm": _LAYER + "post_attention_layernorm",
    "blk.{}.ffn_gate": _LAYER + "mlp.gate_proj", "blk.{}.ffn_up": _LAYER + "mlp.up_proj",
    "blk.{}.ffn_down": _LAYER + "mlp.down_proj",
}
_LLAMA_OPTIONS = {
    "max_position_embeddings": "context_length", "num_hidden_layers": "block_count", "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length", "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv", "head_dim": "attention.key_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon", "rope_theta": "rope.freq_base",
}


def _llama(model_type: str, name: str, **more: Any) -> Architecture:
    return Architecture(
        options=_LLAMA_OPTIONS, names=_LLAMA_NAMES, fixed={"expert_count": 0},
        config={"model_type": model_type, "architectures": [name]}, sizes={"vocab_size": "token_embd.weight"},
        optional=("attention.head_count_kv", "attention.key_length", "rope.freq_base"), rotary=True, **more)


_GPT2_BLOCK, _BERT_LAYER = "transformer.h.{}.", "bert.encoder.layer.{}."
ARCHITECTURES = {
    "llama": _llama("llama", "LlamaForCausalLM", turned={"attn_q": "num_attention_heads",
                                                         "attn_k": "num_key_value_heads"}),
    "qwen2": _llama("qwen2", "Qwen2ForCausalLM"),
    "qwen3": _llama("qwen3", "Qwen3ForCausalLM"),
    "gpt2": Architecture(
        options={"n_layer": "block_count", "n_embd": "embedding_length", "n_inner": "feed_forward_length",
                 "n_head": "attention.head_count", "layer_norm_epsilon": "attention.layer_norm_epsilon"},
        names={"token_embd": "transformer.wte", "position_embd": "transformer.wpe", "output_norm": "transformer.ln_f",
               "output": "lm_head", "blk.{}.attn_norm": _GPT2_BLOCK + "ln_1",
               "blk.{}.attn_qkv": _GPT2_BLOCK + "attn.c_attn", "blk.{}.attn_output": _GPT2_BLOCK + "attn.c_proj",
               "blk.{}.ffn_norm": _GPT2_BLOCK + "ln_2", "blk.{}.ffn_up": _GPT2_BLOCK + "mlp.c_fc",
               "blk.{}.ffn_down": _GPT2_BLOCK + "mlp.c_proj"},
        config={"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]},
        sizes={"vocab_size": "token_embd.weight", "n_positions": "position_embd.weight"},
        transposed=r"blk\.\d+\.(attn_qkv|attn_output|ffn_up|ffn_down)\.weight"),
    "bert": Architecture(
        options={"num_hidden_layers": "block_count", "hidden_size": "embedding_length",
                 "intermediate_size": "feed_forward_length", "num_attention_heads": "attention.head_count",
                 "layer_norm_eps": "attention.layer_norm_epsilon"},
        names={"token_embd": "bert.embeddings.word_embeddings", "token_types": "bert.embeddings.token_type_embeddings",
               "position_embd": "bert.embeddings.position_embeddings", "token_embd_norm": "bert.embeddings.LayerNorm",
               "blk.{}.attn_q": _BERT_LAYER + "attention.self.query",
               "blk.{}.attn_k": _BERT_LAYER + "attention.self.key",
               "blk.{}.attn_v": _BERT_LAYER + "attention.self.value",
               "blk.{}.attn_output": _BERT_LAYER + "attention.output.dense",
               "blk.{}.attn_output_norm": _BERT_LAYER + "attention.output.LayerNorm",
               "blk.{}.ffn_up": _BERT_LAYER + "intermediate.dense", "blk.{}.ffn_down": _BERT_LAYER + "output.dense",
               "blk.{}.layer_output_norm": _BERT_LAYER + "output.LayerNorm"},
        config={"model_type": "bert", "architectures": ["BertModel"]}, fixed={"attention.causal": False},
        sizes={"vocab_size": "token_embd.weight", "max_position_embeddings": "position_embd.weight",
               "type_vocab_size": "token_types.weight"}),
}
_TOKENS = {"bos_token_id": ("bos", ), "eos_token_id": ("eos", "eot"), "pad_token_id": ("padding",)}


def _architecture(file: GGUFFile) -> tuple[str, Architecture]:
    name = file.settings.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise ValueError(f"{file.path}: general.architecture={name!r:.80} is not supported; supported: "
                         f"{', '.join(ARCHITECTURES)}")
    return name, ARCHITECTURES[name]


def gguf_config(file: GGUFFile) -> dict[str, Any]:
    """What the config.json of the model would say.

    Raises:
        ValueError: an architecture or a setting that is not supported; a setting or a table that is missing.
    """
    name, architecture = _architecture(file)
    config: dict[str, Any] = dict(architecture.config)
    settings = {key.removeprefix(f"{name}."): value for key, value in file.settings.items()}
    for key, only in architecture.fixed.items():
        if settings.get(key, only) != only:
            raise ValueError(f"{file.path}: {name}.{key}={settings[key]!r:.80} is not supported; supported: {only!r}")
    for option, key in architecture.options.items():
        if key in settings:
            config[option] = _short(settings[key])
        elif key not in architecture.optional:
            raise ValueError(f"{file.path}: the setting {name}.{key} is missing")
    for option, tensor in architecture.sizes.items():
        if tensor not in file.tensors:
            raise ValueError(f"{file.path}: the tensor {tensor!r} is missing; does the file hold a vocabulary alone?")
        config[option] = (*file.tensors[tensor].shape, 0)[0]
    config["tie_word_embeddings"] = "output.weight" not in file.tensors
    for option, tokens in _TOKENS.items():
        ids = {key: settings[key] for key in (f"tokenizer.ggml.{token}_token_id" for token in tokens)
               if key in settings}
        several = list(dict.fromkeys(ids.values())) if all(type(i) is int for i in ids.values()) else [None]
        config[option] = several if len(several) > 1 else several[0] if several else None
    if architecture.rotary:
        _rotary(file, name, settings, config)
        biases = {f"blk.0.{tensor}.bias" in file.tensors for tensor in ("attn_q", "attn_k", "attn_v")}
        config["attention_bias"] = True in biases
    return config


def _short(value: Any) -> Any:
    """A float32 as the shortest number that is rounded to it: 1e-05 instead of 9.999999747378752e-06."""
    return float(str(np.float32(value))) if isinstance(value, float) else value


def _rotary(file: GGUFFile, name: str, settings: Mapping[str, Any], config: dict[str, Any]) -> None:
    """How rotary positions are scaled, and that all channels of a head are turned."""
    heads, channels = config["num_attention_heads"], config["hidden_size"]
    if type(heads) is not int or type(channels) is not int or not heads:
        raise ValueError(f"{file.path}: {name}.attention.head_count={heads!r:.80} and {name}.embedding_length="
                         f"{channels!r:.80} must be integers of at least 1")
    head_dim = config.get("head_dim") or channels // heads
    for key in ("rope.dimension_count", "attention.value_length"):
        if settings.get(key, head_dim) != head_dim:
            raise ValueError(f"{file.path}: {name}.{key}={settings[key]!r:.80} is not supported; supported: "
                             f"{head_dim}, the channels of a head")
    kind = settings.get("rope.scaling.type", "none")
    if kind != "none":
        config["rope_scaling"] = {"rope_type": kind, "factor": _short(settings.get("rope.scaling.factor"))}
    if ROPE_FACTORS in file.tensors:
        config["rope_scaling"] = _scaling(file, head_dim, config.get("rope_theta", 1e4))


def _scaling(file: GGUFFile, head_dim: int, theta: float) -> dict[str, Any]:
    """The options of Llama 3's scaling, of which a file keeps only what they come to: a divisor for each frequency."""
    found = file[ROPE_FACTORS].reshape(-1)
    options = {"rope_type": "llama3", "factor": float(found.max()), "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 8192}
    if head_dim < 1 << 16 and np.isfinite(found).all() and found.max() > 0:
        wanted = rotary_frequencies(head_dim, theta) / rotary_frequencies(head_dim, theta, options)
        if wanted.shape == found.shape and np.allclose(found, wanted, rtol=1e-4):
            return options
    raise ValueError(f"{file.path}: {ROPE_FACTORS!r} scales rotary positions in another way than Llama 3, which is not "
                     "supported")


class GGUFWeights(Mapping[str, np.ndarray]):
    """The tensors of a GGUF file as a Hugging Face file has them: names, order of rows, axes. Each is read when it is
    asked for.

    Args:
        file: the file. config: what `gguf_config` says of it.

    Attributes:
        path: the file's.
        tensors: by name, `GGUFTensor` with the shape that a Hugging Face file has.
    """

    def __init__(self, file: GGUFFile, config: Mapping[str, Any]) -> None:
        _, self._architecture = _architecture(file)
        self.file, self.path, self._config = file, Path(file.path), config
        self._stored: dict[str, str] = {}
        self.tensors: dict[str, GGUFTensor] = {}
        for stored, tensor in file.tensors.items():
            if stored == ROPE_FACTORS and self._architecture.rotary:
                continue
            name = self._their_name(stored)
            shape = tensor.shape[::-1] if self._is_transposed(stored) else tensor.shape
            self._stored[name] = stored
            self.tensors[name] = GGUFTensor(tensor.kind, tensor.dtype, shape, tensor.begin, tensor.end)

    def _their_name(self, stored: str) -> str:
        """The name in a Hugging Face file; a tensor that is none of the architecture's keeps its own."""
        base, _, kind = stored.rpartition(".")
        match = re.fullmatch(r"blk\.(\d+)\.(\w+)", base)
        name = self._architecture.names.get(f"blk.{{}}.{match[2]}" if match else base)
        if name is None:
            return stored
        return f"{name.format(match[1]) if match else name}.{kind}"

    def _is_transposed(self, stored: str) -> bool:
        return re.fullmatch(self._architecture.transposed, stored) is not None

    def __getitem__(self, name: str) -> np.ndarray:
        stored = self._stored[name]
        array = self.file[stored]
        if self._is_transposed(stored):
            array = array.T
        option = self._architecture.turned.get(stored.split(".")[-2]) if stored.startswith("blk.") else None
        if option is None:
            return array
        heads = self._config.get(option) or self._config["num_attention_heads"]
        if len(array) % (2 * heads):
            raise ValueError(f"{self.path}: tensor {stored!r} has {len(array)} rows, which are not {heads} heads of an "
                             "even size")
        return array.reshape(heads, -1, 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

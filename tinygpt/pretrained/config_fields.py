"""config.json as tables: one row per option, with our name, Hugging Face's, and transformers' default.

config_json.py reads the tables in both directions. What else a config.json may say (`FIXED`) is accepted only with the
one value that this package computes with; anything else is an error that names the option.
Prerequisites: files/json_file.py. Next: config_json.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Option", "OPTIONS", "FIXED", "CLASSES", "ACTIVATIONS", "ALWAYS_BIASED", "ARGUMENTS", "COUNTS_TOKENS",
           "DECODERS", "ENCODER_DECODERS", "GATED", "LAYER_TYPES", "NOT_FOLLOWED", "OWN", "PARTS", "PART_OPTIONS",
           "RULES", "THETAS", "WITH_BEAMS", "WITH_WINDOWS"]


@dataclass(frozen=True)
class Option:
    """A row: our field, their name, the kind of value, their default, and further names of theirs.

    Kinds: "size" (an integer >= 1), "size?" (or null), "count" (>= 0), "number", "flag", "activation", "name", "id" (a
    token id or null), "ids" (or several). Further names in `also` are written with the same value and never read.
    """

    ours: str
    theirs: str
    kind: str
    default: Any
    also: tuple[str, ...] = ()


def _with_defaults(rows: tuple[Option, ...], **defaults: Any) -> tuple[Option, ...]:
    """The same rows, where these fields of ours have other defaults."""
    return tuple(replace(row, default=defaults.get(row.ours, row.default)) for row in rows)


ACTIVATIONS = {  # their spellings -> ours; the first spelling of each is written
    "gelu": "gelu", "gelu_new": "gelu_tanh", "relu": "relu", "relu2": "relu2", "silu": "silu",
    "gelu_python": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh", "swish": "silu",
}

GPT2 = (
    Option("vocab_size", "vocab_size", "size", 50257),
    Option("block_size", "n_positions", "size", 1024),
    Option("n_layer", "n_layer", "count", 12),
    Option("n_head", "n_head", "size", 12),
    Option("n_embd", "n_embd", "size", 768),
    Option("n_inner", "n_inner", "size?", None),
    Option("activation", "activation_function", "activation", "gelu_new"),
    Option("bias", "bias", "flag", True),                          # not transformers' own: see docs/pretrained.md
    Option("dropout", "resid_pdrop", "number", 0.1, also=("embd_pdrop", "attn_pdrop")),
    Option("norm_epsilon", "layer_norm_epsilon", "number", 1e-5),
    Option("initializer_range", "initializer_range", "number", 0.02),
    Option("tie_word_embeddings", "tie_word_embeddings", "flag", True),
    Option("bos_token_id", "bos_token_id", "id", 50256),
    Option("eos_token_id", "eos_token_id", "ids", 50256),
    Option("pad_token_id", "pad_token_id", "id", None),
)

LLAMA = (
    Option("vocab_size", "vocab_size", "size", 32000),
    Option("block_size", "max_position_embeddings", "size", 2048),
    Option("n_layer", "num_hidden_layers", "count", 32),
    Option("n_head", "num_attention_heads", "size", 32),
    Option("n_kv_head", "num_key_value_heads", "size?", None),
    Option("head_dim", "head_dim", "size?", None),
    Option("n_embd", "hidden_size", "size", 4096),
    Option("n_inner", "intermediate_size", "size", 11008),
    Option("activation", "hidden_act", "activation", "silu"),
    Option("attention_bias", "attention_bias", "flag", False),     # together our `bias`
    Option("mlp_bias", "mlp_bias", "flag", False),
    Option("dropout", "attention_dropout", "number", 0.0),
    Option("norm_epsilon", "rms_norm_eps", "number", 1e-6),
    Option("initializer_range", "initializer_range", "number", 0.02),
    Option("tie_word_embeddings", "tie_word_embeddings", "flag", False),
    Option("bos_token_id", "bos_token_id", "id", 1),
    Option("eos_token_id", "eos_token_id", "ids", 2),
    Option("pad_token_id", "pad_token_id", "id", None),
)

MISTRAL = (*(row for row in _with_defaults(LLAMA, block_size=4096 * 32, n_inner=14336, n_kv_head=8)
             if row.ours not in ("attention_bias", "mlp_bias")),
           Option("window", "sliding_window", "size?", 4096))

EXPERTS = (
    Option("n_experts", "num_local_experts", "size", 8),
    Option("n_experts_per_token", "num_experts_per_tok", "size", 2),
    Option("router_aux_loss_coef", "router_aux_loss_coef", "number", 0.001),
)
MIXTRAL = (*_with_defaults(MISTRAL, window=None, norm_epsilon=1e-5), *EXPERTS)

QWEN2 = (*(row for row in _with_defaults(LLAMA, vocab_size=151936, block_size=32768, n_kv_head=32, n_inner=22016,
                                         bos_token_id=None, eos_token_id=None)
           if row.ours not in ("attention_bias", "mlp_bias", "head_dim")),
         Option("window", "sliding_window", "size?", 4096))
QWEN3 = (*_with_defaults(QWEN2, window=4096), Option("head_dim", "head_dim", "size?", 128),
         Option("attention_bias", "attention_bias", "flag", False))
OLMO2 = tuple(row for row in _with_defaults(LLAMA, vocab_size=50304, norm_epsilon=1e-5, bos_token_id=None,
                                            eos_token_id=50279, pad_token_id=1)
              if row.ours not in ("mlp_bias", "head_dim"))
SMOLLM3 = tuple(row for row in _with_defaults(
    LLAMA, vocab_size=128256, block_size=32768, n_layer=36, n_head=16, n_kv_head=4, n_embd=2048,
    tie_word_embeddings=True, bos_token_id=128000, eos_token_id=128001, pad_token_id=128004) if row.ours != "head_dim")
GEMMA3 = (*(replace(row, theirs="hidden_activation") if row.ours == "activation" else row for row in _with_defaults(
    LLAMA, vocab_size=262208, block_size=131072, n_layer=26, n_head=8, n_kv_head=4, head_dim=256, n_embd=2304,
    n_inner=9216, activation="gelu_pytorch_tanh", tie_word_embeddings=True, bos_token_id=2, pad_token_id=0,
    eos_token_id=1) if row.ours != "mlp_bias"), Option("window", "sliding_window", "size?", 4096),
    Option("query_scale", "query_pre_attn_scalar", "number", 256))

GPT_NEOX = (
    Option("vocab_size", "vocab_size", "size", 50432),
    Option("block_size", "max_position_embeddings", "size", 2048),
    Option("n_layer", "num_hidden_layers", "count", 44),
    Option("n_head", "num_attention_heads", "size", 64),
    Option("n_embd", "hidden_size", "size", 6144),
    Option("n_inner", "intermediate_size", "size", 24576),
    Option("activation", "hidden_act", "activation", "gelu"),
    Option("dropout", "hidden_dropout", "number", 0.0, also=("attention_dropout",)),
    Option("norm_epsilon", "layer_norm_eps", "number", 1e-5),
    Option("initializer_range", "initializer_range", "number", 0.02),
    Option("tie_word_embeddings", "tie_word_embeddings", "flag", False),
    Option("bos_token_id", "bos_token_id", "id", 0),
    Option("eos_token_id", "eos_token_id", "ids", 2),
    Option("pad_token_id", "pad_token_id", "id", None),
)

BERT = (
    Option("vocab_size", "vocab_size", "size", 30522),
    Option("block_size", "max_position_embeddings", "size", 512),
    Option("n_layer", "num_hidden_layers", "count", 12),
    Option("n_head", "num_attention_heads", "size", 12),
    Option("n_embd", "hidden_size", "size", 768),
    Option("n_inner", "intermediate_size", "size", 3072),
    Option("activation", "hidden_act", "activation", "gelu"),
    Option("dropout", "hidden_dropout_prob", "number", 0.1, also=("attention_probs_dropout_prob",)),
    Option("norm_epsilon", "layer_norm_eps", "number", 1e-12),
    Option("type_vocab_size", "type_vocab_size", "size", 2),
    Option("initializer_range", "initializer_range", "number", 0.02),
    Option("tie_word_embeddings", "tie_word_embeddings", "flag", True),
    Option("bos_token_id", "bos_token_id", "id", None),
    Option("eos_token_id", "eos_token_id", "id", None),
    Option("pad_token_id", "pad_token_id", "id", 0),
)

ROBERTA = _with_defaults(BERT, vocab_size=50265, bos_token_id=0, eos_token_id=2, pad_token_id=1)
XLM_ROBERTA = _with_defaults(ROBERTA, vocab_size=30522)

DISTILBERT = (
    Option("vocab_size", "vocab_size", "size", 30522),
    Option("block_size", "max_position_embeddings", "size", 512),
    Option("n_layer", "n_layers", "count", 6),
    Option("n_head", "n_heads", "size", 12),
    Option("n_embd", "dim", "size", 768),
    Option("n_inner", "hidden_dim", "size", 3072),
    Option("activation", "activation", "activation", "gelu"),
    Option("dropout", "dropout", "number", 0.1, also=("attention_dropout", "seq_classif_dropout")),
    Option("initializer_range", "initializer_range", "number", 0.02),
    Option("tie_word_embeddings", "tie_word_embeddings", "flag", True),
    Option("bos_token_id", "bos_token_id", "id", None),
    Option("eos_token_id", "eos_token_id", "id", None),
    Option("pad_token_id", "pad_token_id", "id", 0),
)

BART = (
    Option("vocab_size", "vocab_size", "size", 50265),
    Option("block_size", "max_position_embeddings", "size", 1024),
    Option("n_layer", "encoder_layers", "count", 12),
    Option("n_head", "encoder_attention_heads", "size", 16),
    Option("n_inner", "encoder_ffn_dim", "size", 4096),
    Option("n_decoder_layer", "decoder_layers", "count", 12),
    Option("n_decoder_head", "decoder_attention_heads", "size", 16),
    Option("n_decoder_inner", "decoder_ffn_dim", "size", 4096),
    Option("n_embd", "d_model", "size", 1024),
    Option("activation", "activation_function", "activation", "gelu"),
    Option("dropout", "dropout", "number", 0.1, also=("attention_dropout", "activation_dropout")),
    Option("scale_embedding", "scale_embedding", "flag", False),
    Option("initializer_range", "init_std", "number", 0.02),
    Option("tie_word_embeddings", "tie_word_embeddings", "flag", True),
    Option("bos_token_id", "bos_token_id", "id", 0),
    Option("eos_token_id", "eos_token_id", "id", 2),
    Option("pad_token_id", "pad_token_id", "id", 1),
    Option("decoder_start_token_id", "decoder_start_token_id", "id", 2),
    Option("forced_bos_token_id", "forced_bos_token_id", "id", None),
    Option("forced_eos_token_id", "forced_eos_token_id", "id", 2),
)

MARIAN = _with_defaults(BART, vocab_size=58101, bos_token_id=None, eos_token_id=0, pad_token_id=58100,
                        decoder_start_token_id=58100, forced_eos_token_id=0)


def _own(*sizes: str, tied: bool = False, **numbers: float) -> tuple[Option, ...]:
    """Options of an architecture of our own, whose names are ours and stand in every file that is written."""
    return (*(Option(name, name, "size", 1) for name in ("vocab_size", "block_size", *sizes)),
            *(Option(name, name, "number", default) for name, default in numbers.items()),
            *(Option("tie_word_embeddings", "tie_word_embeddings", "flag", True),) * tied,
            Option("bos_token_id", "bos_token_id", "id", None), Option("eos_token_id", "eos_token_id", "ids", None),
            Option("pad_token_id", "pad_token_id", "id", None))


RECURRENT = _own("n_layer", "n_embd", tied=True, dropout=0.0, initializer_range=0.02)
BAG = _own("n_buckets", dropout=0.0)
CNN = _own("n_embd", "n_kernels", dropout=0.5, initializer_range=0.1)
WIDE = (*CNN, Option("n_buckets", "n_buckets", "size", 1))

T5 = (
    Option("vocab_size", "vocab_size", "size", 32128),
    Option("block_size", "n_positions", "size", 512),
    Option("n_layer", "num_layers", "count", 6),
    Option("n_head", "num_heads", "size", 8),
    Option("n_inner", "d_ff", "size", 2048),
    Option("n_decoder_layer", "num_decoder_layers", "size?", None),
    Option("n_embd", "d_model", "size", 512),
    Option("head_dim", "d_kv", "size", 64),
    Option("relative_buckets", "relative_attention_num_buckets", "size", 32),
    Option("relative_distance", "relative_attention_max_distance", "size", 128),
    Option("dropout", "dropout_rate", "number", 0.1),
    Option("norm_epsilon", "layer_norm_epsilon", "number", 1e-6),
    Option("initializer_range", "initializer_range", "number", 0.02),  # not transformers' own
    Option("tie_word_embeddings", "tie_word_embeddings", "flag", True),
    Option("bos_token_id", "bos_token_id", "id", None),
    Option("eos_token_id", "eos_token_id", "id", 1),
    Option("pad_token_id", "pad_token_id", "id", 0),
    Option("decoder_start_token_id", "decoder_start_token_id", "id", None),
    Option("forced_bos_token_id", "forced_bos_token_id", "id", None),
    Option("forced_eos_token_id", "forced_eos_token_id", "id", None),
)
GATED = "gated-"                                              # before the activation of a gated feed-forward, T5's way

OPTIONS = {"gpt2": GPT2, "llama": LLAMA, "mistral": MISTRAL, "mixtral": MIXTRAL, "qwen2": QWEN2, "qwen3": QWEN3,
           "olmo2": OLMO2, "smollm3": SMOLLM3, "gpt_neox": GPT_NEOX, "gemma3_text": GEMMA3, "bert": BERT,
           "roberta": ROBERTA, "xlm-roberta": XLM_ROBERTA, "distilbert": DISTILBERT, "bart": BART, "marian": MARIAN,
           "t5": T5, "lstm": RECURRENT, "gru": RECURRENT, "rnn": RECURRENT, "bag": BAG, "cnn": CNN, "wide": WIDE}

ENCODER_DECODERS = ("bart", "marian", "t5")
DECODERS = ("gpt2", "llama", "mistral", "mixtral", "qwen2", "qwen3", "olmo2", "smollm3", "gpt_neox", "gemma3_text")
THETAS = {"llama": 1e4, "mistral": 1e4, "mixtral": 1e6, "qwen2": 1e4, "qwen3": 1e4, "olmo2": 1e4, "smollm3": 2e6,
          "gpt_neox": 1e4, "gemma3_text": 1e6}                # those that turn by default, and their rope_theta
ALWAYS_BIASED = ("qwen2", "gpt_neox")                         # no option says so
COUNTS_TOKENS = ("roberta", "xlm-roberta")                    # whose positions begin after the padding's row

# What blocks look at, where config.json says it for each: their word -> ours, and the architectures that have windows.
LAYER_TYPES = {"full_attention": "full", "sliding_attention": "window"}
WITH_WINDOWS = ("qwen2", "qwen3", "gemma3_text")

# Parts that a model may have and the classes of its layout in transformers lack: our field -> the kind of its value.
# config.json says them by our names, under a model_type of our own.
PARTS = {"positions": "name", "window": "size", "feed_forward": "name", "activation": "name"}
PART_OPTIONS = {"experts": EXPERTS}                           # kinds of parts that have options beside their name

# Their option -> the only value this package computes with; absent and null count as that value.
EVERYWHERE = {"is_decoder": False, "add_cross_attention": False}
FIXED: dict[str, dict[str, Any]] = {
    "gpt2": EVERYWHERE | {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False},
    "llama": EVERYWHERE | {"partial_rotary_factor": 1.0},
    "mistral": EVERYWHERE | {"partial_rotary_factor": 1.0, "layer_types": None},
    "mixtral": EVERYWHERE | {"partial_rotary_factor": 1.0, "router_jitter_noise": 0.0},
    "qwen2": EVERYWHERE | {"partial_rotary_factor": 1.0},
    "qwen3": EVERYWHERE | {"partial_rotary_factor": 1.0},
    "olmo2": EVERYWHERE | {"partial_rotary_factor": 1.0},
    "smollm3": EVERYWHERE | {"partial_rotary_factor": 1.0, "use_sliding_window": False},
    "gpt_neox": EVERYWHERE | {"use_parallel_residual": True, "attention_bias": True},
    "gemma3_text": EVERYWHERE | {"attn_logit_softcapping": None, "final_logit_softcapping": None,
                                 "use_bidirectional_attention": False},
    "xlm-roberta": EVERYWHERE | {"position_embedding_type": "absolute"},
    "distilbert": EVERYWHERE,                                 # sinusoidal_pos_embds is a matter of the first weights
    "bert": EVERYWHERE | {"position_embedding_type": "absolute"},
    "roberta": EVERYWHERE | {"position_embedding_type": "absolute"},
    "bart": EVERYWHERE,
    "marian": EVERYWHERE | {"share_encoder_decoder_embeddings": True},
    "lstm": {}, "gru": {}, "rnn": {}, "bag": {}, "cnn": {}, "wide": {},
    "t5": EVERYWHERE,
}

# What generation_config.json may ask for: rules that an encoder-decoder's configuration keeps; arguments of `generate`,
# and what does not exist here, each with the values that change nothing. Temperature and the like are not listed: how
# to sample is asked of whoever generates.
RULES = ("no_repeat_ngram_size", "min_length")
ARGUMENTS: dict[str, tuple[Any, ...]] = {"num_beams": (1,), "repetition_penalty": (1,)}
WITH_BEAMS: dict[str, tuple[Any, ...]] = {"length_penalty": (1,), "early_stopping": (False,)}
NOT_FOLLOWED: dict[str, tuple[Any, ...]] = {
    "encoder_no_repeat_ngram_size": (0,), "encoder_repetition_penalty": (1,), "min_new_tokens": (0,),
    "num_beam_groups": (1,), "diversity_penalty": (0,), "suppress_tokens": ([],), "begin_suppress_tokens": ([],),
    "forced_decoder_ids": ([],), "sequence_bias": ([], {}), "exponential_decay_length_penalty": (),
    "force_words_ids": ([],), "guidance_scale": (1,), "penalty_alpha": (0,), "typical_p": (1,), "epsilon_cutoff": (0,),
    "eta_cutoff": (0,), "stop_strings": ([],),
}


def _decoder(name: str) -> dict[str | None, tuple[str, ...]]:
    return {"lm": (f"{name}ForCausalLM",), "classification": (f"{name}ForSequenceClassification",),
            None: (f"{name}Model",)}


def _encoder(name: str, *more: str) -> dict[str | None, tuple[str, ...]]:
    return {"masked_lm": (f"{name}ForMaskedLM", *more), None: (f"{name}Model",),
            "classification": (f"{name}ForSequenceClassification",)}


# Our head -> their classes, by architecture; the first is written.
CLASSES: dict[str, dict[str | None, tuple[str, ...]]] = {
    "gpt2": _decoder("GPT2") | {"lm": ("GPT2LMHeadModel",)},
    "llama": _decoder("Llama"), "mixtral": _decoder("Mixtral"), "mistral": _decoder("Mistral"),
    "qwen2": _decoder("Qwen2"), "qwen3": _decoder("Qwen3"), "olmo2": _decoder("Olmo2"),
    "smollm3": _decoder("SmolLM3"), "gpt_neox": _decoder("GPTNeoX"),
    "gemma3_text": _decoder("Gemma3") | {None: ("Gemma3TextModel",),
                                         "classification": ("Gemma3TextForSequenceClassification",)},
    "bert": _encoder("Bert", "BertForPreTraining"), "roberta": _encoder("Roberta"),
    "xlm-roberta": _encoder("XLMRoberta"), "distilbert": _encoder("DistilBert"),
    "bart": {"lm": ("BartForConditionalGeneration", "BartModel")},
    "marian": {"lm": ("MarianMTModel", "MarianModel")},
    "t5": {"lm": ("T5ForConditionalGeneration", "T5Model", "T5WithLMHeadModel")},
    **dict.fromkeys(("lstm", "gru", "rnn"), {"lm": ()}),
    **dict.fromkeys(("bag", "cnn", "wide"), {"classification": ()}),
}
OWN = tuple(name for name, heads in CLASSES.items() if not any(heads.values()))  # no class there: always our own type

"""config.json both ways: transformers 4's and 5's spellings, defaults, generation_config, and what is not supported."""

import json
import warnings

import pytest
from hypothesis import given, settings, strategies as st

from tinygpt.models.config import BERTConfig, EncoderDecoderConfig, GPTConfig
from tinygpt.pretrained.config_json import read_config, write_config
from tinygpt.pretrained.config_fields import CLASSES, OPTIONS, OWN

BASE = {
    "gpt2": {"vocab_size": 69, "n_positions": 24, "n_layer": 2, "n_head": 2, "n_embd": 24},
    "llama": {"vocab_size": 69, "max_position_embeddings": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
              "hidden_size": 24, "intermediate_size": 72},
    "bert": {"vocab_size": 69, "max_position_embeddings": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
             "hidden_size": 24, "intermediate_size": 72},
    "bart": {"vocab_size": 69, "max_position_embeddings": 24, "d_model": 24, "encoder_layers": 2, "decoder_layers": 1,
             "encoder_attention_heads": 2, "decoder_attention_heads": 3, "encoder_ffn_dim": 72, "decoder_ffn_dim": 36,
             "pad_token_id": 1, "eos_token_id": 0, "decoder_start_token_id": 1, "forced_eos_token_id": 0},
}
BASE |= {"mistral": BASE["llama"] | {"num_key_value_heads": 2}, "mixtral": BASE["llama"] | {"num_key_value_heads": 1},
         **{name: BASE["llama"] | {"num_key_value_heads": 2} for name in ("qwen2", "qwen3", "olmo2", "smollm3",
                                                                          "gemma3_text")},
         "gpt_neox": BASE["llama"] | {"rotary_pct": 0.5},
         "roberta": BASE["bert"], "xlm-roberta": BASE["bert"], "marian": BASE["bart"],
         "t5": {"vocab_size": 69, "n_positions": 24, "num_layers": 2, "num_heads": 2, "d_model": 24, "d_ff": 72},
         "distilbert": {"vocab_size": 69, "max_position_embeddings": 24, "n_layers": 2, "n_heads": 2, "dim": 24,
                        "hidden_dim": 72}}
CONFIGS = {architecture: kind for kind in (GPTConfig, BERTConfig, EncoderDecoderConfig)
           for architecture in kind.ARCHITECTURES}
THEIRS = [name for name in OPTIONS if name not in OWN]  # those that transformers has
WITHOUT_DROPOUT = tuple(name for name in GPTConfig.ARCHITECTURES if name != "gpt2")


@pytest.fixture
def folder(tmp_path):
    """folder(architecture, generation=None, **options) writes a config.json and returns its folder."""
    def make(architecture, generation=None, **options):
        config = {"model_type": architecture} | BASE[architecture] | options
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
        if generation is not None:
            (tmp_path / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
        return tmp_path
    return make


def build(fields):
    """The configuration that the fields make, as models/auto.py does."""
    return CONFIGS[fields["architecture"]](**fields)


def resolved(fields):
    flags = [fields.pop(name) for name in ("attention_bias", "mlp_bias") if name in fields]
    return build(fields | ({"bias": any(flags)} if flags else {}))


@pytest.mark.parametrize("architecture", THEIRS)
def test_absent_options_are_what_transformers_takes(folder, architecture):
    config = resolved(read_config(folder(architecture)))
    assert config.n_embd == 24 and config.n_layer == 2 and config.vocab_size == 69
    assert config.dropout == (0.0 if architecture in WITHOUT_DROPOUT else 0.1)
    assert config.block_size == (22 if architecture in ("roberta", "xlm-roberta") else 24)


@pytest.mark.oracle
@pytest.mark.parametrize("architecture", THEIRS)
def test_defaults_are_those_of_transformers(architecture):
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(architecture)
    for row in OPTIONS[architecture]:
        theirs = getattr(config, row.theirs, None)
        resolved_by_them = row.theirs in ("num_key_value_heads", "head_dim") \
            or row.theirs == "sliding_window" and not getattr(config, "use_sliding_window", True)
        ours_alone = row.theirs == "bias" or architecture == "t5" and row.theirs in (
            "n_positions", "initializer_range", "num_decoder_layers")
        assert theirs == row.default or ours_alone or resolved_by_them, (row, theirs)


@pytest.mark.parametrize("architecture", THEIRS)
def test_what_is_written_is_read_back(folder, tmp_path, architecture):
    for head in CLASSES[architecture]:
        first = CLASSES[architecture][head][0]
        options = dict(architectures=[first], attention_bias=True, mlp_bias=True)
        if head is None:                                        # a tied decoder's embedding is an output as well
            options["tie_word_embeddings"] = False
        config = resolved(read_config(folder(architecture, **options)))
        write_config(tmp_path, config.to_dict() | {"head": config.head})
        assert resolved(read_config(tmp_path)) == config
        assert config.head == head and json.loads((tmp_path / "config.json").read_bytes())["architectures"] == [first]


@pytest.mark.parametrize("options, window", [({}, 4096), ({"sliding_window": None}, None), ({"sliding_window": 7}, 7)])
def test_mistrals_window(folder, tmp_path, options, window):
    config = resolved(read_config(folder("mistral", **options)))
    assert config.window == window
    write_config(tmp_path, config.to_dict())
    written = json.loads((tmp_path / "config.json").read_bytes())
    assert (written["model_type"], written["sliding_window"]) == ("mistral", window)  # null must be said: 4096 else
    assert resolved(read_config(tmp_path)) == config


@pytest.mark.parametrize("options", [
    {"rope_theta": 5000.0}, {"rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}},
    {"rope_theta": 5000.0, "rope_scaling": None}, {"rope_theta": 5000, "rope_parameters": {"rope_type": "default"}}])
def test_rope_of_transformers_4_and_5(folder, options):
    fields = read_config(folder("llama", **options))
    assert fields["rope_theta"] == 5000.0 and fields["rope_scaling"] is None


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8}


@pytest.mark.parametrize("options, scaling", [
    ({"rope_scaling": {"type": "linear", "factor": 2.0}}, {"rope_type": "linear", "factor": 2.0}),
    ({"rope_scaling": {"type": "linear", "rope_type": "linear", "factor": 2}}, {"rope_type": "linear", "factor": 2}),
    ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 10000.0} | LLAMA3}, {"rope_type": "llama3"} | LLAMA3),
])
def test_rope_scaling(folder, tmp_path, options, scaling):
    config = resolved(read_config(folder("llama", **options)))
    assert config.rope_scaling == scaling
    write_config(tmp_path, config.to_dict())
    assert resolved(read_config(tmp_path)) == config


def test_mixtral_has_its_own_base_of_rotary_positions_and_its_experts(folder):
    assert read_config(folder("mixtral"))["rope_theta"] == 1e6 and read_config(folder("llama"))["rope_theta"] == 1e4
    fields = read_config(folder("mixtral", num_local_experts=5, num_experts_per_tok=3, router_aux_loss_coef=0.02,
                                sliding_window=7))
    assert (fields["n_experts"], fields["n_experts_per_token"], fields["router_aux_loss_coef"]) == (5, 3, 0.02)
    assert fields["window"] == 7 and read_config(folder("mixtral"))["window"] is None
    with pytest.raises(ValueError, match="router_jitter_noise=0.1 is not supported; supported: "):
        read_config(folder("mixtral", router_jitter_noise=0.1))


def test_generation_config_has_the_last_word_on_ids(folder):
    generation = {"eos_token_id": [3, 4], "pad_token_id": None, "do_sample": True}
    fields = read_config(folder("gpt2", generation, eos_token_id=0, pad_token_id=5, bos_token_id=2))
    assert (fields["eos_token_id"], fields["pad_token_id"], fields["bos_token_id"]) == ((3, 4), None, 2)
    fields = read_config(folder("marian", {"bad_words_ids": [[1]], "forced_eos_token_id": [0]}))
    assert fields["suppress_token_ids"] == (1,) and fields["forced_eos_token_id"] == 0


@pytest.mark.parametrize("generation", [None, {"eos_token_id": 0}])
def test_rules_come_from_the_generation_config_where_there_is_one(folder, generation):
    """As in transformers: config.json is asked only in a folder without."""
    fields = read_config(folder("bart", generation, no_repeat_ngram_size=3, min_length=5))
    assert (fields["no_repeat_ngram_size"], fields["min_length"]) == ((3, 5) if generation is None else (0, 0))
    fields = read_config(folder("bart", {"no_repeat_ngram_size": 2, "min_length": None}))
    assert (fields["no_repeat_ngram_size"], fields["min_length"]) == (2, 0)
    with pytest.raises(ValueError, match="no_repeat_ngram_size must be an integer"):
        read_config(folder("bart", {"no_repeat_ngram_size": "3"}))


@pytest.mark.parametrize("architecture, asked, words", [
    ("bart", {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True},
     "num_beams=4, length_penalty=2.0, early_stopping=True only where"),
    ("marian", {"suppress_tokens": [3], "num_beams": 1, "length_penalty": 2.0}, "follows suppress_tokens=.3. not"),
    ("gpt2", {"min_length": 9, "bad_words_ids": [[5]]}, "min_length=9, bad_words_ids=..5.. not at all"),
    ("llama", {"repetition_penalty": 1.05, "stop_strings": ["x"]}, "repetition_penalty=1.05 only .* and stop_strings"),
])
def test_settings_that_are_not_followed_are_named(folder, architecture, asked, words):
    with pytest.warns(UserWarning, match=words):
        read_config(folder(architecture, asked))


@pytest.mark.parametrize("architecture", BASE)
def test_settings_that_change_nothing_are_not(folder, architecture):
    """Those that transformers 4 writes into every config.json, and how to sample, which is asked of the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_config(folder(architecture, num_beams=1, num_beam_groups=1, diversity_penalty=0.0, repetition_penalty=1.0,
                           length_penalty=1.0, early_stopping=False, no_repeat_ngram_size=0, min_length=0,
                           bad_words_ids=None, encoder_no_repeat_ngram_size=0, typical_p=1.0, suppress_tokens=None,
                           temperature=0.6, top_p=0.9, top_k=50, do_sample=True, max_length=20,
                           exponential_decay_length_penalty=None))


def test_another_models_generation_config_does_not_stay(tmp_path):
    write_config(tmp_path, GPTConfig(vocab_size=9, eos_token_id=4).to_dict())
    assert json.loads((tmp_path / "generation_config.json").read_bytes()) == {"eos_token_id": 4}
    config = GPTConfig(vocab_size=9, head="classification")
    write_config(tmp_path, config.to_dict())
    assert build(read_config(tmp_path)) == config


def test_ids_that_a_small_vocabulary_lacks_are_dropped(folder):
    assert read_config(folder("gpt2"))["eos_token_id"] is None               # transformers' default is 50256
    assert read_config(folder("llama", pad_token_id=-1))["pad_token_id"] is None


@pytest.mark.parametrize("classes, expected", [
    (["BertForPreTraining"], "masked_lm"), (["BertModel"], None), (None, "masked_lm"),
    (["BertForSequenceClassification"], "classification")])
def test_heads(folder, classes, expected):
    assert read_config(folder("bert", architectures=classes))["head"] == expected


def test_labels(folder):
    options = {"architectures": ["RobertaForSequenceClassification"], "id2label": {"0": "no", "1": "yes"}}
    assert read_config(folder("roberta", **options))["id2label"] == {0: "no", 1: "yes"}
    assert read_config(folder("roberta", architectures=options["architectures"], num_labels=5))["n_labels"] == 5


def test_a_folder_without_model_type(folder):
    assert read_config(folder("gpt2", model_type=None, architectures=["GPT2LMHeadModel"]))["architecture"] == "gpt2"


@pytest.mark.parametrize("architecture, options, message", [
    ("gpt2", {"model_type": "xlnet"}, "model_type='xlnet' is not supported; supported: gpt2, llama"),
    ("gpt2", {"model_type": ["gpt2"]}, "is not supported"),
    ("gpt2", {"architectures": ["GPT2ForTokens"]}, "is not supported for model_type='gpt2'; supported: GPT2LM"),
    ("gpt2", {"architectures": ["BertModel"]}, "is not supported for model_type='gpt2'"),
    ("gpt2", {"architectures": "GPT2Model"}, "architectures must be a list"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True is not supported"),
    ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights=False is not supported; supported: True"),
    ("gpt2", {"add_cross_attention": True}, "add_cross_attention=True is not supported"),
    ("gpt2", {"quantization_config": {"bits": 4}}, "quantization_config="),
    ("gpt2", {"activation_function": "tanh"}, "activation_function='tanh' is not supported; supported: gelu, gelu_new"),
    ("gpt2", {"n_embd": "24"}, "n_embd must be an integer of at least 1, got '24'"),
    ("gpt2", {"n_embd": 0}, "n_embd must be an integer of at least 1, got 0"),
    ("gpt2", {"n_layer": 1 << 40}, "n_layer must be an integer"),
    ("gpt2", {"resid_pdrop": True}, "resid_pdrop must be a finite number"),
    ("gpt2", {"layer_norm_epsilon": 10 ** 400}, "layer_norm_epsilon must be a finite number"),
    ("gpt2", {"tie_word_embeddings": 1}, "tie_word_embeddings must be true or false"),
    ("gpt2", {"eos_token_id": [1, "2"]}, "eos_token_id must be token ids or null"),
    ("bert", {"eos_token_id": [1, 2]}, "eos_token_id must be a token id or null"),
    ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key' is not supported"),
    ("bert", {"is_decoder": True}, "is_decoder=True is not supported"),
    ("bert", {"architectures": ["BertForSequenceClassification"], "id2label": {"1": "a"}}, "id2label must number"),
    ("roberta", {"max_position_embeddings": 2}, "must exceed pad_token_id"),
    ("llama", {"rope_scaling": ["linear"]}, "rope_parameters must be an object"),
    ("llama", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor=0.5 is not supported"),
    ("llama", {"rope_theta": "big"}, "rope_theta must be a finite number"),
    ("mistral", {"sliding_window": 0}, "sliding_window must be an integer of at least 1, got 0"),
    ("mistral", {"layer_types": ["full_attention"]}, "layer_types=.*is not supported"),
    ("gpt_neox", {"use_parallel_residual": False}, "use_parallel_residual=False is not supported; supported: True"),
    ("gemma3_text", {"final_logit_softcapping": 30.0}, "final_logit_softcapping=30.0 is not supported"),
    ("gemma3_text", {"layer_types": ["chunked_attention"] * 2}, "layer_types must name one of full_attention"),
    ("gemma3_text", {"rope_parameters": {"sliding_attention": 3}}, "is not supported; supported: an object for each"),
    ("qwen3", {"layer_types": ["full_attention"]}, "layer_types must name .* for each of the 2 layers"),
    ("qwen2", {"use_sliding_window": True, "max_window_layers": "x"}, "must be integers"),
    ("smollm3", {"no_rope_layers": [1, 2]}, "no_rope_layers must be 2 numbers 0 or 1"),
    ("smollm3", {"use_sliding_window": True}, "use_sliding_window=True is not supported"),
    ("smollm3", {"num_hidden_layers": 1 << 30}, "is more than the 65,536 that are read"),
    ("marian", {"share_encoder_decoder_embeddings": False}, "share_encoder_decoder_embeddings=False is not supported"),
    ("marian", {"bad_words_ids": [[1, 2]]}, "bad_words_ids=.*is not supported"),
])
def test_what_is_not_supported_is_named(folder, architecture, options, message):
    path = folder(architecture, **options)
    with pytest.raises(ValueError, match=f"config.json: .*{message}"):
        read_config(path)


def test_scalings_that_the_model_lacks_are_named(folder):
    fields = read_config(folder("llama", rope_scaling={"rope_type": "yarn", "factor": 4.0}))
    with pytest.raises(ValueError, match="rope_type='yarn' is not supported; choose one of 'linear', 'llama3'"):
        resolved(fields)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b'{"a": NaN}', b"[" * 10_000, b'{"a": 1, "a": 2}'])
def test_bad_json(tmp_path, text):
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(ValueError, match="config.json"):
        read_config(tmp_path)


def test_no_config(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no model folder: it holds no config.json"):
        read_config(tmp_path)


VALUES = st.none() | st.booleans() | st.integers(-5, 80) | st.integers() | st.floats() | st.text(max_size=4) \
    | st.lists(st.integers(-2, 80), max_size=3) | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)


@pytest.mark.filterwarnings("ignore:.*settings for generation")
@settings(deadline=None, max_examples=300)
@given(architecture=st.sampled_from(THEIRS), data=st.data())
def test_any_values_are_read_or_refused(tmp_path_factory, architecture, data):
    path = tmp_path_factory.getbasetemp()
    names = st.sampled_from([row.theirs for row in OPTIONS[architecture]]
                            + ["architectures", "id2label", "rope_scaling", "rope_parameters", "bad_words_ids",
                               "layer_types", "no_rope_layers", "no_rope_layer_interval", "sliding_window_pattern"])
    config = {"model_type": architecture} | BASE[architecture] | data.draw(st.dictionaries(names, VALUES, max_size=4))
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    try:
        resolved(read_config(path))
    except ValueError:
        pass

"""What tinygpt saves opens in transformers, and the other way round: equal logits, equal generated tokens."""

import dataclasses
import itertools
import warnings

import numpy as np
import pytest

from tinygpt.models import BERT, BERTConfig, EncoderDecoder, EncoderDecoderConfig, GPT, GPTConfig, load_model

pytestmark = pytest.mark.oracle

SIZES = dict(vocab_size=29, block_size=16, n_layer=2, n_head=4, n_embd=32, initializer_range=0.2)
LABELS = {0: "no", 1: "yes", 2: "perhaps"}
CONFIGS = {
    "gpt2": GPTConfig(**SIZES, bos_token_id=0, eos_token_id=0),
    "gpt2-untied": GPTConfig(**SIZES, tie_word_embeddings=False, n_inner=48, activation="relu"),
    "gpt2-without-bias": GPTConfig(**SIZES, bias=False, norm_epsilon=1e-3),
    "gpt2-gelu": GPTConfig(**SIZES, activation="gelu"),
    "gpt2-relu2": GPTConfig(**SIZES, activation="relu2"),
    "llama": GPTConfig(**SIZES, architecture="llama", n_kv_head=2, eos_token_id=(1, 2)),
    "llama-bias": GPTConfig(**SIZES, architecture="llama", bias=True, head_dim=6, tie_word_embeddings=False),
    "llama-linear": GPTConfig(**SIZES, architecture="llama", rope_theta=500.0,
                              rope_scaling={"rope_type": "linear", "factor": 4.0}),
    "llama-3": GPTConfig(**SIZES, architecture="llama", rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8}),
    "mixtral": GPTConfig(**SIZES, architecture="mixtral", n_kv_head=2, n_experts=4, eos_token_id=(1, 2)),
    "mixtral-untied": GPTConfig(**SIZES, architecture="mixtral", tie_word_embeddings=False, n_experts=3,
                                n_experts_per_token=1, n_inner=24, activation="gelu"),
    "mixtral-classifier": GPTConfig(**SIZES, architecture="mixtral", head="classification", n_labels=2, pad_token_id=0),
    "mistral": GPTConfig(**SIZES, architecture="mistral", n_kv_head=2, window=4, eos_token_id=(1, 2)),
    "mistral-untied": GPTConfig(**SIZES, architecture="mistral", window=2, head_dim=6, rope_theta=500.0,
                                tie_word_embeddings=False),
    "mistral-causal": GPTConfig(**SIZES, architecture="mistral", window=None),
    "mistral-classifier": GPTConfig(**SIZES, architecture="mistral", window=3, head="classification", n_labels=2,
                                    pad_token_id=0),
    "mixtral-window": GPTConfig(**SIZES, architecture="mixtral", n_kv_head=2, window=4, n_experts=3),
    "qwen2": GPTConfig(**SIZES, architecture="qwen2", n_kv_head=2, window=4, layers=("full", "window")),
    "qwen3": GPTConfig(**SIZES, architecture="qwen3", head_dim=12, n_kv_head=1, tie_word_embeddings=False),
    "olmo2": GPTConfig(**SIZES, architecture="olmo2", n_kv_head=2),
    "smollm3": GPTConfig(**SIZES, architecture="smollm3", layers=("still", "full"), bias=True),
    "gpt_neox": GPTConfig(**SIZES, architecture="gpt_neox", rotary_share=0.5, tie_word_embeddings=False),
    "gemma3_text": GPTConfig(**SIZES, architecture="gemma3_text", n_kv_head=2, window=3, layers=("window", "full"),
                             local_rope_theta=50.0, rope_theta=500.0, attention_scale=0.5),
    "qwen3-classifier": GPTConfig(**SIZES, architecture="qwen3", head="classification", n_labels=2, pad_token_id=0),
    "xlm-roberta-masked": BERTConfig(**SIZES, architecture="xlm-roberta", head="masked_lm"),
    "distilbert-masked": BERTConfig(**SIZES, architecture="distilbert", head="masked_lm"),
    "distilbert-classifier": BERTConfig(**SIZES, architecture="distilbert", head="classification", id2label=LABELS),
    "gpt2-classifier": GPTConfig(**SIZES, head="classification", id2label=LABELS, pad_token_id=0),
    "llama-classifier": GPTConfig(**SIZES, architecture="llama", head="classification", n_labels=2, pad_token_id=0),
    "bert": BERTConfig(**SIZES),
    "bert-masked": BERTConfig(**SIZES, head="masked_lm", activation="gelu_tanh"),
    "bert-masked-untied": BERTConfig(**SIZES, head="masked_lm", tie_word_embeddings=False),
    "bert-classifier": BERTConfig(**SIZES, head="classification", id2label=LABELS),
    "roberta-masked": BERTConfig(**SIZES, architecture="roberta", head="masked_lm", activation="relu"),
    "roberta-masked-untied": BERTConfig(**SIZES, architecture="roberta", head="masked_lm", tie_word_embeddings=False),
    "roberta-classifier": BERTConfig(**SIZES, architecture="roberta", head="classification", n_labels=3,
                                     pad_token_id=4),
    "bart": EncoderDecoderConfig(**SIZES, architecture="bart", n_decoder_layer=1, n_inner=40, n_decoder_inner=24,
                                 n_decoder_head=2, bos_token_id=0, eos_token_id=2, forced_eos_token_id=2),
    "bart-untied": EncoderDecoderConfig(**SIZES, architecture="bart", tie_word_embeddings=False, eos_token_id=2,
                                        scale_embedding=True, forced_bos_token_id=5),
    "bart-rules": EncoderDecoderConfig(**SIZES, architecture="bart", eos_token_id=2, no_repeat_ngram_size=2,
                                       min_length=5, forced_eos_token_id=2),
    "marian": EncoderDecoderConfig(**SIZES, eos_token_id=0, activation="silu", forced_eos_token_id=0),
    "marian-untied": EncoderDecoderConfig(**SIZES, eos_token_id=0, tie_word_embeddings=False, scale_embedding=False),
}
CLASSES = {GPTConfig: GPT, BERTConfig: BERT, EncoderDecoderConfig: EncoderDecoder}
AUTO = {"lm": "AutoModelForCausalLM", "classification": "AutoModelForSequenceClassification",
        "masked_lm": "AutoModelForMaskedLM", None: "AutoModel"}


@pytest.fixture(scope="module")
def transformers():
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def opened(transformers, folder, config):
    """The folder as transformers reads it, which must find every tensor it wants and no other."""
    auto = "AutoModelForSeq2SeqLM" if isinstance(config, EncoderDecoderConfig) else AUTO[config.head]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                                     # their own deprecations
        theirs, info = getattr(transformers, auto).from_pretrained(folder, output_loading_info=True)
    missing = {name for name in info["missing_keys"] if "pooler" not in name}
    assert not missing and not info["unexpected_keys"] and not info["mismatched_keys"], info
    return theirs.eval()


def random_model(config, seed=0):
    """A model all of whose parameters, biases and norms included, are random."""
    model, rng = CLASSES[type(config)](config).eval(), np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.data = parameter.data + rng.normal(0, 0.1, parameter.shape).astype(np.float32)
    return model


def batch(config, seed=1):
    """ids and mask, padded on the right, that no id of special meaning in transformers stands in by chance."""
    rng = np.random.default_rng(seed)
    ids, mask = rng.integers(6, config.vocab_size, (3, 9)), np.ones((3, 9), np.int64)
    mask[1, 6:] = mask[2, 3:] = 0
    return np.where(mask, ids, config.pad_token_id or 0), mask


def logits_of(model, config, ids, mask, decoder_ids):
    return model(ids, decoder_ids, attention_mask=mask).data if isinstance(config, EncoderDecoderConfig) \
        else model(ids, attention_mask=mask).data


@pytest.mark.parametrize("kind", CONFIGS)
def test_both_ways(transformers, tmp_path, kind):
    torch = pytest.importorskip("torch")
    config = CONFIGS[kind]
    model = random_model(config)
    model.save_pretrained(tmp_path / "ours")
    theirs = opened(transformers, tmp_path / "ours", config)
    ids, mask = batch(config)
    decoder_ids = np.random.default_rng(2).integers(6, config.vocab_size, (3, 5))
    ours = logits_of(model, config, ids, mask, decoder_ids)
    arguments = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
    if isinstance(config, EncoderDecoderConfig):
        arguments["decoder_input_ids"] = torch.tensor(decoder_ids)
    with torch.no_grad():
        output = theirs(**arguments)
    expected = (output.last_hidden_state if config.head is None else output.logits).numpy()
    counted = mask == 1 if expected.shape[:2] == mask.shape else ...
    np.testing.assert_allclose(ours[counted], expected[counted], rtol=0, atol=1e-4)
    if config.head == "classification":
        assert theirs.config.id2label == config.id2label
    if config.head == "classification" and isinstance(config, GPTConfig):   # without a mask, padding is known by its id
        with torch.no_grad():
            expected = theirs(torch.tensor(ids)).logits.numpy()
        np.testing.assert_allclose(model(ids).data, expected, rtol=0, atol=1e-4)

    theirs.save_pretrained(tmp_path / "theirs")                             # and back, as transformers writes it
    again = load_model(tmp_path / "theirs")
    assert type(again) is type(model)
    np.testing.assert_array_equal(logits_of(again, config, ids, mask, decoder_ids), ours)
    for name in ("architecture", "head", "activation", "tie_word_embeddings", "norm_epsilon", "block_size", "window"):
        assert getattr(again.config, name, None) == getattr(config, name, None), name


def until_end(tokens, ends):
    """The tokens up to the first that ends a text: what follows is padding."""
    ends = ends if isinstance(ends, tuple) else (ends,)
    last = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[:last + 1].tolist()


@pytest.mark.filterwarnings("ignore:Unfeasible length")    # theirs, where the least length is above the most
@pytest.mark.parametrize("kind, rules", [
    ("gpt2", dict(eos_token_id=(3, 11))), ("llama", {}), ("mistral", {}), ("bart", {}),
    ("bart", dict(forced_bos_token_id=7)),
    ("marian", dict(suppress_token_ids=(1, 8, 9))), ("bart-rules", {}),
    ("marian", dict(no_repeat_ngram_size=1, min_length=4)),
    ("marian", dict(suppress_token_ids=(1, 8), renormalize_logits=True)),
    ("marian", dict(suppress_token_ids=(0, 1), forced_eos_token_id=None)),  # the end itself is not suppressed
])
def test_beam_search_in_every_setting(transformers, tmp_path, kind, rules):
    torch = pytest.importorskip("torch")
    config = dataclasses.replace(CONFIGS[kind], block_size=24, tie_word_embeddings=False, **rules)
    model = random_model(config, seed=4)
    if isinstance(model, EncoderDecoder):                   # let texts end at many lengths
        model.lm_head.bias.data[config.eos_token_id] += 2
    model.save_pretrained(tmp_path)
    theirs = opened(transformers, tmp_path, config)
    ids, mask = batch(config, seed=5)
    if isinstance(config, GPTConfig):                       # prompts are padded on the left
        ids, mask = ids[:, ::-1].copy(), mask[:, ::-1].copy()
    pad = config.pad_token_id if config.pad_token_id is not None else 28
    different = set()
    for beams, penalty, early, new in itertools.product((2, 3, 6), (0.0, 0.6, 2.0, -0.5), (False, True, "never"),
                                                        (1, 10)):
        with torch.no_grad():
            expected = theirs.generate(
                torch.tensor(ids), attention_mask=torch.tensor(mask), max_new_tokens=new, do_sample=False,
                num_beams=beams, length_penalty=penalty, early_stopping=early, pad_token_id=pad).numpy()
        ours = model.generate(ids, attention_mask=mask, max_new_tokens=new, num_beams=beams, length_penalty=penalty,
                              early_stopping=early)
        start = ids.shape[1] if isinstance(config, GPTConfig) else 1
        rows = [until_end(row[start:], config.eos_token_id) for found in (ours, expected) for row in found]
        assert rows[:len(ids)] == rows[len(ids):], (beams, penalty, early, new)
        different.add(str(rows))
    assert len(different) > 3                               # the settings matter


@pytest.mark.parametrize("kind", [kind for kind in CONFIGS if "masked" not in kind and "classifier" not in kind
                                  and kind != "bert"])
@pytest.mark.parametrize("beams", [1, 3])
def test_generation_with_all_rules_on(transformers, tmp_path, kind, beams):
    torch = pytest.importorskip("torch")
    config = CONFIGS[kind]
    model = random_model(config, seed=3)
    model.save_pretrained(tmp_path)
    theirs = opened(transformers, tmp_path, config)
    ids, mask = batch(config)
    if isinstance(config, GPTConfig):
        ids, mask = ids[:1, :6], mask[:1, :6]
    with torch.no_grad():
        expected = theirs.generate(torch.tensor(ids), attention_mask=torch.tensor(mask), max_new_tokens=7,
                                   min_new_tokens=None, do_sample=False, num_beams=beams, length_penalty=0.8,
                                   pad_token_id=config.pad_token_id or 0).numpy()
    ours = model.generate(ids, attention_mask=mask, max_new_tokens=7, temperature=0.0, num_beams=beams,
                          length_penalty=0.8)
    pad = config.pad_token_id if config.pad_token_id is not None else 0
    width = max(ours.shape[1], expected.shape[1])
    filled = [np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=pad) for rows in (ours, expected)]
    np.testing.assert_array_equal(*filled)

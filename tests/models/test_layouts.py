"""Random models that transformers makes, in every layout and in both widths of file, give its logits and its texts
here, and go back; each layout has the gradients of its function."""

import numpy as np
import pytest

from tinygpt.models import GPT, GPTConfig, load_model
from tinygpt.testing import check_model

SIZES = dict(vocab_size=61, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=48,
             max_position_embeddings=64, initializer_range=0.3, bos_token_id=1, eos_token_id=2, pad_token_id=0)
DISTIL = dict(vocab_size=61, dim=32, n_layers=3, n_heads=4, hidden_dim=48, max_position_embeddings=64,
              initializer_range=0.3)
XLM = SIZES | dict(pad_token_id=1, bos_token_id=0, type_vocab_size=1)
GROUPED = SIZES | dict(num_key_value_heads=2)
WINDOWS = dict(use_sliding_window=True, sliding_window=4, max_window_layers=2)
MADE = {  # by name: class of the configuration, class of the model, options
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", GROUPED),
    "qwen2-window": ("Qwen2Config", "Qwen2ForCausalLM", GROUPED | WINDOWS | dict(tie_word_embeddings=True)),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", GROUPED | dict(head_dim=16, attention_bias=True)),
    "qwen3-classifier": ("Qwen3Config", "Qwen3ForSequenceClassification", GROUPED | dict(head_dim=16, num_labels=3)),
    "qwen3-base": ("Qwen3Config", "Qwen3Model", GROUPED | dict(head_dim=16)),
    "olmo2": ("Olmo2Config", "Olmo2ForCausalLM", GROUPED),
    "smollm3": ("SmolLM3Config", "SmolLM3ForCausalLM", GROUPED),
    "smollm3-layers": ("SmolLM3Config", "SmolLM3ForCausalLM", GROUPED | dict(no_rope_layers=[0, 1, 0, 1])),
    "gpt_neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM", SIZES | dict(rotary_pct=0.5)),
    "gpt_neox-base": ("GPTNeoXConfig", "GPTNeoXModel", SIZES),
    "gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM", GROUPED | dict(
        head_dim=16, query_pre_attn_scalar=24, sliding_window=4,
        layer_types=["sliding_attention", "full_attention"] * 2)),
    "gemma3-pattern": ("Gemma3TextConfig", "Gemma3ForCausalLM", SIZES | dict(
        num_key_value_heads=1, head_dim=8, sliding_window=3, num_hidden_layers=7)),
    "xlm-roberta": ("XLMRobertaConfig", "XLMRobertaForMaskedLM", XLM),
    "xlm-roberta-classifier": ("XLMRobertaConfig", "XLMRobertaForSequenceClassification", XLM | dict(num_labels=3)),
    "distilbert": ("DistilBertConfig", "DistilBertForMaskedLM", DISTIL),
    "distilbert-classifier": ("DistilBertConfig", "DistilBertForSequenceClassification", DISTIL | dict(num_labels=2)),
    "distilbert-base": ("DistilBertConfig", "DistilBertModel", DISTIL),
}


@pytest.fixture(scope="module")
def transformers():
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def scores(torch, model, ids, mask):
    with torch.no_grad():
        output = model(torch.tensor(ids), attention_mask=torch.tensor(mask))
    return (output.logits if hasattr(output, "logits") else output.last_hidden_state).numpy()


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("width", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", MADE)
def test_a_model_that_transformers_made(transformers, tmp_path, name, width):
    torch = pytest.importorskip("torch")
    config, kind, options = MADE[name]
    kind = getattr(transformers, kind)
    torch.manual_seed(0)
    theirs = kind(getattr(transformers, config)(**options))
    with torch.no_grad():
        for parameter in theirs.parameters():                                # norms and biases too
            parameter.add_(torch.randn_like(parameter) * 0.1)
    theirs.to(getattr(torch, width)).save_pretrained(tmp_path)
    theirs = kind.from_pretrained(tmp_path, dtype=torch.float32).eval()

    ours = load_model(tmp_path)
    rng, generates = np.random.default_rng(0), kind.__name__.endswith("ForCausalLM")
    ids, mask = rng.integers(5, 60, (2, 12)), np.ones((2, 12), np.int64)
    mask[1, :5] = 0                                                          # prompts are padded on the left
    if not generates:
        mask = mask[:, ::-1].copy()
    padded = np.where(mask, ids, ours.config.pad_token_id)
    expected = scores(torch, theirs, padded, mask)
    counted = mask == 1 if expected.shape[:2] == mask.shape else ...
    np.testing.assert_allclose(ours(padded, attention_mask=mask).data[counted], expected[counted], rtol=0, atol=1e-4)
    assert np.abs(expected).max() > 1
    if generates:
        with torch.no_grad():
            wanted = theirs.generate(torch.tensor(ids[:1]), max_new_tokens=15, do_sample=False).numpy()
        np.testing.assert_array_equal(ours.generate(ids[:1], 15, temperature=0.0), wanted)

    ours.save_pretrained(tmp_path / "back")
    again, info = kind.from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(info.values()), info
    np.testing.assert_allclose(scores(torch, again.eval(), padded, mask)[counted], expected[counted], rtol=0, atol=1e-4)
    assert load_model(tmp_path / "back").config == ours.config


TINY = dict(vocab_size=7, block_size=8, n_layer=2, n_head=2, n_embd=8, n_inner=6, initializer_range=0.4)
LAYOUTS = {
    "qwen2": dict(n_kv_head=1), "qwen3": dict(n_kv_head=1, head_dim=6), "olmo2": dict(n_kv_head=1),
    "smollm3": dict(layers=("full", "still")), "gpt_neox": dict(rotary_share=0.5),
    "gemma3_text": dict(layers=("window", "full"), window=2, local_rope_theta=10.0, attention_scale=0.4),
}


@pytest.mark.parametrize("architecture", LAYOUTS)
def test_causality_cache_padding_and_gradients(architecture):
    model = GPT(GPTConfig(**TINY, architecture=architecture, **LAYOUTS[architecture])).to(dtype="float64")
    rng = np.random.default_rng(1)
    for parameter in model.parameters():
        parameter.data = parameter.data + rng.normal(0, 0.2, parameter.shape)
    assert check_model(model, rng.integers(0, 7, (2, 6)))


@pytest.mark.parametrize("architecture", LAYOUTS)
def test_a_cache_changes_nothing(architecture):
    model = GPT(GPTConfig(**TINY | dict(block_size=30), architecture=architecture, **LAYOUTS[architecture])).eval()
    ids = np.random.default_rng(2).integers(0, 7, (3, 6))
    mask = np.ones((3, 6), np.int64)
    mask[0, :2] = mask[1, :5] = 0
    settings = dict(max_new_tokens=20, temperature=0.0, attention_mask=mask)
    np.testing.assert_array_equal(model.generate(ids, **settings), model.generate(ids, use_cache=False, **settings))


@pytest.mark.parametrize("options, message", [
    (dict(architecture="llama", layers=("full", "full")), "'llama' has no layers; qwen2, qwen3, smollm3, gemma3_text"),
    (dict(architecture="gpt2", rotary_share=0.5), "'gpt2' has no rotary_share; gpt_neox has"),
    (dict(architecture="qwen3", layers=("full",)), "for each of the 2 blocks"),
    (dict(architecture="qwen3", layers=("full", "strange")), "must name one of 'full', 'window' for each"),
    (dict(architecture="smollm3", layers=("full", "window"), window=2), "'smollm3' has no layers with a window"),
    (dict(architecture="smollm3", layers=("full", "window")), "must name one of 'full', 'still' for each"),
    (dict(architecture="gemma3_text", layers=("full", "still")), "must name one of 'full', 'window' for each"),
    (dict(architecture="qwen2", layers=("full", "full"), window=2), "window=2 is for layers that look at a window"),
    (dict(architecture="gpt_neox", positions="alibi", rotary_share=0.5), "rotary_share needs rotary positions"),
    (dict(architecture="gemma3_text", positions="alibi", local_rope_theta=5.0), "local_rope_theta needs rotary"),
    (dict(architecture="qwen3", layers=("full", "window")), "need window"),
    (dict(architecture="gpt_neox", rotary_share=0.1), "head_dim must be even, got 0"),
    (dict(architecture="gpt_neox", rotary_share=2.0), "rotary_share must be more than 0"),
    (dict(architecture="gemma3_text", attention_scale=-1.0), "attention_scale must be more than 0"),
    (dict(architecture="qwen2", bias=False), "always has biases"),
])
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        GPTConfig(**TINY, **options)


def test_a_window_given_alone_is_every_blocks():
    ids = [[1, 2, 3, 4, 5]]
    for architecture in ("qwen2", "qwen3"):
        model = GPT(GPTConfig(**TINY, architecture=architecture, window=1)).eval()
        assert model.config.layers == ("window", "window")
        np.testing.assert_array_equal(model(ids).data[0, -1], model([[4, 4, 4, 4, 5]]).data[0, -1])


def test_a_model_without_a_head_gives_its_features():
    model = GPT(GPTConfig(**TINY, architecture="llama", head=None)).eval()
    assert model([[1, 2, 3]]).shape == (1, 3, 8)
    with pytest.raises(ValueError, match="a model without a head does not generate text"):
        model.generate([[1]], 2)

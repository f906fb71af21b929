"""Folders: both ways without loss, every public variation read alike, and everything that does not fit named."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tinygpt.models.config import BERTConfig, EncoderDecoderConfig, GPTConfig
from tinygpt.nn.sinusoidal import sinusoidal_table
from tinygpt.pretrained import SafetensorsFile, read_folder, write_folder, write_safetensors
from tinygpt.pretrained.names import sizes
from tinygpt.pretrained.tables import TABLES, names_of

SIZES = dict(vocab_size=13, block_size=7, n_layer=2, n_head=2, n_embd=8)
CONFIGS = {
    "gpt2": GPTConfig(**SIZES, n_inner=20),
    "gpt2-untied": GPTConfig(**SIZES, tie_word_embeddings=False, eos_token_id=0, dropout=0.1),
    "gpt2-without-bias": GPTConfig(**SIZES, bias=False, activation="relu"),
    "gpt2-alibi": GPTConfig(**SIZES, positions="alibi"),
    "gpt2-rotary-gated": GPTConfig(**SIZES, positions="rotary", feed_forward="gated", rope_theta=500.0,
                                   rope_scaling={"rope_type": "linear", "factor": 2.0}),
    "gpt2-gated-without-bias": GPTConfig(**SIZES, feed_forward="gated", bias=False),
    "llama-learned-plain": GPTConfig(**SIZES, architecture="llama", positions="learned", feed_forward="plain"),
    "gpt2-window": GPTConfig(**SIZES, window=3),
    "mistral": GPTConfig(**SIZES, architecture="mistral", n_kv_head=1, window=3, head_dim=6),
    "gpt2-classifier": GPTConfig(**SIZES, head="classification", n_labels=3, pad_token_id=0),
    "llama": GPTConfig(**SIZES, architecture="llama", n_kv_head=1, eos_token_id=(1, 2)),
    "llama-wide": GPTConfig(**SIZES, architecture="llama", head_dim=6, bias=True, tie_word_embeddings=False,
                            rope_theta=500.0, rope_scaling={"rope_type": "linear", "factor": 2.0}),
    "mixtral": GPTConfig(**SIZES, architecture="mixtral", n_kv_head=1, n_inner=6, n_experts=3,
                         router_aux_loss_coef=0.02),
    "qwen2": GPTConfig(**SIZES, architecture="qwen2", n_kv_head=1, window=3, layers=("full", "window")),
    "qwen3": GPTConfig(**SIZES, architecture="qwen3", n_kv_head=1, head_dim=6, bias=True),
    "olmo2": GPTConfig(**SIZES, architecture="olmo2", n_kv_head=1, tie_word_embeddings=False),
    "smollm3": GPTConfig(**SIZES, architecture="smollm3", layers=("still", "full")),
    "gpt_neox": GPTConfig(**SIZES, architecture="gpt_neox", rotary_share=0.5, tie_word_embeddings=False),
    "gemma3_text": GPTConfig(**SIZES, architecture="gemma3_text", window=3, local_rope_theta=50.0, rope_theta=500.0,
                             attention_scale=0.25),
    "llama-base": GPTConfig(**SIZES, architecture="llama", head=None, tie_word_embeddings=False),
    "gpt_neox-base": GPTConfig(**SIZES, architecture="gpt_neox", head=None, tie_word_embeddings=False,
                               rotary_share=1.0),
    "xlm-roberta": BERTConfig(**SIZES, architecture="xlm-roberta", head="masked_lm"),
    "distilbert": BERTConfig(**SIZES, architecture="distilbert"),
    "distilbert-masked": BERTConfig(**SIZES, architecture="distilbert", head="masked_lm"),
    "distilbert-classifier": BERTConfig(**SIZES, architecture="distilbert", head="classification", n_labels=3),
    "bert": BERTConfig(**SIZES),
    "bert-masked": BERTConfig(**SIZES, head="masked_lm", activation="relu"),
    "bert-masked-untied": BERTConfig(**SIZES, head="masked_lm", tie_word_embeddings=False),
    "bert-classifier": BERTConfig(**SIZES, head="classification", id2label={0: "no", 1: "yes", 2: "perhaps"}),
    "roberta-masked": BERTConfig(**SIZES, architecture="roberta", head="masked_lm", pad_token_id=3),
    "roberta-classifier": BERTConfig(**SIZES, architecture="roberta", head="classification", norm_epsilon=1e-6),
    "bart": EncoderDecoderConfig(**SIZES, architecture="bart", n_decoder_layer=1, n_inner=20, n_decoder_inner=12,
                                 n_decoder_head=4, bos_token_id=0, eos_token_id=2, forced_eos_token_id=2),
    "bart-untied": EncoderDecoderConfig(**SIZES, architecture="bart", tie_word_embeddings=False),
    "marian": EncoderDecoderConfig(**SIZES, eos_token_id=0, suppress_token_ids=(1,), activation="silu"),
    "marian-untied": EncoderDecoderConfig(**SIZES, tie_word_embeddings=False, n_decoder_layer=0),
}


def fields_of(config):
    return config.to_dict() | {"head": config.head}


def random_state(config, seed=0):
    """Random weights under our names, for every entry of the table that the configuration has."""
    rng, symbols, state = np.random.default_rng(seed), sizes(fields_of(config)), {}
    for entry in names_of(fields_of(config)).of(fields_of(config)):
        if not entry.option or config.bias:
            rows = sum(symbols[symbol] for symbol in entry.rows)
            shape = (rows, symbols[entry.columns]) if entry.columns else (rows,)
            state[entry.ours] = rng.normal(size=shape).astype(np.float32)
    return state


def assert_reads(folder, config, state):
    fields, read = read_folder(folder)
    assert type(config)(**fields) == config
    assert sorted(read) == sorted(state)
    for name, array in read.items():
        assert array.dtype == np.float32 and array.flags.c_contiguous and array.flags.writeable
        np.testing.assert_array_equal(array, state[name], err_msg=name)


@pytest.fixture(params=CONFIGS)
def saved(request, tmp_path):
    """A folder of each kind, its configuration and weights."""
    config = CONFIGS[request.param]
    state = random_state(config)
    write_folder(tmp_path, fields_of(config), state)
    return tmp_path, config, state


def rewrite(folder, change):
    """Replace the tensors of a folder by `change(dict of arrays)`."""
    tensors = change(dict(SafetensorsFile(folder / "model.safetensors")))
    write_safetensors(folder / "model.safetensors", tensors, {"format": "pt"})


def reconfigure(folder, **options):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | options), encoding="utf-8")


def renamed(pairs):
    """A change of the tensors' names."""
    def change(tensors):
        for old, new in pairs:
            tensors = {name.replace(old, new): array for name, array in tensors.items()}
        return tensors
    return change


def test_both_ways(saved):
    assert_reads(*saved)


@settings(deadline=None, max_examples=40)
@given(kind=st.sampled_from(list(CONFIGS)), layers=st.integers(0, 2), heads=st.integers(1, 3), seed=st.integers(0, 99))
def test_any_size_both_ways(tmp_path_factory, kind, layers, heads, seed):
    base = CONFIGS[kind].to_dict()
    base |= {"n_layer": layers, "n_head": heads, "n_embd": 4 * heads, "vocab_size": 11 + heads}
    follow = ("layers", "n_kv_head", "head_dim", "n_inner", "n_decoder_layer", "n_decoder_head", "n_decoder_inner")
    config = type(CONFIGS[kind])(**base | {name: None for name in follow if name in base})
    folder, state = tmp_path_factory.getbasetemp() / "any", random_state(config, seed)
    write_folder(folder, fields_of(config), state)
    assert_reads(folder, config, state)


def test_saving_twice_gives_the_same_bytes(saved):
    folder, config, state = saved
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_folder(folder, fields_of(config), dict(reversed(state.items())))
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_base_prefix_may_be_absent(saved):
    folder, config, state = saved
    prefix = TABLES[config.architecture].prefix
    rewrite(folder, lambda tensors: {name.removeprefix(prefix): array for name, array in tensors.items()})
    assert_reads(folder, config, state)


def test_the_base_prefix_may_be_present(saved):
    folder, config, state = saved
    prefix = TABLES[config.architecture].prefix
    if config.head is not None:
        pytest.skip("with a head, the prefix is there already")
    rewrite(folder, lambda tensors: {prefix + name: array for name, array in tensors.items()})
    assert_reads(folder, config, state)


def test_duplicates_of_tied_tensors(saved):
    folder, config, state = saved
    tied = next(entry for entry in TABLES[config.architecture].of(fields_of(config)))
    first, array = tied.theirs[0], state[tied.ours]
    whole = dict(SafetensorsFile(folder / "model.safetensors"))
    rest = {name: value for name, value in whole.items() if not np.array_equal(value, array)}
    rewrite(folder, lambda _: whole | dict.fromkeys(tied.copies, array))
    assert_reads(folder, config, state)
    for copy in tied.copies:
        rewrite(folder, lambda _: rest | {copy: array})                     # the copy alone serves as well
        assert_reads(folder, config, state)
        rewrite(folder, lambda _: whole | {copy: array + 1})
        with pytest.raises(ValueError, match=f"'{copy}' differs from '{first}', but tie_word_embeddings is true"):
            read_folder(folder)


def test_masked_models_name_their_output_bias_twice(tmp_path):
    for kind, first, second in (("bert-masked", "cls.predictions.bias", "cls.predictions.decoder.bias"),
                                ("roberta-masked", "lm_head.bias", "lm_head.decoder.bias")):
        config = CONFIGS[kind]
        state = random_state(config)
        write_folder(tmp_path, fields_of(config), state)
        for dropped in (first, second):
            rewrite(tmp_path, lambda tensors: {name: array for name, array in tensors.items() if name != dropped})
            assert_reads(tmp_path, config, state)
            write_folder(tmp_path, fields_of(config), state)


IGNORED = {
    **dict.fromkeys(("qwen2", "qwen3", "olmo2", "smollm3", "gemma3_text"),
                    {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(2, np.float32)}),
    "gpt_neox": {"gpt_neox.layers.0.attention.rotary_emb.inv_freq": np.ones(2, np.float32),
                 "layers.1.attention.bias": np.ones((1, 1, 7, 7), np.uint8)},
    "xlm-roberta": {"roberta.embeddings.position_ids": np.arange(7)[None]},
    "distilbert": {"distilbert.embeddings.position_ids": np.arange(7)[None]},
    "gpt2": {"transformer.h.0.attn.bias": np.tril(np.ones((1, 1, 7, 7), np.float32)),
             "h.1.attn.masked_bias": np.float32(-1e4) * np.ones((), np.float32)},
    "llama": {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(2, np.float32)},
    "mixtral": {"model.layers.1.self_attn.rotary_emb.inv_freq": np.ones(2, np.float32)},
    "mistral": {"model.rotary_emb.inv_freq": np.ones(2, np.float32)},
    "bert": {"bert.embeddings.position_ids": np.arange(7)[None], "cls.seq_relationship.weight": np.ones((2, 8)),
             "cls.seq_relationship.bias": np.ones(2)},
    "roberta": {"roberta.embeddings.position_ids": np.arange(7)[None]},
    "bart": {"encoder.version": np.ones(1, np.float32), "model.decoder.version": np.ones(1, np.float32)},
    "marian": {"model.encoder.embed_positions.weight": sinusoidal_table(7, 8)},
}


def test_buffers_and_unused_heads_are_ignored(saved):
    folder, config, state = saved
    rewrite(folder, lambda tensors: tensors | IGNORED[config.architecture])
    if config.head == "masked_lm" and config.architecture != "distilbert":  # as a BertForPreTraining has it
        prefix = config.architecture.removeprefix("xlm-")
        rewrite(folder, lambda tensors: tensors | {f"{prefix}.pooler.dense.bias": np.ones(8, np.float32)})
    assert_reads(folder, config, state)


def test_other_positions_than_sines_are_refused(tmp_path):
    config = CONFIGS["marian"]
    for table in (np.ones((7, 8), np.float32), sinusoidal_table(7, 8)[:, ::-1], np.ones((2, 7, 8), np.float32)):
        write_folder(tmp_path, fields_of(config), random_state(config))
        rewrite(tmp_path, lambda tensors: tensors | {"model.decoder.embed_positions.weight": table})
        with pytest.raises(ValueError, match="'model.decoder.embed_positions.weight' is not the table of sines"):
            read_folder(tmp_path)


@pytest.mark.parametrize("wrapped", ["_orig_mod.", "part"])
def test_weights_wrapped_by_torch_compile(saved, wrapped):
    folder, config, state = saved
    rewrite(folder, lambda tensors: {wrapped + name if wrapped != "part" else name.replace(".0.", ".0._orig_mod.", 1):
                                     array for name, array in tensors.items()})
    assert_reads(folder, config, state)


def test_a_decoder_without_a_head_is_written_as_the_base_class(tmp_path):
    config = CONFIGS["llama-base"]
    write_folder(tmp_path, fields_of(config), random_state(config))
    assert json.loads((tmp_path / "config.json").read_bytes())["architectures"] == ["LlamaModel"]
    assert "layers.0.mlp.up_proj.weight" in SafetensorsFile(tmp_path / "model.safetensors")


@pytest.mark.parametrize("dtype, width", [("F8_E4M3", 1), ("F8_E5M2", 1), ("F4", 0.5), ("I8", 1), ("U8", 1)])
def test_quantised_tensors_are_named(gpt2, dtype, width):
    path = gpt2 / "model.safetensors"
    header, data, name = {}, b"", "transformer.h.1.mlp.c_fc.weight"
    for stored, array in SafetensorsFile(path).items():
        raw = bytes(int(array.size * width)) if stored == name else array.tobytes()
        header[stored] = {"dtype": dtype if stored == name else "F32", "shape": array.shape,
                          "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    encoded = json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)
    with pytest.raises(ValueError, match=f"'{name}' holds {dtype}; weights must be F64, F32, F16, BF16"):
        read_folder(gpt2)
    if dtype.startswith("F"):
        with pytest.raises(ValueError, match=f"'{name}' holds {dtype}, which is not read"):
            SafetensorsFile(path)[name]


def test_metadata_may_be_null(gpt2):
    path = gpt2 / "model.safetensors"
    raw, cleared = re.subn(rb'"__metadata__":({[^}]*})', lambda found: b'"__metadata__":null'.ljust(len(found[0])),
                           path.read_bytes(), count=1)
    assert cleared
    path.write_bytes(raw)
    assert SafetensorsFile(path).metadata == {} and len(read_folder(gpt2)[1])


def test_gamma_and_beta(saved):
    folder, config, state = saved
    rewrite(folder, renamed([("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")]))
    assert_reads(folder, config, state)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_become_float32(saved, dtype):
    folder, config, state = saved
    rewrite(folder, lambda tensors: {name: array.astype(dtype) for name, array in tensors.items()})
    reconfigure(folder, dtype=np.dtype(dtype).name)
    assert_reads(folder, config, {name: array.astype(dtype).astype(np.float32) for name, array in state.items()})


def test_bfloat16_becomes_float32(saved):
    folder, config, state = saved
    header, data = {}, b""
    for name, array in SafetensorsFile(folder / "model.safetensors").items():
        bits = (np.ascontiguousarray(array).view(np.uint32) >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "BF16", "shape": array.shape, "data_offsets": [len(data), len(data) + len(bits)]}
        data += bits
    encoded = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)
    reconfigure(folder, torch_dtype="bfloat16")
    assert_reads(folder, config, {name: (array.view(np.uint32) & 0xFFFF0000).view(np.float32)
                                  for name, array in state.items()})


def shard(folder, count=2):
    tensors = dict(SafetensorsFile(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    names = {name: f"model-{i % count + 1:05}-of-{count:05}.safetensors" for i, name in enumerate(sorted(tensors))}
    for file in set(names.values()):
        write_safetensors(folder / file, {name: tensors[name] for name in tensors if names[name] == file})
    write_index(folder, names)
    return names


def write_index(folder, weight_map):
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}), encoding="utf-8")


def test_shards(saved):
    folder, config, state = saved
    shard(folder)
    assert_reads(folder, config, state)


@pytest.fixture
def gpt2(tmp_path):
    config = CONFIGS["gpt2"]
    write_folder(tmp_path / "model", fields_of(config), random_state(config))
    return tmp_path / "model"


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/secret.safetensors", "..\\secret.safetensors",
                                  "C:secret.safetensors", ".hidden.safetensors", "sub/x.safetensors", "x.bin", 7, None,
                                  "a\0.safetensors"])
def test_an_index_that_leaves_the_folder_is_refused(gpt2, name):
    names = shard(gpt2)
    write_safetensors(gpt2.parent / "secret.safetensors", {"transformer.wte.weight": np.ones((13, 8), np.float32)})
    write_index(gpt2, names | {"transformer.wte.weight": name})
    with pytest.raises(ValueError, match="only plain names of .safetensors files in the same folder are followed"):
        read_folder(gpt2)


def test_shards_that_do_not_fit_their_index(gpt2):
    names = shard(gpt2)
    write_index(gpt2, names | {"transformer.wte.weight": "model-00003-of-00002.safetensors"})
    with pytest.raises(FileNotFoundError, match="lacks model-00003-of-00002.safetensors"):
        read_folder(gpt2)
    first, second = sorted(set(names.values()))
    write_index(gpt2, {name: first for name in names} | {"x": second})
    with pytest.raises(ValueError, match="says that .* but it does not"):
        read_folder(gpt2)
    (gpt2 / second).write_bytes((gpt2 / first).read_bytes())
    with pytest.raises(ValueError, match="stands in model-00001-of-00002.safetensors and in model-00002"):
        read_folder(gpt2)
    write_index(gpt2, {})
    with pytest.raises(ValueError, match="must hold a 'weight_map'"):
        read_folder(gpt2)


def test_zero_biases_are_written_and_dropped(tmp_path):
    config = CONFIGS["gpt2-without-bias"]
    state = random_state(config)
    write_folder(tmp_path, fields_of(config), state)
    assert not any(name.endswith(".bias") for name in state)
    file = SafetensorsFile(tmp_path / "model.safetensors")
    biases = [name for name in file if name.endswith(".bias")]
    assert len(biases) == 1 + 6 * 2 and not any(file[name].any() for name in biases)
    assert json.loads((tmp_path / "config.json").read_bytes())["bias"] is False
    rewrite(tmp_path, lambda tensors: {name: array for name, array in tensors.items() if name not in biases})
    assert_reads(tmp_path, config, state)
    rewrite(tmp_path, lambda tensors: tensors | {"transformer.ln_f.bias": np.ones(8, np.float32)})
    with pytest.raises(ValueError, match="'transformer.ln_f.bias' is not zero, but config.json says"):
        read_folder(tmp_path)


def test_half_of_llamas_biases(tmp_path):
    config = CONFIGS["llama-wide"]
    state = random_state(config)
    write_folder(tmp_path, fields_of(config), state)
    reconfigure(tmp_path, mlp_bias=False)
    rewrite(tmp_path, lambda tensors: {name: array for name, array in tensors.items()
                                       if not (".mlp." in name and name.endswith(".bias"))})
    zeros = {name: np.zeros_like(array) for name, array in state.items()
             if ".feed_forward." in name and name.endswith(".bias")}
    assert_reads(tmp_path, config, state | zeros)


def test_untied_encoder_decoders_of_transformers_4_share_the_embeddings(tmp_path):
    config = CONFIGS["bart-untied"]
    state = random_state(config)
    state["decoder.token_embedding.weight"] = state["encoder.token_embedding.weight"]
    write_folder(tmp_path, fields_of(config), state)
    rewrite(tmp_path, lambda tensors: {name: array for name, array in tensors.items() if "embed_tokens" not in name})
    assert_reads(tmp_path, config, state)


def test_a_missing_logits_bias_is_zero(tmp_path):
    config = CONFIGS["marian"]
    state = random_state(config)
    write_folder(tmp_path, fields_of(config), state)
    rewrite(tmp_path, lambda tensors: {name: array for name, array in tensors.items() if name != "final_logits_bias"})
    assert_reads(tmp_path, config, state | {"lm_head.bias": np.zeros(13, np.float32)})


@pytest.mark.parametrize("change, message", [
    (lambda t: {k: v for k, v in t.items() if k != "transformer.wpe.weight"}, "'transformer.wpe.weight' are missing"),
    (lambda t: {k: v for k, v in t.items() if ".h.1." not in k}, "and 8 more are missing"),
    (lambda t: t | {"transformer.h.2.ln_1.weight": np.ones(8, np.float32)}, "'transformer.h.2.ln_1.weight' belong to"),
    (lambda t: t | {"wte.weight": t["transformer.wte.weight"]}, "are two names of one tensor"),
    (lambda t: t | {"transformer.wpe.weight": np.ones((8, 7), np.float32)}, r"shape \(8, 7\), but \(7, 8\) follows"),
    (lambda t: t | {"transformer.wpe.weight": np.ones((7, 8), np.int64)}, "holds I64; weights must be F64, F32, F16"),
])
def test_tensors_that_do_not_fit(gpt2, change, message):
    rewrite(gpt2, change)
    with pytest.raises(ValueError, match=message):
        read_folder(gpt2)


def test_a_config_that_claims_too_much_is_refused_at_once(gpt2):
    reconfigure(gpt2, n_layer=2**31 - 1)
    with pytest.raises(ValueError, match="are missing"):
        read_folder(gpt2)


def test_folders_without_weights(tmp_path, gpt2):
    with pytest.raises(FileNotFoundError, match="there is no model folder"):
        read_folder(tmp_path / "nowhere")
    (gpt2 / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="holds no model.safetensors$"):
        read_folder(gpt2)
    (gpt2 / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="is a pickle, which could run code and is never opened"):
        read_folder(gpt2)


def test_states_that_do_not_fit_are_not_saved(tmp_path):
    config = CONFIGS["gpt2"]
    state = random_state(config)
    with pytest.raises(ValueError, match="cannot save: 'norm.weight' must have shape .8,., but it is missing"):
        write_folder(tmp_path, fields_of(config), {k: v for k, v in state.items() if k != "norm.weight"})
    with pytest.raises(ValueError, match="'norm.weight' must have shape .8,., but it has shape .9,."):
        write_folder(tmp_path, fields_of(config), state | {"norm.weight": np.ones(9)})
    with pytest.raises(ValueError, match="cannot save: 'x' have no name in the layout 'gpt2'"):
        write_folder(tmp_path, fields_of(config), state | {"x": np.ones(9)})
    assert not list(tmp_path.iterdir())

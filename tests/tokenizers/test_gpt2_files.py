"""vocab.json + merges.txt, and GPT-2's own encoder.json + vocab.bpe."""

from __future__ import annotations

import json
import shutil

import pytest
from tokenizer_texts import random_texts, trained

from tinygpt.tokenizers import ByteBPE, load_tokenizer

FORMATS = {"vocab.json": "merges.txt", "encoder.json": "vocab.bpe"}


@pytest.mark.parametrize("name", FORMATS)
def test_saved_and_loaded_agree(tmp_path, name):
    tok = trained()
    tok.save(tmp_path, name)
    assert {name, FORMATS[name]} <= {path.name for path in tmp_path.iterdir()}
    back = load_tokenizer(tmp_path)
    assert (back.vocab, back.merges, back.special_tokens, back.special.roles) == (
        tok.vocab, tok.merges, tok.special_tokens, tok.special.roles)
    for text in random_texts(200, seed=8):
        assert back.encode(text, allowed_special="all") == tok.encode(text, allowed_special="all")


def test_special_tokens_are_those_that_no_merge_makes(tmp_path):
    """Without tokenizer_config.json, the names of the tokens tell their roles."""
    trained().save(tmp_path, "vocab.json")
    (tmp_path / "tokenizer_config.json").unlink()
    back = load_tokenizer(tmp_path)
    assert back.special_tokens == trained().special_tokens and back.pad_token_id == trained().pad_token_id


def test_line_ends_of_windows_and_a_missing_version_line(tmp_path):
    trained().save(tmp_path, "vocab.json")
    merges = (tmp_path / "merges.txt").read_text(encoding="utf-8")
    assert merges.startswith("#version: 0.2\n") and merges.endswith("\n")
    (tmp_path / "merges.txt").write_text("\r\n".join(merges.split("\n")[1:]), encoding="utf-8", newline="")
    assert load_tokenizer(tmp_path).merges == trained().merges


def test_a_merge_may_begin_with_a_number_sign(tmp_path):
    """Only the first line can be the version: GPT-2 has a merge "# #"."""
    (tmp_path / "vocab.json").write_text(json.dumps({"#": 0, "##": 1, "#version:": 2, "a": 3}), encoding="utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\n# #\n", encoding="utf-8")
    tok = load_tokenizer(tmp_path)
    assert tok.encode("a##") == [3, 1] and tok.special_tokens == {"#version:": 2}


def test_tokenizer_json_comes_first(tmp_path):
    trained("gpt2", 500).save(tmp_path, "vocab.json")
    trained().save(tmp_path)
    assert load_tokenizer(tmp_path).n_vocab == trained().n_vocab


@pytest.mark.parametrize("vocab, merges", [
    ("{}", "a b"), ("[]", ""), ("3", ""), ('{"a": 0, "b": 0}', ""), ('{"a": "0"}', ""), ('{"a": 0, "<s>": "1"}', ""),
    ('{"a": 0}', "a a"), ('{"a": 0, "aa": 1}', "a a\na a"), ('{"a": 0, "aa": 1}', "a"), ('{"a": 0}', "a a a"),
    ('{"a": -1}', ""), ('{"a": 0, "日": 1, "日a": 2}', "日 a"), ('{"a": 0, "a": 1}', ""), ("{", ""), ('{"a": 1e3}', ""),
    ('{"a": 0, "<s>": 99999999999}', ""), ('{"": 0}', ""),
])
def test_damaged_and_hostile_files(tmp_path, vocab, merges):
    (tmp_path / "vocab.json").write_text(vocab, encoding="utf-8")
    (tmp_path / "merges.txt").write_text(merges, encoding="utf-8")
    with pytest.raises(ValueError, match="vocab.json|merges.txt"):
        load_tokenizer(tmp_path)


def test_half_of_the_files(tmp_path):
    trained().save(tmp_path, "encoder.json")
    (tmp_path / "vocab.bpe").unlink()
    with pytest.raises(FileNotFoundError, match="vocab.bpe"):
        load_tokenizer(tmp_path)


def test_gpt2s_own_files(tmp_path, shared_data):
    """They load, and are saved again byte for byte, in their own format and by way of the others."""
    tok = load_tokenizer(shared_data / "gpt2")
    assert tok.n_vocab == 50257 and tok.special_tokens == {"<|endoftext|>": 50256}
    assert (tok.eos_token_id, tok.bos_token_id, tok.pad_token_id) == (50256, 50256, None)
    assert tok.encode("Hello world") == [15496, 995]
    tok.save(tmp_path / "json")
    load_tokenizer(tmp_path / "json").save(tmp_path / "two", "vocab.json")
    load_tokenizer(tmp_path / "two").save(tmp_path / "own", "encoder.json")
    for name in ("encoder.json", "vocab.bpe"):
        assert (tmp_path / "own" / name).read_bytes() == (shared_data / "gpt2" / name).read_bytes()


@pytest.mark.parametrize("config, says", [
    ({"tokenizer_class": "CLIPTokenizer"}, "CLIPTokenizer"), ({"tokenizer_class": 3}, "tokenizer_class"),
    ({"add_prefix_space": "no"}, "add_prefix_space"), ({"add_bos_token": 1}, "add_bos_token"),
    ({"add_bos_token": True, "bos_token": None}, "a bos token"), ({"added_tokens_decoder": []}, "added_tokens_decoder"),
    ({"added_tokens_decoder": {"x": {"content": "<x>"}}}, "'id' is 'x'"),
    ({"added_tokens_decoder": {"900": {"content": 3}}}, "content")])
def test_configurations_that_are_refused(tmp_path, config, says):
    trained().save(tmp_path, "vocab.json")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ValueError, match=f"tokenizer_config.json: .*{says}"):
        load_tokenizer(tmp_path)


def test_words_with_an_end_of_their_own_are_refused(tmp_path):
    (tmp_path / "vocab.json").write_text('{"a": 0, "a</w>": 1, "aa</w>": 2}', encoding="utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\na a</w>\n", encoding="utf-8")
    with pytest.raises(ValueError, match="merges.txt: .*</w>"):
        load_tokenizer(tmp_path)


@pytest.mark.oracle
@pytest.mark.parametrize("where", ["added_tokens.json", "tokenizer_config.json"])
def test_added_tokens_in_further_files(tmp_path, where):
    transformers = pytest.importorskip("transformers")
    trained().save(tmp_path, "vocab.json")
    n = trained().n_vocab
    if where == "added_tokens.json":
        (tmp_path / where).write_text(json.dumps({"<|new|>": n, "word": n + 1}), encoding="utf-8")
    else:
        written = json.loads((tmp_path / where).read_text(encoding="utf-8"))
        flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
        written["added_tokens_decoder"] = {str(n): {"content": "<|new|>", "special": True, **flags},
                                           str(n + 1): {"content": "word", "special": False, **flags}}
        (tmp_path / where).write_text(json.dumps(written), encoding="utf-8")
    tok, theirs = load_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "a<|new|>word words<s>"
    assert tok.encode(text, allowed_special="all") == theirs(text)["input_ids"]
    assert ("<|new|>" in tok.special_tokens) == (where != "added_tokens.json")
    tok.save(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").encode(text) == tok.encode(text)


@pytest.mark.oracle
@pytest.mark.parametrize("config", [
    {"tokenizer_class": "RobertaTokenizer"}, {"tokenizer_class": "BartTokenizer"}, {"add_bos_token": True},
    {"add_bos_token": True, "add_eos_token": True}, {"add_prefix_space": True},
    {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True},
], ids=repr)
def test_what_goes_around_a_text_follows_the_configuration(tmp_path, config):
    transformers = pytest.importorskip("transformers")
    trained().save(tmp_path, "vocab.json")
    written = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(written | config), encoding="utf-8")
    tok, theirs = load_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ["the words", " the words", "a<|end|>b", "", *random_texts(100, seed=13)]:
        if "<mask>" not in text:  # there they are lenient with the space before it
            assert tok.encode(text, allowed_special="all") == theirs(text)["input_ids"]


@pytest.mark.parametrize("model_type, encloses", [
    ("roberta", True), ("bart", True), ("longformer", True), ("mvp", True), ("gpt2", False), ("opt", False)])
@pytest.mark.parametrize("config", [None, {"model_max_length": 512}], ids=repr)
def test_what_goes_around_a_text_follows_the_type_of_the_model(tmp_path, model_type, encloses, config):
    """Where the tokenizer's own files leave it open: RoBERTa's folder on the Hub names no class of its tokenizer."""
    trained().save(tmp_path, "vocab.json")
    written(tmp_path, config, {"model_type": model_type})
    begin, end = trained().token_id("<s>"), trained().token_id("</s>")
    plain = trained().encode("a b")
    tok = load_tokenizer(tmp_path)
    assert tok.encode("a b") == ([begin, *plain, end] if encloses else plain)
    if encloses:
        assert (tok.cls_token_id, tok.sep_token_id, tok.mask_token_id) == (begin, end, trained().mask_token_id)
    tok.save(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").encode("a b") == tok.encode("a b")


@pytest.mark.parametrize("config, model", [
    ({"model_max_length": 512}, {"model_type": "whisper"}), ({"tokenizer_class": "WhisperTokenizer"}, None)], ids=repr)
def test_whisper_begins_with_what_it_is_to_do(tmp_path, config, model):
    """And its end stands for what is unknown, though no file says so."""
    names = ["<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"]
    tok = ByteBPE.train("the words of a speech", 300, names)
    tok.save(tmp_path, "vocab.json")
    written(tmp_path, config, model)
    end, begin, plainly = map(tok.token_id, names)
    found = load_tokenizer(tmp_path)
    assert found.encode("a b") == [begin, plainly, *tok.encode("a b", add_special_tokens=False), end]
    assert (found.unk_token_id, found.bos_token_id, found.eos_token_id) == (end, end, end)
    written(tmp_path, {"tokenizer_class": "WhisperTokenizer", "language": "german"}, None)
    with pytest.raises(ValueError, match="language changes what goes around a text in a way that is not known here"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("config, model", [
    (None, {"model_type": "qwen2"}), ({"model_max_length": 512}, {"model_type": "clip"}),
    ({"tokenizer_class": "PreTrainedTokenizerFast"}, {"model_type": "llama"}),
    (None, {"model_type": "roberta", "tokenizer_class": "DebertaTokenizer"})], ids=repr)
def test_models_whose_tokenizers_split_in_another_way_are_refused(tmp_path, config, model):
    trained().save(tmp_path, "vocab.json")
    written(tmp_path, config, model)
    with pytest.raises(ValueError, match=f"config.json.*'{model.get('tokenizer_class', model['model_type'])}'"):
        load_tokenizer(tmp_path)


def test_a_class_that_is_named_goes_before_the_type_of_the_model(tmp_path):
    trained().save(tmp_path, "vocab.json")
    written(tmp_path, {"tokenizer_class": "GPT2TokenizerFast"}, {"model_type": "roberta"})
    assert load_tokenizer(tmp_path).encode("a b") == trained().encode("a b")
    written(tmp_path, None, {"model_type": "gpt2", "tokenizer_class": "BartTokenizer"})
    assert load_tokenizer(tmp_path).encode("")[:1] == [trained().token_id("<s>")]


def written(folder, config, model) -> None:
    """Replace tokenizer_config.json, or take it away, and write the config.json of a model."""
    (folder / "tokenizer_config.json").unlink(missing_ok=True)
    for name, value in (("tokenizer_config.json", config), ("config.json", model)):
        if value is not None:
            (folder / name).write_text(json.dumps(value), encoding="utf-8")


@pytest.mark.oracle
@pytest.mark.parametrize("model", [
    {"model_type": "roberta"}, {"model_type": "bart"}, {"model_type": "led"}, {"model_type": "gpt2"},
    {"model_type": "codegen"}, {"model_type": "bart", "tokenizer_class": "GPT2Tokenizer"}], ids=repr)
@pytest.mark.parametrize("config", [None, {"model_max_length": 512}, {"add_prefix_space": True, "mask_token": "<pad>"}],
                         ids=repr)
def test_the_type_of_the_model_as_transformers_reads_it(tmp_path, model, config):
    transformers = pytest.importorskip("transformers")
    trained().save(tmp_path, "vocab.json")
    written(tmp_path, config, model)
    tok, theirs = load_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ["the words", " the words", "it's 日本\n", ""]:
        assert tok.encode(text) == theirs(text)["input_ids"]
    for role in ("bos", "eos", "pad", "cls", "sep", "mask"):
        assert getattr(tok, f"{role}_token_id") == getattr(theirs, f"{role}_token_id")


@pytest.mark.oracle
def test_transformers_opens_vocab_json_and_merges_txt(tmp_path):
    transformers = pytest.importorskip("transformers")
    trained().save(tmp_path, "vocab.json")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in random_texts(100, seed=12):
        assert theirs(text)["input_ids"] == trained().encode(text, allowed_special="all")
    shutil.rmtree(tmp_path)

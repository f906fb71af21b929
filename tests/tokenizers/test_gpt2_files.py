"""vocab.json + merges.txt, and GPT-2's own encoder.json + vocab.bpe."""

from __future__ import annotations

import json
import shutil

import pytest
from tokenizer_texts import random_texts, trained

from tinygpt.tokenizers import load_tokenizer

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


@pytest.mark.oracle
def test_transformers_opens_vocab_json_and_merges_txt(tmp_path):
    transformers = pytest.importorskip("transformers")
    trained().save(tmp_path, "vocab.json")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in random_texts(100, seed=12):
        assert theirs(text)["input_ids"] == trained().encode(text, allowed_special="all")
    shutil.rmtree(tmp_path)

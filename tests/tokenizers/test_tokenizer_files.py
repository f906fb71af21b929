"""Strict reading and safe writing."""

from __future__ import annotations

import json
import os

import pytest
from tokenizer_texts import trained

from tinygpt.tokenizers import ByteBPE, CharTokenizer, files, load_tokenizer
from tinygpt.tokenizers.files import about, read_json, read_roles, read_text, write_config, write_json, write_text
from tinygpt.tokenizers.special import AddedToken, SpecialTokens


@pytest.mark.parametrize("content, message", [
    (b"{", "line 1"), (b"", "line 1"), (b'{"a": 1, "b": {"c": 2, "c": 3}}', "'c' is given twice"), (b"[NaN]", "NaN"),
    (b"[-Infinity]", "Infinity"), (b"[" * 200_000, "nested"), (b'{"a":' * 200_000, "nested"),
    (b"9" * 10_000, "digits"), (b'"\xff"', "UTF-8"), (b"{}{}", "Extra data"),
])
def test_malformed_json(tmp_path, content, message):
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(ValueError, match=f"file.json.*{message}"):
        read_json(tmp_path / "file.json")


def test_missing_files_stay_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "file.json")


def test_text_and_json_come_back_as_they_were(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "line\r\nline\n\u2028é")
    assert read_text(tmp_path / "a" / "b.txt") == "line\r\nline\n\u2028é"
    value = {"a": [1, None, True, "é\n"], "b": {}}
    write_json(tmp_path / "c.json", value)
    assert read_json(tmp_path / "c.json") == value
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b.txt", "c.json"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    write_text(tmp_path / "file", "old")

    def fail(*names):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_text(tmp_path / "file", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and read_text(tmp_path / "file") == "old"


def test_roles_are_written_and_read(tmp_path):
    assert read_roles(tmp_path) is None
    special = SpecialTokens([AddedToken("<e>", 1), AddedToken("<p>", 2)], {"eos_token": "<e>", "pad_token": "<p>"})
    write_config(tmp_path, special)
    assert read_roles(tmp_path) == special.roles
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast" and config["clean_up_tokenization_spaces"] is False


def test_roles_of_other_writers(tmp_path):
    (tmp_path / "special_tokens_map.json").write_text(
        '{"eos_token": {"content": "</s>", "lstrip": false}, "pad_token": "<pad>", "additional_special_tokens": []}',
        encoding="utf-8")
    assert read_roles(tmp_path) == {"eos_token": "</s>", "pad_token": "<pad>"}
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<e>", "pad_token": null}', encoding="utf-8")
    assert read_roles(tmp_path) == {"eos_token": "<e>"}


@pytest.mark.parametrize("name, config", [
    ("tokenizer_config.json", {"model_max_length": 512}), ("tokenizer_config.json", {}),
    ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "additional_special_tokens": ["<s>"]}),
    ("special_tokens_map.json", {"additional_special_tokens": ["<s>"]}), ("special_tokens_map.json", {})])
def test_a_file_that_names_no_role_has_not_said_that_there_are_none(tmp_path, name, config):
    trained().save(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    write_json(tmp_path / name, config)
    assert read_roles(tmp_path) is None
    for _ in range(2):  # and what is saved again names them
        tok = load_tokenizer(tmp_path)
        assert tok.special.roles == trained().special.roles and tok.eos_token_id == trained().eos_token_id
        tok.save(tmp_path)


def test_roles_come_from_both_files_and_from_the_family(tmp_path):
    """tokenizer_config.json goes before special_tokens_map.json, and both before what the class is known for."""
    write_json(tmp_path / "config.json", {"model_type": "roberta"})
    write_json(tmp_path / "special_tokens_map.json", {"pad_token": "<|pad|>", "eos_token": "<x>", "bos_token": "<b>"})
    write_json(tmp_path / "tokenizer_config.json", {"eos_token": "<e>", "bos_token": None})
    assert read_roles(tmp_path) == {"eos_token": "<e>", "pad_token": "<|pad|>", "unk_token": "<unk>",
                                    "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}


@pytest.mark.parametrize("tokenizer_class", ["PreTrainedTokenizerFast", "GPT2Tokenizer"])
def test_roles_that_nobody_plays_stay_so(tmp_path, tokenizer_class):
    special = SpecialTokens([AddedToken("<|endoftext|>", 0), AddedToken("<pad>", 1)], {})
    write_config(tmp_path, special, tokenizer_class=tokenizer_class)
    assert read_roles(tmp_path) == {}


@pytest.mark.oracle
@pytest.mark.parametrize("config, model", [
    ({"model_max_length": 512}, {"model_type": "roberta"}), ({}, {"model_type": "gpt2"}),
    ({"tokenizer_class": "BartTokenizer", "eos_token": "<|end|>", "pad_token": None}, {}),
    ({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}, {"model_type": "roberta"})], ids=repr)
def test_roles_are_those_of_transformers(tmp_path, config, model):
    transformers = pytest.importorskip("transformers")
    trained().save(tmp_path)
    write_json(tmp_path / "tokenizer_config.json", config)
    write_json(tmp_path / "config.json", model)
    theirs, tok = transformers.AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path)
    for role in ("bos", "eos", "pad", "cls", "sep", "mask"):
        assert getattr(tok, f"{role}_token_id") == getattr(theirs, f"{role}_token_id")


@pytest.mark.parametrize("before", ["tokenizer.json", "vocab.json", "encoder.json"])
@pytest.mark.parametrize("after", ["tokenizer.json", "vocab.json", "encoder.json", "characters"])
def test_what_is_saved_takes_the_place_of_what_was_there(tmp_path, before, after):
    """In whatever formats, and with all that told of the old tokenizer."""
    trained().save(tmp_path, before)
    write_json(tmp_path / "special_tokens_map.json", {"eos_token": "<|end|>", "mask_token": "<pad>"})
    write_json(tmp_path / "added_tokens.json", {"<new>": 5000, "word": 5001})
    write_text(tmp_path / "chat_template.jinja", "{{ messages }}")
    write_text(tmp_path / "notes.txt", "kept")
    if after == "characters":
        new = CharTokenizer.train("abc", ["<|end|>"])
        new.save(tmp_path)
    else:
        new = ByteBPE.train("other words", 260, ["<|end|>", "<pad>"])
        new.save(tmp_path, after)
    back = load_tokenizer(tmp_path)
    assert type(back) is type(new) and back.encode("abc") == new.encode("abc") and back.ids == new.ids
    assert back.special.tokens == new.special.tokens and back.special.roles == new.special.roles
    assert back.chat_template is None
    vocabulary = {"vocab.json": {"vocab.json", "merges.txt"}, "encoder.json": {"encoder.json", "vocab.bpe"}}
    assert {path.name for path in tmp_path.iterdir()} == {
        "tokenizer_config.json", "notes.txt", *vocabulary.get(after, {"tokenizer.json"})}


@pytest.mark.parametrize("config", ["[]", "3", '{"eos_token": 3}', '{"eos_token": {"id": 3}}', '{"eos_token": []}'])
def test_roles_of_wrong_types(tmp_path, config):
    (tmp_path / "tokenizer_config.json").write_text(config, encoding="utf-8")
    with pytest.raises(ValueError, match="tokenizer_config.json"):
        read_roles(tmp_path)


def test_errors_name_the_file(tmp_path):
    def read(value):
        raise TypeError(f"bad {value}")

    with pytest.raises(ValueError, match=f"^{tmp_path}: bad thing$"):
        about(tmp_path, read, "thing")


def test_a_file_larger_than_any_vocabulary(tmp_path):
    path = tmp_path / "tokenizer.json"
    with open(path, "wb") as file:
        file.truncate(files.MAX_BYTES + 1)  # holes take no space on disk
    with pytest.raises(ValueError, match="more than any tokenizer needs"):
        read_json(path)

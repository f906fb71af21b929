"""Which class a folder holds, and what is said where it holds none."""

from __future__ import annotations

import json

import pytest
from tokenizer_texts import trained

from tinygpt.tokenizers import TOKENIZERS, ByteBPE, CharTokenizer, load_tokenizer
from tinygpt.tokenizers.files import SavedTokenizer, write_json


def test_the_class_follows_the_files(tmp_path):
    trained().save(tmp_path / "bpe")
    CharTokenizer.train("abc").save(tmp_path / "char")
    assert type(load_tokenizer(tmp_path / "bpe")) is ByteBPE is type(load_tokenizer(str(tmp_path / "bpe")))
    assert type(load_tokenizer(tmp_path / "char")) is CharTokenizer


def test_a_bpe_without_merges_is_no_character_tokenizer(tmp_path):
    ByteBPE.train("a", 256).save(tmp_path)
    assert load_tokenizer(tmp_path).encode("é") == [127, 102]


def test_each_class_refuses_the_others_files(tmp_path):
    trained().save(tmp_path / "bpe")
    CharTokenizer.train("abc").save(tmp_path / "char")
    with pytest.raises(ValueError, match="no character tokenizer"):
        CharTokenizer.load(tmp_path / "bpe")
    with pytest.raises(ValueError, match="Fuse"):
        ByteBPE.load(tmp_path / "char")


@pytest.mark.parametrize("name, kind", [("vocab.txt", "no tokens"), ("tokenizer.model", "SentencePiece"),
                                        ("spiece.model", "SentencePiece"), ("source.spm", "SentencePiece")])
def test_empty_files_are_refused_by_name(tmp_path, name, kind):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=f"{name}.*{kind}"):
        load_tokenizer(tmp_path)


def test_nothing_to_load(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_tokenizer(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no tokenizer.json, no vocab.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="is a file"):
        load_tokenizer(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("kind", [name for name, kind in TOKENIZERS.items() if hasattr(kind, "train")])
def test_what_a_kind_saves_it_alone_recognises(tmp_path, kind):
    """Of all kinds, the first that matches is the one that wrote the folder."""
    TOKENIZERS[kind].train("low lower lowest").save(tmp_path)
    assert next(name for name, other in TOKENIZERS.items() if other.matches(SavedTokenizer(tmp_path))) == kind
    assert type(load_tokenizer(tmp_path)) is TOKENIZERS[kind]


class Reversed(CharTokenizer):
    """A new kind: characters, numbered from the last."""

    def save(self, folder):
        write_json(folder / "reversed.json", list(self.characters))

    @classmethod
    def matches(cls, saved):
        return saved.has("reversed.json")

    @classmethod
    def _read(cls, saved):
        return cls(json.loads((saved.path / "reversed.json").read_text(encoding="utf-8")))


def test_a_new_kind_is_one_class_and_one_row(tmp_path, monkeypatch):
    monkeypatch.setitem(TOKENIZERS, "reversed", Reversed)
    Reversed("zyx").save(tmp_path)
    assert load_tokenizer(tmp_path).encode("xyz") == [2, 1, 0]


def test_a_kind_that_is_not_read_is_refused_with_the_kinds_that_are(tmp_path):
    write_json(tmp_path / "tokenizer.json", {"model": {"type": "Bigram", "vocab": []}})
    with pytest.raises(ValueError, match="tokenizer.json: the model is 'Bigram'.*BPE, Unigram, WordLevel, WordPiece"):
        load_tokenizer(tmp_path)

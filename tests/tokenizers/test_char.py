"""One id per character."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_texts import awkward_text, corpus, quick

from tinygpt.tokenizers import CharTokenizer, load_tokenizer


def test_ids_follow_the_code_points():
    tok = CharTokenizer.train(["hello", "日本"])
    assert tok.characters == ("e", "h", "l", "o", "日", "本") and tok.n_vocab == 6
    assert tok.encode("hello日") == [1, 0, 2, 2, 3, 4]
    assert tok.encode_array("hello").dtype == np.uint8 and tok.encode_array("").shape == (0,)


@quick
@given(awkward_text.filter(bool), st.data())
def test_round_trip(text, data):
    tok = CharTokenizer.train(text)
    shuffled = "".join(data.draw(st.permutations(text)))
    ids = tok.encode(shuffled)
    assert tok.decode(ids) == shuffled and len(ids) == len(shuffled)
    assert tok.decode_bytes(ids) == shuffled.encode() and "".join(tok.decode_stream(ids)) == shuffled


def test_characters_that_it_lacks_are_named():
    tok = CharTokenizer.train("abc")
    with pytest.raises(ValueError, match="lacks the characters 'x', 'é'.*3 characters"):
        tok.encode("abxéc")
    with pytest.raises(ValueError, match="lacks the character '\\\\ud800'"):
        tok.encode("a\ud800")


def test_special_tokens():
    tok = CharTokenizer.train("ab<s>", ["<pad>", "<s>"])
    assert tok.special_tokens == {"<pad>": 2, "<s>": 3} and tok.pad_token_id == 2 and tok.n_vocab == 4
    assert tok.encode("a<s>b", allowed_special="all") == [0, 3, 1]
    with pytest.raises(ValueError, match="'<', '>', 's'"):
        tok.encode("a<s>b")
    tok.set_template(["<s>"])
    assert tok.encode("ab") == [3, 0, 1] and tok.encode("ab", add_special_tokens=False) == [0, 1]


@pytest.mark.parametrize("special, template", [([], []), (["<pad>", "<s>", "</s>"], ["<s>"])])
def test_saved_and_loaded_agree(tmp_path, special, template):
    tok = CharTokenizer.train(corpus(), special)
    tok.set_template(template)
    tok.save(tmp_path / "new" / "folder")
    back = load_tokenizer(tmp_path / "new" / "folder")
    assert isinstance(back, CharTokenizer)
    text = "".join(tok.characters)
    assert back.encode(text) == tok.encode(text) and back.decode(tok.encode(text)) == tok.decode(tok.encode(text))
    assert (back.characters, back.special_tokens, back.prefix_ids, back.special.roles) == (
        tok.characters, tok.special_tokens, tok.prefix_ids, tok.special.roles)


@pytest.mark.parametrize("make", [
    lambda: CharTokenizer.train(""), lambda: CharTokenizer.train([]), lambda: CharTokenizer.train("a\ud800"),
    lambda: CharTokenizer(["a", "a"]), lambda: CharTokenizer(["ab"]), lambda: CharTokenizer("abc", ["b"]),
])
def test_contradictions_are_errors(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize("change", [
    {"vocab": {"a": 0, "b": 2}}, {"vocab": {"a": 0, "bc": 1}}, {"vocab": {"a": "0"}}, {"vocab": {"a": -1}},
    {"vocab": {}}, {"vocab": {"a": 0.0}}, {"vocab": {"a": False}}, {"vocab": []}, {"vocab": {"a": 10 ** 20}},
])
def test_a_damaged_file_is_an_error(tmp_path, change):
    CharTokenizer.train("ab").save(tmp_path)
    document = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    document["model"].update(change)
    (tmp_path / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ValueError, match="tokenizer.json"):
        load_tokenizer(tmp_path)


@pytest.mark.oracle
@pytest.mark.parametrize("special", [[], ["<pad>", "<s>", "</s>"]])
def test_opens_in_hugging_face_libraries(tmp_path, hf_tokenizers, special):
    transformers = pytest.importorskip("transformers")
    tok = CharTokenizer.train(corpus(), special)
    tok.set_template(special[1:2])
    tok.save(tmp_path)
    theirs = hf_tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for start in range(0, 5000, 100):
        text = corpus()[start:start + 137] + "<s>" * (start % 200 == 0 and bool(special))
        ids = tok.encode(text, allowed_special="all")
        assert theirs.encode(text).ids == ids == auto(text)["input_ids"]
        assert theirs.decode(ids, skip_special_tokens=False) == tok.decode(ids) == auto.decode(ids)
        assert auto.decode(ids, skip_special_tokens=True) == tok.decode(ids, skip_special_tokens=True)
    assert (auto.pad_token_id, auto.bos_token_id, auto.eos_token_id) == (
        tok.pad_token_id, tok.bos_token_id, tok.eos_token_id)

"""Special and added tokens: finding them, refusing to find them, and the roles they play."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from tokenizer_texts import SPECIAL, awkward_text, quick, trained

from tinygpt.tokenizers import ByteBPE, CharTokenizer, load_tokenizer
from tinygpt.tokenizers.special import AddedToken, SpecialTokens


def split(text: str, *tokens: AddedToken) -> list[tuple[str, int | None]]:
    special = SpecialTokens(tokens)
    return list(special.split(text, special.allowed("all")))


def test_the_longest_name_wins_at_the_leftmost_place():
    tokens = [AddedToken("<a>", 0), AddedToken("<a><b>", 1), AddedToken("<b>", 2)]
    assert split("x<a><b><a><b><b>", *tokens) == [("x", None), ("<a><b>", 1), ("<a><b>", 1), ("<b>", 2)]
    assert split("<a", *tokens) == [("<a", None)]


def test_settings_of_an_added_token():
    assert split("a <m> b", AddedToken("<m>", 0, lstrip=True)) == [("a", None), ("<m>", 0), (" b", None)]
    assert split("a <m> b", AddedToken("<m>", 0, rstrip=True)) == [("a ", None), ("<m>", 0), ("b", None)]
    assert split("no nose o no", AddedToken("no", 0, single_word=True)) == [
        ("no", 0), (" nose o ", None), ("no", 0)]
    assert split(" <m> <m> ", AddedToken("<m>", 0, lstrip=True, rstrip=True)) == [("<m>", 0), ("<m>", 0)]


def test_added_words_are_found_without_being_allowed():
    special = SpecialTokens([AddedToken("word", 7, special=False), AddedToken("<s>", 8)])
    assert list(special.split("a word<s>", special.allowed(()))) == [("a ", None), ("word", 7), ("<s>", None)]


def test_stripping_is_not_quadratic():
    start = time.process_time()
    parts = split(" <m>" + "\n" * 20 + "<m> " * 50_000 + " " * 300_000,
                  AddedToken("<m>", 0, lstrip=True, rstrip=True))
    assert len(parts) == 50_001 and time.process_time() - start < 2


def test_text_that_looks_like_a_special_token_is_text():
    tok = trained()
    text = "a<|endoftext|>b"
    plain = tok.encode(text)
    assert tok.token_id("<|endoftext|>") not in plain and tok.decode(plain) == text
    allowed = tok.encode(text, allowed_special=["<|endoftext|>"])
    assert allowed == [*tok.encode("a"), tok.token_id("<|endoftext|>"), *tok.encode("b")]
    assert tok.encode(text, allowed_special={"<s>"}) == plain
    assert tok.decode(allowed) == text and tok.decode(allowed, skip_special_tokens=True) == "ab"


@quick
@given(awkward_text)
def test_no_text_becomes_a_special_token(text):
    for tok in (trained(), ByteBPE(trained().vocab, trained().merges, SPECIAL, normal_forms=["NFKC"])):
        assert not set(tok.encode(text)) & set(tok.special_tokens.values())


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@pytest.mark.parametrize("text", ["＜|endoftext|＞", "<|endoftext|\uff1e", "<\u200d|endoftext|>", "<|endo\u0301ftext|>"])
def test_no_normalisation_forges_a_special_token(form, text):
    """U+FF1C and U+FF1E are < and > to NFKC; special tokens are looked for before, even where they are allowed."""
    tok = ByteBPE(trained().vocab, trained().merges, SPECIAL, normal_forms=[form])
    assert not set(tok.encode(text, allowed_special="all")) & set(tok.special_tokens.values())


@pytest.mark.parametrize("names, message", [
    (["<|nothing|>"], "nothing"), ("<|endoftext|>", "pass \\["), ([3], "3"), ({"<s>", "x"}, "x")])
def test_unknown_names_are_errors(names, message):
    with pytest.raises(ValueError, match=message):
        trained().encode("text", allowed_special=names)


def test_roles_are_guessed_from_well_known_names():
    gpt2 = SpecialTokens([AddedToken("<|endoftext|>", 5)])
    assert (gpt2.role_id("eos_token"), gpt2.role_id("bos_token"), gpt2.role_id("pad_token")) == (5, 5, None)
    roberta = SpecialTokens(AddedToken(name, i) for i, name in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]))
    assert roberta.roles == {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>",
                             "mask_token": "<mask>"}
    tok = trained()
    assert (tok.eos_token_id, tok.pad_token_id, tok.unk_token_id) == (
        tok.token_id("<|endoftext|>"), tok.token_id("<pad>"), None)


@pytest.mark.parametrize("tokens, roles", [
    ([AddedToken("", 0)], None),
    ([AddedToken("<s>", 0), AddedToken("<s>", 1)], None),
    ([AddedToken("<s>", 0), AddedToken("</s>", 0)], None),
    ([AddedToken("\ud800", 0)], None),
    ([AddedToken("<s>", 0)], {"eos_token": "</s>"}),
])
def test_contradictions_are_errors(tokens, roles):
    with pytest.raises(ValueError):
        SpecialTokens(tokens, roles)


@pytest.mark.parametrize("name", ["a", "Ġthe", "!"])
def test_a_special_token_is_no_ordinary_token(name):
    vocab = trained().vocab | {b" the": 5000}
    with pytest.raises(ValueError, match="ordinary token"):
        ByteBPE(vocab, [], [name])


@quick
@given(awkward_text)
def test_segments_make_the_text_again(text):
    special = trained().special
    parts = list(special.split(text, special.allowed("all")))
    assert "".join(part for part, _ in parts) == text
    assert all(special_id == special.ids.get(part) for part, special_id in parts if special_id is not None)


@pytest.mark.parametrize("kind", ["bpe", "char"])
def test_further_special_tokens(kind, tmp_path):
    """Old ids stay, new ones follow, roles move only where that is said, and all of it is saved."""
    tok = CharTokenizer.train("abc<>|end", ["<pad>"]) if kind == "char" \
        else ByteBPE.train("abc abc", vocab_size=260, special_tokens=["<pad>"], pattern="cl100k")
    tok.set_template(["<pad>"])
    tok.chat_template = "{{ messages }}"
    more = tok.with_special_tokens(["<|end|>", "<pad>", "<|end|>", "<|user|>"], eos_token="<|end|>")
    assert more.special_tokens == {"<pad>": tok.token_id("<pad>"), "<|end|>": len(tok), "<|user|>": len(tok) + 1}
    assert (more.eos_token_id, more.pad_token_id, tok.eos_token_id) == (len(tok), tok.pad_token_id, None)
    assert more.encode("abc<|end|>") == tok.encode("abc<|end|>") and len(tok) + 2 == len(more)
    assert more.encode("abc<|end|>", allowed_special="all")[-1] == len(tok)
    more.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.special_tokens == more.special_tokens and loaded.chat_template == "{{ messages }}"
    assert loaded.encode("abc<|end|>", allowed_special="all") == more.encode("abc<|end|>", allowed_special="all")
    with pytest.raises(ValueError):
        tok.with_special_tokens(["a"])
    with pytest.raises(ValueError, match="none of the special tokens"):
        tok.with_special_tokens([], eos_token="<|end|>")

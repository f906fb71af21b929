"""tokenizer.json as other programs write it, and what is refused."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_texts import SPECIAL, quick, random_texts, trained

from tinygpt.tokenizers import ByteBPE, load_tokenizer
from tinygpt.tokenizers.byte_alphabet import BYTE_TO_CHAR, CHAR_TO_BYTE, bytes_to_text, text_to_bytes
from tinygpt.tokenizers.patterns import PATTERNS
from tinygpt.tokenizers.splitter import Stage
from tinygpt.tokenizers.textbook_bpe import BYTE_ORDER

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
NO_REGEX = BYTE_LEVEL | {"use_regex": False}


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """What `trained()` is saved as."""
    folder = tmp_path_factory.mktemp("saved")
    trained().save(folder)
    return json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))


def load(folder, document) -> ByteBPE:
    (folder / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    tok = load_tokenizer(folder)
    assert isinstance(tok, ByteBPE)
    return tok


def changed(document, **changes):
    """A copy with parts replaced; model__vocab=… replaces the vocab of the model."""
    document = copy.deepcopy(document)
    for path, value in changes.items():
        *parents, last = path.split("__")
        holder = document
        for name in parents:
            holder = holder[name]
        if value is KeyError:
            del holder[last]
        else:
            holder[last] = value
    return document


def test_merges_in_both_spellings(tmp_path, document):
    pairs = document["model"]["merges"]
    assert all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
    old = load(tmp_path, changed(document, model__merges=[" ".join(pair) for pair in pairs]))
    assert old.merges == trained().merges and old.vocab == trained().vocab


@pytest.mark.parametrize("pre_tokenizer, stages", [
    (BYTE_LEVEL, [Stage("gpt2")]),  # GPT-2, RoBERTa, BART
    ({"type": "ByteLevel"}, [Stage("gpt2", add_prefix_space=True)]),
    (NO_REGEX, [Stage("")]),
    ({"type": "Sequence", "pretokenizers": [  # Llama 3
        {"type": "Split", "pattern": {"Regex": PATTERNS["llama3"]}, "behavior": "Isolated", "invert": False},
        NO_REGEX]},
     [Stage("llama3")]),
    ({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTE_LEVEL]},  # SmolLM
     [Stage(r"\p{N}"), Stage("gpt2")]),
    ({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": False}, BYTE_LEVEL]},
     [Stage(r"\p{N}+"), Stage("gpt2")]),
    ({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": r"\d+"}, "behavior": "Removed", "invert": True},
        {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"String": "a.b"}, "behavior": "Removed", "invert": False}, NO_REGEX]}]},
     [Stage(r"\d+", "matches"), Stage(r"a\.b", "gaps")]),
])
def test_pre_tokenizers(tmp_path, document, pre_tokenizer, stages):
    assert list(load(tmp_path, changed(document, pre_tokenizer=pre_tokenizer)).splitter.stages) == stages


@pytest.mark.parametrize("normalizer, forms", [
    (None, ()), ({"type": "NFC"}, ("NFC",)), ({"type": "Sequence", "normalizers": []}, ()),
    ({"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "NFC"}]}, ("NFKD", "NFC")),
])
def test_normalizers(tmp_path, document, normalizer, forms):
    assert load(tmp_path, changed(document, normalizer=normalizer)).normal_forms == forms


def test_templates(tmp_path, document):
    roberta = {"type": "RobertaProcessing", "sep": ["</s>", trained().token_id("</s>")],
               "cls": ["<s>", trained().token_id("<s>")], "trim_offsets": True, "add_prefix_space": False}
    tok = load(tmp_path, changed(document, post_processor=roberta))
    assert tok.encode("a") == [trained().token_id("<s>"), *trained().encode("a"), trained().token_id("</s>")]
    assert tok.encode("a", add_special_tokens=False) == trained().encode("a")
    tok.save(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").encode("a") == tok.encode("a")


def test_an_old_file_without_a_model_type_and_newer_settings(tmp_path, document):
    tok = load(tmp_path, changed(document, model__type=KeyError, model__ignore_merges=KeyError,
                                 model__byte_fallback=KeyError, normalizer=KeyError, post_processor=KeyError,
                                 decoder=KeyError, model__continuing_subword_prefix="", model__end_of_word_suffix=""))
    assert tok.encode("the words") == trained().encode("the words")


def test_added_words_are_tokens_of_their_own(tmp_path, document):
    n = trained().n_vocab
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}
    added = [*document["added_tokens"], {"id": n, "content": "  ", **plain},
             {"id": n + 1, "content": "added word", **plain}]
    tok = load(tmp_path, changed(document, added_tokens=added))
    assert tok.n_vocab == n + 2 and tok.special_tokens == trained().special_tokens
    assert tok.encode("a  added word<s>") == [*trained().encode("a"), n, n + 1, *trained().encode("<s>")]
    assert tok.decode([n, n + 1]) == "  added word" == tok.decode([n, n + 1], skip_special_tokens=True)
    tok.save(tmp_path / "again")
    again = load_tokenizer(tmp_path / "again")
    for text in random_texts(200, seed=4):
        assert again.encode(text) == tok.encode(text)


def test_no_merge_makes_a_special_token(tmp_path, document):
    """A file may say that two letters merge into a special token; then plain text stays plain all the same."""
    ids = document["model"]["vocab"]
    merged = next(left + right for left, right in document["model"]["merges"] if (left + right).isascii())
    assert trained().encode(merged) == [ids[merged]]
    added = document["added_tokens"] + [dict(document["added_tokens"][0], id=ids[merged], content=merged)]
    tok = load(tmp_path, changed(document, added_tokens=added))
    for text in [merged, f"a{merged} {merged}{merged}", *random_texts(50)]:
        assert tok.special_tokens[merged] not in tok.encode(text) and tok.decode(tok.encode(text)) == text
    assert tok.encode(merged, allowed_special=[merged]) == [ids[merged]]


def test_ids_may_have_holes(tmp_path, document):
    vocab = {token: 3 * i + 1 for token, i in document["model"]["vocab"].items()}
    added = [dict(token, id=vocab[token["content"]]) for token in document["added_tokens"]]
    tok = load(tmp_path, changed(document, model__vocab=vocab, added_tokens=added))
    assert tok.n_vocab == 3 * trained().n_vocab - 1 and tok.ids == sorted(vocab.values())
    for text in random_texts(100, seed=6):
        assert tok.encode(text) == [3 * i + 1 for i in trained().encode(text)]
        assert tok.decode(tok.encode(text)) == text


def model(kind):
    return {"type": kind, "vocab": {"[UNK]": 0, "a": 1}, "unk_token": "[UNK]", "unk_id": 0}


@pytest.mark.parametrize("changes, named", [
    ({"model": model("WordPiece")}, "WordPiece"), ({"model": model("Unigram")}, "Unigram"),
    ({"model": model("WordLevel")}, "WordLevel"), ({"model__type": None}, "None"),
    ({"model__byte_fallback": True}, "byte_fallback"), ({"model__end_of_word_suffix": "</w>"}, "</w>"),
    ({"model__continuing_subword_prefix": "##"}, "##"), ({"model__dropout": 0.1}, "dropout"),
    ({"pre_tokenizer": None}, "ByteLevel"),
    ({"pre_tokenizer": {"type": "Metaspace", "replacement": "▁"}}, "Metaspace"),
    ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTE_LEVEL, {"type": "Punctuation"}]}}, "Punctuation"),
    ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, BYTE_LEVEL]}}, "Whitespace"),
    ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTE_LEVEL, BYTE_LEVEL]}}, "ByteLevel"),
    ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithNext", "invert": False}, NO_REGEX]}},
     "MergedWithNext"),
    ({"normalizer": {"type": "Lowercase"}}, "Lowercase"),
    ({"normalizer": {"type": "Prepend", "prepend": "▁"}}, "Prepend"),
    ({"normalizer": {"type": "Replace", "pattern": {"String": "<"}, "content": "<|endoftext|>"}}, "Replace"),
    ({"decoder": {"type": "WordPiece"}}, "WordPiece"), ({"decoder": {"type": "Metaspace"}}, "Metaspace"),
    ({"decoder": {"type": "BPEDecoder", "suffix": "</w>"}}, "BPEDecoder"),
    ({"post_processor": {"type": "Nothing"}}, "Nothing"),
])
def test_what_byte_level_bpe_has_not_is_refused_by_name(tmp_path, document, changes, named):
    """By the class; other classes read some of them."""
    (tmp_path / "tokenizer.json").write_text(json.dumps(changed(document, **changes)), encoding="utf-8")
    with pytest.raises(ValueError, match=f"tokenizer.json: .*{named}"):
        ByteBPE.load(tmp_path)


def test_an_empty_token_is_in_the_vocabulary_and_in_no_text(tmp_path, document):
    """As in Whisper's vocabulary."""
    vocab = document["model"]["vocab"] | {"": 5000}
    tok = load(tmp_path, changed(document, model__vocab=vocab))
    assert tok.n_vocab == 5001 and tok.token_bytes(5000) == b"" and tok.decode([5000]) == ""
    assert all(5000 not in tok.encode(text) for text in random_texts(100))
    tok.save(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").ids == tok.ids
    with pytest.raises(ValueError, match="empty token"):
        load(tmp_path, changed(document, model__vocab=vocab, model__merges=[["", "a"]]))


def test_a_byte_order_mark_before_the_json_is_no_part_of_it(tmp_path, document):
    (tmp_path / "tokenizer.json").write_text("\ufeff" + json.dumps(document), encoding="utf-8")
    assert load_tokenizer(tmp_path).ids == trained().ids


def test_a_file_without_a_model_says_so(tmp_path, document):
    with pytest.raises(ValueError, match="tokenizer.json: there is no model in it: .*spiece.model"):
        load(tmp_path, changed(document, model=None))


@pytest.mark.parametrize("changes", [
    {"model": None}, {"model": []}, {"model": "BPE"}, {"model": KeyError}, {"model__vocab": KeyError},
    {"model__merges": KeyError}, {"model__vocab": []}, {"model__merges": {}}, {"model__merges": [["a"]]},
    {"model__merges": [["a", "b", "c"]]}, {"model__merges": ["a"]}, {"model__merges": ["a b c"]},
    {"model__merges": [3]},
    {"model__merges": [["a", 3]]}, {"model__merges": [None]}, {"model__merges": [["a", "nothing"]]},
    {"model__merges": [["", "a"]]}, {"model__merges": [["i", "n"], ["i", "n"]]}, {"model__merges": [["a", "日"]]},
    {"model__ignore_merges": "yes"}, {"model__ignore_merges": 1},
    {"model__vocab": {"a": "0"}}, {"model__vocab": {"a": 0.0}}, {"model__vocab": {"a": True}},
    {"model__vocab": {"a": None}}, {"model__vocab": {"a": -1}}, {"model__vocab": {"a": 10 ** 30}},
    {"model__vocab": {"a": 2 ** 31}},
    {"model__vocab": {"日": 0}}, {"model__vocab": {"a b": 0}},
    {"added_tokens": {}}, {"added_tokens": [3]}, {"added_tokens": [{}]}, {"added_tokens": [{"id": 0, "content": ""}]},
    {"added_tokens": [{"id": "0", "content": "<s>"}]}, {"added_tokens": [{"id": 10 ** 12, "content": "<x>"}]},
    {"added_tokens": [{"id": -5, "content": "<x>"}]}, {"added_tokens": [{"id": 5, "content": "<x>", "special": True}]},
    {"added_tokens": [{"id": 5, "content": "<x>", "special": False}]},
    {"added_tokens": [{"id": 9000, "content": "<x>", "special": "yes"}]},
    {"added_tokens": [{"id": 9000, "content": "<x>"}, {"id": 9000, "content": "<y>"}]},
    {"added_tokens": [{"id": 9000, "content": "<x>"}, {"id": 9001, "content": "<x>"}]},
    {"added_tokens": [{"id": 9000, "content": "a"}]},
    {"added_tokens": [{"id": 9000, "content": "\ud800", "special": True}]},
    {"pre_tokenizer": []}, {"pre_tokenizer": {"type": "Sequence"}}, {"pre_tokenizer": {"type": 3}},
    {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [None]}},
    {"pre_tokenizer": {"type": "ByteLevel", "use_regex": "no"}},
    {"normalizer": 3}, {"normalizer": [{"type": "NFC"}]}, {"decoder": 3}, {"decoder": {}},
    {"post_processor": {"type": "RobertaProcessing", "cls": ["<s>", 99999], "sep": ["</s>", 99998]}},
    *[{"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}, NO_REGEX]}}
      for pattern in ("x", {}, {"Regex": 3}, {"Regex": "("}, {"String": None}, {"Regex": "(?:a|b){100000000}"},
                      {"Regex": "a" * 100_000})],
], ids=lambda changes: repr(changes)[:60])
def test_damaged_and_hostile_files(tmp_path, document, changes):
    with pytest.raises(ValueError, match="tokenizer.json") as caught:
        load(tmp_path, changed(document, **changes))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


@pytest.mark.parametrize("content", ["", "3", "[]", "null", '{"model": ' * 5000, '"' + "x" * 10_000 + '"'])
def test_files_that_hold_something_else(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="tokenizer.json"):
        load_tokenizer(tmp_path)


def test_who_plays_a_role_is_special(tmp_path, document):
    """tokenizer_config.json may name a token that tokenizer.json has in its vocabulary only, or nowhere, or a word."""
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({
        "eos_token": "<|endoftext|>", "bos_token": "<s>", "pad_token": "<nothing>", "mask_token": "!",
    }), encoding="utf-8")
    tok = load(tmp_path, changed(document, added_tokens=document["added_tokens"][1:]))
    assert tok.special_tokens == trained().special_tokens and tok.eos_token_id == trained().eos_token_id
    assert (tok.bos_token_id, tok.pad_token_id, tok.mask_token_id) == (trained().bos_token_id, None, None)


def test_a_file_cannot_make_the_end_of_text_an_ordinary_word(tmp_path, document):
    added = [dict(token, special=False) for token in document["added_tokens"]]
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}', encoding="utf-8")
    tok = load(tmp_path, changed(document, added_tokens=added))
    assert list(tok.special_tokens) == ["<|endoftext|>"] and tok.eos_token_id not in tok.encode("<|endoftext|>")
    assert tok.encode("<s>") == [trained().token_id("<s>")]  # which plays no role here


def test_special_tokens_of_every_setting_survive(tmp_path, document):
    mask = dict(document["added_tokens"][-1], lstrip=True)
    assert mask["content"] == SPECIAL[-1]
    tok = load(tmp_path, changed(document, added_tokens=[*document["added_tokens"][:-1], mask]))
    assert tok.encode("a <mask>", allowed_special="all") == [*tok.encode("a"), tok.mask_token_id]
    tok.save(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").special.tokens == tok.special.tokens


# -- tokens that only the files beside tokenizer.json name

N = trained().n_vocab
PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
CHAT = {"content": "<|im_start|>", "special": True, **PLAIN}
WORD = {"content": "word", "special": False, **PLAIN}
BESIDE = {  # files beside tokenizer.json, and which of "<|im_start|>" and "word" are special by them
    "decoder": ({"tokenizer_config.json": {"added_tokens_decoder": {str(N): CHAT, str(N + 1): WORD}}},
                {"<|im_start|>"}),
    "names and ids": ({"added_tokens.json": {"<|im_start|>": N, "word": N + 1}}, set()),
    "names and ids, special in one place": (
        {"added_tokens.json": {"<|im_start|>": N, "word": N + 1},
         "tokenizer_config.json": {"additional_special_tokens": ["<|im_start|>"]}}, {"<|im_start|>"}),
    "names and ids, special in the other": (
        {"added_tokens.json": {"<|im_start|>": N, "word": N + 1},
         "special_tokens_map.json": {"extra_special_tokens": ["<|im_start|>"], "eos_token": "</s>"}}, {"<|im_start|>"}),
    "names and ids, special by role": (
        {"added_tokens.json": {"<|im_start|>": N, "word": N + 1},
         "tokenizer_config.json": {"eos_token": "<|im_start|>"}}, {"<|im_start|>"}),
}


def written(folder, document, files) -> ByteBPE:
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return load(folder, document)


@pytest.mark.parametrize("case", BESIDE)
def test_tokens_that_only_other_files_name(tmp_path, document, case):
    files, special = BESIDE[case]
    tok = written(tmp_path, document, files)
    assert tok.n_vocab == N + 2 and tok.special_tokens.keys() - trained().special_tokens.keys() == special
    assert tok.encode("a<|im_start|>word words", allowed_special="all") == [
        *trained().encode("a"), N, N + 1, *trained().encode(" "), N + 1, *trained().encode("s")]
    assert (N in tok.encode("<|im_start|>")) == ("<|im_start|>" not in special)
    tok.save(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").special.tokens == tok.special.tokens


@pytest.mark.oracle
@pytest.mark.parametrize("case", BESIDE)
def test_tokens_that_only_other_files_name_as_transformers_has_them(tmp_path, document, case):
    transformers = pytest.importorskip("transformers")
    tok = written(tmp_path, document, BESIDE[case][0])
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(theirs) == tok.n_vocab
    for text in ["a<|im_start|>word words <mask>", "wordword<|im_start|>", "a <|im_start|> b"]:
        ids = theirs(text)["input_ids"]
        assert tok.encode(text, allowed_special="all") == ids
        assert tok.decode(ids, skip_special_tokens=True) == theirs.decode(ids, skip_special_tokens=True)


def test_the_settings_of_the_decoder_hold(tmp_path, document):
    """RoBERTa's mask swallows the space before it, which some folders say in tokenizer_config.json alone."""
    mask = trained().mask_token_id
    tok = written(tmp_path, document, {"tokenizer_config.json": {"added_tokens_decoder": {
        str(mask): {"content": "<mask>", "special": True, **PLAIN, "lstrip": True}}}})
    assert tok.encode("a <mask>", allowed_special="all") == [*trained().encode("a"), mask]


def test_a_token_that_is_called_special_where_the_vocabulary_has_it(tmp_path, document):
    files = {"tokenizer_config.json": {"additional_special_tokens": ["<|end|>", "the"]}}
    tok = written(tmp_path, changed(document, added_tokens=[
        token for token in document["added_tokens"] if token["content"] != "<|end|>"]), files)
    assert tok.special_tokens == trained().special_tokens  # and "the" stays a word


@pytest.mark.parametrize("files", [
    {"tokenizer_config.json": {"added_tokens_decoder": {"5": CHAT}}}, {"added_tokens.json": {"<x>": 5}},
    {"added_tokens.json": {"<x>": "5"}}, {"added_tokens.json": {"<pad>": N + 9}}, {"added_tokens.json": []},
    {"tokenizer_config.json": {"added_tokens_decoder": {"x": CHAT}}},
    {"tokenizer_config.json": {"additional_special_tokens": "<x>"}},
    {"special_tokens_map.json": {"additional_special_tokens": [3]}}], ids=repr)
def test_files_that_contradict_the_vocabulary_or_are_malformed(tmp_path, document, files):
    with pytest.raises(ValueError, match="token[a-z_]*.json"):
        written(tmp_path, document, files)


# -- added tokens that are a character of the byte alphabet

BYTES = ["!", "A", "Ġ", "é"]  # "Ġ" stands for the space, "é" for a byte that begins characters of three bytes


def with_byte(document, character, **settings):
    entry = {"id": document["model"]["vocab"][character], "content": character, "special": True, **PLAIN, **settings}
    return changed(document, added_tokens=[entry, *document["added_tokens"]])


@pytest.mark.parametrize("where", ["tokenizer.json", "tokenizer_config.json", "vocab.json"])
@pytest.mark.parametrize("character", BYTES)
def test_a_special_token_that_is_a_byte_leaves_the_byte(tmp_path, document, character, where):
    byte_id = document["model"]["vocab"][character]
    config = {"pad_token": character, "eos_token": "</s>"}
    if where == "tokenizer.json":
        tok = written(tmp_path, with_byte(document, character), {"tokenizer_config.json": config})
    else:
        config["added_tokens_decoder"] = {str(byte_id): {"content": character, "special": True, **PLAIN}}
        if where == "vocab.json":
            trained().save(tmp_path, "vocab.json")
            (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
            tok = load_tokenizer(tmp_path)
        else:
            tok = written(tmp_path, document, {"tokenizer_config.json": config})
    for text in ["Hi there! A b\n", "読 A!"]:  # 読 has the byte that "é" stands for
        assert tok.encode(text) == trained().encode(text) and tok.decode(tok.encode(text)) == text
    assert tok.encode(character) == [byte_id] == [tok.pad_token_id] and character not in tok.special_tokens
    tok.save(tmp_path / "again")
    again = load_tokenizer(tmp_path / "again")
    assert again.encode(f"a{character} !") == tok.encode(f"a{character} !") and again.pad_token_id == byte_id


def test_a_special_character_that_is_no_byte_of_the_vocabulary_stays_special(tmp_path, document):
    vocab = {token: i for token, i in document["model"]["vocab"].items() if token != "\u0143"}  # the byte 0xAD
    assert len(vocab) == len(document["model"]["vocab"]) - 1
    tok = load(tmp_path, changed(document, model__vocab=vocab, added_tokens=[
        *document["added_tokens"], {"id": N, "content": "\u0143", "special": True, **PLAIN}]))
    assert tok.special_tokens["\u0143"] == N and tok.encode("a\u0143", allowed_special="all")[-1] == N


@pytest.mark.oracle
@pytest.mark.parametrize("character", BYTES)
def test_a_special_token_that_is_a_byte_as_transformers_has_it(tmp_path, document, character):
    transformers = pytest.importorskip("transformers")
    tok = written(tmp_path, with_byte(document, character),
                  {"tokenizer_config.json": {"pad_token": character, "eos_token": "</s>"}})
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert (tok.pad_token_id, tok.n_vocab) == (theirs.pad_token_id, len(theirs))
    for text in ["Hi there! A b", f"{character}{character} a {character}", "読 A!"]:
        assert tok.encode(text) == theirs(text)["input_ids"]


# -- the alphabet of 256 printable characters


def test_each_byte_has_a_printable_character_of_its_own():
    assert sorted(BYTE_TO_CHAR) == list(range(256)) and len(CHAR_TO_BYTE) == 256
    assert all(char.isprintable() and not char.isspace() for char in CHAR_TO_BYTE)


def test_what_readers_of_vocabularies_know():
    assert bytes_to_text(b" the\n") == "ĠtheĊ"
    assert bytes_to_text("é".encode()) == "Ã©"
    assert (BYTE_ORDER[0], BYTE_ORDER[93], BYTE_ORDER[220]) == (ord("!"), ord("~"), ord(" "))


def test_bytes_are_numbered_as_their_characters_sort():
    assert [BYTE_TO_CHAR[byte] for byte in BYTE_ORDER] == sorted(CHAR_TO_BYTE)


@quick
@given(st.binary())
def test_round_trip(data):
    assert text_to_bytes(bytes_to_text(data)) == data


def test_other_characters_are_refused():
    with pytest.raises(KeyError):
        text_to_bytes("a b")

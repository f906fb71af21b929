"""The steps of a tokenizer by hand, BERT's vocab.txt, and what stands in public files."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.tokenizers import BertTokenizer, PipelineTokenizer, load_tokenizer
from tinygpt.tokenizers.character_bpe import BPE
from tinygpt.tokenizers.decoders import DECODERS, read_decoder
from tinygpt.tokenizers.normalizers import NORMALIZERS, read_normalizer
from tinygpt.tokenizers.pre_tokenizers import BEHAVIORS, PRE_TOKENIZERS, read_pre_tokenizer
from tinygpt.tokenizers.special import AddedToken, SpecialTokens
from tinygpt.tokenizers.unigram import Unigram
from tinygpt.tokenizers.wordpiece import WordLevel, WordPiece

GGUF_TEXTS = "\n__ggml_vocab_test__\n"


@pytest.mark.parametrize("settings, text, normal", [
    ({"type": "Lowercase"}, "ΑΣ Σ İ", "ασ σ i̇"), ({"type": "StripAccents"}, "e\u0301\u0323a", "ea"),
    ({"type": "Strip", "strip_left": True, "strip_right": False}, " a ", "a "),
    ({"type": "Prepend", "prepend": "▁"}, "", ""), ({"type": "Prepend", "prepend": "▁"}, "a", "▁a"),
    ({"type": "Replace", "pattern": {"String": "."}, "content": "\\1"}, "a.b", "a\\1b"),
    ({"type": "Replace", "pattern": {"Regex": "a*"}, "content": "x"}, "baac", "xbxcx"),
    ({"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
      "lowercase": True}, "Ñ\x00\x85\t中文\ufffd", "n  中  文 "),
    ({"type": "Nmt"}, "a\u200bb\x01\u2581", "a b "), ({"type": "ByteLevel"}, "é ", "Ã©Ġ"),
])
def test_normalizers(settings, text, normal):
    assert read_normalizer(settings)(text) == normal


@pytest.mark.parametrize("behavior, pieces", [
    ("Removed", ["the", "final", "countdown"]), ("Isolated", ["the", "-", "final", "-", "-", "countdown"]),
    ("Contiguous", ["the", "-", "final", "--", "countdown"]),
    ("MergedWithPrevious", ["the-", "final-", "-", "countdown"]),
    ("MergedWithNext", ["the", "-final", "-", "-countdown"]),
])
def test_the_five_behaviors(behavior, pieces):
    """The example of Hugging Face's documentation."""
    split = {"type": "Split", "pattern": {"String": "-"}, "behavior": behavior, "invert": False}
    assert list(BEHAVIORS) == ["Removed", "Isolated", "Contiguous", "MergedWithPrevious", "MergedWithNext"]
    assert read_pre_tokenizer(split)("the-final--countdown", True) == pieces


@pytest.mark.parametrize("settings, text, pieces", [
    ({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}, "a  b", ["▁a", "▁", "▁b"]),
    ({"type": "Metaspace", "replacement": "▁", "add_prefix_space": False}, "a b", ["a", "▁b"]),
    ({"type": "Digits", "individual_digits": True}, "a12²", ["a", "1", "2", "²"]),
    ({"type": "Whitespace"}, "it's 1st!?", ["it", "'", "s", "1st", "!?"]),
    ({"type": "UnicodeScripts"}, "abc где 日本の", ["abc ", "где ", "日本の"]),
    ({"type": "FixedLength", "length": 2}, "abcde", ["ab", "cd", "e"]),
    ({"type": "CharDelimiterSplit", "delimiter": "-"}, "-a--b", ["a", "b"]),
    ({"type": "BertPreTokenizer"}, "don't €5", ["don", "'", "t", "€5"]),
])
def test_pre_tokenizers(settings, text, pieces):
    assert read_pre_tokenizer(settings)(text, True) == pieces


@pytest.mark.parametrize("settings, tokens, text", [
    ({"type": "WordPiece", "prefix": "##", "cleanup": True}, ["do", "n't", "play", "##ing", "!"], "don't playing!"),
    ({"type": "ByteFallback"}, ["<0xC3>", "<0xA9>", "a", "<0xC3>"], "éa\ufffd"),
    ({"type": "BPEDecoder", "suffix": "</w>"}, ["a", "b</w>", "c</w>"], "ab c"),
    ({"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True},
     ["h", "h", "<pad>", "h", "|", "i"], "hh i"),
    ({"type": "Strip", "content": "_", "start": 1, "stop": 9}, ["__a__", "_"], "_a"),
    (None, ["a", "b"], "a b"),
])
def test_decoders(settings, tokens, text):
    assert "".join(read_decoder(settings)(tokens)) == text


@pytest.mark.parametrize("read, table", [(read_normalizer, NORMALIZERS), (read_pre_tokenizer, PRE_TOKENIZERS),
                                         (read_decoder, DECODERS)])
def test_unknown_steps_are_refused_by_name(read, table):
    for kind in ("Transliterate", "", "sequence"):
        with pytest.raises(ValueError, match=f"{kind!r} is none that can be read.*{list(table)[-1]}"):
            read({"type": kind})
    for broken in (3, {}, {"type": 3}, [], {"type": "Sequence"}, "Split"):
        with pytest.raises(ValueError):
            read(broken)


def test_models_refuse_what_contradicts_itself():
    for make, message in (
            (lambda: WordPiece({"a": 0, "b": 0}), "stands for"), (lambda: WordLevel({"a": -1}), "integer"),
            (lambda: Unigram([("a", float("nan"))]), "finite"), (lambda: Unigram([("a", 0.0)], unk_id=3), "unk_id"),
            (lambda: Unigram([("a", 0.0), ("a", 0.0)]), "twice"),
            (lambda: BPE({"a": 0}, [("a", "a")]), "needs the token"),
            (lambda: BPE.from_json({"vocab": {}, "merges": [], "dropout": 0.1}), "dropout"),
            (lambda: Unigram.from_json({"vocab": [["a"]]}), "list of"),
            (lambda: WordPiece({"a": 0}).encode("b"), "UNK"), (lambda: Unigram([("a", 0.0)]).encode("b"), "lacks")):
        with pytest.raises(ValueError, match=message):
            make()


def test_unknown_characters():
    vocab, merges = {"?": 0, "a": 1, "b": 2, "ab": 3}, [("a", "b")]
    assert BPE(vocab, merges, "?").encode("axyb") == [1, 0, 0, 2]
    assert BPE(vocab, merges, "?", fuse_unk=True).encode("axyb") == [1, 0, 2]
    assert BPE(vocab, merges).encode("axyb") == [3]  # dropped, so that their neighbours stand side by side


# -- BERT -------------------------------------------------------------------------------------------------------------

LINES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", "nandu", "ñ", "!"]


def test_a_vocab_txt_and_its_config(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    tok = load_tokenizer(tmp_path)
    assert isinstance(tok, BertTokenizer) and tok.encode("Playing Ñandú!") == [2, 5, 6, 7, 9, 3]
    assert (tok.mask_token_id, tok.pad_token_id, tok.unk_token_id) == (4, 0, 1)
    assert tok.encode("play[MASK]", allowed_special="all") == [2, 5, 4, 3] and 4 not in tok.encode("[MASK]")
    assert tok.decode([5, 6, 9], skip_special_tokens=True) == "playing!" and tok.token_bytes(6) == b"ing"
    tok.save(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").encode("Playing Ñandú!") == [2, 5, 6, 7, 9, 3]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}), encoding="utf-8")
    assert load_tokenizer(tmp_path).encode("Playing ñ") == [2, 1, 8, 3]


@pytest.mark.oracle
def test_bert_as_in_a_gguf_file(shared_data):
    """The file has the vocabulary; beside it stand texts and the ids that BERT's own tokenizer gives."""
    gguf = pytest.importorskip("gguf")
    path = shared_data / "tokenizers" / "ggml-vocab-bert-bge.gguf"
    tokens = gguf.GGUFReader(path).fields["tokenizer.ggml.tokens"].contents()
    tok = BertTokenizer.from_vocab({
        token[1:] if token.startswith("▁") else token if token.startswith("[") and token != "[" else f"##{token}": i
        for i, token in enumerate(tokens)})
    texts = path.with_suffix(".gguf.inp").read_bytes().decode("utf-8").split(GGUF_TEXTS)
    lines = path.with_suffix(".gguf.out").read_text(encoding="utf-8").split("\n")
    for text, line in zip(texts, lines):
        assert tok.encode(text, add_special_tokens=False) == list(map(int, line.split())), text


@pytest.mark.oracle
def test_llama_as_in_a_gguf_file(shared_data):
    from tinygpt.tokenizers.sentencepiece import SentencePieceTokenizer
    from tinygpt.tokenizers.sentencepiece_file import Pieces
    gguf = pytest.importorskip("gguf")
    path = shared_data / "tokenizers" / "ggml-vocab-llama-spm.gguf"
    fields = gguf.GGUFReader(path).fields
    tokens, scores, types = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "scores", "token_type"))
    tok = SentencePieceTokenizer(Pieces(tokens, scores, types, "bpe", remove_extra_whitespaces=False,
                                        byte_fallback=True))
    texts = path.with_suffix(".gguf.inp").read_bytes().decode("utf-8").split(GGUF_TEXTS)
    lines = path.with_suffix(".gguf.out").read_text(encoding="utf-8").split("\n")
    for text, line in zip(texts, lines):
        assert tok.encode(text) == list(map(int, line.split())), text


# -- added tokens -----------------------------------------------------------------------------------------------------


def test_words_that_are_looked_for_in_the_normalised_text_are_normalised_too():
    model = WordLevel({"[UNK]": 0, "hello": 1, "a": 2}, "[UNK]")
    special = SpecialTokens([AddedToken("[UNK]", 0), AddedToken("WORLD", 3, special=False, normalized=True),
                             AddedToken("Raw", 4, special=False)])
    tok = PipelineTokenizer(model, special, {"type": "Lowercase"}, {"type": "WhitespaceSplit"})
    assert tok.encode("Hello WorldRaw raw") == [1, 3, 4, 0]


def test_with_special_tokens_keeps_the_steps():
    tok = PipelineTokenizer(WordLevel({"[UNK]": 0, "a": 1}, "[UNK]"), ["[UNK]"], {"type": "Lowercase"},
                            {"type": "WhitespaceSplit"}).with_special_tokens(["<|end|>"], eos_token="<|end|>")
    assert tok.eos_token_id == 2 and tok.encode("A<|end|>", allowed_special="all") == [1, 2]
    assert tok.encode("<|end|>") == [0]


def test_lone_surrogates_are_refused():
    tok = PipelineTokenizer(WordLevel({"[UNK]": 0}), ["[UNK]"])
    with pytest.raises(ValueError, match="surrogate"):
        tok.encode("\ud800")
    with pytest.raises(ValueError, match="surrogate"):
        PipelineTokenizer(WordLevel({"[UNK]": 0, "\ud800": 1}))


# -- hostile files ----------------------------------------------------------------------------------------------------

DOCUMENT = {"added_tokens": [{"id": 0, "content": "<unk>", "special": True}],
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
            "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "▁"}, "behavior": "MergedWithNext"},
            "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
            "model": {"type": "BPE", "vocab": {"<unk>": 0, "▁": 1, "a": 2, "▁a": 3, "<0x62>": 4},
                      "merges": [["▁", "a"]], "unk_token": "<unk>", "byte_fallback": True}}
MODELS = [DOCUMENT["model"], {"type": "Unigram", "vocab": [["<unk>", 0.0], ["▁", -1.0], ["a", -2]], "unk_id": 0},
          {"type": "WordPiece", "vocab": {"<unk>": 0, "a": 1, "##a": 2}, "unk_token": "<unk>",
           "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}]

values = st.none() | st.booleans() | st.integers(-2, 10 ** 12) | st.floats() | st.text("a▁ #<", max_size=3)
values |= st.sampled_from(
    ["Split", "BPE", "Unigram", "Sequence", "Metaspace", [], {}, ["a"], {"type": "Strip"}, {"type": "Precompiled"}])


@settings(deadline=None, derandomize=True, max_examples=250)
@given(st.data(), st.sampled_from(MODELS))
def test_a_file_changed_anywhere(tmp_path_factory, data, model):
    changed = json.loads(json.dumps({**DOCUMENT, "model": model}))
    for _ in range(data.draw(st.integers(1, 2))):
        holder, key = changed, data.draw(st.sampled_from(sorted(changed)))
        while isinstance(holder[key], (dict, list)) and holder[key] and data.draw(st.booleans()):
            holder = holder[key]
            key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        holder[key] = data.draw(values)
    folder = tmp_path_factory.mktemp("changed")
    (folder / "tokenizer.json").write_text(json.dumps(changed), encoding="utf-8")
    try:
        tok = load_tokenizer(folder)
        for text in ("", "a b a", "日 <unk>"):
            assert isinstance(tok.decode(tok.encode(text)), str)
        assert isinstance(tok.decode(tok.ids), str) and len([tok.token_bytes(i) for i in tok.ids]) == len(tok.ids)
        tok.save(folder / "again")
        assert load_tokenizer(folder / "again").encode("a b a") == tok.encode("a b a")
    except ValueError as error:
        assert str(error) and "\n" not in str(error)


@pytest.mark.parametrize("change", [
    {"normalizer": {"type": "Replace", "pattern": {"Regex": "(a|a)*b"}, "content": ""}},
    {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+b"}, "behavior": "Isolated"}},
    {"model": {"type": "WordPiece", "vocab": {"<unk>": 0, "a": 1, "##a": 2}, "unk_token": "<unk>",
               "max_input_chars_per_word": 10 ** 9}},
    {"model": {"type": "Unigram", "vocab": [["<unk>", 0.0], *[["a" * n, -1.0 * n] for n in range(1, 500)]],
               "unk_id": 0}},
], ids=["replacing", "splitting", "one word", "long pieces"])
def test_nothing_takes_long(tmp_path, change):
    (tmp_path / "tokenizer.json").write_text(json.dumps({**DOCUMENT, **change}), encoding="utf-8")
    start = time.process_time()
    try:
        load_tokenizer(tmp_path).encode("a" * 10_000)
    except ValueError as error:
        assert "needs more than" in str(error)
    assert time.process_time() - start < 10

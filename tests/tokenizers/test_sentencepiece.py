"""SentencePiece models: ids as SentencePiece gives them, folders as transformers reads them, hostile files refused."""

from __future__ import annotations

import io
import json
import struct
import time

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_parts import MULTILINGUAL
from tokenizer_texts import corpus, multilingual_texts, random_texts

from tinygpt.tokenizers import load_tokenizer
from tinygpt.tokenizers.charsmap import CharsMap
from tinygpt.tokenizers.sentencepiece import SentencePieceTokenizer
from tinygpt.tokenizers.sentencepiece_file import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, Pieces, read_pieces

AWKWARD = ["  a  b  ", "", " ", "▁", "▁▁ a ▁", "a▁ ", "e\u0301 a  b", "<x>abc <x> the abc", "\u3000a\u3000", "<0x41>",
           "</s><s><unk>", "Ⅷ Ⅷ ⅧⅧ", "\U000f4aca\U000f7889", "aaaa aaaaa aa"]
SETTINGS = {
    "unigram": {"vocab_size": 450},
    "unigram, bytes": {"vocab_size": 650, "byte_fallback": True, "normalization_rule_name": "nfkc_cf"},
    "unigram, words across spaces": {"vocab_size": 600, "split_by_whitespace": False, "split_by_unicode_script": False},
    "unigram, symbols": {"vocab_size": 450, "user_defined_symbols": ["<x>", "abc", "ﬁ"], "add_dummy_prefix": False},
    "bpe": {"vocab_size": 700, "model_type": "bpe"},
    "bpe, bytes": {"vocab_size": 900, "model_type": "bpe", "byte_fallback": True, "remove_extra_whitespaces": False,
                   "normalization_rule_name": "identity"},
    "bpe, symbols": {"vocab_size": 700, "model_type": "bpe", "user_defined_symbols": ["<x>", "abc", "the"]},
}


@pytest.fixture(scope="module")
def trained_model(tmp_path_factory):
    """A function: the file of a model that SentencePiece trains."""
    def train(name: str):
        sentencepiece = pytest.importorskip("sentencepiece")
        lines = [" ".join(MULTILINGUAL)] * 20 + [corpus()[i:i + 200].replace("\n", " ") for i in range(0, 20_000, 200)]
        written = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=written, minloglevel=2,
                                                 **{"hard_vocab_limit": False, **SETTINGS[name]})
        path = tmp_path_factory.mktemp("trained") / "tokenizer.model"
        path.write_bytes(written.getvalue())
        return path
    return train


def compare(path, n: int, seed: int, n_multilingual: int = 20) -> None:
    theirs = pytest.importorskip("sentencepiece").SentencePieceProcessor(model_file=str(path))
    ours = load_tokenizer(path)
    for text in [*random_texts(n, seed), *multilingual_texts(n_multilingual, seed), *MULTILINGUAL,
                 " ".join(MULTILINGUAL), *AWKWARD]:
        ids = theirs.encode(text)
        assert ours.encode(text) == ids, text
        decoded = ours.decode(ids)
        assert decoded == "".join(ours.decode_stream(ids))
        if ours.unk_token_id not in ids:
            assert decoded == theirs.decode(ids)


@pytest.mark.oracle
@pytest.mark.parametrize("name", SETTINGS)
def test_ids_are_sentencepieces(request, trained_model, name):
    nightly = request.config.getoption("--hypothesis-profile") == "nightly"
    compare(trained_model(name), 10_000 if nightly else 250, seed=7)


@pytest.mark.oracle
@pytest.mark.nightly
@pytest.mark.parametrize("name", SETTINGS)
def test_ten_thousand_random_and_six_hundred_multilingual_texts(trained_model, name):
    compare(trained_model(name), 10_000, 9, 600)


@pytest.mark.oracle
def test_ids_of_a_public_model(shared_data):
    compare(shared_data / "tokenizers" / "sentencepiece_test.model", 500, seed=8)


@pytest.mark.oracle
@pytest.mark.nightly
def test_ids_of_a_public_model_on_many_texts(shared_data):
    compare(shared_data / "tokenizers" / "sentencepiece_test.model", 10_000, 10, 600)


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["bpe, bytes", "unigram", "unigram, bytes"])
def test_what_is_saved_opens_in_hugging_faces_library(hf_tokenizers, trained_model, tmp_path, name):
    """With equal ids where both programs normalise alike: where a reader sees no character that is made of several."""
    ours = load_tokenizer(trained_model(name))
    ours.save(tmp_path)
    theirs, again = hf_tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json")), load_tokenizer(tmp_path)
    for text in [*MULTILINGUAL, " ".join(MULTILINGUAL), *(corpus()[i:i + 60] for i in range(0, 3000, 60))]:
        if regex.findall(r"\X", text) != list(text):
            continue
        ids = ours.encode(text, allowed_special="all")
        assert theirs.encode(text).ids == ids == again.encode(text, allowed_special="all")
        assert theirs.decode(ids, skip_special_tokens=False) == ours.decode(ids) == again.decode(ids)
    for text in random_texts(300, seed=4):
        assert theirs.encode(text).ids == again.encode(text, allowed_special="all")


# -- by hand ----------------------------------------------------------------------------------------------------------

SMALL = Pieces(["<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "ab"], [0, 0, 0, -3.0, -1.0, -1.5, -1.2, -4.0],
               [UNKNOWN, CONTROL, CONTROL, NORMAL, NORMAL, NORMAL, NORMAL, NORMAL],
               roles=(("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")))


def message(*fields: tuple[int, object]) -> bytes:
    """A protocol buffer: of each value, bytes are a text, a float four bytes, and an integer a number."""
    def number(value: int) -> bytes:
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + number(value >> 7)

    out = b""
    for key, value in fields:
        if isinstance(value, bytes):
            out += number(key << 3 | 2) + number(len(value)) + value
        elif isinstance(value, float):
            out += number(key << 3 | 5) + struct.pack("<f", value)
        else:
            out += number(key << 3) + number(value)  # type: ignore[arg-type]
    return out


def model_bytes(pieces: Pieces, trainer=(), normalizer=()) -> bytes:
    return message(*((1, message((1, piece.encode()), (2, float(score)), (3, kind)))
                     for piece, score, kind in zip(pieces.pieces, pieces.scores, pieces.types)),
                   (2, message(*trainer)), (3, message(*normalizer)))


def test_a_file_is_read_as_it_says(tmp_path):
    (tmp_path / "m.model").write_bytes(model_bytes(SMALL, [(3, 2)], [(3, 0), (4, 0)]))
    read = read_pieces(tmp_path / "m.model")
    assert (list(read.pieces), list(read.types)) == (list(SMALL.pieces), list(SMALL.types))
    assert np.allclose(read.scores, SMALL.scores) and read.roles == SMALL.roles[2:] + SMALL.roles[:2]
    assert (read.algorithm, read.add_dummy_prefix, read.remove_extra_whitespaces) == ("bpe", False, False)


def test_spaces_are_signs_and_the_one_before_the_text_is_not_decoded():
    tok = SentencePieceTokenizer(SMALL)
    assert tok.encode(" ab  a ") == [6, 5, 6] and tok.decode([6, 5, 6]) == "ab a"
    assert tok.encode("<s>x") == [3, 0, 0][:2] and tok.token_bytes(6) == b" a"
    assert tok.encode("a</s>", allowed_special="all") == [6, 2]


def test_equal_scores_are_decided_by_the_sum_before_them():
    """As in SentencePiece, whose sums have four bytes."""
    pieces = Pieces(["<unk>", "v", "i", "ii", "▁"], [0.0, -1.1, -3.3333, -2.7777, -0.7], [UNKNOWN, *[NORMAL] * 4])
    tok = SentencePieceTokenizer(pieces)
    assert all(sorted(tok.encode("viii" * n)) == sorted([4] + [1, 2, 3] * n) for n in range(1, 60))


# -- folders ----------------------------------------------------------------------------------------------------------


def folder(tmp_path, name: str, pieces: Pieces, **config):
    (tmp_path / name).write_bytes(model_bytes(pieces))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return load_tokenizer(tmp_path)


def test_llama_begins_a_text_and_its_config_may_end_it(tmp_path):
    tok = folder(tmp_path, "tokenizer.model", SMALL, tokenizer_class="LlamaTokenizer")
    assert tok.encode("ab") == [1, 6, 5] and tok.eos_token_id == 2
    tok = folder(tmp_path, "tokenizer.model", SMALL, tokenizer_class="LlamaTokenizer", add_bos_token=False,
                 add_eos_token=True)
    assert tok.encode("ab") == [6, 5, 2]


def test_t5_ends_a_text_and_has_a_hundred_tokens_more(tmp_path):
    tok = folder(tmp_path, "spiece.model", SMALL, tokenizer_class="T5Tokenizer")
    assert tok.encode("ab") == [6, 5, 2] and tok.n_vocab == len(SMALL.pieces) + 100
    assert tok.token_id("<extra_id_99>") == 8 and tok.token_id("<extra_id_0>") == 107
    assert tok.encode("a<extra_id_0>", allowed_special="all") == [6, 107, 2]
    tok.save(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").encode("a<extra_id_0>", allowed_special="all") == [6, 107, 2]


def test_xlm_robertas_ids_are_others_than_in_the_file(tmp_path):
    tok = folder(tmp_path, "sentencepiece.bpe.model", SMALL, tokenizer_class="XLMRobertaTokenizer")
    assert tok.encode("ab") == [0, 7, 6, 2] and tok.encode("ax") == [0, 7, 3, 2]
    assert (tok.pad_token_id, tok.unk_token_id, tok.mask_token_id, tok.cls_token_id) == (1, 3, 9, 0)
    tok.save(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").encode("abx") == tok.encode("abx")


def test_marians_ids_stand_in_a_file_of_their_own(tmp_path):
    vocab = {"</s>": 0, "<unk>": 1, "▁a": 2, "b": 3, "▁c": 4, "<pad>": 5}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    other = Pieces(["<unk>", "<s>", "</s>", "▁c", "b"], [0, 0, 0, -1.0, -2.0], [2, 3, 3, 1, 1])
    (tmp_path / "target.spm").write_bytes(model_bytes(other))
    tok = folder(tmp_path, "source.spm", SMALL, tokenizer_class="MarianTokenizer")
    assert tok.encode("ab") == [2, 3, 0] and tok.encode("aba") == [2, 3, 1, 0] and tok.encode("c") == [1, 0]
    assert tok.pad_token_id == 5 and tok.decode([4, 3, 0], skip_special_tokens=True) == "cb"
    assert load_tokenizer(tmp_path / "target.spm").encode("cb") == [4, 3, 0]


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_t5s_tokenizer_in_both_forms(tmp_path):
    """A `spiece.model` gives SentencePiece's ids, and the `tokenizer.json` that transformers makes of it, its own."""
    sentencepiece, transformers = pytest.importorskip("sentencepiece"), pytest.importorskip("transformers")
    lines, written = [" ".join(MULTILINGUAL)] * 20 + [corpus()[:3000].replace("\n", " ")] * 2, io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=written, minloglevel=2,
                                             vocab_size=400, hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2,
                                             bos_id=-1)
    (tmp_path / "spiece.model").write_bytes(written.getvalue())
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer", "extra_ids": 100}')
    ours, theirs = load_tokenizer(tmp_path), transformers.T5Tokenizer.from_pretrained(tmp_path)
    theirs.save_pretrained(tmp_path / "again")
    again = load_tokenizer(tmp_path / "again")
    plain = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    for text in [*MULTILINGUAL, *multilingual_texts(60), *random_texts(60)]:
        assert ours.encode(text) == [*plain.encode(text), 1]
        assert again.encode(text, allowed_special="all") == theirs(text)["input_ids"]
    assert ours.n_vocab == again.n_vocab == len(theirs)
    name = "<extra_id_7>"
    assert ours.token_id(name) == again.token_id(name) == theirs.convert_tokens_to_ids(name)


def marian(tmp_path, content: dict[str, bytes]):
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "MarianTokenizer"}', encoding="utf-8")
    return load_tokenizer(tmp_path)


def test_a_marian_folder_is_saved_as_it_was(tmp_path):
    vocab = json.dumps({"</s>": 0, "<unk>": 1, "▁a": 2, "b": 3, "<pad>": 4}).encode()
    files = {"source.spm": model_bytes(SMALL), "target.spm": model_bytes(SMALL), "vocab.json": vocab}
    tok = marian(tmp_path, files)
    (tmp_path / "again").mkdir()
    tok.save(tmp_path / "again")
    assert {name: (tmp_path / "again" / name).read_bytes() for name in files} == files
    again = load_tokenizer(tmp_path / "again")
    assert again.encode("ab") == tok.encode("ab") == [2, 3, 0] and again.special_tokens == tok.special_tokens
    more = tok.with_special_tokens(["<new>"])  # which these files have no place for
    more.save(tmp_path / "more")
    assert load_tokenizer(tmp_path / "more").encode("ab<new>", allowed_special="all") == [2, 3, 5, 0]
    target = load_tokenizer(tmp_path / "target.spm")  # encodes translations, and goes on doing so
    target.save(tmp_path / "target")
    assert load_tokenizer(tmp_path / "target").encode("ab") == [2, 3, 0]


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_a_saved_marian_folder_opens_in_transformers(trained_model, tmp_path):
    transformers = pytest.importorskip("transformers")
    model = trained_model("unigram").read_bytes()
    pieces = read_pieces(trained_model("unigram")).pieces
    names = ["</s>", "<unk>", *(piece for piece in pieces if not piece.startswith("<")), "<pad>"]
    tok = marian(tmp_path, {"source.spm": model, "target.spm": model, "vocab.json": json.dumps(
        {piece: place for place, piece in enumerate(dict.fromkeys(names))}).encode()})
    tok.save(tmp_path / "again")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "again")
    assert isinstance(theirs, transformers.MarianTokenizer)
    for text in ["the cat", "El niño comió piñas.", *MULTILINGUAL[:4]]:
        assert theirs(text)["input_ids"] == tok.encode(text)
        assert theirs.decode(tok.encode(text), skip_special_tokens=True) == tok.decode(tok.encode(text), True)


def test_a_class_that_is_not_known_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="XLNetTokenizer.*T5Tokenizer"):
        folder(tmp_path, "spiece.model", SMALL, tokenizer_class="XLNetTokenizer")


# -- hostile files ----------------------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.binary(max_size=30), st.integers(0, 10_000), st.integers(0, 30))
def test_bytes_changed_anywhere(tmp_path_factory, noise, at, cut):
    content = model_bytes(SMALL, [(3, 1)], [(2, struct.pack("<IIII", 8, 1 << 10, 0x80000000, 0))])
    at %= len(content)
    path = tmp_path_factory.mktemp("changed") / "m.model"
    path.write_bytes(content[:at] + noise + content[at + cut:])
    try:
        tok = load_tokenizer(path)
    except ValueError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert isinstance(tok.decode(tok.encode("a b")), str)


@pytest.mark.parametrize("content", [
    b"", b"\x0a", b"\x0a\xff\xff\xff\xff\x0f", b"\xff" * 20, b"\x0b", message((1, 3)), message((2, b"")),
    message((1, message((1, 5)))), message((1, message((1, b"a"), (2, b"abc")))),
    message((1, message((1, b"\xff")))), message((1, message((1, b"a"), (2, float("nan"))))),
    message((1, message((1, b"a"))), (1, message((1, b"a")))), model_bytes(SMALL, [(3, 4)]),
    model_bytes(SMALL, [(24, 1)]), model_bytes(SMALL, [], [(2, b"\xff\xff\xff\x7f" + b"\0" * 20)]),
    model_bytes(Pieces(["<unk>", "a" * 5000], [0, 0], [2, 1])),
], ids=lambda content: repr(content[:20]))
def test_files_that_are_no_model(tmp_path, content):
    (tmp_path / "m.model").write_bytes(content)
    with pytest.raises(ValueError, match="m.model") as refused:
        load_tokenizer(tmp_path / "m.model")
    assert "\n" not in str(refused.value)


def unit(offset: int, label: int = 0, leaf: bool = False) -> int:
    return offset << 10 | leaf << 8 | label


def test_a_table_by_hand():
    """The key "a" becomes "XY": the root's children are at its offset ^ byte, values at a node's offset."""
    units = np.zeros(256, "<u4")
    units[0] = unit(1)  # the children of the root are at 1 ^ byte
    node = 1 ^ ord("a")
    units[node] = unit(5, ord("a"), leaf=True)
    units[node ^ 5] = 0x80000000  # the value: place 0
    table = CharsMap(struct.pack("<I", units.nbytes) + units.tobytes() + b"XY\0")
    assert table.keys == {"a": "XY"} and table.by_longest("banana") == table.by_grapheme("banana") == "bXYnXYnXY"


def test_tables_without_end_are_refused():
    """A node that is its own child, and one that has 255 such children."""
    for circles in (range(1, 2), range(1, 256)):
        units = np.zeros(256, "<u4")
        units[circles] = [unit(label, label) for label in circles]  # the children of each are those of the root
        start = time.process_time()
        with pytest.raises(ValueError, match="normalisation table"):
            CharsMap(struct.pack("<I", units.nbytes) + units.tobytes() + b"\0")
        assert time.process_time() - start < 10


def test_pieces_in_memory_are_checked():
    with pytest.raises(ValueError, match="as many"):
        SentencePieceTokenizer(Pieces(["a"], [], [NORMAL]))
    with pytest.raises(ValueError, match="twice"):
        SentencePieceTokenizer(Pieces(["a", "a"], [0, 0], [NORMAL, NORMAL]))
    with pytest.raises(ValueError, match="word"):
        SentencePieceTokenizer(Pieces(["a"], [0], [NORMAL], algorithm="word"))


def test_bytes_and_symbols_in_memory():
    tok = SentencePieceTokenizer(Pieces(["<unk>", "a", "ab", "<0x62>", "<|x|>", "b"], [0, -1, -2, 0, 0, -3],
                                        [UNKNOWN, NORMAL, NORMAL, BYTE, USER_DEFINED, NORMAL], "bpe",
                                        add_dummy_prefix=False, byte_fallback=True))
    assert tok.encode("ab<|x|>b") == [2, 4, 5] and tok.encode("<0x62>") == [0]
    assert tok.decode([3, 1]) == "ba" and tok.token_bytes(3) == b"b"

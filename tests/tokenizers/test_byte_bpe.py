"""ByteBPE as a whole: exact on every text, saved without loss, bounded in time and memory."""

from __future__ import annotations

import itertools
import threading
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_texts import SPECIAL, awkward_text, corpus, quick, random_texts, trained

from tinygpt.tokenizers import ByteBPE, byte_bpe, load_tokenizer
from tinygpt.tokenizers.patterns import PATTERNS
from tinygpt.tokenizers.splitter import Splitter, Stage
from tinygpt.tokenizers.template import Template
from tinygpt.tokenizers.textbook_bpe import BYTE_ORDER, TextbookBPE


def by_the_textbook(tok: ByteBPE, text: str) -> list[int]:
    """`encode` of a trained tokenizer as the textbook has it: split, then merge each piece."""
    textbook = TextbookBPE([(tok.vocab[left], tok.vocab[right]) for left, right in tok.merges], pattern="(?!)")
    return [token_id for piece in tok.splitter(text) for token_id in textbook.encode(piece)]


@pytest.mark.parametrize("pattern", [*PATTERNS, r"\w+|\W"])
@quick
@given(st.lists(awkward_text, max_size=3))
def test_encoding_is_the_textbooks_and_decoding_its_inverse(pattern, texts):
    tok = ByteBPE(trained(pattern).vocab, trained(pattern).merges, SPECIAL, pattern)
    for text in texts * 2:  # the second time out of the cache
        ids = tok.encode(text)
        assert ids == by_the_textbook(tok, text)
        assert tok.decode(ids) == text and tok.decode_bytes(ids) == text.encode()


def test_ids_are_gpt2s_bytes_then_merges_then_special_tokens():
    tok = trained()
    assert [tok.token_bytes(i) for i in range(256)] == [bytes([byte]) for byte in BYTE_ORDER]
    assert [tok.token_bytes(256 + rank) for rank in range(len(tok.merges))] == [a + b for a, b in tok.merges]
    assert list(tok.special_tokens.values()) == list(range(700 - len(SPECIAL), 700))


def test_training_is_the_textbooks():
    tok = ByteBPE.train(corpus(), 400)
    assert "\a" not in corpus()  # so it can mark where the pieces end
    textbook = TextbookBPE.train("\a".join(tok.splitter(corpus())), 400, "[^\a]+|\a")
    assert tok.merges == [(textbook.tokens[left], textbook.tokens[right]) for left, right in textbook.merges]


def test_training_from_documents_files_and_generators(tmp_path):
    texts = ["the cat sat", "on the mat", "the end"] * 5
    (tmp_path / "a.txt").write_text(texts[0], encoding="utf-8")
    merges = ByteBPE.train(texts, 270).merges
    assert ByteBPE.train((text for text in texts), 270).merges == merges
    assert ByteBPE.train([tmp_path / "a.txt", *texts[1:]], 270).merges == merges
    assert ByteBPE.train(tmp_path / "a.txt", 270).merges == ByteBPE.train(texts[0], 270).merges
    assert ByteBPE.train(["ab"] * 9 + ["c"], 300).merges == [(b"a", b"b")]  # never b"bc" or b"ba"


def test_training_with_a_splitter():
    """With a space before each text, a word at its beginning is learnt and encoded as one like any other."""
    texts = ["good food", "food is good", "good"]
    spaced = ByteBPE.train(texts, 300, pattern=Splitter([Stage("gpt2", add_prefix_space=True)]))
    assert spaced.merges == ByteBPE.train([f" {text}" for text in texts], 300).merges
    assert spaced.encode("good food") == [spaced.vocab[b" good"], spaced.vocab[b" food"]]


def test_vocabulary_sizes():
    assert ByteBPE.train("aaaa", 256).n_vocab == 256
    assert ByteBPE.train("aaaa", 10_000, ["<s>"]).n_vocab == 256 + 2 + 1  # aa, aaaa: then no pair is left
    assert ByteBPE.train("aaaa ab", 10_000, min_frequency=2).merges == [(b"a", b"a")]
    with pytest.raises(ValueError, match="vocab_size is 257, but the 256 bytes and 2 special tokens alone need 258"):
        ByteBPE.train("text", 257, ["<s>", "</s>"])


@pytest.mark.parametrize("make", [
    lambda: ByteBPE.train(""), lambda: ByteBPE.train([]), lambda: ByteBPE.train(["", ""]),
    lambda: ByteBPE.train("a\ud800"), lambda: ByteBPE.train("text", pattern="("),
    lambda: ByteBPE.train("text", special_tokens=["<s>", "<s>"]), lambda: ByteBPE.train("text", special_tokens=[""]),
    lambda: ByteBPE.train("text", special_tokens=["t"]), lambda: ByteBPE({b"a": 0}, [(b"a", b"a")]),
    lambda: ByteBPE({b"a": 0}, [], {"<s>": 0}), lambda: ByteBPE({b"a": 0}, [], {"<s>": -1}),
])
def test_contradictions_are_errors(make):
    with pytest.raises(ValueError):
        make()


def test_no_text_no_ids():
    tok = trained()
    assert tok.encode("") == [] and tok.decode([]) == "" and list(tok.decode_stream([])) == []


@pytest.mark.parametrize("text", ["\ud800", "abc\udfffdef", "😀\ud83d"])
def test_a_lone_surrogate_is_named(text):
    with pytest.raises(ValueError, match=r"lone surrogate '\\u[d-f]"):
        trained().encode(text)
    with pytest.raises(ValueError, match="lone surrogate"):
        ByteBPE(trained().vocab, [], pattern=r"\w+").encode(text)


def test_a_vocabulary_without_some_byte():
    tok = ByteBPE({b"a": 5, b"b": 2, b"ab": 9}, [(b"a", b"b")])
    assert tok.encode("abba") == [9, 2, 5] and tok.n_vocab == 10 and tok.ids == [2, 5, 9]
    with pytest.raises(ValueError, match="lacks the byte b'c'"):
        tok.encode("abc")
    with pytest.raises(IndexError, match="no token has the id 3"):
        tok.decode([3])


def test_whole_pieces_first_where_merges_are_ignored():
    """Llama 3: a piece that is a token is that token, even where merges would not make it."""
    vocab = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"bc": 257, b"abc": 258}
    merges = [(b"b", b"c"), (b"a", b"b")]
    assert ByteBPE(vocab, merges).encode("abc") == [97, 257]
    tok = ByteBPE(vocab, merges, ignore_merges=True)
    assert tok.encode("abc") == [258] and tok.encode("xabc abc") == [120, 97, 257, 32, 97, 257]
    assert tok.encode("abc") == [258]


def test_a_normal_form_comes_first():
    tok = ByteBPE(trained().vocab, trained().merges, normal_forms=["NFC"])
    assert tok.encode("e\u0301") == tok.encode("é") == trained().encode("é")
    assert tok.decode(tok.encode("e\u0301")) == "é"


SETTINGS = {
    **{name: {"pattern": name} for name in PATTERNS},
    "custom": {"pattern": r"[a-z]+|\d|\s+"},
    "one group": {"pattern": r"(a|b)+"},
    "quotes and slashes": {"pattern": r"\"[^\"]*\"|\\|/"},
    "digits apart": {"pattern": Splitter([Stage(r"\p{N}"), Stage("gpt2")])},
    "prefix space": {"pattern": Splitter([Stage("gpt2", add_prefix_space=True)])},
    "matches only": {"pattern": Splitter([Stage(r"\w+", "matches")])},
    "gaps only": {"pattern": Splitter([Stage(r"\s", "gaps"), Stage("o200k")])},
    "no split": {"pattern": Splitter([Stage("")])},
    "ignore merges": {"ignore_merges": True},
    "normal forms": {"normal_forms": ["NFKD", "NFC"]},
    "template": {"template": Template.around(["<s>"], ["</s>", "<|end|>"], {
        name: 700 - len(SPECIAL) + i for i, name in enumerate(SPECIAL)})},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_saved_and_loaded_agree(tmp_path, name):
    tok = ByteBPE(trained().vocab, trained().merges, SPECIAL, **SETTINGS[name])
    tok.save(tmp_path / "one")
    back = load_tokenizer(tmp_path / "one")
    back.save(tmp_path / "two")
    assert isinstance(back, ByteBPE)
    assert (back.vocab, back.merges, back.special.tokens, back.special.roles, back.n_vocab) == (
        tok.vocab, tok.merges, tok.special.tokens, tok.special.roles, tok.n_vocab)
    for text in [*random_texts(300, seed=5), corpus()]:
        ids = tok.encode(text, allowed_special="all")
        assert back.encode(text, allowed_special="all") == ids and back.decode(ids) == tok.decode(ids)
        assert back.encode(text) == tok.encode(text)
    assert (tmp_path / "one" / "tokenizer.json").read_bytes() == (tmp_path / "two" / "tokenizer.json").read_bytes()


def test_saving_leaves_nothing_else(tmp_path):
    trained().save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]


def test_what_the_two_file_formats_cannot_hold(tmp_path):
    for settings in itertools.islice(SETTINGS.values(), 1, None):
        tok = ByteBPE(trained().vocab, trained().merges, SPECIAL, **settings)
        for name in ("vocab.json", "encoder.json"):
            with pytest.raises(ValueError, match="needs tokenizer.json"):
                tok.save(tmp_path, name)
    with pytest.raises(ValueError, match="'gpt2', expected one of"):
        trained().save(tmp_path, "gpt2")
    assert not list(tmp_path.iterdir())


def test_the_caches_are_bounded(monkeypatch):
    monkeypatch.setattr(byte_bpe, "_CACHE_ENTRIES", 50)
    tok = ByteBPE(trained().vocab, trained().merges)
    for text in [*random_texts(200, seed=9), corpus(), "long" * 1000]:
        assert tok.encode(text) == by_the_textbook(tok, text)
        assert len(tok._known_pieces) <= 50 and len(tok._known_parts) <= 50
        assert all(len(piece) <= 64 for piece in [*tok._known_pieces, *tok._known_parts])


def test_threads_may_share_a_tokenizer(monkeypatch):
    monkeypatch.setattr(byte_bpe, "_CACHE_ENTRIES", 30)  # emptied all the time
    tok, texts = ByteBPE(trained().vocab, trained().merges), random_texts(300, seed=2)
    expected = [trained().encode(text) for text in texts]
    found: dict[int, list[list[int]]] = {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: [tok.encode(text) for text in texts]}))
               for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [expected] * 4


@pytest.mark.parametrize("text", ["\n" * 1_000_000 + "x", "a" * 1_000_000, "😀" * 250_000, " " * 1_000_000,
                                  "ab" * 200_000, "1" * 300_000, "!?" * 200_000, "中" * 300_000, "e\u0301" * 200_000],
                         ids=lambda text: ascii(text[:2]))
def test_texts_without_words_take_no_quadratic_time(text):
    tok = ByteBPE(trained().vocab, trained().merges)
    start = time.process_time()
    ids = tok.encode(text)
    assert time.process_time() - start < 12  # quadratic time would be hours
    assert tok.decode(ids) == text


def test_training_on_such_texts_takes_no_quadratic_time():
    start = time.process_time()
    tok = ByteBPE.train(["\n" * 200_000 + "x", "a" * 200_000, "ab" * 100_000, "😀" * 50_000], 300)
    assert time.process_time() - start < 12
    assert tok.decode(tok.encode("aaaab😀")) == "aaaab😀"


def test_memory_does_not_grow_with_the_text(tmp_path):
    """A file is read and counted part by part."""
    words = [" " + word for word in corpus().split()[:500]]
    peaks = []
    for n in (60, 240):  # 0.8 and 3.2 MB
        (tmp_path / "text").write_text("".join("".join(words[i % 7:]) * 5 for i in range(n)), encoding="utf-8")
        tracemalloc.start()
        ByteBPE.train(tmp_path / "text", 300)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_progress_goes_to_stderr(capsys):
    ByteBPE.train("some words to merge", 260, progress=True)
    done = capsys.readouterr()
    assert done.out == "" and "reading" in done.err and "merging: 100%" in done.err and "4.00/4.00" in done.err
    ByteBPE.train("some words to merge", 260)
    assert capsys.readouterr() == ("", "")

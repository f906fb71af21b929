"""The fast forms of byte-pair encoding against the textbook's."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_texts import quick

from tinygpt.tokenizers import bpe
from tinygpt.tokenizers.textbook_bpe import BYTE_ORDER, Pair, TextbookBPE, count_pairs, merge_pair

# Few letters make runs, overlaps and ties, where the fast forms could go wrong.
words = st.text("ab", min_size=1, max_size=12) | st.text("abcdé ", min_size=1, max_size=8)
pieces = st.dictionaries(words.map(str.encode), st.integers(1, 5), max_size=12)


def named(merges: list[Pair]) -> list[tuple[bytes, bytes]]:
    """Merges of ids as merges of bytes."""
    tokens = [bytes([byte]) for byte in BYTE_ORDER]
    found = []
    for left, right in merges:
        found.append((tokens[left], tokens[right]))
        tokens.append(tokens[left] + tokens[right])
    return found


def table(merges: list[tuple[bytes, bytes]]) -> tuple[dict[bytes, int], bpe.MergeTable]:
    tokens = [bytes([byte]) for byte in BYTE_ORDER] + [left + right for left, right in merges]
    vocab = {token: i for i, token in enumerate(tokens)}
    return vocab, bpe.MergeTable(vocab, merges)


def textbook(counts: dict[bytes, int], n_merges: int) -> TextbookBPE:
    """The textbook's tokenizer of a text with these pieces, so often each."""
    text = "|".join(piece.decode() for piece, count in counts.items() for _ in range(count))
    return TextbookBPE.train(text, 256 + n_merges, pattern=r"[^|]+|\|")


def applied(piece: bytes, merges: list[tuple[bytes, bytes]]) -> list[bytes]:
    """What a piece becomes by merges in any order: always the earliest that is possible, at its leftmost place."""
    tokens = [bytes([byte]) for byte in piece]
    while places := [(merges.index(pair), i) for i, pair in enumerate(pairwise(tokens)) if pair in merges]:
        _, i = min(places)
        tokens[i:i + 2] = [tokens[i] + tokens[i + 1]]
    return tokens


@quick
@given(pieces, st.integers(0, 40))
def test_fast_training_learns_what_the_textbook_learns(counts, n_merges):
    assert list(bpe.train(counts, n_merges)) == textbook(counts, n_merges).merges


@quick
@given(pieces, st.integers(0, 40), st.integers(1, 4))
def test_training_stops_at_the_first_pair_that_is_too_rare(counts, n_merges, min_frequency):
    found = list(bpe.train(counts, n_merges, min_frequency))
    all_merges = textbook(counts, n_merges).merges
    assert found == all_merges[:len(found)]
    words = {tuple(BYTE_ORDER.index(byte) for byte in piece): count for piece, count in counts.items()}
    for rank, pair in enumerate(found):
        assert count_pairs(words)[pair] >= min_frequency
        words = {merge_pair(ids, pair, 256 + rank): count for ids, count in words.items()}
    assert len(found) == n_merges or max(count_pairs(words).values(), default=0) < min_frequency


@quick
@given(pieces)
def test_training_ends_when_every_piece_is_one_token(counts):
    merges = named(list(bpe.train(counts, 10_000)))
    vocab, merge_table = table(merges)
    assert all(merge_table.encode(piece) == [vocab[piece]] for piece in counts)


@quick
@given(pieces, st.integers(0, 200))
def test_no_token_is_made_twice(counts, n_merges):
    """Between token boundaries, the same bytes are always merged alike; so each token has one id."""
    made = [left + right for left, right in named(list(bpe.train(counts, n_merges)))]
    assert len(set(made)) == len(made)


@quick
@given(pieces, st.integers(0, 40), words.map(str.encode), st.integers(0, 8))
def test_fast_encoding_equals_the_textbook(counts, n_merges, text, long):
    tokenizer = TextbookBPE(bpe.train(counts, n_merges), pattern=r"[^|]+|\|")
    vocab, merge_table = table(named(tokenizer.merges))
    expected = tokenizer.encode(text.decode())
    with pytest.MonkeyPatch.context() as patch:
        for limit in (0, long, 100):  # the heap, the list, and where they meet
            patch.setattr(bpe, "_LONG", limit)
            assert merge_table.encode(text) == expected
            assert sum([merge_table.encode(part) for part in merge_table.cut([text])[0]], []) == expected


@quick
@given(st.data())
def test_encoding_with_merges_that_no_training_gives(data):
    """A file may list merges in any order: a merge of a later one's product, tokens with two ways to make them."""
    tokens = [b"a", b"b", b"c"]
    merges: list[tuple[bytes, bytes]] = []
    for _ in range(data.draw(st.integers(0, 8))):
        pair = (data.draw(st.sampled_from(tokens)), data.draw(st.sampled_from(tokens)))
        if pair not in merges and len(pair[0] + pair[1]) < 12:
            merges.append(pair)
            tokens.append(pair[0] + pair[1])
    merges = data.draw(st.permutations(merges))
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    merge_table = bpe.MergeTable(vocab, merges)
    text = data.draw(st.text("abc", min_size=1, max_size=14)).encode()
    expected = [vocab[token] for token in applied(text, merges)]
    for limit in (0, 100):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bpe, "_LONG", limit)
            assert sum([merge_table.encode(part) for part in merge_table.cut([text])[0]], []) == expected


@quick
@given(st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=6), st.lists(words.map(str.encode)))
def test_no_merge_crosses_a_cut(texts, learned):
    merges = named(list(bpe.train(Counter(word for word in learned), 30)))
    crossing = {(left[-1], right[0]) for left, right in merges}
    _, merge_table = table(merges)
    parts_of = merge_table.cut(texts)
    assert [b"".join(parts) for parts in parts_of] == texts
    for parts in parts_of:
        assert not any((before[-1], after[0]) in crossing for before, after in pairwise(parts))
        assert all((part[i], part[i + 1]) in crossing for part in parts for i in range(len(part) - 1))


@pytest.mark.parametrize("text", [b"a" * 300_000, b"ab" * 150_000, b"aab" * 100_000, b" " * 300_000],
                         ids=lambda text: ascii(text[:3]))
def test_long_pieces_take_no_quadratic_time(text):
    vocab, merge_table = table(named(list(bpe.train({b"aaaaaaaa": 2, b"abab": 2, b"    ": 1, b"aab": 1}, 30))))
    start = time.process_time()
    ids = merge_table.encode(text)
    assert time.process_time() - start < 5
    tokens = {token_id: token for token, token_id in vocab.items()}
    assert b"".join(tokens[token_id] for token_id in ids) == text


@pytest.mark.parametrize("merges, message", [
    ([(b"a", b"b"), (b"a", b"b")], "given twice"),
    ([(b"a", b"zz")], "no token"),
    ([(b"b", b"a")], "no token"),
    ([(b"", b"a")], "no token"),
])
def test_merges_that_contradict_the_vocabulary(merges, message):
    with pytest.raises(ValueError, match=message):
        bpe.MergeTable({b"a": 0, b"b": 1, b"ab": 2}, merges)


@pytest.mark.parametrize("vocab", [{"a": 0}, {b"a": -1}, {b"a": 1.0}, {b"a": True}, {b"a": 1 << 24},
                                   {b"a": 0, b"b": 0}])
def test_vocabularies_that_are_none(vocab):
    with pytest.raises(ValueError):
        bpe.check_vocab(vocab)

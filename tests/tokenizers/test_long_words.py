"""Long words: the same ids as from one heap over the whole, in time and memory that stay in proportion."""

from __future__ import annotations

import random
import time
import tracemalloc

import pytest

from tinygpt.tokenizers import ByteBPE, bpe, long_words
from tinygpt.tokenizers.splitter import Splitter, Stage


def merges(rng: random.Random) -> tuple[dict[tuple[int, int], int], list[int], int]:
    """Ranks, what each merge makes, and how many letters there are; half of them in an order that no training gives."""
    texts = [chr(97 + i) for i in range(rng.randint(1, 4))]
    n_letters, ids = len(texts), {text: i for i, text in enumerate(texts)}
    pairs = []
    for _ in range(rng.randint(1, 12)):
        pair = rng.choice(texts), rng.choice(texts)
        if pair not in pairs:
            pairs.append(pair)
            if "".join(pair) not in ids:
                ids["".join(pair)] = len(ids)
                texts.append("".join(pair))
    if rng.random() < 0.5:
        rng.shuffle(pairs)
    return ({(ids[a], ids[b]): rank for rank, (a, b) in enumerate(pairs)}, [ids[a + b] for a, b in pairs], n_letters)


def test_blocks_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    for _ in range(3000):
        monkeypatch.setattr(long_words, "_BLOCK", rng.choice([4, 8, 20]))
        monkeypatch.setattr(long_words, "_MARGIN", rng.choice([1, 2, 5]))
        ranks, made, n_letters = merges(rng)
        word = [rng.randrange(n_letters) for _ in range(rng.randint(1, 200))]
        assert list(long_words.merge_long(word, ranks, made)) == long_words._merge(word, ranks, made)[0]


@pytest.mark.parametrize("text", ["ab" * 3000, "the quick brown fox " * 300])
def test_segments_of_a_piece_give_what_the_piece_gives(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    tok = ByteBPE.train(text, 300, pattern=Splitter([Stage("")]))
    word = "".join(random.Random(1).choices(text, k=5000))
    whole = tok.encode(word)
    monkeypatch.setattr(bpe, "SEGMENT", 64)
    again = ByteBPE(tok.vocab, tok.merges, pattern=Splitter([Stage("")]))
    assert again.encode(word) == whole and again.decode(whole) == word


@pytest.mark.parametrize("letters", ["a", "abcdefghijklmnopqrstuvwxyz"])
def test_a_word_of_megabytes(letters: str) -> None:
    rng = random.Random(0)
    tok = ByteBPE.train("".join(rng.choices(letters, k=20_000)), 400)
    word = "".join(rng.choices(letters, k=100_000))
    tracemalloc.start()
    ids = tok.encode_array(word)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000 and tok.decode(ids) == word


def test_one_budget_for_all_stages() -> None:
    """The first stage makes many pieces, and the second takes a while for each."""
    split = Splitter([Stage("[0-9]"), Stage("(a|aa)+$")])
    start = time.thread_time()
    with pytest.raises(ValueError, match="nested repetition"):
        split("aaaaaaaaaaaaaaaaaaaaaac1" * 200)
    assert time.thread_time() - start < 30

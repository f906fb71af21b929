"""Sentence pairs: read from any table, split without leaks, batched by length, each once an epoch."""

from __future__ import annotations

import gzip
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data import IGNORE
from tinygpt.data.pairs import (PairSampler, all_pairs, fitting_pairs, pair_batch, pairs_from_ids, read_pairs,
                                split_pairs)

PAIRS = [("Go.", "Ve."), ("Go.", "Vete."), ('He said "no".', "Dijo «no».")]


def _write(folder: Path, name: str) -> Path:
    path = folder / name
    if name.startswith("x.csv"):
        text = "".join('{},"{}"\n'.format('"' + s.replace('"', '""') + '"', t) for s, t in PAIRS)
    elif name.startswith("lists"):
        text = "".join(json.dumps([s, t, 3]) + "\n" for s, t in PAIRS)
    elif name.startswith("x.jsonl"):
        text = "".join(json.dumps({"en": s, "es": t, "by": 1}) + "\n" for s, t in PAIRS)
    else:
        text = "".join(f" {s}\t{t} \tCC-BY\n" for s, t in PAIRS)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["x.tsv", "x.txt", "x.txt.gz", "x.csv", "x.csv.gz", "x.jsonl", "x.jsonl.gz",
                                  "lists.jsonl"])
def test_formats(tmp_path: Path, name: str) -> None:
    assert read_pairs(_write(tmp_path, name)) == PAIRS


def test_several_files_and_named_corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, "x.csv")
    (tmp_path / "spa.txt.gz").write_bytes(gzip.compress(b"Run!\tCorre.\n"))
    monkeypatch.setenv("TINYGPT_DATA", str(tmp_path))
    assert read_pairs([tmp_path / "x.csv", "spa-eng"]) == [*PAIRS, ("Run!", "Corre.")]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    def write(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    with pytest.raises(ValueError, match="one.txt, line 1: expected two columns of text"):
        read_pairs(write("one.txt", "no tab here\n"))
    with pytest.raises(ValueError, match="n.jsonl, line 2: expected two columns of text.*7"):
        read_pairs(write("n.jsonl", '["a", "b"]\n["a", 7]\n'))
    with pytest.raises(ValueError, match="holds no pairs"), warnings.catch_warnings():
        read_pairs(write("empty.txt", "a\t\n \tb\n"))
    with pytest.warns(UserWarning, match="left out 2 of 3 pairs, which have an empty side"):
        assert read_pairs(write("some.txt", "a\t\nc\td\n \tb\n")) == [("c", "d")]
    with pytest.raises(FileNotFoundError, match="did you mean 'spa-eng'"):
        read_pairs("spa-en")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_pairs(tmp_path)


texts = st.text("abc", min_size=1, max_size=2)


@given(pairs=st.lists(st.tuples(texts, texts), max_size=40), validation=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_no_source_is_on_both_sides(pairs: list, validation: float, seed: int) -> None:
    sources = {source for source, _ in pairs}
    if len(sources) < 2:
        with pytest.raises(ValueError, match="at least two different"):
            split_pairs(pairs, validation, seed)
        return
    train, held_out = split_pairs(pairs, validation, seed)
    assert train and held_out and sorted(train + held_out) == sorted(pairs)
    left, right = ({source for source, _ in part} for part in (train, held_out))
    assert not left & right and abs(len(right) - validation * len(sources)) <= 1
    assert [pair for pair in pairs if pair[0] in left] == train  # in the order given
    assert split_pairs(pairs, validation, seed) == (train, held_out)


def test_another_seed_holds_out_others() -> None:
    pairs = [(str(i), "x") for i in range(100)]
    assert split_pairs(pairs, 0.1, 0)[1] != split_pairs(pairs, 0.1, 1)[1]
    for validation in (0, 1, -0.1):
        with pytest.raises(ValueError, match=r"in \(0, 1\)"):
            split_pairs(pairs, validation)


sides = st.lists(st.integers(1, 9), max_size=8).map(lambda ids: np.array([*ids, 0], dtype=np.uint8))


@given(st.lists(st.tuples(sides, sides), max_size=10))
def test_ids_and_back(pairs: list) -> None:
    flat = np.concatenate([np.empty(0, np.uint8), *(side for pair in pairs for side in pair)])
    found = pairs_from_ids(flat, eos_id=0)
    assert [(s.tolist(), t.tolist()) for s, t in found] == [(s.tolist(), t.tolist()) for s, t in pairs]
    for broken in (np.append(flat, 0), np.append(flat, 3)):
        with pytest.raises(ValueError, match="no list of pairs"):
            pairs_from_ids(broken, eos_id=0)


def _pairs(lengths: list[tuple[int, int]]) -> list:
    return [(np.full(s, number), np.full(t, number)) for number, (s, t) in enumerate(lengths)]


def test_fitting() -> None:
    pairs = _pairs([(2, 3), (4, 1), (1, 5), (4, 4)])
    assert fitting_pairs(pairs, 5) == pairs
    with pytest.warns(UserWarning, match="data: left out 1 of 4 pairs, which are longer than block_size 4"):
        assert fitting_pairs(pairs, 4) == [pairs[0], pairs[1], pairs[3]]
    with pytest.raises(ValueError, match="none of 4 pairs fits block_size 1"):
        fitting_pairs(pairs, 1)


def test_batch() -> None:
    batch = pair_batch([(np.array([5, 6, 0]), np.array([7, 0])), (np.array([8, 0]), np.array([9, 9, 9, 0]))], pad_id=1)
    assert batch["ids"].tolist() == [[5, 6, 0], [8, 0, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["targets"].tolist() == [[7, 0, IGNORE, IGNORE], [9, 9, 9, 0]]
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}


lengths = st.tuples(st.integers(1, 12), st.integers(1, 12))


@given(lengths=st.lists(lengths, min_size=1, max_size=60), batch_size=st.integers(1, 9), seed=st.integers(0, 2**40))
def test_each_pair_once_an_epoch(lengths: list, batch_size: int, seed: int) -> None:
    sampler = PairSampler(_pairs(lengths), batch_size, seed)
    n = sampler.steps_per_epoch
    assert n == -(-len(lengths) // batch_size)
    for epoch in (0, 3):
        seen = [index for step in range(n) for index in sampler.indices(epoch * n + step)]
        assert sorted(seen) == list(range(len(lengths)))
    fresh = PairSampler(_pairs(lengths), batch_size, seed).batch(n + 1)  # without the steps before it
    assert all((fresh[name] == array).all() for name, array in sampler.batch(n + 1).items())


def test_batches_hold_similar_lengths_and_change() -> None:
    rng = np.random.default_rng(0)
    pairs = _pairs([(n, n + 1) for n in rng.integers(1, 30, 1000)])
    sampler = PairSampler(pairs, 10, seed=0)
    batches = [sampler.batch(step) for step in range(sampler.steps_per_epoch)]
    filling = 1 - sum(batch["attention_mask"].sum() for batch in batches) / sum(batch["ids"].size for batch in batches)
    assert filling < 0.02
    widths = [batch["ids"].shape[1] for batch in batches]
    assert widths != sorted(widths)
    epochs = [[frozenset(sampler.indices(epoch * 100 + step)) for step in range(100)] for epoch in range(2)]
    assert not set(epochs[0]) & set(epochs[1])


@given(lengths=st.lists(lengths, min_size=1, max_size=30), batch_size=st.integers(1, 9))
def test_all_pairs(lengths: list, batch_size: int) -> None:
    rows = [row[counts == 1][0] for batch in all_pairs(_pairs(lengths), batch_size, pad_id=99)
            for row, counts in zip(batch["ids"], batch["attention_mask"])]
    assert sorted(rows) == list(range(len(lengths)))

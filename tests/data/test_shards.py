"""Folders of tokens: how they are made, what a damaged or made-up one is told, and mixtures of them."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from tinygpt.data import Documents, WindowSampler
from tinygpt.data import prepare as prepare_module
from tinygpt.data.mixture import MOST_VALIDATION, Mixture, MixtureSampler, find_mixture
from tinygpt.data.parts import cut_data
from tinygpt.data.prepare import Preparation
from tinygpt.data.quality import parse_steps
from tinygpt.data.shards import Row, TokenFolder
from tinygpt.tokenizers import ByteBPE, CharTokenizer

TOKENIZER = ByteBPE.train("some text of which another text is some of the text " * 9, 280, ["<|endoftext|>"])


def sentence(rng: np.random.Generator, n: int = 80) -> str:
    return " ".join("".join(rng.choice(list("abcdefghijkl"), rng.integers(2, 8))) for _ in range(n))


@pytest.fixture
def texts(tmp_path) -> Path:
    """A table of 60 texts: every tenth is short, one of seven a near duplicate of the one before it."""
    rng, records = np.random.default_rng(0), []
    for i in range(60):
        text = records[-1].replace(records[-1][10:14], "ZZ", 1) if i % 7 == 4 else sentence(rng)
        records.append("short" if i % 10 == 9 else text)
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in records), encoding="utf-8")
    return path


def prepared(out: Path, data: Path, drop: tuple[str, ...] = (), size: int = 5000, processes: int = 1,
             tokenizer: ByteBPE | CharTokenizer = TOKENIZER) -> dict:
    out.mkdir()
    tokenizer.save(out)
    return Preparation(out, cut_data([str(data)], size), parse_steps(drop)).run(processes, lambda done, before: None)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_texts_are_there_each_with_its_end(tmp_path, texts):
    index = prepared(tmp_path / "out", texts)
    expected = [i for text in Documents([texts]) for i in [*TOKENIZER.encode(text), TOKENIZER.eos_token_id]]
    folder = TokenFolder(tmp_path / "out")
    assert folder.ids[:].tolist() == expected and len(folder.ids) == index["tokens"] == len(expected)
    assert index["texts"] == index["read"]["texts"] == 60 and index["dropped"] == {} and len(index["shards"]) > 3
    assert not (tmp_path / "out" / "parts").exists()


def test_each_step_counts_what_it_drops(tmp_path, texts):
    index = prepared(tmp_path / "out", texts, ("duplicates", "length=20"))
    whole = list(Documents([texts]))
    short = [text for text in whole if len(text) < 20]
    assert index["dropped"]["length"] == {"texts": 6, "characters": 5 * 6} and len(short) == 6
    assert list(index["dropped"]) == ["length", "duplicates"]
    repeats = [text for text in whole if "ZZ" in text]
    assert index["dropped"]["duplicates"] == {"texts": len(repeats), "characters": sum(map(len, repeats))}
    kept = [text for text in whole if text not in short + repeats]
    expected = [i for text in kept for i in [*TOKENIZER.encode(text), TOKENIZER.eos_token_id]]
    assert TokenFolder(tmp_path / "out").ids[:].tolist() == expected and index["texts"] == len(kept)


def test_any_number_of_processes_makes_the_same_folder(tmp_path, texts):
    drop = ("length=20", "repetition", "language", "duplicates")
    prepared(tmp_path / "one", texts, drop)
    prepared(tmp_path / "three", texts, drop, processes=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


def test_where_forking_is_not_safe_processes_are_started_anew(tmp_path, texts):
    prepared(tmp_path / "one", texts)
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        prepared(tmp_path / "two", texts, processes=2)
    finally:
        over.set()
        other.join()
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("drop", [(), ("length=20", "duplicates")])
def test_an_interruption_anywhere_ends_in_the_same_folder(tmp_path, texts, monkeypatch, drop):
    """Interrupted before each file that is written, one after another, and gone on with each time."""
    prepared(tmp_path / "alone", texts, drop)

    class Killed(BaseException):
        pass

    left = 0

    def counted(write):
        def first_ask(*arguments):
            nonlocal left
            if not left:
                raise Killed
            left -= 1
            return write(*arguments)
        return first_ask
    for name in ("growing_file", "write_json", "second_name"):
        monkeypatch.setattr(prepare_module, name, counted(getattr(prepare_module, name)))
    out = tmp_path / "out"
    out.mkdir()
    TOKENIZER.save(out)
    interruptions = 0
    while not (out / "tokens.json").exists():
        left = 4 + interruptions % 3  # enough for one part
        try:
            Preparation(out, cut_data([str(texts)], 5000), parse_steps(drop)).run(1, lambda done, before: None)
        except Killed:
            interruptions += 1
            left = 1 << 30
            assert interruptions < 100
            if interruptions > 12:
                break
    Preparation(out, cut_data([str(texts)], 5000), parse_steps(drop)).run(1, lambda done, before: None)
    assert interruptions > 3 and contents(out) == contents(tmp_path / "alone")


def test_nothing_left_is_an_error(tmp_path, texts):
    with pytest.raises(ValueError, match="no text is left"):
        prepared(tmp_path / "out", texts, ("length=100000",))


def test_errors_in_a_process_are_raised_here(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n' * 30 + "{\n", encoding="utf-8")
    with pytest.raises(ValueError, match="bad.jsonl, line .* not valid JSON"):
        prepared(tmp_path / "out", tmp_path / "bad.jsonl", size=200, processes=2)


def test_a_tokenizer_without_an_end_puts_none(tmp_path):
    (tmp_path / "a.txt").write_text("abcabc", encoding="utf-8")
    index = prepared(tmp_path / "out", tmp_path / "a.txt", tokenizer=CharTokenizer.train(["abc"]))
    assert index["tokens"] == 6 and index["vocab_size"] == 3


# -- rows -------------------------------------------------------------------------------------------------------------


def test_a_row_is_read_as_one_array():
    rng = np.random.default_rng(1)
    whole = rng.integers(0, 200, 97).astype(np.uint8)
    row = Row([whole[:10], whole[10:10], whole[10:11], whole[11:60], whole[60:]], 200, "x")
    assert len(row) == 97 and len(row.part(5, 70)) == 65
    for start, stop in rng.integers(0, 98, (50, 2)):
        assert row[start:stop].tolist() == whole[start:stop].tolist()
        assert row.part(start, max(start, stop))[:].tolist() == whole[start:stop].tolist()
    places = rng.integers(0, 97, (4, 9))
    assert np.array_equal(row[places], whole[places])
    assert np.array_equal(row[3:90:7], whole[3:90:7])
    with pytest.raises(IndexError, match="97 ids, none at 97"):
        row[np.array([97])]
    with pytest.raises(ValueError, match="x holds the id 199"):
        Row([np.array([199], np.uint8)], 150, "x")[0:1]


# -- indexes that are wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change, message", [
    (lambda index: index.update(format=2), "'format' is 2"),
    (lambda index: index.update(vocab_size="many"), "'vocab_size' is 'many'"),
    (lambda index: index.update(vocab_size=True), "'vocab_size' is True"),
    (lambda index: index.update(tokenizer="x"), "'tokenizer' is 'x'"),
    (lambda index: index.update(tokens=10 ** 40), "'tokens' is 1"),
    (lambda index: index.update(tokens=1), "it has 1 tokens, and its shards"),
    (lambda index: index.update(shards=[]), "'shards' is"),
    (lambda index: index.update(shards={"a": 1}), "'shards' is"),
    (lambda index: index["shards"].append(7), "a shard is 7"),
    (lambda index: index["shards"][0].update(name="../../secret.npy"), "a shard is called"),
    (lambda index: index["shards"][0].update(name=index["shards"][1]["name"]), "names a shard twice"),
    (lambda index: index["shards"][0].update(tokens=-1), "'tokens' is -1"),
    (lambda index: index["shards"][0].update(sha256="0"), "'sha256' is '0'"),
    (lambda index: index.clear(), "'format' is None"),
])
def test_a_made_up_index_is_refused_in_one_sentence(tmp_path, texts, change, message):
    prepared(tmp_path / "out", texts)
    path = tmp_path / "out" / "tokens.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match=f"tokens.json is no index of tokens .*{message}") as refusal:
        TokenFolder(tmp_path / "out")
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 400


def test_shards_that_are_not_what_the_index_says_are_refused(tmp_path, texts):
    prepared(tmp_path / "good", texts)

    def damaged(name: str) -> Path:
        shutil.copytree(tmp_path / "good", tmp_path / name)
        return tmp_path / name
    cut = damaged("cut") / "00001.npy"
    cut.write_bytes(cut.read_bytes()[:-2])
    other = damaged("other")
    shutil.copy(other / "00000.npy", other / "00001.npy")
    gone = damaged("gone")
    (gone / "00002.npy").unlink()
    wide = damaged("wide")
    np.save(wide / "00001.npy", np.load(wide / "00001.npy").astype(np.uint64))
    for folder, error, message in ((cut.parent, ValueError, "bytes, expected"), (other, ValueError, "says"),
                                   (gone, FileNotFoundError, "00002"), (wide, ValueError, "uint64"),
                                   (tmp_path, FileNotFoundError, "no tokens.json")):
        with pytest.raises(error, match=message):
            TokenFolder(folder)
    (tmp_path / "cut" / "tokens.json").write_text("{" * 100_000)
    with pytest.raises(ValueError, match="not valid JSON"):
        TokenFolder(tmp_path / "cut")
    with pytest.raises(ValueError, match="holds tokens that `tinygpt data` has made"):
        Documents([tmp_path / "good"])


# -- mixtures ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path, texts) -> tuple[Path, Path]:
    """Two folders of the same tokenizer."""
    (tmp_path / "b.txt").write_text("other words " * 60, encoding="utf-8")
    prepared(tmp_path / "a", texts)
    prepared(tmp_path / "b", tmp_path / "b.txt")
    return tmp_path / "a", tmp_path / "b"


def test_windows_come_as_often_as_their_weight_says_and_depend_on_seed_and_step_alone(two):
    mixture = find_mixture([f"{two[0]}:3", f"{two[1]}:1"])
    assert mixture is not None and mixture.weights == [0.75, 0.25]
    train, validation = mixture.split(0.1)
    a, b = (TokenFolder(path).ids[:] for path in two)
    assert len(train[0]) == len(a) - len(a) // 10 and len(train[1]) == len(b) - len(b) // 10
    assert validation[:].tolist() == [*a[len(train[0]):].tolist(), *b[len(train[1]):].tolist()]
    sampler = MixtureSampler(train, mixture.weights, 5, 64, seed=3)
    texts = [" ".join(map(str, ids[:len(row)])) for ids, row in zip((a, b), train)]
    from_a = 0
    for step in range(20):
        batch = sampler.batch(step)
        assert np.array_equal(batch["ids"][:, 1:], batch["targets"][:, :-1]) and batch["ids"].shape == (64, 5)
        for row, target in zip(batch["ids"], batch["targets"][:, -1:]):
            window = " ".join(map(str, [*row, *target]))
            from_a += window in texts[0]
            assert window in texts[0] or window in texts[1]
    assert 0.70 < from_a / (20 * 64) < 0.80
    again = MixtureSampler(Mixture.remembered(json.loads(json.dumps(mixture.memory))).split(0.1)[0], mixture.weights,
                           5, 64, seed=3)
    assert np.array_equal(again.batch(17)["ids"], sampler.batch(17)["ids"])
    assert not np.array_equal(sampler.batch(17)["ids"], sampler.batch(18)["ids"])


def test_without_weights_sizes_count_and_one_folder_is_drawn_as_one_array(two):
    mixture = find_mixture([str(path) for path in two])
    sizes = [len(TokenFolder(path).ids) for path in two]
    assert mixture is not None and np.allclose(mixture.weights, np.array(sizes) / sum(sizes))
    alone = find_mixture([str(two[0])])
    rows = alone.split(0.0)[0]
    one = MixtureSampler.of(rows, alone.weights, 8, 4, 7)
    assert np.array_equal(one.batch(2)["ids"], WindowSampler(TokenFolder(two[0]).ids[:], 8, 4, 7).batch(2)["ids"])


def test_of_large_folders_little_validates(two, monkeypatch):
    monkeypatch.setattr("tinygpt.data.mixture.MOST_VALIDATION", 100)
    _, validation = find_mixture([f"{two[0]}:0.7", f"{two[1]}:0.3"]).split(0.5)
    assert len(validation) == 100 and MOST_VALIDATION == 1_000_000


def test_what_cannot_be_mixed_is_refused_in_one_sentence(two, texts, tmp_path):
    a, b = map(str, two)
    prepared(tmp_path / "c", tmp_path / "b.txt", tokenizer=CharTokenizer.train(["other words"]))
    for specs, message in (
            ([f"{a}:0.5", b], "some of the data have a weight"), ([f"{a}:0", f"{b}:1"], "is 0; expected"),
            ([f"{a}:-1"], "is -1"), ([f"{a}:nan"], "is nan"), ([a, str(texts)], "is no folder of tokens, and others"),
            ([f"{texts}:0.5"], "no folder of tokens, and a weight"),
            ([a, str(tmp_path / "c")], "different tokenizers")):
        with pytest.raises(ValueError, match=message):
            find_mixture(specs)
    assert find_mixture([str(texts)]) is None and find_mixture([]) is None
    memory = find_mixture([a]).memory
    for wrong in (None, [], [[a, "x"]], [[a, "x", float("nan")]], [[1, "x", 1.0]]):
        with pytest.raises(ValueError, match="remembers no mixture"):
            Mixture.remembered(wrong)
    with pytest.raises(ValueError, match="other tokens than this run began with"):
        Mixture.remembered([[b, memory[0][1], 1.0]])

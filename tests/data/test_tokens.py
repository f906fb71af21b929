"""Token files: the round trip, the smallest type, and every way a file can be wrong."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.data import TokenFile, encode_documents, token_array, write_tokens
from tinygpt.tokenizers import ByteBPE, CharTokenizer


class Numbers:
    """A tokenizer whose text is the ids themselves, in decimal."""

    def __init__(self, n_vocab: int, eos_token_id: int | None = None) -> None:
        self.n_vocab, self.eos_token_id = n_vocab, eos_token_id

    def __len__(self) -> int:
        return self.n_vocab

    def encode_array(self, text: str) -> np.ndarray:
        return np.array(text.split(), dtype=np.int64)


@settings(max_examples=40)
@given(documents=st.lists(st.lists(st.integers(0, 299), max_size=30), max_size=6), eos=st.sampled_from([None, 0, 299]))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], eos: int | None) -> None:
    expected: list[int] = []
    for number, document in enumerate(documents):
        expected += ([eos] if number and eos is not None else []) + document
    texts = [" ".join(map(str, document)) for document in documents]
    path = tmp_path_factory.mktemp("tokens") / "tokens.npy"
    assert write_tokens(path, iter(texts), Numbers(300, eos)) == len(expected)
    with TokenFile(path, 300) as tokens:
        assert tokens.ids.tolist() == expected and len(tokens) == len(expected)
        assert tokens.ids.dtype == np.uint16
    assert token_array(texts, Numbers(300, eos)).tolist() == expected
    assert np.load(path).tolist() == expected  # an ordinary .npy file
    assert [file.name for file in path.parent.iterdir()] == ["tokens.npy"]


@pytest.mark.parametrize(("n_vocab", "dtype"), [
    (2, np.uint8), (255, np.uint8), (256, np.uint8), (257, np.uint16), (65_535, np.uint16), (65_536, np.uint16),
    (65_537, np.uint32), (200_000, np.uint32)])
def test_smallest_type_that_holds_the_vocabulary(tmp_path: Path, n_vocab: int, dtype: type) -> None:
    path = tmp_path / "tokens.npy"
    write_tokens(path, [f"0 {n_vocab - 1}"], Numbers(n_vocab))
    with TokenFile(path, n_vocab) as tokens:
        assert tokens.ids.dtype == dtype and tokens.ids.tolist() == [0, n_vocab - 1]
    assert token_array([f"0 {n_vocab - 1}"], Numbers(n_vocab)).dtype == dtype


def test_real_tokenizers(tmp_path: Path) -> None:
    documents = ["the cat sat", "on the mat: ñ"]
    bpe = ByteBPE.train(documents, vocab_size=300, special_tokens=["<|endoftext|>"])
    assert bpe.decode(token_array(documents, bpe)) == "the cat sat<|endoftext|>on the mat: ñ"
    char = CharTokenizer.train("".join(documents))
    assert char.eos_token_id is None
    write_tokens(tmp_path / "tokens.npy", documents, char)
    with TokenFile(tmp_path / "tokens.npy", len(char)) as tokens:
        assert char.decode(tokens.ids) == "".join(documents)


def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens.npy"
    write_tokens(path, ["1 2 200"], Numbers(256))
    with pytest.raises(ValueError, match="holds uint8 of shape .*stored as a list of uint16; it was made with another"):
        TokenFile(path, 300)
    with pytest.raises(ValueError, match="holds the id 200, but the vocabulary has 200 ids; it was made with another"):
        TokenFile(path, 200)


@pytest.mark.parametrize(("damage", "message"), [
    (lambda data: data[:-1], "has 130 bytes, expected 131: it is damaged"),
    (lambda data: data + b"0", "has 132 bytes, expected 131: it is damaged"),
    (lambda data: data[:40], "is no token file"),
    (lambda data: b"", "is no token file"),
    (lambda data: b"some text", "is no token file"),
    (lambda data: data[:6] + b"\x03" + data[7:], "is no token file .not .npy version 1.0.; write it again"),
])
def test_damaged_files_are_refused(tmp_path: Path, damage, message: str) -> None:
    path = tmp_path / "tokens.npy"
    write_tokens(path, ["1 2 3"], Numbers(10))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"tokens.npy {message}"):
        TokenFile(path, 10)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "tokens.npy", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="holds object of shape"):
        TokenFile(tmp_path / "tokens.npy", 10)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        TokenFile(tmp_path / "tokens.npy", 10)


def test_ids_outside_the_vocabulary_are_never_written(tmp_path: Path) -> None:
    for text in ("1 10", "-1"):
        with pytest.raises(ValueError, match="the vocabulary has 10 ids"):
            write_tokens(tmp_path / "tokens.npy", [text], Numbers(10))
    assert not any(tmp_path.iterdir())


def test_a_failed_run_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "tokens.npy"
    write_tokens(path, ["1 2"], Numbers(10))

    def failing() -> Iterator[str]:
        yield "3 4"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_tokens(path, failing(), Numbers(10))
    assert np.load(path).tolist() == [1, 2]
    assert [file.name for file in tmp_path.iterdir()] == ["tokens.npy"]


def mapped_files() -> str | None:
    """The memory maps of this process as Linux lists them; None on other systems."""
    maps = Path("/proc/self/maps")
    return maps.read_text() if maps.exists() else None


def test_close_releases_the_map(tmp_path: Path) -> None:
    path = tmp_path / "tokens.npy"
    write_tokens(path, ["1 2 3"], Numbers(10))
    tokens = TokenFile(path, 10)
    with pytest.raises(ValueError, match="read-only"):
        tokens.ids[0] = 5
    view = tokens.ids[1:]
    tokens.close()
    assert len(tokens) == 0 and view.tolist() == [2, 3]  # never a crash
    assert str(path) in (mapped_files() or str(path))
    del view
    assert str(path) not in (mapped_files() or "")
    write_tokens(path, ["4"], Numbers(10))  # fails on Windows where the map is still open
    tokens.close()  # again is harmless


def test_writing_streams(tmp_path: Path) -> None:
    """Memory stays that of one document, whatever the number of documents."""
    document = " ".join(["7"] * 20_000)  # 40 KB of text, 160 KB as int64
    tracemalloc.start()
    try:
        write_tokens(tmp_path / "tokens.npy", (document for _ in range(50)), Numbers(70_000))  # 4 MB of ids
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "tokens.npy").stat().st_size > 4_000_000
    assert peak < 3_000_000


def test_chunks_have_the_type_of_the_file() -> None:
    assert [ids.dtype for ids in encode_documents(["1", "2"], Numbers(10, eos_token_id=9))] == [np.uint8] * 3

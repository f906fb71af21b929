"""The validation split: nanoGPT's for one text, the same cut for many documents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data import Documents, require_block, split_documents


@given(documents=st.lists(st.text(max_size=20)), validation=st.sampled_from([0.0, 0.1, 0.35, 0.9]))
def test_the_parts_are_a_partition(documents: list[str], validation: float) -> None:
    training, held_out = split_documents(documents, validation)
    text = "".join(documents)
    assert "".join(training) + "".join(held_out) == text
    assert len("".join(training)) == int(len(text) * (1 - validation))
    assert list(training) == list(training)  # may be read again
    whole = [document for document in training if document in documents]
    assert len(whole) >= len(list(training)) - 1  # at most one document is cut


def test_the_default_is_nanogpts() -> None:
    text = "x" * 1_115_394  # tinyshakespeare's length
    training, held_out = map("".join, split_documents([text]))
    assert (len(training), len(held_out)) == (int(len(text) * 0.9), 111_540)


def test_split_documents_streams_files(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("a" * 15, encoding="utf-8")
    (tmp_path / "b.txt").write_text("b" * 5, encoding="utf-8")
    training, held_out = split_documents(Documents([tmp_path / "a.txt", tmp_path / "b.txt"]))
    assert list(training) == ["a" * 15, "bbb"] and list(held_out) == ["bb"]


@pytest.mark.parametrize("validation", [-0.1, 1, 1.5, float("nan")])
def test_fraction_out_of_range(validation: float) -> None:
    with pytest.raises(ValueError, match=r"validation fraction must be in \[0, 1\), got"):
        split_documents(["text"], validation)


def test_an_iterator_would_be_used_up() -> None:
    with pytest.raises(TypeError, match="pass a list or Documents, not an iterator"):
        split_documents(iter(["a"]))


def test_text_shorter_than_a_block() -> None:
    require_block(9, 8)
    with pytest.raises(ValueError, match="the text has 8 tokens, but block_size 8 needs at least 9"):
        require_block(8, 8)

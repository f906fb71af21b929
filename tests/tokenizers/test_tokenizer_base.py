"""What every tokenizer can do, tried on both kinds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_texts import SPECIAL, awkward_text, corpus, quick, trained

from tinygpt.tokenizers import ByteBPE, CharTokenizer
from tinygpt.tokenizers.special import AddedToken, SpecialTokens
from tinygpt.tokenizers.template import Template

BPE = trained()
CHAR = CharTokenizer.train(corpus(), ["<s>", "</s>"])
some_ids = st.lists(st.sampled_from(BPE.ids), max_size=30)


@pytest.mark.parametrize("tok", [BPE, CHAR], ids=["bpe", "char"])
def test_every_id_stands_for_something(tok):
    assert len(tok) == tok.n_vocab and tok.ids == list(range(tok.n_vocab))
    assert all(isinstance(tok.token_bytes(i), bytes) and tok.token_bytes(i) for i in tok.ids)
    assert tok.n_vocab == len(tok.ids) and str(tok.n_vocab) in repr(tok)


@pytest.mark.parametrize("tok", [BPE, CHAR], ids=["bpe", "char"])
@pytest.mark.parametrize("wrong", [-1, 10 ** 9])
def test_ids_outside_the_vocabulary(tok, wrong):
    for call in (lambda: tok.token_bytes(wrong), lambda: tok.decode([0, wrong]), lambda: tok.decode_bytes([wrong]),
                 lambda: list(tok.decode_stream([wrong])), lambda: tok.decode(np.array([wrong]))):
        with pytest.raises(IndexError, match=str(wrong)):
            call()


@pytest.mark.parametrize("make", [lambda: ByteBPE(BPE.vocab, BPE.merges, SPECIAL),
                                  lambda: CharTokenizer.train(corpus(), ["<|endoftext|>"])])
def test_a_prompt_begins_and_does_not_end(make):
    tok = make()
    end, plain = tok.token_id("<|endoftext|>"), tok.encode("to be")
    for prefix, suffix in (([], []), (["<|endoftext|>"], []), ([], ["<|endoftext|>"]),
                           (["<|endoftext|>"], ["<|endoftext|>"])):
        tok.set_template(prefix, suffix)
        assert tok.encode("to be") == [end] * len(prefix) + plain + [end] * len(suffix)
        assert tok.encode_prompt("to be") == [end] * len(prefix) + plain
        assert tok.encode_prompt("") == [end] * len(prefix)
        assert tok.encode_prompt("<|endoftext|>", allowed_special="all") == [end] * len(prefix) + [end]


@quick
@given(some_ids)
def test_decoding_is_total(ids):
    """Any list of ids decodes, and the ways to decode agree."""
    data = BPE.decode_bytes(ids)
    assert data == b"".join(map(BPE.token_bytes, ids))
    text = BPE.decode(ids)
    assert text == data.decode("utf-8", errors="replace")
    assert "".join(BPE.decode_stream(ids)) == text
    assert BPE.decode(np.array(ids, np.uint16)) == text == BPE.decode(tuple(ids)) == BPE.decode(iter(ids))


@quick
@given(some_ids)
def test_skipping_special_tokens(ids):
    ordinary = [i for i in ids if i not in BPE.special_tokens.values()]
    assert BPE.decode(ids, skip_special_tokens=True) == BPE.decode(ordinary)
    assert "".join(BPE.decode_stream(ids, skip_special_tokens=True)) == BPE.decode(ordinary)


def test_a_stream_gives_whole_characters_as_soon_as_it_can():
    ids = [i for char in "é😀" for byte in char.encode() for i in [BPE.vocab[bytes([byte])]]]
    given_ids: list[int] = []

    def arriving():
        for i in ids:
            given_ids.append(i)
            yield i

    seen = [(part, len(given_ids)) for part in BPE.decode_stream(arriving())]
    assert seen == [("é", 2), ("😀", 6)]
    assert list(BPE.decode_stream(ids[:1])) == ["\ufffd"]


@quick
@given(st.lists(awkward_text, max_size=4), st.booleans())
def test_arrays_and_batches_hold_the_same_ids(texts, add):
    tok = ByteBPE(BPE.vocab, BPE.merges, BPE.special, template=Template.around(["<s>"], ["</s>"], BPE.special.ids))
    batch = tok.encode_batch(texts, add, allowed_special="all")
    assert batch == [tok.encode(text, add, allowed_special="all") for text in texts]
    for text, ids in zip(texts, batch):
        array = tok.encode_array(text, add, allowed_special="all")
        assert array.dtype == np.uint16 and array.ndim == 1 and array.tolist() == ids
        array[:] = 0  # it is the caller's own
        assert tok.encode(text, add, allowed_special="all") == ids
        if add:
            assert ids[0] == tok.token_id("<s>") and ids[-1] == tok.token_id("</s>")


@pytest.mark.parametrize("n, dtype", [(1, np.uint8), (256, np.uint8), (257, np.uint16), (65536, np.uint16),
                                      (65537, np.uint32)])
def test_arrays_are_of_the_smallest_type(n, dtype):
    vocab = {bytes([byte]): byte for byte in range(min(n, 256))} | ({b"last": n - 1} if n > 256 else {})
    assert ByteBPE(vocab, []).encode_array("").dtype == dtype


@pytest.mark.parametrize("call", [
    lambda: BPE.encode(b"bytes"), lambda: BPE.encode(None), lambda: BPE.encode_batch("text"),
    lambda: BPE.decode([[1, 2], [3, 4]]), lambda: BPE.decode(np.zeros((2, 2), int)),
])
def test_wrong_types(call):
    with pytest.raises(TypeError):
        call()


def test_a_template_names_special_tokens():
    with pytest.raises(ValueError, match="<nothing>"):
        CHAR.set_template(["<nothing>"])
    with pytest.raises(ValueError, match="lacks"):
        ByteBPE(BPE.vocab, [], template=Template((9999,)))
    with pytest.raises(ValueError, match="already stands for"):
        ByteBPE(BPE.vocab, [], SpecialTokens([AddedToken("<s>", 0)]))

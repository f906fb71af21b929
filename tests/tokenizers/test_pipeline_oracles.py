"""`PipelineTokenizer` against Hugging Face's tokenizers: every model with every step, there and back.

A few texts by default; with --hypothesis-profile=nightly 10,000 random ones for each kind of model.
"""

from __future__ import annotations

import json
import random

import pytest
from pipeline_parts import (BYTE_LEVEL, DECODERS, MULTILINGUAL, NORMALIZERS, PRE_TOKENIZERS, document, metaspace,
                            models, step, texts)

from tokenizer_texts import multilingual_texts

from tinygpt.tokenizers import load_tokenizer
from tinygpt.tokenizers.pipeline import PipelineTokenizer

pytestmark = pytest.mark.oracle

LLAMA = {"type": "Sequence", "normalizers": [step("Prepend", prepend="▁"),
                                             step("Replace", pattern={"String": " "}, content="▁")]}
BERT = step("BertNormalizer", clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)

KINDS = ["BPE", "BPE, fused", "BPE, dropping", "BPE, whole words first", "BPE, suffix", "BPE, prefix", "BPE, bytes",
         "BPE, byte-level", "Unigram", "Unigram, bytes", "WordPiece", "WordPiece, short words", "WordLevel"]


@pytest.fixture
def n_texts(request) -> int:
    return 10_000 if request.config.getoption("--hypothesis-profile") == "nightly" else 60


def both(hf_tokenizers, tmp_path, saved) -> tuple:
    (tmp_path / "tokenizer.json").write_text(json.dumps(saved), encoding="utf-8")
    return PipelineTokenizer.load(tmp_path), hf_tokenizers.Tokenizer.from_str(json.dumps(saved))


def equal(ours, theirs, text: str) -> None:
    ids = theirs.encode(text, add_special_tokens=False).ids
    assert ours.encode(text, add_special_tokens=False, allowed_special="all") == ids, (text, ours.pre_tokenizer)


def test_every_kind_is_tried(hf_tokenizers):
    assert sorted(models()) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_normalizer(hf_tokenizers, tmp_path, kind, n_texts):
    """Words that are looked for after normalisation are normalised too."""
    for i, normalizer in enumerate(NORMALIZERS):
        saved = document(kind, normalizer, Hello=True, ÑANDÚ=i % 2 == 0)
        ours, theirs = both(hf_tokenizers, tmp_path, saved)
        for text in texts(n_texts // 2, seed=i):
            equal(ours, theirs, text)


@pytest.mark.parametrize("kind", KINDS)
def test_every_pre_tokenizer(hf_tokenizers, tmp_path, kind, n_texts):
    for i, pre_tokenizer in enumerate(PRE_TOKENIZERS):
        ours, theirs = both(hf_tokenizers, tmp_path, document(kind, None, pre_tokenizer, ab=False))
        for text in texts(n_texts // 4, seed=100 + i):
            equal(ours, theirs, text)


def usual_steps(kind: str) -> tuple:
    """(normalizer, pre-tokenizer) as public tokenizers with such a model have them."""
    return {
        "BPE, byte-level": (None, BYTE_LEVEL), "BPE, bytes": (LLAMA, None),
        "BPE, suffix": (step("Lowercase"), step("WhitespaceSplit")), "Unigram": (step("NFKC"), metaspace("always")),
        "Unigram, bytes": (step("NFKC"), metaspace("first")), "WordPiece": (BERT, step("BertPreTokenizer")),
        "WordPiece, short words": (BERT, step("BertPreTokenizer")),
    }.get(kind, (step("NFC"), step("Whitespace")))


def random_and_multilingual(hf_tokenizers, tmp_path, kind: str, n_random: int, n_multilingual: int) -> None:
    ours, theirs = both(hf_tokenizers, tmp_path, document(kind, *usual_steps(kind)))
    for text in [*texts(n_random, seed=21), *multilingual_texts(n_multilingual, seed=22)]:
        equal(ours, theirs, text)


@pytest.mark.parametrize("kind", KINDS)
def test_random_and_multilingual_texts(hf_tokenizers, tmp_path, kind):
    random_and_multilingual(hf_tokenizers, tmp_path, kind, 40, 40)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_random_and_six_hundred_multilingual_texts(hf_tokenizers, tmp_path, kind):
    random_and_multilingual(hf_tokenizers, tmp_path, kind, 10_000, 600)


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: (decoder or {"type": "none"})["type"])
def test_every_decoder(hf_tokenizers, tmp_path, decoder):
    rng = random.Random(5)
    for kind in ("BPE, bytes", "BPE, suffix", "BPE, byte-level", "Unigram", "WordPiece"):
        ours, theirs = both(hf_tokenizers, tmp_path, document(kind, None, metaspace("always"), decoder))
        drawn = [rng.choices(ours.ids, k=rng.randrange(12)) for _ in range(40)]
        for ids in [*drawn, *(ours.encode(text) for text in MULTILINGUAL)]:
            for skip in (False, True):
                expected = theirs.decode(ids, skip_special_tokens=skip)
                assert ours.decode(ids, skip_special_tokens=skip) == expected
                assert "".join(ours.decode_stream(ids, skip_special_tokens=skip)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_opens_in_hugging_faces_library(hf_tokenizers, tmp_path, kind):
    saved = document(kind, step("NFC"), metaspace("first"), metaspace("first"), Hello=True, ab=False)
    ours, _ = both(hf_tokenizers, tmp_path, saved)
    ours.set_template(["<s>"], ["</s>"])
    ours.save(tmp_path / "again")
    again, theirs = load_tokenizer(tmp_path / "again"), hf_tokenizers.Tokenizer.from_file(
        str(tmp_path / "again" / "tokenizer.json"))
    for text in texts(30, seed=9):
        ids = ours.encode(text, allowed_special="all")
        assert again.encode(text, allowed_special="all") == theirs.encode(text).ids == ids
        assert again.decode(ids) == ours.decode(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_no_plain_text_becomes_a_special_token(hf_tokenizers, tmp_path, kind):
    ours, _ = both(hf_tokenizers, tmp_path, document(kind, None, step("WhitespaceSplit")))
    unknown = {ours.special_tokens["<unk>"], ours.special_tokens["[UNK]"]}
    for text in ("<s>", "</s> <s>", "a<s>b", "[CLS] x", "<unk><s>", *texts(20, seed=3)):
        assert not set(ours.encode(text)) & set(ours.special_tokens.values()) - unknown
    ids = ours.encode("<s> a", allowed_special=["<s>"])
    assert ids[0] == ours.token_id("<s>") and ours.token_id("</s>") not in ids

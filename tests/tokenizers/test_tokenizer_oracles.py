"""ByteBPE against tiktoken, Hugging Face's tokenizers and transformers, and the cs336 course's reference."""

from __future__ import annotations

import ast
import inspect
import json
from collections import Counter

import pytest
from tokenizer_texts import SPECIAL, corpus, random_texts, trained

from tinygpt.tokenizers import ByteBPE, load_tokenizer
from tinygpt.tokenizers.textbook_bpe import count_pairs, merge_pair
from tinygpt.tokenizers.counting import count_pieces
from tinygpt.tokenizers.byte_alphabet import bytes_to_text
from tinygpt.tokenizers.patterns import PATTERNS
from tinygpt.tokenizers.special import AddedToken, SpecialTokens
from tinygpt.tokenizers.splitter import Splitter, Stage

pytestmark = pytest.mark.oracle


@pytest.fixture
def real_texts(shared_data):
    """English, Python source, Spanish and Chinese."""
    return {
        "English": (shared_data / "tinyshakespeare.txt").read_text(encoding="utf-8"),
        "Python": "\n".join(inspect.getsource(module) for module in (ast, inspect, json, pytest)),
        "Spanish": (shared_data / "pg2000_quijote.txt").read_bytes().decode("utf-8"),  # with its BOM and CRLF
        "Chinese": (shared_data / "hongloumeng.txt").read_text(encoding="utf-8", errors="replace"),
    }


def tiktoken_of(tok: ByteBPE, pattern: str):
    """tiktoken with the same vocabulary: it merges whatever makes the token of the lowest rank."""
    tiktoken = pytest.importorskip("tiktoken")
    return tiktoken.Encoding("ours", pat_str=pattern, mergeable_ranks=tok.vocab, special_tokens=tok.special_tokens)


def test_gpt2_encodes_as_tiktoken(shared_data, real_texts):
    tok = load_tokenizer(shared_data / "gpt2")
    openai = pytest.importorskip("tiktoken_ext.openai_public")
    theirs = tiktoken_of(tok, openai.r50k_pat_str)
    for name, text in real_texts.items():
        ids = tok.encode(text)
        assert ids == theirs.encode_ordinary(text), name
        assert tok.decode(ids) == text and tok.encode_array(text).tolist() == ids
    for text in random_texts(10_000, seed=1):
        ids = tok.encode(text)
        assert ids == theirs.encode_ordinary(text) and tok.decode(ids) == text
        assert tok.encode(text, allowed_special="all") == theirs.encode(text, allowed_special="all")


@pytest.mark.parametrize("name", ["gpt2", "cl100k", "o200k"])
def test_every_pattern_encodes_as_tiktoken(name):
    openai = pytest.importorskip("tiktoken_ext.openai_public")
    with pytest.MonkeyPatch.context() as patch:  # its constructors want to download vocabularies
        patch.setattr(openai, "load_tiktoken_bpe", lambda *args, **kwargs: {})
        patch.setattr(openai, "data_gym_to_mergeable_bpe_ranks", lambda *args, **kwargs: {})
        pattern = getattr(openai, {"gpt2": "gpt2"}.get(name, f"{name}_base"))()["pat_str"]
    tok = trained(name)
    theirs = tiktoken_of(tok, pattern)
    for text in [*random_texts(3000, seed=21), corpus()]:
        assert tok.encode(text) == theirs.encode_ordinary(text)
        assert tok.decode(tok.encode(text)) == text


@pytest.mark.parametrize("pattern", [*PATTERNS, r"\w+|[^\w]"])
def test_opens_in_hugging_face_libraries(tmp_path, hf_tokenizers, pattern):
    transformers = pytest.importorskip("transformers")
    tok = ByteBPE(trained(pattern).vocab, trained(pattern).merges, SPECIAL, pattern)
    tok.set_template(["<s>"], ["</s>"])
    tok.save(tmp_path)
    theirs = hf_tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in [*random_texts(700, seed=31), corpus()[:20_000]]:
        ids = tok.encode(text, allowed_special="all")
        assert theirs.encode(text).ids == ids
        assert tok.encode(text, add_special_tokens=False, allowed_special="all") == theirs.encode(
            text, add_special_tokens=False).ids
        assert theirs.decode(ids, skip_special_tokens=False) == tok.decode(ids)
    for text in random_texts(100, seed=32):
        ids = auto(text)["input_ids"]
        assert ids == tok.encode(text, allowed_special="all") and auto.decode(ids) == tok.decode(ids)
        assert auto.decode(ids, skip_special_tokens=True) == tok.decode(ids, skip_special_tokens=True)
    assert (auto.bos_token_id, auto.eos_token_id, auto.pad_token_id, auto.mask_token_id) == (
        tok.bos_token_id, tok.eos_token_id, tok.pad_token_id, tok.mask_token_id)


def their_merges(hf_tokenizers, texts, vocab_size, special=(), **settings):
    """What Hugging Face's trainer learns, as merges of bytes in the byte alphabet."""
    theirs = hf_tokenizers.Tokenizer(hf_tokenizers.models.BPE())
    theirs.pre_tokenizer = hf_tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = hf_tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(special), show_progress=False,
        initial_alphabet=hf_tokenizers.pre_tokenizers.ByteLevel.alphabet(), **settings)
    theirs.train_from_iterator(texts, trainer)
    return [tuple(merge) for merge in json.loads(theirs.to_str())["model"]["merges"]]


def in_alphabet(tok: ByteBPE) -> list[tuple[str, str]]:
    return [(bytes_to_text(left), bytes_to_text(right)) for left, right in tok.merges]


@pytest.mark.parametrize("vocab_size", [300, 1000, 5000])
@pytest.mark.parametrize("min_frequency", [1, 3])
def test_merges_are_hugging_faces(hf_tokenizers, vocab_size, min_frequency):
    texts = [corpus()[i:i + 500] for i in range(0, len(corpus()), 500)]
    ours = ByteBPE.train(texts, vocab_size, min_frequency=min_frequency)
    assert in_alphabet(ours) == their_merges(hf_tokenizers, texts, vocab_size, min_frequency=min_frequency)


@pytest.mark.parametrize("name", ["English", "Python", "Spanish", "Chinese"])
def test_merges_are_hugging_faces_on_real_texts(hf_tokenizers, real_texts, name):
    text = real_texts[name][:300_000]
    assert in_alphabet(ByteBPE.train(text, 2000, ["<s>"])) == their_merges(hf_tokenizers, [text], 2000, ["<s>"])


@pytest.fixture
def tokenizer_kinds(hf_tokenizers):
    """tokenizer.json as Hugging Face's library itself writes it for each family."""
    pre, post = hf_tokenizers.pre_tokenizers, hf_tokenizers.processors
    vocab = {bytes_to_text(token): i for token, i in trained().vocab.items()}
    merges = [(bytes_to_text(left), bytes_to_text(right)) for left, right in trained().merges]
    llama = hf_tokenizers.Regex(PATTERNS["llama3"])

    def make(pre_tokenizer, post_processor=None, special=(), normalizer=None, **settings):
        theirs = hf_tokenizers.Tokenizer(hf_tokenizers.models.BPE(vocab=vocab, merges=merges, **settings))
        theirs.pre_tokenizer = pre_tokenizer
        theirs.decoder = hf_tokenizers.decoders.ByteLevel()
        theirs.add_special_tokens([*special, *SPECIAL])
        if normalizer is not None:
            theirs.normalizer = normalizer
        if post_processor is not None:
            theirs.post_processor = post_processor({name: theirs.token_to_id(name) for name in SPECIAL})
        return theirs

    roberta = make(
        pre.ByteLevel(add_prefix_space=False),
        lambda ids: post.RobertaProcessing(("</s>", ids["</s>"]), ("<s>", ids["<s>"])),
        [hf_tokenizers.AddedToken("<mask>", lstrip=True)])
    with_words = make(pre.ByteLevel(add_prefix_space=False))
    with_words.add_tokens([
        "hello", hf_tokenizers.AddedToken("  ", normalized=False), "ab",
        hf_tokenizers.AddedToken("the", single_word=True), hf_tokenizers.AddedToken("!", rstrip=True)])
    return {
        "gpt2": make(pre.ByteLevel(add_prefix_space=False), lambda ids: post.ByteLevel(trim_offsets=False)),
        "roberta": roberta, "bart, prefix space": make(pre.ByteLevel(add_prefix_space=True)),
        "llama3": make(
            pre.Sequence([pre.Split(llama, "isolated"), pre.ByteLevel(add_prefix_space=False, use_regex=False)]),
            lambda ids: post.Sequence([post.ByteLevel(), post.TemplateProcessing(
                single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", ids["<s>"])])]), ignore_merges=True),
        "smollm": make(pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)])),
        "digits together": make(pre.Sequence([pre.Digits(), pre.ByteLevel(add_prefix_space=True)])),
        "qwen2": make(
            pre.Sequence([pre.Split(hf_tokenizers.Regex(PATTERNS["qwen2"]), "isolated"),
                          pre.ByteLevel(use_regex=False)]),
            normalizer=hf_tokenizers.normalizers.NFC()),
        "removed": make(pre.Sequence([pre.Split(" ", "removed"), pre.Split(llama, "removed", invert=True),
                                      pre.ByteLevel(add_prefix_space=False, use_regex=False)])),
        "added words": with_words,
    }


@pytest.mark.parametrize("kind", ["gpt2", "roberta", "bart, prefix space", "llama3", "smollm", "digits together",
                                  "qwen2", "removed", "added words"])
def test_reads_what_hugging_face_writes(tmp_path, tokenizer_kinds, kind):
    theirs = tokenizer_kinds[kind]
    theirs.save(str(tmp_path / "tokenizer.json"))
    tok = load_tokenizer(tmp_path)
    tok.save(tmp_path / "again")
    again = load_tokenizer(tmp_path / "again")
    texts = random_texts(1500, seed=41)
    if kind == "qwen2":  # normal forms are those of Python's Unicode version
        texts = [text for text in texts if all(ord(char) < 0x3000 for char in text)]
    for text in [*texts, "hello  the theory ab!  ab", corpus()[:20_000]]:
        expected = theirs.encode(text).ids
        assert tok.encode(text, allowed_special="all") == expected == again.encode(text, allowed_special="all")
        assert tok.decode(expected) == theirs.decode(expected, skip_special_tokens=False)
        assert tok.decode(expected, skip_special_tokens=True) == theirs.decode(expected)


def train_as_cs336(pieces, n_merges):
    """The textbook's loop with the course's rule for ties: of equally frequent pairs, the greater in bytes."""
    words = [tuple(bytes([byte]) for byte in piece) for piece in pieces]
    counts: Counter = Counter()
    for word, count in zip(words, pieces.values()):
        for pair, times in count_pairs({tuple(word): 1}).items():
            counts[pair] += times * count
    for _ in range(n_merges):
        best = max(counts, key=lambda pair: (counts[pair], pair))
        yield best
        for i, count in enumerate(pieces.values()):
            if best[0] in words[i] and best in (old := count_pairs({tuple(words[i]): 1})):
                words[i] = merge_pair(words[i], best, best[0] + best[1])
                for pair, times in (count_pairs({tuple(words[i]): 1}) - old).items():
                    counts[pair] += times * count
                for pair, times in (old - count_pairs({tuple(words[i]): 1})).items():
                    counts[pair] -= times * count


def test_the_reference_of_cs336(shared_data):
    """Vocabulary 500 on the course's corpus: equal to its reference but for the rule by which ties are broken.

    With the course's rule every merge is equal, which shows that splitting and counting are the same; with ours, the
    first 31 and 239 of the 243 in all.
    """
    folder = shared_data / "cs336"
    lines = (folder / "train-bpe-reference-merges.txt").read_text(encoding="utf-8").splitlines()
    reference = [tuple(line.split(" ")) for line in lines]
    special = SpecialTokens([AddedToken("<|endoftext|>", 0)])
    pieces = count_pieces([folder / "corpus.en"], Splitter([Stage("gpt2")]), special)
    assert [(bytes_to_text(left), bytes_to_text(right)) for left, right in train_as_cs336(pieces, 243)] == reference
    ours = in_alphabet(ByteBPE.train(folder / "corpus.en", 500, ["<|endoftext|>"]))
    assert len(ours) == len(reference) == 243
    assert ours[:31] == reference[:31] and len(set(ours) & set(reference)) == 239
    vocab = json.loads((folder / "train-bpe-reference-vocab.json").read_text(encoding="utf-8"))
    assert len(vocab.keys() & {left + right for left, right in ours}) == 240

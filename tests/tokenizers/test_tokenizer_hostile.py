"""Whatever stands in a tokenizer folder, loading it gives a tokenizer that works, or a ValueError."""

from __future__ import annotations

import copy
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_texts import trained

from tinygpt.tokenizers import CharTokenizer, load_tokenizer

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10 ** 20) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["a", "b", "ab", "Ġ", "ByteLevel", "Split", "Sequence", "BPE", "<s>", "gpt2"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "id", "content", "vocab", "merges", "pattern", "Regex", "a"]), inner, max_size=3),
    max_leaves=6)

hostile = settings(deadline=None, derandomize=True, max_examples=250)


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """Small files of each kind, in which one change matters."""
    folder = tmp_path_factory.mktemp("saved")
    tok = trained("gpt2", 270)
    tok.set_template(["<s>"], ["</s>"])
    tok.save(folder / "0")
    tok.set_template()
    trained("cl100k", 270).save(folder / "1")
    CharTokenizer.train("abc ", ["<s>"]).save(folder / "2")
    return [json.loads((folder / str(i) / "tokenizer.json").read_text(encoding="utf-8")) for i in range(3)]


def places(value, path=()):
    """The path of everything inside a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def check(folder) -> None:
    """Load; if that works, so must the rest, and what is saved must load again."""
    start = time.monotonic()
    try:
        tok = load_tokenizer(folder)
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
        return
    try:
        for text in ("", "ab c <s>", "é\n\n 12 <|endoftext|>"):
            for allowed in ((), "all"):
                ids = tok.encode(text, allowed_special=allowed)
                assert isinstance(tok.decode(ids), str)
                assert not set(tok.encode(text, add_special_tokens=False)) & set(tok.special_tokens.values())
    except ValueError as error:
        assert "lacks" in str(error) or "pattern" in str(error)
    assert isinstance(tok.decode(tok.ids), str) and max(tok.ids, default=0) <= tok.n_vocab
    tok.save(folder / "again")
    assert load_tokenizer(folder / "again").ids == tok.ids
    assert time.monotonic() - start < 30


@hostile
@given(data=st.data(), n=st.integers(1, 3))
def test_a_file_changed_anywhere(documents, tmp_path_factory, data, n):
    document = copy.deepcopy(data.draw(st.sampled_from(documents)))
    for _ in range(n):
        *parents, last = data.draw(st.sampled_from([path for path in places(document) if path]))
        holder = document
        for key in parents:
            holder = holder[key]
        if data.draw(st.booleans()):
            del holder[last]
        else:
            holder[last] = data.draw(json_values)
    folder = tmp_path_factory.mktemp("changed")
    (folder / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    check(folder)


@hostile
@given(data=st.data())
def test_vocabularies_and_merges_of_any_shape(documents, tmp_path_factory, data):
    """Few letters, so that merges often fit, twice or in circles."""
    token = st.text("ab", max_size=3)
    document = copy.deepcopy(documents[0])
    document["model"]["vocab"] = data.draw(st.dictionaries(token, st.integers(-1, 12), max_size=8))
    document["model"]["merges"] = data.draw(st.lists(
        st.tuples(token, token).map(list) | st.tuples(token, token).map(" ".join), max_size=6))
    document["model"]["ignore_merges"] = data.draw(st.booleans())
    document["post_processor"] = None
    document["added_tokens"] = data.draw(st.lists(st.fixed_dictionaries(
        {"id": st.integers(0, 14), "content": st.sampled_from(["a", "ab", "<s>", " ", "ba"]), "special": st.booleans()},
        optional={"lstrip": st.booleans(), "rstrip": st.booleans(), "single_word": st.booleans(),
                  "normalized": st.booleans()}), max_size=3))
    folder = tmp_path_factory.mktemp("changed")
    (folder / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    check(folder)


@hostile
@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode), st.integers(0, 10_000), st.integers(0, 40))
def test_bytes_changed_anywhere(documents, tmp_path_factory, noise, at, cut):
    content = json.dumps(documents[0]).encode()
    at %= len(content)
    folder = tmp_path_factory.mktemp("changed")
    (folder / "tokenizer.json").write_bytes(content[:at] + noise + content[at + cut:])
    check(folder)


@hostile
@given(st.lists(st.tuples(st.text("ab#", max_size=3), st.text("ab#", max_size=3)), max_size=6), json_values,
       json_values, st.dictionaries(st.sampled_from(["eos_token", "add_bos_token", "tokenizer_class",
                                                     "added_tokens_decoder", "add_prefix_space"]), json_values))
def test_two_files_of_any_shape(tmp_path_factory, merges, vocab, added, config):
    folder = tmp_path_factory.mktemp("changed")
    if not isinstance(vocab, dict):
        vocab = {token: i for i, token in enumerate(dict.fromkeys(
            ["a", "b", *(part for pair in merges for part in pair), *(left + right for left, right in merges)]))}
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(map(" ".join, merges)), encoding="utf-8")
    if isinstance(added, dict):
        (folder / "added_tokens.json").write_text(json.dumps(added), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    check(folder)


def test_counts_that_would_fill_the_memory(documents, tmp_path):
    """A small file that asks for a large table is refused, and a large file takes time in proportion."""
    document = copy.deepcopy(documents[0])
    document["model"]["vocab"]["a"] = 2 ** 40
    (tmp_path / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ValueError, match="expected an integer from 0 to"):
        load_tokenizer(tmp_path)

    tokens = ["a" * n for n in range(1, 1500)]  # each merge makes a longer token out of the one before
    document["model"]["vocab"] = {token: i for i, token in enumerate(tokens)}
    document["model"]["merges"] = [["a", token] for token in tokens[:-1]]
    document["added_tokens"], document["post_processor"] = [], None
    (tmp_path / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    start = time.process_time()
    tok = load_tokenizer(tmp_path)
    assert tok.decode(tok.encode("a" * 20_000)) == "a" * 20_000
    assert time.process_time() - start < 10


def test_a_pattern_without_end(documents, tmp_path):
    document = copy.deepcopy(documents[1])
    document["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": "(?:a|a)*$"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    start = time.thread_time()
    with pytest.raises(ValueError, match="needs more than"):
        load_tokenizer(tmp_path).encode("a" * 40 + "b")
    assert time.thread_time() - start < 20

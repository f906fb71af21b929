"""Tokenizers in GGUF files: the ids that their own programs give, and what is not read is named."""

import json
import sys
from pathlib import Path

import pytest

from tinygpt.tokenizers import load_tokenizer
from tinygpt.tokenizers.gguf import KINDS, PRE_TOKENIZERS, GGUFTokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "pretrained"))
from gguf_writer import gguf, value  # noqa: E402

BYTES = [chr(i) for i in range(33, 127)] + ["Ġ", "Ċ", "he", "Ġhe", "<eos>", "<user>"]
SMALL = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": BYTES,
         "tokenizer.ggml.token_type": [1] * 98 + [3, 4], "tokenizer.ggml.merges": ["h e", "Ġ he"],
         "tokenizer.ggml.eos_token_id": 98, "tokenizer.chat_template": "{{ messages }}"}
VOCABULARIES = {"gpt-2": "gpt2", "llama-spm": "llama", "bert-bge": "bert"}


def write(path, **changes):
    found = SMALL | {f"tokenizer.{name.replace('__', '.')}": each for name, each in changes.items()}
    path.write_bytes(gguf({name: each for name, each in found.items() if each is not None}))
    return path


def texts_and_ids(folder, name):
    separator = "\n__ggml_vocab_test__\n"
    texts = (folder / f"ggml-vocab-{name}.gguf.inp").read_bytes().decode().split(separator)
    return texts, [[int(i) for i in line.split()] for line in
                   (folder / f"ggml-vocab-{name}.gguf.out").read_text().split("\n")]


@pytest.mark.parametrize("name", VOCABULARIES)
def test_every_kind_gives_the_ids_of_its_authors(shared_data, name):
    tokenizer = load_tokenizer(shared_data / f"tokenizers/ggml-vocab-{name}.gguf")
    for text, ids in zip(*texts_and_ids(shared_data / "tokenizers", name), strict=True):
        assert tokenizer.encode(text, add_special_tokens=False) == ids, text


def test_robertas_ids_are_those_of_gpt2_under_other_numbers(shared_data):
    """Its vocabulary is not there, but it cuts as GPT-2 does: each token of the one is a token of the other."""
    tokenizer = load_tokenizer(shared_data / "tokenizers/ggml-vocab-gpt-2.gguf")
    numbers = {}
    for text, ids in zip(*texts_and_ids(shared_data / "tokenizers", "roberta-bpe"), strict=True):
        ours = tokenizer.encode(text, add_special_tokens=False)
        theirs = ids if len(ids) == len(ours) else ids[1:-1]  # with <s> and </s> around
        assert len(theirs) == len(ours), text
        for one, other in zip(ours, theirs):
            assert numbers.setdefault(one, other) == other, text
    assert len(set(numbers.values())) == len(numbers) > 100


@pytest.mark.parametrize("name, before, after", [("llama-spm", "<s>", ""), ("bert-bge", "[CLS]", "[SEP]"),
                                                 ("gpt-2", "", "")])
def test_what_goes_around_a_text_by_the_kind(shared_data, tmp_path, name, before, after):
    tokenizer = load_tokenizer(shared_data / f"tokenizers/ggml-vocab-{name}.gguf")
    around = [[tokenizer.token_id(token)] if token else [] for token in (before, after)]
    plain = tokenizer.encode("hello world", add_special_tokens=False)
    assert tokenizer.encode("hello world") == [*around[0], *plain, *around[1]]
    assert tokenizer.decode(plain) == "hello world"
    tokenizer.save(tmp_path)
    assert load_tokenizer(tmp_path).encode("hello  World 12") == tokenizer.encode("hello  World 12")


@pytest.mark.oracle
@pytest.mark.parametrize("name", VOCABULARIES)
def test_as_a_tokenizer_json_in_tokenizers(shared_data, hf_tokenizers, name):
    saved = GGUFTokenizer(shared_data / f"tokenizers/ggml-vocab-{name}.gguf")
    assert saved.settings["tokenizer.ggml.model"] == VOCABULARIES[name]
    theirs = hf_tokenizers.Tokenizer.from_str(json.dumps(saved.document))
    for text, ids in zip(*texts_and_ids(shared_data / "tokenizers", name), strict=True):
        assert theirs.encode(text, add_special_tokens=False).ids == ids, text


def test_what_a_file_says_of_a_tokenizer(tmp_path):
    tokenizer = load_tokenizer(write(tmp_path / "m.gguf"))
    assert tokenizer.encode("he he") == [96, 97] and tokenizer.chat_template == "{{ messages }}"
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id) == (98, None)
    assert tokenizer.special_tokens == {"<eos>": 98}
    assert tokenizer.encode("he<user><eos>", allowed_special="all") == [96, 99, 98]
    assert tokenizer.encode("<eos>") != [98]
    tokenizer.save(tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    assert again.encode("he<user>he") == tokenizer.encode("he<user>he") and again.eos_token_id == 98


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_every_way_to_cut_is_one_that_is_read(tmp_path, pre):
    tokenizer = load_tokenizer(write(tmp_path / "m.gguf", ggml__pre=pre))
    text = "he 123 he's\nit"
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text


@pytest.mark.parametrize("flag, role, expected", [("add_bos_token", "bos", [98, 96]),
                                                  ("add_eos_token", "eos", [96, 98])])
def test_what_goes_around_a_text(tmp_path, flag, role, expected):
    path = write(tmp_path / "m.gguf", **{f"ggml__{flag}": True, f"ggml__{role}_token_id": 98})
    assert load_tokenizer(path).encode("he") == expected


@pytest.mark.parametrize("changes, message", [
    ({"ggml__model": "t5"}, "tokenizer.ggml.model is 't5', which is not read; read are gpt2, llama, bert"),
    ({"ggml__model": None}, "tokenizer.ggml.model"), ({"ggml__model": 3}, "tokenizer.ggml.model"),
    ({"ggml__pre": "strange"}, "tokenizer.ggml.pre is 'strange', which is not read"),
    ({"ggml__tokens": None}, "tokenizer.ggml.tokens"), ({"ggml__tokens": [1, 2]}, "does not hold str alone"),
    ({"ggml__tokens": "abc"}, "tokenizer.ggml.tokens"),
    ({"ggml__token_type": [1]}, "100 tokens and 1 types"), ({"ggml__merges": ["h x y"]}, "a merge is two tokens"),
    ({"ggml__merges": ["h ü"]}, "needs a token that is not there"), ({"ggml__merges": None}, "tokenizer.ggml.merges"),
    ({"ggml__model": "llama"}, "tokenizer.ggml.scores"), ({"ggml__eos_token_id": "x"}, "eos_token_id"),
    ({"ggml__model": "llama", "ggml__scores": [0.5]}, "100 tokens and 1 scores"),
    ({"ggml__model": "llama", "ggml__scores": [0.5] * 100, "ggml__tokens": ["a" * 20_000] * 100}, "longer than those"),
    ({"chat_template": 3}, "chat_template"),
])
def test_what_is_damaged_or_not_read_is_named(tmp_path, changes, message):
    path = write(tmp_path / "m.gguf", **changes)
    with pytest.raises(ValueError, match=message) as caught:
        load_tokenizer(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_kinds_and_values():
    assert set(KINDS) == {"gpt2", "llama", "bert"} and value("a")[:4] == b"\x08\0\0\0"

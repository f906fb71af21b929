"""Thousands of damaged and hostile files of every kind: read, or refused with a documented error and a sentence.

By default a few of each kind, always the same ones; `pytest -m nightly tests/fuzz` draws 40,000 others.
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import random
import resource
import shutil
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutations import mutated

import tinygpt as tg
from tinygpt.data import located_records
from tinygpt.data.conversations import read_conversations
from tinygpt.data.download import unpack
from tinygpt.data.example_file import read_example_file, write_example_file
from tinygpt.data.labelled import read_labelled
from tinygpt.data.pairs import read_pairs
from tinygpt.data.tokens import TokenFile, write_tokens
from tinygpt.models import BERT, GPT, BERTConfig, EncoderDecoder, EncoderDecoderConfig, GPTConfig
from tinygpt.models.adapter import LoRA, save_adapter
from tinygpt.pretrained import SafetensorsFile, write_safetensors
from tinygpt.tokenizers import ByteBPE, CharTokenizer, load_tokenizer

SECONDS, MEMORY = 10.0, 1 << 30
TEXT = "the cat sat on the mat and the dog sat on the log. "
DOCUMENTED = (ValueError, FileNotFoundError)
IDS = np.array([[1, 2, 3]])


@contextmanager
def bounded_memory() -> Iterator[None]:
    """At most a gigabyte more than now, or MemoryError."""
    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


# -- kinds: each writes honest files into a folder, and says how such a folder is used ---------------------------------


def gpt2(folder: Path) -> None:
    tok = ByteBPE.train(TEXT * 5, 270, ["<|endoftext|>"])
    GPT(GPTConfig(vocab_size=len(tok), block_size=8, n_layer=1, n_head=2, n_embd=8)).save_pretrained(folder, tok)


def llama(folder: Path) -> None:
    GPT(GPTConfig(vocab_size=20, block_size=8, n_layer=1, n_head=2, n_embd=8, architecture="llama",
                  rope_scaling={"rope_type": "linear", "factor": 2.0})).save_pretrained(folder)


def mixtral(folder: Path) -> None:
    GPT(GPTConfig(vocab_size=20, block_size=8, n_layer=1, n_head=2, n_embd=8, architecture="mixtral", n_experts=2,
                  window=4)).save_pretrained(folder)


def marian(folder: Path) -> None:
    EncoderDecoder(EncoderDecoderConfig(vocab_size=20, block_size=8, n_layer=1, n_head=2, n_embd=8)).save_pretrained(
        folder)


def bert(folder: Path) -> None:
    BERT.for_classification(BERTConfig(vocab_size=20, block_size=8, n_layer=1, n_head=2, n_embd=8),
                            id2label={0: "no", 1: "yes"}).save_pretrained(folder)


def adapter(folder: Path) -> None:
    bert(folder / "base")
    base = tg.load_model(folder / "base")
    model = base.for_classification(id2label={0: "a", 1: "b", 2: "c"})
    lora = LoRA(1, 1.0, ("q",))
    lora.add_to(model, ("classifier.",))
    save_adapter(folder, model, lora, folder / "base")


def use_model(folder: Path) -> None:
    model = tg.load_model(folder)
    if model.config.block_size >= 3 and model.config.vocab_size > 3:
        model(IDS, IDS) if isinstance(model, EncoderDecoder) else model(IDS)
    if any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        use_tokenizer(folder)


def characters(folder: Path) -> None:
    tok = CharTokenizer.train(TEXT, ["<s>"])
    tok.set_template(["<s>"])
    tok.save(folder)


def two_files(folder: Path) -> None:
    ByteBPE.train(TEXT * 5, 270, ["<|endoftext|>"]).save(folder, "vocab.json")


def use_tokenizer(folder: Path) -> None:
    tok = load_tokenizer(folder)
    for text in ("", "the cat", "é\n\n 12 <|endoftext|>"):
        try:
            assert isinstance(tok.decode(tok.encode(text, allowed_special="all")), str)
        except ValueError:
            pass


def safetensors(folder: Path) -> None:
    write_safetensors(folder / "x.safetensors", {"a": np.ones((3, 2), np.float32), "b": np.zeros(4, np.int64)},
                      {"a": "b"})


def use_safetensors(folder: Path) -> None:
    for array in SafetensorsFile(folder / "x.safetensors").values():
        assert array.nbytes < MEMORY


LABELLED = [{"text": f"{TEXT[:n]}, \"{n}\"", "label": ["ham", "spam"][n % 2]} for n in range(5, 15)]
CHATS = [{"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n}!"}]}
         for n in range(5)] + [{"instruction": "a", "input": "b", "output": "c"}]


def write(folder: Path, name: str, content: str) -> None:
    data = content.encode()
    (folder / name).write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)


def csv(folder: Path) -> None:
    write(folder, "x.csv", "text,label\n" + "".join(f'"{row["text"].replace(chr(34), chr(34) * 2)}",{row["label"]}\n'
                                                    for row in LABELLED))


def tsv(folder: Path) -> None:
    write(folder, "x.tsv", "text\tlabel\n" + "".join(f"{row['text']}\t{row['label']}\n" for row in LABELLED))


def json_array(folder: Path) -> None:
    write(folder, "x.json", json.dumps(LABELLED, indent=1))


def json_lines(folder: Path) -> None:
    write(folder, "x.jsonl", "\n".join(map(json.dumps, LABELLED)))


def packed(folder: Path) -> None:
    write(folder, "x.jsonl.gz", "\n".join(map(json.dumps, LABELLED)))


def chats(folder: Path) -> None:
    write(folder, "x.jsonl", "\n".join(map(json.dumps, CHATS)))


def pairs(folder: Path) -> None:
    write(folder, "x.tsv", "one\tuno\ntwo\tdos\n" * 5)


def only_file(folder: Path) -> Path:
    return next(path for path in folder.iterdir() if path.is_file())


def use_table(folder: Path) -> None:
    path = only_file(folder)
    read_labelled(path)
    for header in (True, False):
        sum(1 for _ in located_records(path, header))


def use_chats(folder: Path) -> None:
    read_conversations(only_file(folder))


def use_pairs(folder: Path) -> None:
    read_pairs(only_file(folder))


def use_text(folder: Path) -> None:
    assert sum(map(len, tg.data.Documents(only_file(folder))))


def token_file(folder: Path) -> None:
    write_tokens(folder / "x.npy", [TEXT], ByteBPE.train(TEXT * 5, 270, ["<|endoftext|>"]))


def use_token_file(folder: Path) -> None:
    with TokenFile(folder / "x.npy", 270) as file:
        assert not len(file) or file.ids.max() < 270


def examples(folder: Path) -> None:
    write_example_file(folder / "x.npy", [([1, 2, 3], [0]), ([4], [1])])


def use_examples(folder: Path) -> None:
    for ids, answer in read_example_file(folder / "x.npy"):
        assert ids.nbytes + answer.nbytes < MEMORY


def archive(folder: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("in/text", TEXT * 20)
    (folder / "x.zip").write_bytes(content.getvalue())


def use_archive(folder: Path) -> None:
    assert len(unpack((folder / "x.zip").read_bytes(), "in/text")) < MEMORY


Make, Use = Callable[[Path], None], Callable[[Path], None]
KINDS: dict[str, tuple[Make, Use]] = {
    "gpt2": (gpt2, use_model), "llama": (llama, use_model), "mixtral": (mixtral, use_model),
    "marian": (marian, use_model), "bert": (bert, use_model), "adapter": (adapter, use_model),
    "characters": (characters, use_tokenizer), "two files": (two_files, use_tokenizer),
    "safetensors": (safetensors, use_safetensors), "csv": (csv, use_table), "tsv": (tsv, use_table),
    "json": (json_array, use_table), "jsonl": (json_lines, use_table), "packed": (packed, use_table),
    "chats": (chats, use_chats), "pairs": (pairs, use_pairs), "text": (json_lines, use_text),
    "token file": (token_file, use_token_file), "examples": (examples, use_examples), "archive": (archive, use_archive),
}


def fuzz(kind: str, seed: int, cases: int, folder: Path) -> int:
    """Use mutated files of a kind; how many were refused."""
    make, use = KINDS[kind]
    honest, work = folder / "honest", folder / "work"
    honest.mkdir()
    make(honest)
    use(honest)
    contents = {path.relative_to(honest): path.read_bytes() for path in sorted(honest.rglob("*")) if path.is_file()}
    shutil.copytree(honest, work)
    rng, refused = random.Random(f"{kind} {seed}"), 0
    for case in range(cases):
        name = rng.choice(list(contents))
        data = mutated(contents[name], rng)
        (work / name).write_bytes(data)
        start = time.monotonic()
        try:
            with bounded_memory(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                np.seterr(all="ignore")
                use(work)
        except DOCUMENTED as error:
            refused += 1
            message = str(error)
            assert " " in message and len(message) <= 1200 and "\x1b" not in message, (kind, case, message)
        except Exception as error:
            (folder / "found").write_bytes(data)
            raise AssertionError(f"{kind}, case {case} of seed {seed}: {name} gives {type(error).__name__}: "
                                 f"{str(error)[:300]}; it is in {folder / 'found'}") from error
        assert time.monotonic() - start < SECONDS, f"{kind}, case {case} of seed {seed} takes long"
        (work / name).write_bytes(contents[name])
    return refused


@pytest.mark.parametrize("kind", KINDS)
def test_what_others_wrote_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    assert fuzz(kind, 0, 60, tmp_path) > 0


@pytest.mark.nightly
@pytest.mark.parametrize("kind, part", [*itertools.product(KINDS, range(4))])
def test_many_more_of_them(kind: str, part: int, tmp_path: Path) -> None:
    seed = int(os.environ.get("FUZZ_SEED", time.time()))
    assert fuzz(kind, 4 * seed + part, 500, tmp_path) > 0


def test_the_fuzzer_finds_what_is_there_to_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that forgets a check, takes too much, or speaks no sentence does not pass."""
    def forgets(folder: Path) -> None:
        json.loads((folder / "x.jsonl").read_bytes().split(b"\n")[0])["text"].upper()

    def takes(folder: Path) -> None:
        use_text(folder)
        np.ones(MEMORY // 4)

    def mumbles(folder: Path) -> None:
        try:
            use_table(folder)
        except ValueError:
            raise ValueError("text") from None

    for number, use in enumerate((forgets, takes, mumbles)):
        monkeypatch.setitem(KINDS, "jsonl", (json_lines, use))
        folder: Any = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises((AssertionError, MemoryError)):
            fuzz("jsonl", 0, 60, folder)

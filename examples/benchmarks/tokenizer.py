"""The tokenizer beside tiktoken, Hugging Face's tokenizers and rustbpe, where installed, and minbpe's training loop.

    python examples/benchmarks/tokenizer.py                            two minutes
    TINYGPT_DATA=FOLDER python examples/benchmarks/tokenizer.py        with GPT-2's vocabulary, Spanish and Chinese
    python examples/benchmarks/tokenizer.py --text Thai=thai.txt       and a text of one's own

One process, one thread each (Rust's too), the sides taking turns, the fastest of several tries, CPU time: so the
ratios mean something even on a machine that does other things. "× as fast" is their time over ours; above 1, ours is
the faster. Each side must also give the same answer: merges and ids are compared.

English is the docstrings of what is installed here, Python the standard library's source. Spanish is the corpus
"quijote" if it is on this machine; Chinese is hongloumeng.txt in TINYGPT_DATA. The vocabulary for encoding is GPT-2's
if TINYGPT_DATA has it (gpt2/encoder.json and vocab.bpe), else one trained here on the English text.

Prerequisites: measuring.py.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import regex

from tinygpt.tokenizers import ByteBPE, load_tokenizer
from tinygpt.tokenizers.byte_alphabet import text_to_bytes
from tinygpt.tokenizers.patterns import PATTERNS

MB = 1_000_000


@dataclass(frozen=True)
class Row:
    """One line of the table: seconds of ours and of the other's; `ratio` says how many times as fast ours is."""

    what: str
    text: str
    other: str
    ours_s: float
    other_s: float
    ratio: float
    committed: float | None  # the ratio that docs/tokenization.md promises
    equal: bool | None  # whether both gave the same answer, where they should


def fastest(ours: Callable[[], Any], other: Callable[[], Any], tries: int) -> tuple[float, Any, float, Any]:
    """CPU seconds and results of the two, taking turns: (ours, our result, other, its result)."""
    best = [float("inf"), float("inf")]
    results: list[Any] = [None, None]
    for _ in range(tries):
        for i, side in enumerate((ours, other)):
            start = time.process_time()
            results[i] = side()
            best[i] = min(best[i], time.process_time() - start)
    return best[0], results[0], best[1], results[1]


# ---------------------------------------------------------------------------------------------------------------------
# Texts


def docstrings(size: int) -> str:
    """Prose in English, `size` bytes or fewer: the longer docstrings of the packages installed here."""
    found: dict[str, None] = {}  # in order, each once
    total = 0
    for name in ("stdlib", "purelib"):
        for path in sorted(Path(sysconfig.get_paths()[name]).rglob("*.py")):
            if total >= size:
                break
            try:
                tree = ast.parse(path.read_text(encoding="utf-8"))
            except (ValueError, SyntaxError, OSError):  # test data of some packages is no Python
                continue
            for node in ast.walk(tree):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                    text = ast.get_docstring(node) or ""
                    if len(text) > 300 and text not in found:
                        found[text] = None
                        total += len(text)
    return "\n\n".join(found)[:size]


def source(size: int) -> str:
    """Python source, `size` bytes or fewer: the standard library's."""
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    return "".join(path.read_text(encoding="utf-8") for path in paths)[:size]


def texts(size: int, own: Sequence[str]) -> dict[str, str]:
    """The texts to encode, each at most `size` bytes long."""
    found = {"English": docstrings(size), "Python": source(size)}
    folder = Path(os.environ.get("TINYGPT_DATA", "."))
    files = {"Spanish": folder / "pg2000_quijote.txt", "Chinese": folder / "hongloumeng.txt"}
    files |= {name: Path(path) for name, _, path in (entry.partition("=") for entry in own)}
    for name, path in files.items():
        if path.exists() or name not in ("Spanish", "Chinese"):
            found[name] = path.read_bytes()[:size].decode("utf-8", errors="ignore")
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Training


def huggingface_merges(text: str, vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Train with Hugging Face's tokenizers."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=vocab_size, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return [(text_to_bytes(left), text_to_bytes(right))
            for left, right in json.loads(theirs.to_str())["model"]["merges"]]


def rustbpe_merges(text: str, vocab_size: int) -> None:
    """Train with rustbpe, which breaks ties differently."""
    import rustbpe
    rustbpe.Tokenizer().train_from_iterator(iter([text]), vocab_size, pattern=PATTERNS["gpt2"])


def minbpe_merges(text: str, vocab_size: int) -> None:
    """Train as minbpe's regex tokenizer does, which breaks ties differently.

    minbpe is no package, so this is its loop, transcribed (github.com/karpathy/minbpe: `RegexTokenizer.train` with
    `get_stats` and `merge` of minbpe/base.py), with GPT-2's split pattern.
    """
    def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
        merged = []
        i = 0
        while i < len(ids):
            if ids[i] == pair[0] and i < len(ids) - 1 and ids[i + 1] == pair[1]:
                merged.append(new_id)
                i += 2
            else:
                merged.append(ids[i])
                i += 1
        return merged

    chunks = [list(chunk.encode("utf-8")) for chunk in regex.findall(PATTERNS["gpt2"], text)]
    vocab = {i: bytes([i]) for i in range(256)}
    for new_id in range(256, vocab_size):
        stats: dict[tuple[int, int], int] = {}
        for ids in chunks:
            for pair in zip(ids, ids[1:]):
                stats[pair] = stats.get(pair, 0) + 1
        best = max(stats, key=stats.get)  # type: ignore[arg-type]
        chunks = [merge(ids, best, new_id) for ids in chunks]
        vocab[new_id] = vocab[best[0]] + vocab[best[1]]


def training(english: str, tries: int) -> Iterator[Row]:
    """The rows that compare training."""
    sizes = [("minbpe's loop", minbpe_merges, 128_000, 512, 60.0),
             ("tokenizers", huggingface_merges, MB, 4096, 1 / 1.5), ("rustbpe", rustbpe_merges, MB, 4096, None),
             ("tokenizers", huggingface_merges, 10 * MB, 16384, 1.0), ("rustbpe", rustbpe_merges, 10 * MB, 16384, None)]
    for package, train, size, vocab_size, committed in sizes:
        text = english[:size]
        if train is not minbpe_merges and importlib.util.find_spec(package) is None:
            continue
        ours, tok, theirs, merges = fastest(lambda: ByteBPE.train(text, vocab_size), lambda: train(text, vocab_size),
                                            1 if train is minbpe_merges else tries)
        yield Row(f"train {vocab_size:,} tokens", f"English, {len(text) / MB:.3g} MB", package, ours, theirs,
                  theirs / ours, committed, None if merges is None else merges == tok.merges)


# ---------------------------------------------------------------------------------------------------------------------
# Encoding and decoding


def vocabulary(english: str, folder: str) -> tuple[str, ByteBPE]:
    """The vocabulary to encode with, and what to call it; `folder` may be written to."""
    own = Path(os.environ.get("TINYGPT_DATA", ".")) / "gpt2"
    if not own.is_dir():
        ByteBPE.train(english, 16_384).save(folder)
    tok = load_tokenizer(own if own.is_dir() else folder)
    assert isinstance(tok, ByteBPE)
    return "GPT-2's vocabulary" if own.is_dir() else f"{tok.n_vocab:,} tokens learned from the English text", tok


def encoding(tok: ByteBPE, samples: dict[str, str], english: str, tries: int) -> Iterator[Row]:
    """The rows that compare encoding and decoding with tiktoken."""
    import tiktoken
    from tiktoken_ext.openai_public import r50k_pat_str
    theirs = tiktoken.Encoding("same", pat_str=r50k_pat_str, mergeable_ranks=tok.vocab, special_tokens={})

    def cold(text: str) -> Callable[[], list[int]]:
        """Encodes with a new tokenizer at each call; to build them is no part of encoding."""
        new = iter([ByteBPE(tok.vocab, tok.merges) for _ in range(tries)])
        return lambda: next(new).encode(text)

    for name, text in samples.items():
        size = f"{name}, {len(text.encode()) / MB:.3g} MB"
        ours, ids, other, expected = fastest(cold(text), lambda: theirs.encode_ordinary(text), tries)
        yield Row("encode, cold", size, "tiktoken", ours, other, other / ours,
                  0.12 if name == "Chinese" else 0.25, ids == expected)
        ours, ids, other, expected = fastest(lambda: tok.encode(text), lambda: theirs.encode_ordinary(text), tries + 1)
        yield Row("encode, warm", size, "tiktoken", ours, other, other / ours, 1.0, ids == expected)
        ours, back, other, expected = fastest(lambda: tok.decode(ids), lambda: theirs.decode(ids), 3 * tries)
        yield Row("decode", size, "tiktoken", ours, other, other / ours, 0.2, back == expected == text)
    if len(english) > 2 * MB:
        ours, ids, other, expected = fastest(cold(english), lambda: theirs.encode_ordinary(english), tries)
        yield Row("encode, cold, one pass", f"English, {len(english) / MB:.3g} MB", "tiktoken", ours, other,
                  other / ours, 0.5, ids == expected)


def without_split(tok: ByteBPE, size: int) -> Iterator[tuple[str, float]]:
    """CPU seconds to encode texts in which nothing can be split: of a tenth of `size` bytes, and of `size`."""
    some, much = f"{size // 10:,} bytes", f"{size:,} bytes"
    for what, text in ((f"{some} of one letter", "a" * (size // 10)),
                       (f"one word of {some}", "abcdefghij" * (size // 100)),
                       (f"{some} of spaces", " " * (size // 10)), (f"{much} of one letter", "a" * size),
                       (f"{much} of one emoji", "😀" * (size // 4)), (f'{size:,} newlines and "x"', "\n" * size + "x")):
        start = time.process_time()
        tok.encode(text)
        yield what, time.process_time() - start


def training_memory(path: Path) -> float:
    """Peak MB of a process that trains on a file, over what it holds before; 0 where the system does not tell."""
    code = (f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "from pathlib import Path; from measuring import resident_mb\n"
            "from tinygpt.tokenizers import ByteBPE\n"
            "ByteBPE.train('word', 257); before = resident_mb(peak=False)\n"
            "ByteBPE.train(Path(sys.argv[1]), 16384); print(max(0, resident_mb(peak=True) - before))")
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def show(row: Row) -> None:
    """Print one row of the Markdown table."""
    committed = "" if row.committed is None else f"≥ {row.committed:.2g}"
    equal = {True: "equal", False: "DIFFERENT", None: ""}[row.equal]
    print(f"| {row.what} | {row.text} | {1e3 * row.ours_s:,.0f} ms | {row.other} | {1e3 * row.other_s:,.0f} ms | "
          f"{row.ratio:.2f} | {committed} | {equal} |", flush=True)


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure and print; returns the rows."""
    parser = argparse.ArgumentParser(description="Measure the tokenizer beside others.")
    parser.add_argument("--text", action="append", default=[], metavar="NAME=FILE", help="a further text to encode")
    parser.add_argument("--size", type=int, default=MB, metavar="N", help="bytes of each text to encode [1,000,000]")
    parser.add_argument("--long", type=int, default=10 * MB, metavar="N", help="bytes of the long text [10,000,000]")
    parser.add_argument("--tries", type=int, default=3, metavar="N", help="the fastest of N tries counts [3]")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    args = parser.parse_args(argv)
    os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    english, samples = docstrings(args.long), texts(args.size, args.text)
    print("| | text | tinygpt | beside | its time | × as fast | committed | answers |\n" + "|---" * 8 + "|")
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row)
        show(row)

    for row in training(english, args.tries):
        add(row)
    with tempfile.TemporaryDirectory() as folder:
        name, tok = vocabulary(english, folder)
        if importlib.util.find_spec("tiktoken") is not None:
            for row in encoding(tok, samples, english, args.tries):
                add(row)
        print(f"\nEncoding with {name}. Ours alone:\n")
        alone = {}
        for what, seconds in without_split(tok, args.size):
            alone[what] = seconds
            print(f"* {what}: {seconds:.2f} s" + (" (committed: < 0.5 s)" if "100,000 bytes" in what else ""))
        path = Path(folder) / "english.txt"
        path.write_text(english, encoding="utf-8")
        memory = alone["training_mb"] = training_memory(path)
        print(f"* memory to train 16,384 tokens on {len(english) / MB:.3g} MB: {memory:.0f} MB (committed: ≤ 60 MB)")
    if args.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "alone": alone}))
    return rows


if __name__ == "__main__":
    main()

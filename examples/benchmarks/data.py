"""`tinygpt data` on made-up text: MB a second of a core, memory of all processes together, and kills.

    python examples/benchmarks/data.py --mb 20                     some seconds
    python examples/benchmarks/data.py --mb 1000 --kills 5 --json  much longer

The text is paragraphs of the documentation inside Python in random order, a record each; one text of twenty is a near
duplicate of the one before. After the run that is measured, `--kills` runs it again into another folder, kills it that
often with all its processes, goes on each time, and compares the folders. Where Hugging Face's tokenizers is installed,
one thread of it encodes the same records with the same tokenizer, in batches. `--steps` names what to drop.

Memory is looked at ten times a second: the sum over all processes of the pages in memory, once with each page counted
once (PSS of Linux), once with pages that several processes share counted for each (RSS). The peaks are told of the
whole run and of its quarters, which shows whether it grows.

Prerequisites: docs/data.md, measuring.py.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from measuring import resident_mb, shared_out_mb
from tinygpt.data import embedded_documents
from tinygpt.tokenizers import ByteBPE

FILE_MB = 100


def write_texts(folder: Path, megabytes: float, seed: int = 0) -> int:
    """Tables of JSON Lines, of so many megabytes in all; gives their bytes."""
    rng = np.random.default_rng(seed)
    paragraphs = [line for text in embedded_documents() for line in text.split("\n")]
    total, number, text = 0, 0, "x"
    while total < megabytes * 1e6:
        with open(folder / f"{number:04}.jsonl", "wb") as file:
            while file.tell() < FILE_MB * 1e6 and total + file.tell() < megabytes * 1e6:
                for i in rng.integers(len(paragraphs), size=(100, 12)):
                    again = rng.random() < 0.05
                    text = text.replace(text.split()[0], "Again", 1) if again else " ".join(paragraphs[j] for j in i)
                    file.write(json.dumps({"text": text}).encode() + b"\n")
            total += file.tell()
        number += 1
    return total


def processes_of(session: int) -> Iterator[int]:
    """The processes of a session."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == session:
                yield int(entry.name)
        except OSError:
            pass


def start(out: Path, *more: str) -> subprocess.Popen[str]:
    """The command, in a session of its own."""
    return subprocess.Popen([sys.executable, "-m", "tinygpt", "data", "--out", str(out), *more], start_new_session=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def measured(process: subprocess.Popen[str]) -> tuple[float, list[tuple[float, float]], str]:
    """Seconds, the memory of all its processes now and then in MB, pages counted once and for each process, and what it
    prints."""
    begun, seen = time.perf_counter(), []
    while process.poll() is None:
        once = for_each = 0.0
        for pid in processes_of(process.pid):
            try:
                once, for_each = once + shared_out_mb(pid), for_each + resident_mb(False, pid)
            except (OSError, StopIteration):
                pass  # it has ended
        seen.append((once, for_each))
        time.sleep(0.1)
    seconds = time.perf_counter() - begun
    assert process.stdout is not None
    printed = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"tinygpt data ended with code {process.returncode}")
    return seconds, seen, printed


def quarters(seen: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The four quarters of a run."""
    bounds = [len(seen) * i // 4 for i in range(5)]
    return [seen[start:max(stop, start + 1)] for start, stop in zip(bounds, bounds[1:])]


def killed(out: Path, arguments: list[str], kills: int, seconds: float) -> bool:
    """Kill it at random moments and go on; whether all kills came in time."""
    rng, in_time = np.random.default_rng(kills), True
    for _ in range(kills):
        begun = (out / "options.json").exists()
        process = start(out, *(["--resume"] if begun else arguments))
        time.sleep(float(rng.uniform(0.1, 0.25)) * seconds + 0.5)
        in_time = in_time and process.poll() is None
        process.kill()
        process.communicate()
    process = start(out, "--resume")
    process.communicate()
    return in_time and process.returncode == 0


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of a folder."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with open(path, "rb") as file:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def tokenizers_speed(folder: Path, tokenizer: Path, most: float) -> tuple[float, int]:
    """MB a second and the ids of some texts, by one thread of Hugging Face's tokenizers."""
    os.environ["RAYON_NUM_THREADS"], os.environ["TOKENIZERS_PARALLELISM"] = "1", "false"
    import tokenizers
    tok, texts, size = tokenizers.Tokenizer.from_file(str(tokenizer / "tokenizer.json")), [], 0
    with open(next(iter(sorted(folder.glob("*.jsonl")))), encoding="utf-8") as file:
        for line in file:
            texts.append(json.loads(line)["text"])
            size += len(line.encode())
            if size > most * 1e6:
                break
    begun = time.perf_counter()
    n_ids = sum(len(one.ids) for first in range(0, len(texts), 1000)
                for one in tok.encode_batch(texts[first:first + 1000]))
    return size / 1e6 / (time.perf_counter() - begun), n_ids


def main() -> None:
    """Make texts, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, default=20, help="megabytes of text")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--part-mb", type=int, default=32)
    parser.add_argument("--steps", nargs="*", default=["length", "repetition", "language", "duplicates"])
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="without tokenizers")
    parser.add_argument("--folder", default=None, help="where to work [a folder for temporary files]")
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line, last")
    o = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=o.folder) as name:
        place = Path(name)
        (place / "texts").mkdir()
        size = write_texts(place / "texts", o.mb)
        ByteBPE.train(embedded_documents(), 4096, ["<|endoftext|>"]).save(place / "tokenizer")
        arguments = ["--data", str(place / "texts"), "--tokenizer", str(place / "tokenizer"), "--processes",
                     str(o.processes), "--part-mb", str(o.part_mb), *(["--drop", *o.steps] if o.steps else [])]
        seconds, seen, printed = measured(start(place / "out", *arguments))
        index = json.loads((place / "out" / "tokens.json").read_text(encoding="utf-8"))
        result: dict[str, Any] = {
            "mb": round(size / 1e6, 1), "processes": o.processes, "seconds": round(seconds, 1),
            "mb_per_second": round(size / 1e6 / seconds, 2),
            "mb_per_second_a_core": round(size / 1e6 / seconds / o.processes, 2),
            "peak_mb": round(max(once for once, _ in seen), 1),
            "peak_mb_by_quarters": [round(max(once for once, _ in quarter), 1) for quarter in quarters(seen)],
            "peak_mb_shared_pages_for_each": round(max(for_each for _, for_each in seen), 1),
            "texts": index["read"]["texts"], "tokens": index["tokens"], "dropped": {
                step: counts["texts"] for step, counts in index["dropped"].items()}}
        if o.kills:
            in_time = killed(place / "again", arguments, o.kills, seconds)
            result |= {"kills": o.kills, "kills_in_time": in_time,
                       "same_after_kills": contents(place / "again") == contents(place / "out")}
        if not o.alone and importlib.util.find_spec("tokenizers"):
            result["tokenizers_mb_per_second"] = round(tokenizers_speed(place / "texts", place / "tokenizer", 50)[0], 2)
    if o.json:
        print(json.dumps(result))
        return
    print(printed, end="")
    for key, value in result.items():
        print(f"{key.replace('_', ' '):28}{value}")


if __name__ == "__main__":
    main()

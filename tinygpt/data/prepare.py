"""From texts to a folder of tokens (shards.py): by several processes, and whatever was done need not be done again.

    texts ──cut_data──> parts ──a process each: drop, encode──> parts/00000.npy …  ──near duplicates──> 00000.npy …

A part is finished when its .json is there. A process that is killed loses the parts that were being made, and they are
made again, to the same bytes. How many processes there are makes no difference either. Near duplicates are looked for
when all parts are there, for a text can repeat any other one. The index is written last; then the folder of parts goes.

Prerequisites: parts.py, quality.py, shards.py. Next: sampler.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..files import read_json, write_json
from ..files.atomic_file import refuse_link, remove_strays, second_name
from ..tokenizers import load_tokenizer
from .minhash import near_duplicates, signature
from .parts import Piece, piece_documents
from .quality import DUPLICATES, STEPS
from .shards import FORMAT, tokenizer_fingerprint
from .sources import TOKEN_INDEX
from .tokens import TextEncoder, growing_file, map_ids, smallest_id_type

__all__ = ["PARTS_FOLDER", "Preparation", "fingerprint_of_parts"]

PARTS_FOLDER = "parts"
COUNTS = np.dtype(np.uint32)
TELL_EVERY = 1 << 20  # bytes
MOST_WARNINGS = 20  # of a part

Tell = Callable[[int], None]


def fingerprint_of_parts(parts: Sequence[Sequence[Piece]]) -> str:
    """SHA-256 of how data are cut: which files there are, and how long each is."""
    return hashlib.sha256(json.dumps([[asdict(piece) for piece in part] for part in parts]).encode()).hexdigest()


@dataclass(frozen=True)
class Preparation:
    """What a folder of tokens is made of; the folder holds the tokenizer already.

    Attributes:
        out: the folder, which nobody else is writing into.
        parts: the data, cut by `cut_data`.
        steps: which texts to drop: settings by the names of steps, from `parse_steps`.
    """

    out: Path
    parts: Sequence[Sequence[Piece]]
    steps: dict[str, Any]

    @cached_property
    def encoder(self) -> TextEncoder:
        """How texts become ids: as in the token files of a run."""
        return TextEncoder(load_tokenizer(self.out))

    def _path(self, number: int, ending: str) -> Path:
        return self.out / PARTS_FOLDER / f"{number:05}{ending}"

    def size(self, number: int) -> int:
        """The bytes of a part."""
        return sum(piece.stop - piece.start for piece in self.parts[number])

    def run(self, processes: int, progress: Callable[[int, int], None]) -> dict[str, Any]:
        """Make what is not there yet; gives the index.

        Args:
            processes: how many work at the same time, at least 1.
            progress: called now and then with the bytes that are done, and with those that were done at the beginning.

        Raises:
            ValueError: data that cannot be read, or of which no text is left.
            ChildProcessError: a process was killed, for want of memory perhaps.
            OSError: the disk is full, say.
        """
        if (self.out / TOKEN_INDEX).is_file():
            shutil.rmtree(self.out / PARTS_FOLDER, ignore_errors=True)
            return read_json(self.out / TOKEN_INDEX)
        refuse_link(self.out / PARTS_FOLDER)
        (self.out / PARTS_FOLDER).mkdir(exist_ok=True)
        for folder in (self.out, self.out / PARTS_FOLDER):
            remove_strays(folder)
        waiting = [number for number in range(len(self.parts)) if not self._path(number, ".json").is_file()]
        before = done = sum(map(self.size, range(len(self.parts)))) - sum(map(self.size, waiting))
        running: dict[Any, int] = {}

        def read(worker: Any, n_bytes: int) -> None:
            running[worker] = n_bytes
            progress(done + sum(running.values()), before)

        def made(worker: Any, number: int) -> None:
            nonlocal done
            running.pop(worker, None)
            done += self.size(number)
            progress(done, before)
            for message in read_json(self._path(number, ".json")).get("warnings", []):
                warnings.warn(message, stacklevel=2)
        if processes == 1:
            for number in waiting:
                self.make(number, lambda n_bytes: read(0, n_bytes))
                made(0, number)
        elif waiting:
            _in_processes(self, deque(waiting), min(processes, len(waiting)), read, made)
        return self._finish()

    # -- one part -----------------------------------------------------------------------------------------------------

    def make(self, number: int, tell: Tell) -> None:
        """Make one part.

        Args:
            number: which.
            tell: called before each text with how many of its bytes have been read, more or less.
        """
        steps = {name: setting for name, setting in self.steps.items() if name != DUPLICATES}
        counts: dict[str, list[int]] = {name: [0, 0] for name in ("read", *steps)}  # texts, characters
        size = self.size(number)
        with ExitStack() as stack:
            told_warnings = stack.enter_context(warnings.catch_warnings(record=True))
            warnings.simplefilter("always", UserWarning)

            def grow(ending: str, dtype: np.dtype) -> Callable[[np.ndarray], None]:
                return stack.enter_context(growing_file(self._path(number, ending), dtype))
            append = grow(".npy", smallest_id_type(len(self.encoder)))
            append_count = grow(".texts.npy", COUNTS)
            append_signature = grow(".signatures.npy", COUNTS) if DUPLICATES in self.steps else None
            for piece in self.parts[number]:
                for text in piece_documents(piece):
                    tell(min(counts["read"][1], size))
                    dropped = next((name for name, setting in steps.items() if _drops(name, text, setting)), None)
                    for name in ("read", dropped):
                        if name is not None:
                            counts[name][0] += 1
                            counts[name][1] += len(text)
                    if dropped is None:
                        ids = self._encoded(text)
                        append(ids)
                        append_count(np.array([len(ids), len(text)], COUNTS))
                        if append_signature is not None:
                            append_signature(signature(text))
        messages = list(dict.fromkeys(str(one.message) for one in told_warnings))[:MOST_WARNINGS]
        write_json(self._path(number, ".json"), {"counts": counts, "warnings": messages})

    def _encoded(self, text: str) -> np.ndarray:
        """The ids of a text, and of its end."""
        ids = self.encoder.encode_array(text).astype(smallest_id_type(len(self.encoder)), copy=False)
        end = self.encoder.eos_token_id
        return ids if end is None else np.append(ids, ids.dtype.type(end))

    # -- all parts ----------------------------------------------------------------------------------------------------

    def _finish(self) -> dict[str, Any]:
        """The shards and their index, of the parts."""
        numbers = range(len(self.parts))
        texts = [map_ids(self._path(number, ".texts.npy"), COUNTS).reshape(-1, 2) for number in numbers]  # (n, 2) each
        bounds = np.cumsum([0, *map(len, texts)])
        again = np.zeros(bounds[-1], bool)
        if DUPLICATES in self.steps:
            again = near_duplicates([self._path(number, ".signatures.npy") for number in numbers],
                                    self.steps[DUPLICATES])
        counts = {name: np.zeros(2, np.int64) for name in ("read", *self.steps)}
        shards = []
        for number in numbers:
            for name, more in read_json(self._path(number, ".json"))["counts"].items():
                counts[name] += more
            repeats = again[bounds[number]:bounds[number + 1]]
            if DUPLICATES in self.steps:
                counts[DUPLICATES] += [repeats.sum(), texts[number][repeats, 1].sum(dtype=np.int64)]
            if not repeats.all():
                shards.append(self._shard(number, texts[number][:, 0].astype(np.int64), repeats))
        if not shards:
            said = ", ".join(f"{name} {n_texts:,}" for name, (n_texts, _) in counts.items())
            raise ValueError(f"no text is left to make tokens of ({said} texts); drop fewer")
        read = counts.pop("read")
        index = {
            "format": FORMAT, "vocab_size": len(self.encoder), "tokenizer": tokenizer_fingerprint(
                self.encoder.tokenizer),
            "tokens": sum(shard["tokens"] for shard in shards), "texts": sum(shard["texts"] for shard in shards),
            "read": {"bytes": sum(map(self.size, numbers)), "texts": int(read[0]), "characters": int(read[1])},
            "dropped": {name: {"texts": int(n), "characters": int(size)} for name, (n, size) in counts.items()},
            "shards": shards}
        write_json(self.out / TOKEN_INDEX, index)
        shutil.rmtree(self.out / PARTS_FOLDER, ignore_errors=True)
        return index

    def _shard(self, number: int, lengths: np.ndarray, repeats: np.ndarray) -> dict[str, Any]:
        """A part without what repeats others, as a shard; gives what the index says of it."""
        source, shard = self._path(number, ".npy"), self.out / f"{number:05}.npy"
        if not repeats.any():
            if source.is_file() or not shard.is_file():  # else it was given its new name before the last interruption
                second_name(source, shard)
        else:
            dtype, ends = smallest_id_type(len(self.encoder)), np.cumsum(lengths)
            ids = map_ids(source, dtype)
            changes = np.flatnonzero(np.diff(repeats.astype(np.int8))) + 1  # where runs of texts begin
            with growing_file(shard, dtype) as append:
                for first, last in zip([0, *changes.tolist()], [*changes.tolist(), len(repeats)]):
                    if not repeats[first]:
                        append(ids[ends[first] - lengths[first]:ends[last - 1]])
        with open(shard, "rb") as file:
            return {"name": shard.name, "tokens": int(lengths[~repeats].sum()), "texts": int((~repeats).sum()),
                    "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _drops(name: str, text: str, setting: Any) -> bool:
    drops = STEPS[name].drops
    return drops is not None and drops(text, setting)


# ---------------------------------------------------------------------------------------------------------------------
# Processes


def _in_processes(work: Preparation, waiting: deque[int], n: int, read: Callable[[Any, int], None],
                  made: Callable[[Any, int], None]) -> None:
    """Make the waiting parts in n processes. What they say goes to `read` and `made`; their first error is raised."""
    import multiprocessing.connection

    forks = sys.platform.startswith("linux") and threading.active_count() == 1  # another thread may hold a lock
    context: Any = multiprocessing.get_context("fork" if forks else "spawn")
    if forks:
        work.encoder  # once for all
    busy: dict[Any, int] = {}  # pipe -> the part that is being made at its other end
    processes: dict[Any, Any] = {}
    try:
        for _ in range(n):
            mine, theirs = context.Pipe()
            inherited = [*processes, mine] if forks else []
            process = context.Process(target=_serve, args=(work, theirs, inherited), daemon=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on, for BLAS's threads: they take care
                process.start()
            theirs.close()
            processes[mine] = process
            busy[mine] = waiting.popleft()
            mine.send(busy[mine])
        while busy:
            ready: list[Any] = multiprocessing.connection.wait(list(busy))
            for pipe in ready:
                try:
                    answer = pipe.recv()
                except (EOFError, OSError):
                    processes[pipe].join(5)
                    raise ChildProcessError(f"the process that made part {busy[pipe]} has ended (exit code "
                                            f"{processes[pipe].exitcode}); what was done is kept, and --resume goes "
                                            "on, with fewer --processes if memory ran out") from None
                if isinstance(answer, BaseException):
                    raise answer
                if answer is not None:
                    read(pipe, answer)
                    continue
                made(pipe, busy.pop(pipe))
                if waiting:
                    busy[pipe] = waiting.popleft()
                    pipe.send(busy[pipe])
    finally:
        for pipe, process in processes.items():
            pipe.close()
            process.kill()  # whatever it makes is not there before it is complete
            process.join()


def _serve(work: Preparation, pipe: Any, inherited: Sequence[Any]) -> None:
    """The life of a process: take the number of a part, say how far it is, say that it is made (None); until the pipe
    ends."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the parent decides what it means
    parent = os.getppid()

    told = 0

    def tell(n_bytes: int) -> None:
        nonlocal told
        if os.getppid() != parent:
            os._exit(1)  # it was killed
        if not 0 <= n_bytes - told < TELL_EVERY:
            told = n_bytes
            pipe.send(n_bytes)
    for other in inherited:  # the parent's ends: as long as anybody holds one, its pipe does not end
        other.close()
    try:
        while True:
            number = pipe.recv()
            try:
                work.make(number, tell)
                pipe.send(None)
            except (BrokenPipeError, EOFError):
                raise
            except BaseException as error:
                try:
                    pipe.send(error)
                except Exception:  # it does not survive the way through a pipe
                    pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))
    except (EOFError, OSError):
        pass

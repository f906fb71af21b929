"""What the checksums of a checkpoint cost: the time to write one with them, over the time without.

    python examples/benchmarks/checkpoint.py            # a model of 25 million parameters; half a minute
    python examples/benchmarks/checkpoint.py --n-embd 128

Both are written in turn, each as often first as second, and the median of the rounds' ratios is taken: the disk is the
larger part, and it varies by more than the sums cost, so the quartiles are told too. The sums are worked out by a
second thread while the first one waits for the disk; on a machine whose cores are all busy they cost what they take.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tinygpt.models import GPT, GPTConfig
from tinygpt.optim import AdamW, FlatParameters
from tinygpt.pretrained import safetensors_file
from tinygpt.training import write_checkpoint


def plain(file: BinaryIO, header: bytes, arrays: Callable[[], Iterable[np.ndarray]], n_bytes: int) -> None:
    """The same file with zeros in place of the checksums."""
    file.write(header)
    for array in arrays():
        file.write(array.data)
    file.flush()
    os.fsync(file.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(description="What the checksums of a checkpoint cost.")
    parser.add_argument("--n-embd", type=int, default=512, metavar="C", help="channels [512]")
    parser.add_argument("--rounds", type=int, default=25, metavar="N", help="checkpoints of each kind [25]")
    args = parser.parse_args()
    model = GPT(GPTConfig(vocab_size=1024, block_size=256, n_layer=8, n_head=4, n_embd=args.n_embd))
    optimizer = AdamW(FlatParameters(model))
    checked = safetensors_file.write_with_checksums
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.rounds):
            kinds = [("without", plain), ("with", checked)]
            for kind, write in kinds if number % 2 else kinds[::-1]:
                safetensors_file.write_with_checksums = write
                path = Path(folder) / "training_state.safetensors"
                path.unlink(missing_ok=True)
                start = time.perf_counter()
                write_checkpoint(path, model, optimizer, 1, {})
                seconds[kind].append(time.perf_counter() - start)
    medians = {kind: statistics.median(times) for kind, times in seconds.items()}
    ratios = [one / other for one, other in zip(seconds["with"], seconds["without"])]
    print(json.dumps({"megabytes": round(12 * model.n_parameters / 1e6, 1),
                      **{f"seconds_{kind}": round(value, 4) for kind, value in medians.items()},
                      "ratio": round(statistics.median(ratios), 3),
                      "quartiles": [round(float(one), 3) for one in np.quantile(ratios, (0.25, 0.75))],
                      "ratio_of_the_fastest": round(min(seconds["with"]) / min(seconds["without"]), 3)}))


if __name__ == "__main__":
    main()

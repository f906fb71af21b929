"""The training state in one file: everything that a run needs to go on as if it had never stopped.

`training_state.safetensors` holds the weights, the optimizer's state (AdamW's two moments, say), the best weights so
far where the run keeps them, and as JSON in its header the step and all that the run was told. Batches and dropout
masks are functions of (seed, step), so there is no generator's state to keep. The file takes its name when it is
complete and on disk; whenever a run is killed, the last complete one is there. The one before it stays beside it, as
`training_state.previous.safetensors`.

A state may have been damaged on its disk, or come from somebody else. Checksums over all of it are checked before
anything is taken from it, and everything else is checked like any file that nobody vouches for.

Prerequisites: pretrained/safetensors_file.py, optim/adamw.py. Next: run_state.py, then interrupt.py, lock.py,
metrics.py, progress.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import Array, to_device, to_numpy
from ..nn import Module
from ..optim.flat_optimizer import FlatOptimizer
from ..pretrained import SafetensorsFile, write_safetensors
from ..files import parse_object
from ..pretrained.safetensors_file import DTYPES

__all__ = ["PREVIOUS_FILE", "STATE_FILE", "Checkpoint", "read_checkpoint", "write_checkpoint"]

STATE_FILE, PREVIOUS_FILE = "training_state.safetensors", "training_state.previous.safetensors"
FORMAT = "tinygpt-training-state-2"
MOST_STEPS = 1 << 62


def write_checkpoint(path: str | Path, model: Module, optimizer: FlatOptimizer, step: int, run: dict[str, Any],
                     best: Array | None = None) -> None:
    """Write the state after `step` steps. A state of another step that is there stays as PREVIOUS_FILE beside it.

    Args:
        run: what else has to be known to go on, as JSON can hold it.
        best: the best trained weights so far, (N,), where the run keeps them.
    """
    path = Path(path)
    tensors = {f"weights.{name}": to_numpy(value) for name, value in model.state_dict().items()}
    tensors |= {f"optimizer.{name}": to_numpy(value) for name, value in optimizer.state_dict().items()}
    tensors |= {} if best is None else {"best": to_numpy(best)}
    write_safetensors(path, tensors, {"format": FORMAT, "step": str(step), "run": json.dumps(run, sort_keys=True)},
                      keep=path.with_name(PREVIOUS_FILE) if _step_in(path) not in (None, step) else None)


def _step_in(path: Path) -> int | None:
    """The step of the state that is there; None where there is none that can be read."""
    if not path.is_file():
        return None
    try:
        return read_checkpoint(path).step
    except (ValueError, OSError):
        return None


@dataclass(frozen=True)
class Checkpoint:
    """A training state on disk.

    Attributes:
        step: steps done. run: as given to `write_checkpoint`.
    """

    path: Path
    step: int
    run: dict[str, Any]
    tensors: SafetensorsFile

    def check(self) -> None:
        """Read all of it once.

        Raises:
            ValueError: a tensor is not as it was written.
        """
        for name in self.tensors:
            self.tensors[name]

    def weights(self) -> dict[str, np.ndarray]:
        """The weights by name."""
        return self._part("weights.")

    def best(self) -> np.ndarray | None:
        """The best trained weights, (N,), or None."""
        return self.tensors["best"] if "best" in self.tensors else None

    def restore(self, model: Module, optimizer: FlatOptimizer) -> None:
        """Put the weights and the optimizer's state back.

        Raises:
            ValueError: they belong to another model.
        """
        parts = {"weights.": model.state_dict(), "optimizer.": optimizer.state_dict()}
        for prefix, own in parts.items():
            self._check_names(prefix, own)
        model.load_state_dict(self.weights())
        optimizer.load_state_dict({name: to_device(value, model.device) if value.ndim else value
                                   for name, value in self._part("optimizer.").items()})

    def _check_names(self, prefix: str, own: dict[str, Any]) -> None:
        """What the state must hold, and nothing else: names first, for there may be any number of wrong ones."""
        theirs = {name.removeprefix(prefix) for name in self.tensors if name.startswith(prefix)}
        missing, surplus = sorted(own.keys() - theirs), sorted(theirs - own.keys())
        for names, what in ((missing, "lacks"), (surplus, "holds an unknown")):
            if names:
                more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
                raise ValueError(f"{self.path} is of another model or another optimizer: it {what} "
                                 f"{f'{prefix}{names[0]}'!r:.80}{more}")
        for name, mine in own.items():
            info, shape = self.tensors.tensors[prefix + name], tuple(mine.shape)
            if info.shape != shape or np.dtype(DTYPES[info.dtype]) != mine.dtype:
                raise ValueError(f"{self.path} is of another model: {prefix + name!r} has shape {info.shape} and type "
                                 f"{info.dtype}, expected {shape} and {mine.dtype}")

    def _part(self, prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): self.tensors[name] for name in self.tensors if name.startswith(prefix)}


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Open a training state, and check its header; `Checkpoint.check` checks the rest.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is truncated or damaged, or no training state.
    """
    tensors = SafetensorsFile(path)
    try:
        if tensors.metadata.get("format") != FORMAT:
            raise ValueError(f"its format is {tensors.metadata.get('format')!r:.80}, expected {FORMAT!r}")
        if tensors.tensors and not tensors.sums:
            raise ValueError("it has no checksums")
        step, run = _step(tensors.metadata["step"]), parse_object(tensors.metadata["run"].encode("utf-8"), "its run")
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is no training state of tinygpt: {_said(error)}") from None
    return Checkpoint(Path(path), step, run, tensors)


def _step(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < MOST_STEPS):
        raise ValueError(f"its step is {text!r:.80}, expected a number of steps")
    return int(text)


def _said(error: Exception) -> str:
    return f"its header has no {error}" if isinstance(error, KeyError) else f"{error!s:.300}"

"""The training state in one file: everything that a run needs to go on as if it had never stopped.

`training_state.safetensors` holds the weights, the optimizer's state (AdamW's two moments, say), the best weights so
far where the run keeps them, and as JSON in its header the step and all that the run was told. Batches and dropout
masks are functions of (seed, step), so there is no generator's state to keep. The file takes its name when it is
complete and on disk; whenever a run is killed, the last complete one is there.

Prerequisites: pretrained/safetensors_file.py, optim/adamw.py. Next: interrupt.py, lock.py, metrics.py, progress.py.
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

__all__ = ["STATE_FILE", "Checkpoint", "read_checkpoint", "write_checkpoint"]

STATE_FILE = "training_state.safetensors"
FORMAT = "tinygpt-training-state-1"


def write_checkpoint(path: str | Path, model: Module, optimizer: FlatOptimizer, step: int, run: dict[str, Any],
                     best: Array | None = None) -> None:
    """Write the state after `step` steps.

    Args:
        run: what else has to be known to go on, as JSON can hold it.
        best: the best trained weights so far, (N,), where the run keeps them.
    """
    tensors = {f"weights.{name}": to_numpy(value) for name, value in model.state_dict().items()}
    tensors |= {f"optimizer.{name}": to_numpy(value) for name, value in optimizer.state_dict().items()}
    tensors |= {} if best is None else {"best": to_numpy(best)}
    write_safetensors(path, tensors, {"format": FORMAT, "step": str(step), "run": json.dumps(run, sort_keys=True)})


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
        model.load_state_dict(self.weights())
        optimizer.load_state_dict({name: to_device(value, model.device) if value.ndim else value
                                   for name, value in self._part("optimizer.").items()})

    def _part(self, prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): self.tensors[name] for name in self.tensors if name.startswith(prefix)}


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Open a training state.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is truncated, or no training state.
    """
    tensors = SafetensorsFile(path)
    try:
        if tensors.metadata.get("format") != FORMAT:
            raise ValueError(f"its format is {tensors.metadata.get('format')!r}, expected {FORMAT!r}")
        step, run = int(tensors.metadata["step"]), json.loads(tensors.metadata["run"])
        if step < 0 or not isinstance(run, dict):
            raise ValueError("its step or its run is malformed")
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is no training state of tinygpt: {error}") from None
    return Checkpoint(Path(path), step, run, tensors)

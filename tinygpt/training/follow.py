"""The ranks that follow the first one, which alone reads the data, writes the folder and speaks.

They get from it what they need of the run: options, configuration, tokenizer, token files, weights. So a rank on
another machine needs no file of the run, and none can have another. On the first one's machine they read its token
files; on any other machine one of them keeps a copy for a moment.

Prerequisites: run_state.py, trainer.py, ranks/. Next: run.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files.atomic_file import write_text
from ..models import PretrainedModel, new_model
from ..ranks import Group, with_own_gpus
from ..tokenizers import load_tokenizer
from ..tokenizers.base import Tokenizer
from .objectives import Objective
from .loop_options import TrainingOptions
from .trainer import Best, Trainer

__all__ = ["PARTS", "RunPlan", "follow_run", "hand_over", "lend_files", "share_plan", "tokenizer_from"]

PARTS = ("train", "validation")  # the token files of a run
CHUNK = 1 << 24  # bytes of a file on their way


@dataclass(frozen=True)
class RunPlan:
    """What a rank has to know to train along, beside weights and moments.

    Attributes:
        options: of the run. loop: of its training loop, worked out.
        config, tokenizer, memory: as in RunState.
        progress: of the first rank's trainer, what `Trainer` has under the same names; best without weights.
    """

    options: Any
    loop: TrainingOptions
    config: dict[str, Any]
    tokenizer: dict[str, str]
    memory: dict[str, Any]
    progress: dict[str, Any]


def share_plan(group: Group, trainer: Trainer, options: Any, **rest: Any) -> None:
    """Tell the other ranks what they need to know; the first one calls this before `trainer.run`."""
    best = trainer.best
    progress = {name: getattr(trainer, name) for name in
                ("step", "validated", "validation", "before", "peaks", "waited")}
    progress["best"] = None if best is None else Best(best.step, best.score, best.figures, best.weights[:0])
    loop = dataclasses.replace(trainer.options, threads=trainer.threads)
    group.broadcast(RunPlan(options, loop, progress=progress, **rest))


def tokenizer_from(files: dict[str, str], folder: str | Path) -> Tokenizer:
    """The tokenizer whose files have these texts; `folder` is an empty one to write them into."""
    for name, text in files.items():
        write_text(Path(folder) / name, text)
    return load_tokenizer(folder)


def hand_over(model: PretrainedModel, objective: Objective, device: str | None) -> PretrainedModel:
    """Give an objective the model that it trains; gives it on its device."""
    objective.adapt(model)
    objective.use_config(model.config)
    model = model.to(device)
    objective.take(model)
    return model


def follow_run(group: Group) -> Trainer:
    """Train along with the first rank, which has called `share_plan`; gives the trainer, when it has finished.

    Raises:
        DivergedError, MemoryError: as on the first rank.
    """
    group = with_own_gpus(group, None)
    plan: RunPlan = group.broadcast(None)
    objective: Objective = plan.options.row.objective(plan.options)
    objective.memory = plan.memory
    with tempfile.TemporaryDirectory() as empty:
        objective.use(tokenizer_from(plan.tokenizer, empty))
    model = hand_over(new_model(plan.config), objective, group.device)
    with lend_files(group, None) as folder:
        source = objective.start(*(objective.read(folder / f"{part}.npy") for part in PARTS))
    trainer = Trainer(
        model, objective, source, plan.loop, ranks=group,
        validate=lambda keep_going: objective.validate(model, keep_going),
        save=_give_moments,
        score=objective.score if objective.keeps_best else None, patience=objective.patience)
    for name, value in plan.progress.items():
        setattr(trainer, name, value)
    trainer.run()
    return trainer


def _give_moments(trainer: Trainer) -> None:
    trainer.optimizer.state_dict()


@contextlib.contextmanager
def lend_files(group: Group, folder: Path | None) -> Iterator[Path]:
    """A folder with the files of the first rank's folder, which names it: the folder itself on its machine, elsewhere
    a copy, which goes when all have left this block. All ranks enter it together."""
    names = [] if folder is None or not folder.is_dir() else sorted(path.name for path in folder.iterdir())
    original, names = group.broadcast((folder and folder.resolve(), names))
    keepers = sorted(set(group.collect(group.local[0])) - {0})  # the first rank of each other machine
    own = Path(tempfile.mkdtemp(prefix="tinygpt-")) if group.rank in keepers else None
    try:
        for name in names if keepers else []:
            _send_file(group, keepers, original / name if group.rank == 0 else own and own / name)
        folders = group.collect(own)
        yield folders[group.local[0]] or original
        group.collect(None)
    finally:
        if own is not None:
            shutil.rmtree(own, ignore_errors=True)


def _send_file(group: Group, keepers: list[int], path: Path | None) -> None:
    """Copy the first rank's file to the keepers, piece by piece; the others have no path."""
    first, keeps, empty = group.rank == 0, group.rank in keepers, np.empty(0, np.uint8)
    size = group.broadcast(path.stat().st_size if path is not None and first else 0)
    with contextlib.ExitStack() as stack:
        file: Any = None if path is None else stack.enter_context(open(path, "rb" if first else "xb"))
        for start in range(0, size, CHUNK):
            piece = np.empty(min(CHUNK, size - start), np.uint8)
            if first:
                file.readinto(piece)
            group.swap([piece if first and p in keepers else empty for p in range(group.size)],
                       [piece if keeps and p == 0 else empty for p in range(group.size)])
            if keeps:
                file.write(piece)

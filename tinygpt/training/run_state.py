"""What a training state says of its run beside the arrays: read like any file from a stranger.

    command, options      what the run was told
    config, tokenizer     what it trains, and the files of its tokenizer
    numerics              NumPy and BLAS, as they were when it began
    tokens, memory        hashes of its token files, and what its objective remembers
    validated, validation, before, peaks, waited, best     how it went so far

Each of these is checked here for its type and its range, and the model's configuration against the arrays that are
there: before anything of the size that it names is made.

Prerequisites: checkpoint.py, run_options.py. Next: run.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from ..models.auto import model_class
from ..pretrained.names import sizes
from ..pretrained.tables import names_of
from .checkpoint import PREVIOUS_FILE, STATE_FILE, Checkpoint, read_checkpoint

__all__ = ["BestState", "RunState", "find_state"]

MOST_FIGURES = 100  # of a validation


@dataclass(frozen=True)
class BestState:
    """The best validation so far: its step, its score, its figures."""

    step: int
    score: tuple[float, ...]
    figures: dict[str, float]


@dataclass(frozen=True)
class RunState:
    """What a training state says of its run.

    Attributes:
        command: the subcommand that began it. options: as JSON has them.
        config: the model's, as its `to_dict` gives it. tokenizer: the text of each of its files, by name.
        numerics: what computed when the run began: NumPy, BLAS and its kernels; "" where nobody noted it.
        tokens: sha256 of each token file, None for one that there is not. memory: the objective's.
        validated, validation, before, peaks, waited: as in Trainer. best: of its Best, all but the weights.
    """

    command: str
    options: dict[str, Any]
    config: dict[str, Any]
    numerics: str
    tokenizer: dict[str, str]
    tokens: dict[str, str | None]
    memory: dict[str, Any]
    validated: int
    validation: dict[str, float]
    before: dict[str, float]
    peaks: tuple[float, ...]
    waited: int
    best: BestState | None

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self:
        """What a checkpoint says, checked.

        Raises:
            ValueError: something is missing, of a wrong type, or outside its range; it is named.
        """
        try:
            return cls(**_checked(checkpoint.run, checkpoint.step, "best" in checkpoint.tensors))
        except ValueError as error:
            raise ValueError(f"{checkpoint.path} is no training state of tinygpt: its run has {error!s:.300}") from None

    def check_model(self, checkpoint: Checkpoint) -> None:
        """Compare the model's configuration with the weights that are there, before a model of its size is made.

        Raises:
            ValueError: it is no configuration, or that of another model.
        """
        try:
            found = model_class(_text(self.config, "architecture"), "its configuration")
            fields = found.config_class(**self.config).to_dict()
            for name, shape in _shapes(fields):
                info = checkpoint.tensors.tensors.get(f"weights.{name}")
                if info is None or info.shape != shape:
                    raise ValueError(f"it calls for {name} of shape {shape}, and the state has "
                                     + ("none" if info is None else f"one of shape {info.shape}"))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"{checkpoint.path} does not fit the configuration of its model: {error!s:.300}") from None


def _shapes(fields: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of each parameter of a model, adapters aside."""
    symbols = sizes(fields)
    for entry in names_of(fields).of(fields):
        if entry.option is None or fields.get("bias", True):
            yield entry.ours, entry.shape(symbols)


def find_state(folder: str | Path, whole: bool = True) -> tuple[Checkpoint, RunState, str | None] | None:
    """The last checkpoint of a folder that is as it was written: the latest, or the one before it.

    Args:
        whole: read all of it. Otherwise its header alone, which has all but the arrays.

    Returns:
        The checkpoint, what it says of its run, and if it is not the latest, why; None where there is none.

    Raises:
        ValueError, OSError: what is wrong with the latest one, if there is no other.
    """
    first: Exception | None = None
    for name in (STATE_FILE, PREVIOUS_FILE):
        path = Path(folder) / name
        if not path.is_file():
            continue
        try:
            checkpoint = read_checkpoint(path)
            state = RunState.of(checkpoint)
            if whole:
                checkpoint.check()
        except (ValueError, OSError) as error:
            first = first or error
            continue
        why = None if name == STATE_FILE else str(first or f"{Path(folder) / STATE_FILE} is missing")
        return checkpoint, state, why
    if first is not None:
        raise first
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Fields of JSON


def _checked(run: Mapping[str, Any], step: int, has_best: bool) -> dict[str, Any]:
    """The fields of a RunState."""
    best = _best(run, step)
    if (best is None) == has_best:
        raise ValueError("best weights without their figures, or the other way round")
    peaks = _numbers(run, "peaks")
    if best is not None and len(best.score) != len(peaks):
        raise ValueError(f"{len(peaks)} peaks for scores of {len(best.score)} numbers")
    tokens = _object(run, "tokens")
    if set(tokens) != {"train", "validation"} or not all(
            value is None or (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value))
            for value in tokens.values()):
        raise ValueError("no hashes of two token files")
    return dict(
        command=_text(run, "command"), options=_object(run, "options"), config=_object(run, "config"),
        numerics=_text(run, "numerics") if "numerics" in run else "",
        tokenizer=_files(run), tokens=tokens, memory=_object(run, "memory"),
        validated=_integer(run, "validated", -1, step), validation=_figures(run, "validation"),
        before=_figures(run, "before"), peaks=peaks, waited=_integer(run, "waited", 0, step + 1), best=best)


def _best(run: Mapping[str, Any], step: int) -> BestState | None:
    if _member(run, "best") is None:
        return None
    best = _object(run, "best")
    return BestState(_integer(best, "step", 0, step), _numbers(best, "score"), _figures(best, "figures"))


def _member(run: Mapping[str, Any], name: str) -> Any:
    if name not in run:
        raise ValueError(f"no {name!r}")
    return run[name]


def _wrong(name: str, value: Any, expected: str) -> ValueError:
    return ValueError(f"{name} {value!r:.80}, expected {expected}")


def _text(run: Mapping[str, Any], name: str) -> str:
    value = _member(run, name)
    if not isinstance(value, str) or len(value) > 1000:
        raise _wrong(name, value, "a text")
    return value


def _object(run: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = _member(run, name)
    if not isinstance(value, dict):
        raise _wrong(name, value, "an object")
    return value


def _integer(run: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = _member(run, name)
    if type(value) is not int or not least <= value <= most:
        raise _wrong(name, value, f"an integer from {least} to {most}")
    return value


def _number(name: str, value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) < math.inf or abs(value) > 1e300:
        raise _wrong(name, value, "a finite number")
    return value


def _numbers(run: Mapping[str, Any], name: str) -> tuple[float, ...]:
    values = _member(run, name)
    if not isinstance(values, (list, tuple)) or len(values) > MOST_FIGURES:
        raise _wrong(name, values, "a list of numbers")
    return tuple(_number(name, value) for value in values)


def _figures(run: Mapping[str, Any], name: str) -> dict[str, float]:
    figures = _object(run, name)
    if len(figures) > MOST_FIGURES or not all(figure.isidentifier() for figure in figures):
        raise _wrong(name, figures, "figures by name")
    return {figure: _number(f"{name} {figure}", value) for figure, value in figures.items()}


def _files(run: Mapping[str, Any]) -> dict[str, str]:
    files = _object(run, "tokenizer")
    for name, text in files.items():
        if not re.fullmatch(r"\w[\w.-]{0,80}", name, re.ASCII) or not isinstance(text, str):
            raise _wrong("tokenizer", {name: text}, "texts by the names of files")
    return files

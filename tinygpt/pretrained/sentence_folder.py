"""modules.json: how a folder of sentence-transformers makes one vector of a text, after the model has read it.

The file lists modules in the order in which they are applied: a Transformer, which is the model itself, then Pooling,
Normalize or Dense, each with a folder of its own. Read here are their settings and weights; models/sentences.py applies
them. Only folders inside the model's own are followed.

Prerequisites: shards.py, gguf_file.py. Next: hub.py. Source: github.com/huggingface/sentence-transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..files import parse_json, read_bounded, read_json, shown
from .gguf_file import GGUFFile
from .shards import open_weights

__all__ = ["MODULES", "SENTENCE_FILES", "DenseStep", "Modules", "NormalizeStep", "PoolingStep", "Step",
           "module_folders", "read_modules"]

MODULES, WHOLE = "modules.json", "config_sentence_transformers.json"
MAX_BYTES = 1 << 20
MAX_MODULES = 100
POOLINGS = {  # theirs -> ours (models/pooling.py), in the order in which several are put side by side
    "cls": "first", "max": "max", "mean": "mean", "mean_sqrt_len_tokens": "mean_sqrt", "weightedmean": "weighted_mean",
    "lasttoken": "last"}
FLAGS = {  # how older files name them
    "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max", "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken"}
GGUF_POOLINGS = {1: "mean", 2: "first", 3: "last"}  # of a GGUF file's pooling_type
ACTIVATIONS = {  # a class of torch.nn -> our operation; None for none
    "Identity": None, "Tanh": "tanh", "ReLU": "relu", "GELU": "gelu", "SiLU": "silu", "Sigmoid": "sigmoid"}
SETTINGS = tuple(f"sentence_{kind}_config.json" for kind in (
    "bert", "roberta", "distilbert", "camembert", "xlm-roberta"))  # one file, under older names as well
SENTENCE_FILES = (WHOLE, *SETTINGS)  # what may stand beside modules.json
PLAIN_TASK = "feature-extraction"
LONGEST = 1 << 31  # tokens; what is more says that there is no limit


@dataclass(frozen=True)
class PoolingStep:
    """Tokens to one vector: names in `models.pooling.POOLINGS`, whose vectors stand side by side."""

    kinds: tuple[str, ...] = ("mean",)
    include_prompt: bool = True


@dataclass(frozen=True)
class NormalizeStep:
    """A vector to the same of length 1."""


@dataclass(frozen=True, eq=False)
class DenseStep:
    """A linear layer: weight (out, in), bias (out,) or None, and the name of an operation or None."""

    weight: np.ndarray
    bias: np.ndarray | None
    activation: str | None


Step = PoolingStep | NormalizeStep | DenseStep


@dataclass(frozen=True, eq=False)
class Modules:
    """How a text becomes a vector.

    Attributes:
        steps: what follows on the model, a PoolingStep first. A folder that says nothing has the mean of the tokens.
        base: the folder of the model, inside the whole one; "" for itself.
        max_length: tokens that are read of a text, its template included; None: what the model's context holds.
        lower_case: whether texts are written in lower case first.
        prompt: what stands before every text, unless another prompt is asked for.
        size: how many numbers of the vector are kept; None for all.
    """

    steps: tuple[Step, ...] = (PoolingStep(),)
    base: str = ""
    max_length: int | None = None
    lower_case: bool = False
    prompt: str = ""
    size: int | None = None


def _value(settings: dict[str, Any], where: Path, name: str, kind: type, default: Any) -> Any:
    """One setting of this type; null is the default."""
    value = settings.get(name)
    if value is None:
        return default
    if type(value) is not kind:
        raise ValueError(f"{where}: {name} must be of type {kind.__name__}, got {shown(value)}")
    return value


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path, MAX_BYTES) if path.is_file() else {}


def _pooling(folder: Path) -> PoolingStep:
    path = folder / "config.json"
    settings = read_json(path, MAX_BYTES)
    kinds = settings.get("pooling_mode")
    if kinds is None:
        kinds = [name for flag, name in FLAGS.items() if _value(settings, path, flag, bool, False)] or ["mean"]
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not isinstance(kinds, list) or not kinds or not all(isinstance(kind, str) and kind in POOLINGS
                                                           for kind in kinds):
        raise ValueError(f"{path}: pooling_mode must be one or several of {', '.join(POOLINGS)}, got {shown(kinds)}")
    return PoolingStep(tuple(POOLINGS[kind] for kind in kinds), _value(settings, path, "include_prompt", bool, True))


def _check_names(settings: dict[str, Any], path: Path) -> None:
    """Refuse a module that works on anything else than the vector of the whole text."""
    for name in ("module_input_name", "module_output_name"):
        if settings.get(name) not in (None, "sentence_embedding"):
            raise ValueError(f"{path}: {name}={shown(settings[name])} is not supported; supported: "
                             "'sentence_embedding'")


def _normalize(folder: Path) -> NormalizeStep:
    _check_names(_optional(folder / "config.json"), folder / "config.json")
    return NormalizeStep()


def _dense(folder: Path) -> DenseStep:
    path = folder / "config.json"
    settings = read_json(path, MAX_BYTES)
    _check_names(settings, path)
    if settings.get("use_residual") not in (None, False):
        raise ValueError(f"{path}: use_residual is not supported")
    name = _value(settings, path, "activation_function", str, "torch.nn.modules.activation.Tanh")
    kind = name.rpartition(".")[2]
    if not name.startswith("torch.nn.") or kind not in ACTIVATIONS:
        raise ValueError(f"{path}: activation_function={shown(name)} is not supported; supported: torch.nn's "
                         f"{', '.join(ACTIVATIONS)}")
    with_bias = _value(settings, path, "bias", bool, True)
    shape = tuple(_value(settings, path, size, int, 0) for size in ("out_features", "in_features"))
    weights = open_weights(folder)
    wanted = {"linear.weight": shape} | ({"linear.bias": shape[:1]} if with_bias else {})
    if weights.keys() != wanted.keys():
        raise ValueError(f"{folder}: its weights must be {', '.join(wanted)}, found {shown(sorted(weights))}")
    arrays = []
    for tensor, expected in wanted.items():
        info = weights[tensor].tensors[tensor]
        if info.shape != expected or not info.holds_weights:
            raise ValueError(f"{folder}: {tensor} must hold numbers of shape {expected}, as config.json says; it has "
                             f"{info.dtype} of shape {info.shape}")
        arrays.append(weights[tensor][tensor].astype(np.float32, copy=False))
    return DenseStep(arrays[0], arrays[1] if with_bias else None, ACTIVATIONS[kind])


# The last part of a module's `type` -> what reads its folder. The Transformer, which is the model, is read elsewhere.
KINDS: dict[str, Callable[[Path], Step]] = {"Pooling": _pooling, "Normalize": _normalize, "Dense": _dense}


def _inside(folder: Path, name: Any, where: str) -> Path:
    """A folder inside another by a plain relative path."""
    parts = name.split("/") if isinstance(name, str) else [".."]
    if name != "" and any(part in ("", ".", "..") or set(part) & set("\\:\0") for part in parts):
        raise ValueError(f"{where}: a module's path must lead to a folder inside the model's own, got {shown(name)}")
    return folder / name


def _listed(path: Path) -> list[tuple[str, Any]]:
    """(kind, path) of each module, in the order of application."""
    modules = parse_json(read_bounded(path, MAX_BYTES, "a list of modules"), str(path))
    if not isinstance(modules, list) or not 2 <= len(modules) <= MAX_MODULES or not all(
            isinstance(module, dict) and isinstance(module.get("type"), str) for module in modules):
        raise ValueError(f"{path} must list 2 to {MAX_MODULES} modules, each an object with a type and a path")
    found = []
    for number, module in enumerate(modules):
        name = module["type"]
        kind = name.rpartition(".")[2]
        if not name.startswith("sentence_transformers.") or kind not in ("Transformer", *KINDS):
            raise ValueError(f"{path}: the module {shown(name)} is not supported; supported: sentence_transformers' "
                             f"Transformer, {', '.join(KINDS)}")
        if (number == 0) != (kind == "Transformer") or (number == 1) != (kind == "Pooling"):
            raise ValueError(f"{path}: the modules must be a Transformer, then Pooling, then Normalize or Dense; "
                             f"module {number} is a {kind}")
        found.append((kind, module.get("path", "")))
    return found


def _of_gguf(path: Path) -> Modules:
    settings = GGUFFile(path).settings
    kind = settings.get(f"{settings.get('general.architecture')}.pooling_type")
    return Modules((PoolingStep((GGUF_POOLINGS.get(kind, "mean"),)),) if isinstance(kind, int) else (PoolingStep(),))


def module_folders(folder: str | Path) -> list[str]:
    """The folders inside a model's own that its modules.json names; none where it names something that is not read."""
    path = Path(folder) / MODULES
    try:
        names = [name for _, name in _listed(path)] if path.is_file() else []
        return [name for name in names if _inside(path.parent, name, str(path)) != path.parent]
    except ValueError:
        return []


def read_modules(folder: str | Path) -> Modules:
    """What a folder says of making vectors of texts; of one without modules.json, the mean of the tokens.

    Args:
        folder: a model's folder, or a GGUF file.

    Raises:
        FileNotFoundError: a module's folder lacks its files.
        ValueError: a module or a setting that is not supported, by its name; a path that leaves the folder; a damaged
            file.
    """
    folder = Path(folder)
    if folder.is_file():
        return _of_gguf(folder)
    path = folder / MODULES
    if not path.is_file():
        return Modules()
    (_, base), *others = _listed(path)
    inner = _inside(folder, base, str(path))
    steps = tuple(KINDS[kind](_inside(folder, name, str(path))) for kind, name in others)
    return replace(_settings(folder, inner), steps=steps, base=base)


def _settings(folder: Path, inner: Path) -> Modules:
    """What the files beside modules.json say; `inner` is the folder of the model itself."""
    where = next((inner / name for name in SETTINGS if (inner / name).is_file()), inner / SETTINGS[0])
    settings, tokenizer = _optional(where), inner / "tokenizer_config.json"
    if (task := settings.get("transformer_task", PLAIN_TASK)) != PLAIN_TASK:
        raise ValueError(f"{where}: transformer_task={shown(task)} is not supported; supported: {PLAIN_TASK!r}")
    longest = settings.get("max_seq_length")
    if longest is None:
        longest, where_longest = _optional(tokenizer).get("model_max_length"), tokenizer
        longest = None if isinstance(longest, (int, float)) and longest >= LONGEST else longest
    else:
        where_longest = where
    if longest is not None and (type(longest) is not int or longest < 1):
        raise ValueError(f"{where_longest}: the longest text must be a whole number of tokens of at least 1, got "
                         f"{shown(longest)}")
    path = folder / WHOLE
    whole = _optional(path)
    prompts, name = _value(whole, path, "prompts", dict, {}), _value(whole, path, "default_prompt_name", str, None)
    if name is not None and not isinstance(prompts.get(name), str):
        raise ValueError(f"{path}: default_prompt_name={shown(name)} names none of the prompts {shown(list(prompts))}")
    size = _value(whole, path, "truncate_dim", int, None)
    if size is not None and size < 1:
        raise ValueError(f"{path}: truncate_dim must be at least 1, got {shown(size)}")
    return Modules(max_length=longest, lower_case=_value(settings, where, "do_lower_case", bool, False),
                   prompt="" if name is None else prompts[name], size=size)

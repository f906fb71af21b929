"""Adapters on disk: what LoRA trained, in one small file that names the model it belongs to.

`adapter.safetensors` holds the trained parameters alone, by our names: the thin matrices and, for a new task, its head.
Its header says which folder the rest is in, and the SHA-256 of that rest (names, shapes, numbers), so it never lands on
another model. `load_model` of such a folder gives the whole: the base with the adapters worked into its weights.

Prerequisites: nn/lora.py, base.py. Next: auto.py.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..backend import to_device, to_numpy
from ..files import parse_object, printable, shown
from ..nn import Parameter
from ..nn.lora import TARGETS, add_lora
from ..pretrained import SafetensorsFile, write_safetensors
from ..pretrained.tables import shapes_of
from .base import PretrainedModel

__all__ = ["ADAPTER", "AdapterFile", "LoRA", "fingerprint", "read_adapter", "save_adapter"]

ADAPTER = "adapter.safetensors"
FORMAT = "tinygpt-adapter-1"
LARGEST = 1e6  # of alpha: 2 r is usual
MAY_DIFFER = {"head", "n_labels", "id2label", "dropout",  # from the base's configuration
              "eos_token_id", "pad_token_id", "vocab_size"}


@dataclass(frozen=True)
class LoRA:
    """How a model is adapted; see `nn.lora.add_lora`."""

    rank: int
    alpha: float
    targets: tuple[str, ...]

    def add_to(self, model: PretrainedModel, also: tuple[str, ...] = ()) -> None:
        """Freeze the model and give it adapters; parameters whose names begin with one of `also` stay trainable.

        Raises:
            ValueError: an adapter on a token table that is the output projection too; and as `add_lora`.
        """
        config: Any = model.config
        classifier = getattr(config, "head", None) == "classification"
        if "embedding" in self.targets and config.tie_word_embeddings and not classifier:
            raise ValueError("LoRA on the embedding: the output projection of this model is the same table, and would "
                             "not follow the adapter; choose other targets")
        add_lora(model, self.rank, self.alpha, self.targets)
        for name, parameter in model.named_parameters():
            if name.startswith(also):
                parameter.requires_grad = True


def fingerprint(parameters: Iterable[tuple[str, Parameter]]) -> str:
    """SHA-256 over names, shapes and values of parameters, whatever their order."""
    found = hashlib.sha256()
    for name, parameter in sorted(parameters):
        found.update(f"{name} {parameter.shape} ".encode())
        found.update(to_numpy(parameter.data).astype("<f4", order="C").tobytes())
    return found.hexdigest()


def save_adapter(folder: str | Path, model: PretrainedModel, lora: LoRA, base: str | Path) -> None:
    """Write what of a model is trainable.

    Args:
        folder: made if it is not there.
        model: with adapters, as `lora` added them.
        base: the folder of the model that training began with.
    """
    parameters = list(model.named_parameters())
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_safetensors(
        Path(folder) / ADAPTER, {name: to_numpy(p.data) for name, p in parameters if p.requires_grad},
        {"format": FORMAT, "base": os.path.abspath(base), "base_relative": _relative(base, folder),
         "base_sha256": fingerprint((name, p) for name, p in parameters if not p.requires_grad),
         "config": json.dumps(model.config.to_dict(), sort_keys=True),
         "lora": json.dumps({"rank": lora.rank, "alpha": lora.alpha, "targets": lora.targets})})


def _relative(base: str | Path, folder: str | Path) -> str:
    try:
        return os.path.relpath(base, folder)
    except ValueError:  # another drive
        return ""


@dataclass(frozen=True)
class AdapterFile:
    """An adapter on disk.

    Attributes:
        path: the file. base: the folder of the model that it belongs to, as far as it is still there.
        lora: what it adapts. config: the whole model's configuration, as `to_dict` gives it.
        base_sha256: the fingerprint of what is not in the file.
    """

    path: Path
    base: Path
    lora: LoRA
    config: dict[str, Any]
    base_sha256: str
    tensors: SafetensorsFile

    def apply(self, base: PretrainedModel) -> PretrainedModel:
        """The model that was trained: `base`'s weights, and the adapters beside them, not merged.

        Raises:
            ValueError: the adapter is for another model, or damaged.
        """
        own = json.loads(json.dumps(base.config.to_dict()))
        other = {name for name in own.keys() | self.config.keys() if own.get(name) != self.config.get(name)}
        embedding = self.tensors.tensors.get("token_embedding.weight")
        if not other <= MAY_DIFFER or ("vocab_size" in other and (
                embedding is None or embedding.shape[:1] != (self.config["vocab_size"],))):
            name = min(other - MAY_DIFFER or other)
            raise ValueError(f"{self.path} is an adapter for another model: its {name} is "
                             f"{shown(self.config.get(name))}, and that of {self.base} {shown(own.get(name))}")
        self._check_sizes(base)
        model = base.with_options(**self.config).to(base.device)
        self.lora.add_to(model, tuple(self.tensors))
        parameters = dict(model.named_parameters())
        if surplus := self.tensors.keys() - parameters.keys():
            raise ValueError(f"{self.path}: {shown(min(surplus))} is no part of the model that it describes")
        if fingerprint((name, p) for name, p in parameters.items() if name not in self.tensors) != self.base_sha256:
            raise ValueError(f"{self.path} is an adapter for another model than the one in {self.base}: the sizes are "
                             "the same and the weights are not; name the folder that it was trained from")
        for name, value in self.tensors.items():
            if value.shape != parameters[name].shape:
                raise ValueError(f"{self.path}: {shown(name)} has the shape {value.shape}, expected "
                                 f"{parameters[name].shape}")
            parameters[name].data = to_device(value.astype("f4"), model.device)
        if missing := [name for name, p in parameters.items() if p.requires_grad and name not in self.tensors]:
            raise ValueError(f"{self.path}: {missing[0]!r} is missing")
        return model.eval()

    def _check_sizes(self, base: PretrainedModel) -> None:
        """Refuse parameters that are neither the base's nor in the file, before a model of their size is made."""
        try:
            config: Any = type(base).config_class(**self.config)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.path}: its configuration is malformed: {error}") from None
        own = dict(shapes_of(base.config.to_dict()))
        for name, shape in shapes_of(config.to_dict()):
            info = self.tensors.tensors.get(name)
            if own.get(name) != shape and (info is None or info.shape != shape):
                found = "is missing" if info is None else f"has the shape {info.shape}"
                raise ValueError(f"{self.path} describes a model with {name!r} of the shape {shape}, which {found}")


def read_adapter(folder: str | Path, base: str | Path | None = None) -> AdapterFile:
    """The adapter in a folder; `base` is the folder of its model, by default the one that it names.

    Raises:
        FileNotFoundError: it is not there, or the folder of its base is not.
        ValueError: it is damaged, or something else.
    """
    path = Path(folder) / ADAPTER
    tensors = SafetensorsFile(path)
    try:
        meta = tensors.metadata
        if meta.get("format") != FORMAT:
            raise ValueError(f"its format is {shown(meta.get('format'))}, expected {FORMAT!r}")
        config = parse_object(meta["config"], "its configuration")
        if not isinstance(config.get("vocab_size"), int):
            raise ValueError("its configuration is malformed")
        adapters = _lora(parse_object(meta["lora"], "what it says of its adapters"))
        bases = [Path(base)] if base is not None else [Path(meta["base"]), Path(folder) / meta["base_relative"]]
        sha256 = meta["base_sha256"]
    except KeyError as error:
        raise ValueError(f"{path} is no adapter of tinygpt: it says no {error}") from None
    except ValueError as error:
        raise ValueError(f"{path} is no adapter of tinygpt: {error}") from None
    found = next((path for path in bases if _is_there(path)), None)
    if found is None:
        raise FileNotFoundError(f"{path} adapts the model in {printable(str(bases[0]))[:1000]}, which is no longer "
                                "there; put it back, or train with --merge to have a folder that needs no other")
    return AdapterFile(path, found, adapters, config, sha256, tensors)


def _lora(said: dict[str, Any]) -> LoRA:
    """What the header of an adapter says, checked."""
    rank, alpha, targets = said["rank"], said["alpha"], said["targets"]
    if type(rank) is not int or type(alpha) not in (int, float) or abs(alpha) > LARGEST \
            or not isinstance(targets, list) or len(targets) > len(TARGETS) \
            or not all(isinstance(name, str) for name in targets):
        raise ValueError(f"rank, alpha and targets must be an integer, a number and names, got {shown(said)}")
    return LoRA(rank, float(alpha), tuple(targets))


def _is_there(path: Path) -> bool:
    try:
        return path.is_dir() or path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a null character
        return False

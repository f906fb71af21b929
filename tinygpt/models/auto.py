"""Which class a folder needs: `load_model` reads its config.json and picks it.

Prerequisites: gpt.py, bert.py, encoder_decoder.py, adapter.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..nn.lora import merge_lora
from ..pretrained import read_folder, resolve_folder
from .adapter import ADAPTER, read_adapter
from .base import PretrainedModel
from .bag import BagClassifier
from .bert import BERT
from .decoder import GPT
from .encoder_decoder import EncoderDecoder
from .recurrent import RecurrentLM
from .text_cnn import TextCNN
from .wide import WideClassifier

__all__ = ["load_adapted", "load_model", "model_class", "new_model"]

CLASSES: tuple[type[PretrainedModel], ...] = (
    GPT, RecurrentLM, BERT, BagClassifier, TextCNN, WideClassifier, EncoderDecoder)
DEPTH = 8  # adapters that stand upon one another


def model_class(architecture: str, where: str = "the configuration") -> type[PretrainedModel]:
    """The class for an architecture.

    Raises:
        ValueError: there is none.
    """
    for found in CLASSES:
        if architecture in found.config_class.ARCHITECTURES:
            return found
    raise ValueError(f"{where} holds a {architecture!r} model, which no class here is for")


def new_model(fields: dict[str, Any]) -> PretrainedModel:
    """A model with random weights, of the class and the sizes that a configuration's `to_dict` tells."""
    found = model_class(fields["architecture"])
    return found(found.config_class(**fields))  # type: ignore[call-arg]


def load_adapted(folder: str | Path, base: str | Path | None = None, *, device: str | None = None,
                 merge: bool = True) -> PretrainedModel:
    """The model of a folder that `tinygpt finetune --lora` wrote: its base, with the adapters.

    Args:
        folder: holds adapter.safetensors.
        base: the folder of the model that it adapts; by default the one that it names.
        merge: work the adapters into the weights: the same results, faster, and a model like any other.

    Raises:
        FileNotFoundError: the adapter or its base is not there.
        ValueError: the adapter is for another model, or damaged.
    """
    return _adapted(folder, base, device, merge, DEPTH)


def _adapted(folder: str | Path, base: str | Path | None, device: str | None, merge: bool,
             depth: int) -> PretrainedModel:
    if not depth:
        raise ValueError(f"{folder}: adapters upon adapters, more than {DEPTH} deep; do they name one another?")
    file = read_adapter(folder, base)
    model = file.apply(_load(file.base, device, depth - 1))
    if merge:
        merge_lora(model)
    return model


def load_model(folder: str | Path, *, device: str | None = None, dtype: Any = None) -> PretrainedModel:
    """The model of a Hugging Face folder, with the head that its config.json names, ready to be used (`eval`).

    A folder with adapter.safetensors and no model.safetensors gives its base with the adapters merged.

    Args, Raises: as `PretrainedModel.from_pretrained`.
    """
    model = _load(folder, device, DEPTH)
    return model if dtype is None else model.to(dtype=dtype)


def _load(folder: str | Path, device: str | None, depth: int) -> PretrainedModel:
    path = resolve_folder(folder)
    if (Path(path) / ADAPTER).is_file() and not (Path(path) / "config.json").is_file():
        return _adapted(path, None, device, True, depth)
    fields, state = read_folder(path)
    found = model_class(fields["architecture"], str(folder))
    return found.from_fields(fields, state, device=device, where=str(folder))

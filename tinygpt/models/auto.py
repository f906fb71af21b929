"""Which class a folder needs: `load_model` reads its config.json and picks it.

Read before: gpt.py, bert.py, encoder_decoder.py.
"""

from __future__ import annotations

from pathlib import Path

from ..pretrained import read_folder, resolve_folder
from .base import PretrainedModel
from .bert import BERT
from .encoder_decoder import EncoderDecoder
from .gpt import GPT

__all__ = ["load_model"]

CLASSES: tuple[type[PretrainedModel], ...] = (GPT, BERT, EncoderDecoder)


def load_model(folder: str | Path, *, device: str | None = None) -> PretrainedModel:
    """The model of a Hugging Face folder, with the head that its config.json names, ready to be used (`eval`).

    Args, Raises: as `PretrainedModel.from_pretrained`.
    """
    fields, state = read_folder(resolve_folder(folder))
    for model_class in CLASSES:
        if fields["architecture"] in model_class.config_class.ARCHITECTURES:
            return model_class.from_fields(fields, state, device=device, where=str(folder))
    raise ValueError(f"{folder} holds a {fields['architecture']!r} model, which no class here is for")

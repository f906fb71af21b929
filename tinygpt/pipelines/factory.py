"""`pipeline(task, model)`: the right kind of pipeline for a task, with a folder's model and tokenizer.

Prerequisites: the other files of pipelines/. Next: cli/.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from ..models import PretrainedModel, load_model
from ..pretrained import resolve_folder
from ..tokenizers import Tokenizer, load_tokenizer
from .base import Pipeline
from .feature_extraction import FeatureExtractionPipeline
from .fill_mask import FillMaskPipeline
from .sentence_similarity import SentenceSimilarityPipeline
from .text_classification import TextClassificationPipeline
from .text_generation import TextGenerationPipeline
from .translation import SummarizationPipeline, Text2TextPipeline, TranslationPipeline
from .zero_shot import ZeroShotPipeline

__all__ = ["PIPELINES", "describe", "load_folder", "pipeline", "tasks_of"]

PIPELINES: dict[str, type[Pipeline]] = {kind.task: kind for kind in (
    TextGenerationPipeline, TextClassificationPipeline, FillMaskPipeline, TranslationPipeline,
    FeatureExtractionPipeline, SentenceSimilarityPipeline, SummarizationPipeline, Text2TextPipeline,
    ZeroShotPipeline)}
OTHER_NAMES = {"sentiment-analysis": "text-classification"}
TRANSLATION = re.compile("translation_[a-z]+_to_[a-z]+")  # "translation_en_to_es": which it is, the model knows

HEADS = {"lm": "that predicts the next token", "masked_lm": "that fills in hidden words",
         "classification": "with a classification head", None: "without a head"}


def _kind(task: str) -> type[Pipeline]:
    name = "translation" if isinstance(task, str) and TRANSLATION.fullmatch(task) else OTHER_NAMES.get(task, task)
    if name not in PIPELINES:
        known = [*PIPELINES, *OTHER_NAMES]
        near = difflib.get_close_matches(str(task), known, n=1)
        raise ValueError(f"unknown task {task!r}; {f'did you mean {near[0]!r}? The' if near else 'the'} tasks are "
                         f"{', '.join(known)}")
    return PIPELINES[name]


def describe(model: PretrainedModel) -> str:
    """What a model is, in words."""
    what = "that translates" if type(model).__name__ == "EncoderDecoder" else HEADS[getattr(model.config, "head", None)]
    return f"{'an' if type(model).__name__[0] in 'AEIOU' else 'a'} {type(model).__name__} {what}"


def tasks_of(model: PretrainedModel) -> list[str]:
    """The tasks that a model serves."""
    return [task for task, kind in PIPELINES.items() if kind.serves(model)]


def load_folder(folder: str | Path, *, tokenizer: Tokenizer | str | Path | None = None,
                device: str | None = None, dtype: Any = None) -> tuple[PretrainedModel, Tokenizer]:
    """The model of a folder and the tokenizer beside it, or another one.

    Raises:
        FileNotFoundError: no such folder, or no tokenizer in it.
        ValueError: a model or a tokenizer of a kind that is not read, or two that do not belong together.
    """
    path = resolve_folder(folder)
    model = load_model(path, device=device, dtype=dtype)
    return model, _tokenizer(path if tokenizer is None else tokenizer, model)


def _tokenizer(given: Any, model: PretrainedModel) -> Tokenizer:
    """The tokenizer itself or that of a folder, if it is the model's."""
    tokenizer = load_tokenizer(given) if isinstance(given, (str, Path)) else given
    if not isinstance(tokenizer, Tokenizer):
        raise TypeError(f"the tokenizer is a {type(tokenizer).__module__}.{type(tokenizer).__name__}, expected a "
                        "folder, or what tinygpt.load_tokenizer gives (byte-level BPE, or characters)")
    where = f" in {given}" if isinstance(given, (str, Path)) else ""
    model.check_tokenizer(len(tokenizer), f"the tokenizer{where}")
    return tokenizer


def _device(device: str | int | None) -> str | None:
    """transformers counts devices: −1 is the CPU, 0 the first GPU."""
    if isinstance(device, int):
        return "cpu" if device < 0 else f"cuda:{device}"
    return device


def pipeline(task: str | None = None, model: str | Path | PretrainedModel | None = None,
             tokenizer: str | Path | Tokenizer | None = None, *, device: str | int | None = None,
             dtype: Any = None, **settings: Any) -> Pipeline:
    """A model ready for a task, as in transformers: call it on a text or on a list of texts.

    Args:
        task: "text-generation", "text-classification" (or "sentiment-analysis"), "fill-mask", "translation" (or
            "translation_en_to_es"), "feature-extraction", "sentence-similarity", "summarization",
            "text2text-generation", "zero-shot-classification". None is what the model was trained for.
        model: a folder that `save_pretrained` or the command line wrote; with the `hub` extra the name of a model on
            the Hugging Face Hub; or a model.
        tokenizer: a folder or a tokenizer; by default the one in the model's folder.
        device: "cpu", "cuda", "cuda:N", or as numbers -1, 0, N; by default the default device.
        dtype: what the weights are converted to, "bfloat16" say, on a GPU; by default they stay as they are.
        settings: what the calls shall do unless they say otherwise; each kind of pipeline has its own.

    Raises:
        ValueError: an unknown task, no model, or a model that does not serve the task.
        TypeError: an unknown setting, or a model or tokenizer that is neither ours nor a folder.
        FileNotFoundError: no such folder.

    Example: `pipeline("sentiment-analysis", model="runs/sentiment")("El servicio fue excelente.")`
    """
    kind = None if task is None else _kind(task)
    if model is None:
        if kind is None:
            raise ValueError(f"a pipeline needs a task and a model; the tasks are {', '.join(PIPELINES)}")
        folder = kind.recipe.rpartition("--out ")[2]
        raise ValueError(f"the pipeline {task!r} needs a model, and none comes with this package. Train one: "
                         f"{kind.recipe}   Then: pipeline({task!r}, model={folder!r})")
    if isinstance(model, (str, Path)):
        name = str(model)
        if kind is not None and task is not None:
            settings = kind.settings_of(resolve_folder(model), task) | settings
        model, tokenizer = load_folder(model, tokenizer=tokenizer, device=_device(device), dtype=dtype)
    elif isinstance(model, PretrainedModel):
        name = "the model"
        if tokenizer is None:
            raise ValueError(f"a model given as an object needs its tokenizer: pipeline({task!r}, model, tokenizer)")
        tokenizer = _tokenizer(tokenizer, model)
        if device is not None or dtype is not None:
            model.to(_device(device), dtype=dtype)
    else:
        raise TypeError(f"the model is a {type(model).__module__}.{type(model).__name__}, expected a folder, or a "
                        "model of this package (tinygpt.load_model gives one)")
    if kind is None:
        kind = PIPELINES[tasks_of(model)[0]]
    if not kind.serves(model):
        raise ValueError(f"{name} is {describe(model)}, and {task} needs {kind.needs}; it serves "
                         f"{', '.join(tasks_of(model))}")
    return kind(model, tokenizer, **settings)

"""What every pipeline does: one text or many in, batches through the model, results as transformers shapes them.

A pipeline is a model with its tokenizer and the settings that it was made with; each call may override these. A kind of
pipeline defines which models it is for, its settings, and `run`, from a list of inputs to as many results.

Prerequisites: models/base.py, data/texts.py. Next: text_classification.py.
"""

from __future__ import annotations

import dataclasses
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from ..autograd import no_grad
from ..data import encode_within
from ..models import PretrainedModel
from ..tokenizers import Tokenizer
from ..tokenizers.special import AllowedSpecial

__all__ = ["Pipeline", "Settings", "check_count", "check_tokenizer_kwargs", "prefer_new_tokens"]


def check_count(name: str, value: Any, none: str = "", least: int = 1) -> None:
    """ValueError unless a setting is a whole number of at least `least`; or None, if `none` says what that is."""
    if (value is not None or not none) and (type(value) is not int or value < least):
        or_none = f", or None for {none}" if none else ""
        raise ValueError(f"{name} must be a whole number of at least {least}{or_none}, got {value!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What every pipeline can be told; a kind of pipeline adds its own.

    Attributes:
        batch_size: how many inputs the model reads at once. It changes the speed, and results by rounding only.
        padding: taken as transformers takes it, and without effect: batches are filled up as they need, and results
            are those of each text's own tokens.
    """

    batch_size: int = 32
    padding: bool | str | None = None

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size)
        check_padding(self.padding)


PADDING = (True, False, None, "longest", "max_length", "do_not_pad")


def check_padding(padding: Any) -> None:
    """Raise ValueError if it is nothing that transformers takes."""
    if not any(padding is known or padding == known and isinstance(padding, str) for known in PADDING):
        raise ValueError(f"padding must be one of {', '.join(map(repr, PADDING))}, got {padding!r}")


def prefer_new_tokens(max_new_tokens: int | None, max_length: int | None) -> None:
    """Warn where both are given: as in transformers, max_new_tokens counts."""
    if max_new_tokens is not None and max_length is not None:
        warnings.warn(f"both max_new_tokens={max_new_tokens} and max_length={max_length} are given: max_new_tokens "
                      "counts", stacklevel=2)


def check_tokenizer_kwargs(name: str, given: Mapping[str, Any] | None) -> None:
    """Raise ValueError if the dictionary that a pipeline passes to its tokenizer holds what it cannot use."""
    if surplus := set(given or {}) - {"truncation", "max_length", "padding"}:
        raise ValueError(f"{name} may hold truncation, max_length and padding, got {min(surplus)!r}")
    check_padding((given or {}).get("padding"))


class Pipeline(ABC):
    """A model with its tokenizer, to be called on text.

    Args:
        model: one that the pipeline `serves`; it is put into `eval`.
        tokenizer: the model's.
        settings: defaults of this pipeline's calls; see the Settings of its kind.

    Attributes:
        model, tokenizer: as given.
        settings: the defaults.

    Raises:
        TypeError: an unknown setting.
        ValueError: a setting out of range.
    """

    task: ClassVar[str]
    needs: ClassVar[str]  # which models it is for, in words
    recipe: ClassVar[str]  # the command that trains one
    takes: ClassVar[tuple[str, str]] = "a text", "texts"  # what an input is, one and many
    settings_class: ClassVar[type[Settings]] = Settings

    def __init__(self, model: PretrainedModel, tokenizer: Tokenizer, **settings: Any) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.settings = self._with(self.settings_class(), settings)

    @classmethod
    @abstractmethod
    def serves(cls, model: PretrainedModel) -> bool:
        """Whether this is a pipeline for that model."""

    @abstractmethod
    def run(self, inputs: list[Any], settings: Any) -> list[Any]:
        """One result for each input, in order."""

    @classmethod
    def settings_of(cls, folder: Path, task: str) -> dict[str, Any]:
        """Settings that the folder of a model brings along for a task, by the name that it was asked for."""
        return {}

    def is_input(self, value: Any) -> bool:
        """Whether a value is one input, and no list of them."""
        return isinstance(value, str)

    def _with(self, settings: Settings, given: dict[str, Any]) -> Settings:
        """The settings with those given in place of theirs."""
        known = [field.name for field in dataclasses.fields(settings)]
        if unknown := [name for name in given if name not in known]:
            raise TypeError(f"the pipeline {self.task!r} has no setting {unknown[0]!r}; it has {', '.join(known)}")
        return dataclasses.replace(settings, **given)

    def __call__(self, inputs: Any, **settings: Any) -> Any:
        """Run one input, a list of them, or an iterator, whose results come as an iterator, a batch at a time.

        Args:
            inputs: what the pipeline takes: as a rule a text.
            settings: those that shall differ from the defaults in this call.

        Raises:
            TypeError: something else than inputs, or an unknown setting.
            ValueError: a setting out of range, or a text that nothing can be done with.
        """
        chosen = self._with(self.settings, settings)
        if self.is_input(inputs):
            return self.shape_one(self._run([inputs], chosen)[0], inputs, settings)
        if isinstance(inputs, Iterator):
            return self._stream(inputs, chosen)
        if isinstance(inputs, (list, tuple)):
            return self.shape_many(self._run(list(inputs), chosen))
        raise TypeError(f"the pipeline {self.task!r} takes {self.takes[0]} or a list of {self.takes[1]}, "
                        f"got {type(inputs).__name__}")

    def encode(self, texts: list[str], *, truncation: bool | None, max_length: int | None = None,
               padding: bool | str | None = None, allowed_special: AllowedSpecial = ()) -> list[list[int]]:
        """The ids of texts, as `encode_within` gives them: within the model's context, or `max_length` if that is less.

        `padding` is without effect, as `Settings` says.
        """
        check_count("max_length", max_length, "the model's context")
        block_size: int = self.model.config.block_size
        return encode_within(self.tokenizer, texts, min(max_length or block_size, block_size), truncation=truncation,
                             allowed_special=allowed_special)

    def shape_one(self, result: Any, value: Any, given: dict[str, Any]) -> Any:
        """What a call with a single input returns."""
        return result

    def shape_many(self, results: list[Any]) -> list[Any]:
        """What a call with a list of inputs returns."""
        return results

    def _run(self, inputs: list[Any], settings: Settings) -> list[Any]:
        for place, value in enumerate(inputs):
            if not self.is_input(value):
                raise TypeError(f"the pipeline {self.task!r} takes {self.takes[1]}; item {place} of the list is "
                                f"{type(value).__name__}: {str(value)[:40]!r}")
        with no_grad():
            return self.run(inputs, settings)

    def _stream(self, inputs: Iterator[Any], settings: Settings) -> Iterator[Any]:
        while batch := list(islice(inputs, settings.batch_size)):
            yield from self._run(batch, settings)

"""The base of the configurations: resolving defaults, checking options, and answering from the table of layouts.

Adds `Configuration`, the class without fields of its own that GPTConfig, BERTConfig and EncoderDecoderConfig extend.
Prerequisites: layout.py. Next: config.py.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

from ..files import shown
from ..ops import ACTIVATIONS
from ..pretrained.config_json import PROBLEM_TYPES
from .layout import LAYOUTS, Layout

__all__ = ["Configuration"]

MAX_TABLE = 1 << 27  # a context of a million tokens with heads of 128 channels
MAX_LABELS = 1 << 20  # of labels that no file names


class Configuration:
    """What the three configurations share: resolving, checking, and the architecture's fixed properties."""

    ARCHITECTURES: ClassVar[tuple[str, ...]]
    HEADS: ClassVar[tuple[str | None, ...]]

    PARTS: ClassVar[tuple[str, ...]] = ()   # fields that choose a part other than the architecture's own

    architecture: str
    vocab_size: int
    n_embd: int

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)       # the dataclass is frozen for everybody else

    def _default(self, name: str, value: Any) -> None:
        if getattr(self, name) is None:
            self._set(name, value)

    def _fail(self, message: str) -> None:
        raise ValueError(f"{type(self).__name__}: {message}")

    def _check_choice(self, name: str, choices: tuple[Any, ...]) -> None:
        if getattr(self, name) not in choices:
            self._fail(f"{name}={shown(getattr(self, name))} is not supported; choose one of "
                       f"{', '.join(repr(choice) for choice in choices)}")

    def _check_size(self, *names: str, minimum: int = 1) -> None:
        for name in names:
            self._set(name, self._integer(name, getattr(self, name)))
            if getattr(self, name) < minimum:
                self._fail(f"{name} must be at least {minimum}, got {shown(getattr(self, name))}")

    def _integer(self, name: str, value: Any) -> int:
        if isinstance(value, bool):
            raise TypeError(f"{type(self).__name__}: {name} must be an integer, got {shown(value)}")
        try:
            return operator.index(value)            # Python's and NumPy's integers; no floats, no strings
        except TypeError:
            raise TypeError(f"{type(self).__name__}: {name} must be an integer, got {shown(value)}") from None

    def _check_number(self, name: str, minimum: float, below: float = math.inf, *, open_: bool = False) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{type(self).__name__}: {name} must be a number, got {shown(value)}")
        if not minimum <= value < below or (open_ and value == minimum) or value > sys.float_info.max:
            limit = f"{'more than' if open_ else 'at least'} {minimum}"
            self._fail(f"{name} must be {limit}{f' and below {below}' if below < math.inf else ''}, "
                       f"got {shown(value)}")

    def _check_flag(self, *names: str) -> None:
        for name in names:
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{type(self).__name__}: {name} must be True or False, got "
                                f"{shown(getattr(self, name))}")

    def _check_ids(self, *names: str) -> None:
        """Token ids: None, one integer, or several (stored as a tuple), all inside the vocabulary."""
        for name in names:
            value = getattr(self, name)
            if value is None:
                continue
            several = isinstance(value, (list, tuple))
            ids = tuple(self._integer(name, i) for i in (value if several else [value]))
            for i in ids:
                if not 0 <= i < self.vocab_size:
                    self._fail(f"{name}={shown(i)} lies outside the vocabulary of {self.vocab_size} tokens")
            self._set(name, ids if several else ids[0])

    def _check_table(self, width: int) -> None:
        """Positions that are computed, as no file of weights bounds them: their table must be of a sane size."""
        if getattr(self, "block_size") * width > MAX_TABLE:
            self._fail(f"block_size={shown(getattr(self, 'block_size'))} is too much: a table of {width} numbers for "
                       f"each position may have at most {MAX_TABLE:,}")

    def _check_width(self, heads: str) -> None:
        if self.n_embd % getattr(self, heads):
            self._fail(f"n_embd={self.n_embd} is not divisible by {heads}={getattr(self, heads)}")

    def _check_shared(self) -> None:
        """Fields that every configuration has."""
        self._check_choice("architecture", self.ARCHITECTURES)
        self._check_choice("head", self.HEADS)
        layout = self.layout
        self._default("activation", layout.activation)
        self._default("norm_epsilon", layout.norm_epsilon)
        self._check_choice("activation", tuple(ACTIVATIONS))
        self._check_size("vocab_size", "block_size", "n_embd", "n_head")
        self._check_size("n_layer", minimum=0)
        if "head_dim" not in layout.options:
            self._check_width("n_head")
        self._check_number("dropout", 0.0, 1.0)
        self._check_number("norm_epsilon", 0.0, open_=True)
        self._check_number("initializer_range", 0.0)
        self._check_flag("tie_word_embeddings")
        self._check_ids("bos_token_id", "eos_token_id", "pad_token_id")

    def check_one_label(self) -> None:
        """Refuse what is no choice of one label.

        Raises:
            ValueError: the head answers another question, whose loss and probabilities are not those of a softmax.
        """
        problem = getattr(self, "problem_type") or ("regression" if getattr(self, "n_labels") == 1 else None)
        if problem not in (None, PROBLEM_TYPES[0]):
            self._fail(f"problem_type={problem!r} gives logits, but its loss and its probabilities are not supported; "
                       f"supported: {PROBLEM_TYPES[0]!r}, with at least two labels")

    def _check_labels(self) -> None:
        """n_labels and id2label agree; either may be left out; JSON's string keys become integers."""
        if getattr(self, "problem_type") is not None:
            self._check_choice("problem_type", PROBLEM_TYPES)
            if getattr(self, "head") != "classification":
                self._fail(f"problem_type belongs to head='classification', not to {getattr(self, 'head')!r}")
        n_labels, id2label = getattr(self, "n_labels"), getattr(self, "id2label")
        if getattr(self, "head") != "classification":
            if n_labels not in (None, 0) or id2label is not None:
                self._fail(f"n_labels and id2label belong to head='classification', not to {getattr(self, 'head')!r}")
            self._set("n_labels", 0)
            return
        if n_labels is not None:
            self._check_size("n_labels")
            if id2label is None and getattr(self, "n_labels") > MAX_LABELS:
                self._fail(f"n_labels={getattr(self, 'n_labels')} is too much: without names there are at most "
                           f"{MAX_LABELS:,}")
        if id2label is None:
            id2label = {i: f"LABEL_{i}" for i in range(2 if n_labels is None else n_labels)}
        if not isinstance(id2label, Mapping) or not id2label:
            raise TypeError(f"{type(self).__name__}: id2label must be a dict of labels, got {shown(id2label)}")
        labels = {int(key): str(label) for key, label in id2label.items()}
        if sorted(labels) != list(range(len(labels))):
            self._fail(f"id2label must number the labels 0, 1, 2, …, got {shown(sorted(labels))}")
        if n_labels not in (None, len(labels)):
            self._fail(f"n_labels={n_labels}, but id2label names {len(labels)} labels")
        self._set("n_labels", len(labels))
        self._set("id2label", {i: labels[i] for i in sorted(labels)})

    @property
    def layout(self) -> Layout:
        """What the architecture fixes."""
        return LAYOUTS[self.architecture]

    @property
    def norm(self) -> str:
        """Which norm: a name in `kinds.NORMS`."""
        return self.layout.norm

    @property
    def bias(self) -> bool:
        """Whether linear layers and norms have biases."""
        return self.layout.bias

    @property
    def positions(self) -> str:
        """Which positions: a name in `kinds.POSITIONS`."""
        return self.layout.positions

    @property
    def position_offset(self) -> int:
        """The row of a table of positions where position 0 stands."""
        return 0

    @property
    def mask(self) -> str:
        """Which mask: a name in `kinds.MASKS`."""
        return self.layout.mask

    @property
    def feed_forward(self) -> str:
        """Which feed-forward layer: a name in `kinds.FEED_FORWARDS`."""
        return self.layout.feed_forward

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, as JSON can hold them; `type(config)(**config.to_dict())` undoes it.

        A part that is the architecture's own is left out, so what is there of `PARTS` is what deviates.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        own = {name for name in self.PARTS if values[name] == getattr(self.layout, name)}
        return {name: value for name, value in values.items() if name not in own}

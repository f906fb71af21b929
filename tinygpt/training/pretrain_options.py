"""What pretraining can be told beyond any other run: the objective, and sizes that only decoders have.

Prerequisites: run_options.py. Next: objectives/base.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .options import option
from .run_options import ARCHITECTURES, RunOptions

__all__ = ["OBJECTIVE_NAMES", "PretrainOptions"]

OBJECTIVE_NAMES = ("causal", "masked", "seq2seq")
POSITIONS = ("learned", "sinusoidal", "rotary", "alibi")


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(RunOptions):
    """What to train on, what to train, and how.

    Raises:
        ValueError: an option outside its range, or an architecture that the objective cannot train.
    """

    command: ClassVar[str] = "pretrain"

    data: tuple[str, ...] = option((), "files, folders, - for standard input, or named corpora [the embedded corpus]; "
                                       "for seq2seq tables of pairs, the source in the first column")
    objective: str = option("causal", "what to predict: the next token, hidden tokens, or a source's target",
                            choices=OBJECTIVE_NAMES)
    validation: float = option(0.1, "part of the text, at its end, that only validates; for seq2seq, of the sources")
    steps: int = option(1600, "training steps")
    batch_size: int = option(16, "sequences in a step")
    lr: float = option(None, "highest learning rate [causal: 0.384 / n_embd, at most 0.003; else a third of that]")
    architecture: str = option(None, f"the model's layout [the objective's: "
                                     f"{', '.join(ARCHITECTURES[name][0] for name in OBJECTIVE_NAMES)}]",
                               choices=tuple(layout for name in OBJECTIVE_NAMES for layout in ARCHITECTURES[name]))
    n_kv_head: int | None = option(None, "heads of keys and values [n_head]")
    bias: bool | None = option(None, "biases in linear layers and norms [the layout's]")
    positions: str | None = option(None, "how a token knows its place [the layout's]", choices=POSITIONS)

    @property
    def kind(self) -> str:
        """The objective."""
        return self.objective

    def __post_init__(self) -> None:
        self._resolve_sizes()
        if self.lr is None and self.n_embd > 0:  # wide models, and those with the norm behind the sum, want small steps
            object.__setattr__(self, "lr", min(0.003, 0.384 / self.n_embd) / (1 if self.objective == "causal" else 3))
        super().__post_init__()
        self._check_layout("objective")
        for name in ("bias", "n_kv_head", "positions"):
            if self.objective != "causal" and getattr(self, name) is not None:
                raise ValueError(f"{name} is an option of the causal objective; {self.architecture} fixes it")

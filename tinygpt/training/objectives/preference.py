"""What objectives of preferences share: pairs as data, a score for each answer, accuracy and margin of pairs.

Bradley and Terry's model says how probable it is that answer a is preferred to b: σ(s_a − s_b), the sigmoid of the
difference between two scores, the margin. An objective of this kind says what the score of an answer is: a number of a
head of its own (reward.py), or how much more probable a model makes the answer than another model does (dpo.py).

Shapes: B batch, T time. Of the last axis of scores (B, 2), the first is the chosen answer's.

Prerequisites: task.py, data/preferences.py. Next: reward.py. Bradley and Terry, "Rank analysis of incomplete block
designs" (1952).
"""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import ops
from ...autograd import Tensor
from ...backend import to_device, to_numpy
from ...data.example_file import read_example_file, write_example_file
from ...data.preferences import EncodedPair, Pair, PairedSampler, Turns, encode_pairs, pair_batch, read_preferences
from ...data.conversations import text_of
from ...data.sampler import IGNORE
from ...data.split import split_by
from ...evaluation.confidence import wilson_interval
from ...evaluation.preferences import accuracy_of
from ...evaluation.running import side_by_side
from ...files.atomic_file import write_text
from ...models import BERTConfig, PretrainedModel
from ..losses import Batch
from ..metrics import plot_figures
from .base import KeepGoing
from .task import Task

__all__ = ["Aligned", "Preferences", "softplus"]

BATCH = 16  # pairs that are scored at a time
N_BATCHES = 32  # of held-out pairs that a validation looks at; the last one looks at all


def softplus(x: Tensor) -> Tensor:
    """log(1 + eˣ), which is −log σ(−x)."""
    return ops.logaddexp(x, 0.0)


class Aligned(Task):
    """A model that is there and has learnt to write, or whose features tell what is written.

    Attributes:
        turns: how a question and its answer become ids. model: the one that is trained.
    """

    turns: Turns
    model: Any

    def new_model(self) -> PretrainedModel:
        """There is none to begin with.

        Raises:
            ValueError: always.
        """
        raise ValueError("align needs a model that is there: give --model")

    def use_config(self, config: Any) -> None:
        """With the configuration it is known from which sides the model reads."""
        super().use_config(config)
        self.turns = Turns(self.tokenizer, encoder=isinstance(config, BERTConfig))

    def take(self, model: PretrainedModel) -> None:
        """The model, which is asked for what it thinks before it learns."""
        self.model = model

    @property
    def _name(self) -> str:
        return f"the method {self.options.kind}"

    def n_steps(self, source: Any) -> int:
        """As many as the options say; by default one pass over the examples, within bounds."""
        if self.options.steps is None and self.options.epochs is None:
            return min(max(source.steps_per_epoch, 200), 2000)
        return super().n_steps(source)

    def draw(self, out: Path) -> None:
        """The losses, and all figures so far."""
        super().draw(out)
        plot_figures(out / "metrics.jsonl", out / "figures.png")


class Preferences(Aligned):
    """Give the better of two answers the higher score."""

    unit = "pairs"

    @abstractmethod
    def scores(self, model: Any, batch: Batch) -> Tensor:
        """The score of both answers of each pair, (B, 2)."""

    def losses(self, margins: Tensor) -> Tensor:
        """−log σ(margin) of each pair, (B,): how surprising the preference is to whoever has these scores."""
        return softplus(-margins)

    def data_loss(self, model: Any, batch: Batch) -> Tensor:
        """The sum over the pairs that count: all whose target is not −100."""
        scores = self.scores(model, batch)  # (B, 2)
        counted = to_device((np.asarray(batch["targets"]) != IGNORE).astype(scores.dtype), scores.device)
        return (self.losses(scores[:, 0] - scores[:, 1]) * counted).sum()

    # -- from records to batches --------------------------------------------------------------------------------------

    def parts(self) -> tuple[list[Pair], list[Pair]]:
        """Pairs; no question is in both parts."""
        o = self.options
        return split_by(read_preferences(o.data), lambda pair: tuple((m["role"], text_of(m)) for m in pair.prompt),
                        o.validation, o.seed, "question")

    def write(self, path: Path, part: Sequence[Pair]) -> None:
        """The ids of both answers behind their question, and which of them are the answer's."""
        pairs = encode_pairs(part, self.turns, self.config.block_size, f"the {path.stem} part")
        write_example_file(path, ((ids, np.where(learnt, ids, IGNORE)) for pair in pairs for ids, learnt in pair))

    def read(self, path: Path) -> list[EncodedPair]:
        """What `write` wrote.

        Raises:
            ValueError: an odd number of answers.
        """
        sides = [(ids, targets != IGNORE) for ids, targets in read_example_file(path)]
        if len(sides) % 2:
            raise ValueError(f"{path} holds {len(sides)} answers, expected two for each question; write it again")
        return list(zip(sides[0::2], sides[1::2]))

    def start(self, train: list[EncodedPair], validation: list[EncodedPair]) -> PairedSampler:
        """Pairs in a shuffled order."""
        o = self.options
        self.train, self.validation = train, validation
        return PairedSampler(train, min(o.batch_size, len(train)), o.seed, self._pad_id)

    @property
    def _pad_id(self) -> int:
        return self.config.pad_token_id or 0

    def _held_out(self, start: int) -> dict[str, np.ndarray]:
        """A batch of held-out pairs, those from number `start` on."""
        return pair_batch(self.validation[start:start + BATCH], self._pad_id)

    def _batches_of(self, pairs: Sequence[EncodedPair]) -> Iterator[dict[str, np.ndarray]]:
        """Pairs in the order given."""
        for start in range(0, len(pairs), BATCH):
            yield pair_batch(pairs[start:start + BATCH], self._pad_id)

    # -- figures and samples ------------------------------------------------------------------------------------------

    def _scored(self, model: Any, keep_going: KeepGoing = lambda: True, most: int | None = None) -> np.ndarray:
        """The scores of held-out pairs, (N, 2): of all, or of at most so many batches, spread over all of them; of
        those after `keep_going` has said no, none."""
        found, starts = [np.empty((0, 2))], np.arange(0, len(self.validation), BATCH)
        if most and most < len(starts):
            starts = starts[np.linspace(0, len(starts) - 1, most, dtype=int)]

        def scored(start: int) -> np.ndarray:
            return to_numpy(self.scores(model, self._held_out(start)).data).astype(np.float64)
        batches = side_by_side(scored, model, starts.tolist(), 1)
        while keep_going() and (scores := next(batches, None)) is not None:
            found.append(scores)
        return np.concatenate(found)

    def validate(self, model: Any, keep_going: KeepGoing) -> dict[str, float]:
        """Loss, accuracy and mean margin of held-out pairs, at most N_BATCHES of them."""
        scores = self._scored(model, keep_going, N_BATCHES)
        if not len(scores):
            return {"validation_loss": math.inf}  # broken off before the first batch: nobody looks
        margins = scores[:, 0] - scores[:, 1]
        return {"validation_loss": float(self.losses(Tensor(margins)).data.mean()), "accuracy": accuracy_of(margins),
                "margin": float(margins.mean())}

    def score(self, figures: dict[str, float]) -> tuple[float, ...]:
        """The accuracy; where it is the same, the loss."""
        return figures["accuracy"], -figures["validation_loss"]

    def finish(self, model: Any, out: Path) -> str:
        """What `sample` shows, and the accuracy on all held-out pairs, as JSON too."""
        scores = self._scored(model)
        margins = scores[:, 0] - scores[:, 1]
        accuracy = accuracy_of(margins)
        low, high = wilson_interval(round(accuracy * len(margins)), len(margins))
        figures = {"accuracy": accuracy, "accuracy_interval": [low, high], "margin": float(margins.mean()),
                   "n_pairs": len(margins), **self.more_figures(model)}
        write_text(out / "validation.json", json.dumps(figures) + "\n")
        more = "".join(f"; {name.replace('_', ' ')} {value:.4f}" for name, value in self.more_figures(model).items())
        return (f"{super().finish(model, out)}\naccuracy on {len(margins):,} held-out pairs: {accuracy:.1%} "
                f"({low:.1%} to {high:.1%}){more}")

    def more_figures(self, model: Any) -> dict[str, float]:
        """Further figures of the finished model."""
        return {}

    def _places(self, n: int) -> list[int]:
        """n held-out pairs, spread over all of them."""
        return np.linspace(0, len(self.validation) - 1, min(n, len(self.validation)), dtype=int).tolist()

"""The one table of what can be learnt: a row for each kind, from which options, choices and help texts are made.

A new objective or task is one new file beside this one, and one new row here.

Prerequisites: base.py and the objectives. Next: ../run_options.py, which reads the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...models import GPTConfig, RecurrentConfig
from ...models.layout import LAYOUTS
from .base import Objective
from .causal import Causal
from .classification import Labels
from .dpo import DPO, PAIR_LOSSES
from .grpo import GRPO, POLICY_LOSSES
from .instruction import Instructions
from .masked import Masked
from .reward import RewardModel
from .seq2seq import Seq2Seq
from .translation import Translation

__all__ = ["KINDS", "Kind", "kinds_of"]


@dataclass(frozen=True)
class Kind:
    """One kind of training.

    Attributes:
        objective: the class that knows everything else about it.
        command: the subcommand that starts such a run.
        learns: what is learnt, in a few words for a help text.
        layouts: the architectures of a new model; the default is the first that has all options that are given; none
            where there is no new model.
        new: sizes of a new model, unless options give others.
        others: those of the architectures that are no transformers. What stands there is all that they can be told.
        own_options: names of options that only this kind has.
        adapters: which matrices have adapters (--lora) by default.
        losses: the losses that it can be told to use (--loss), the default first; each has a usual `beta`.
    """

    objective: type[Objective]
    command: str
    learns: str
    layouts: tuple[str, ...] = ()
    new: Mapping[str, Any] = field(default_factory=dict)
    own_options: tuple[str, ...] = field(default=(), kw_only=True)
    adapters: str = field(default="q,v", kw_only=True)
    losses: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, kw_only=True)

    def sizes(self, architecture: str) -> Mapping[str, Any]:
        """What a new model of an architecture has, unless options give something else."""
        return self.others.get(architecture, {"tokenizer": "bpe", **self.new})

    @property
    def pre_norm(self) -> bool:
        """Whether all these layouts put their norms before the sums. Such models begin with GPT-2's small weights and
        take large steps; with the norm behind the sum, small steps."""
        return all(LAYOUTS[layout].norm_first for layout in self.layouts if layout not in self.others)


RECURRENT = dict(tokenizer="bpe", n_layer=2, n_embd=128, block_size=64, dropout=0.0, initializer_range=0.05)
CONVOLUTIONAL = dict(tokenizer="words", n_embd=64, block_size=256, dropout=0.5, initializer_range=0.1)

KINDS: dict[str, Kind] = {
    "causal": Kind(
        Causal, "pretrain", "the next token", (*GPTConfig.ARCHITECTURES, *RecurrentConfig.ARCHITECTURES),
        dict(n_layer=4, n_head=4, n_embd=128, block_size=64, dropout=0.0),
        others=dict.fromkeys(RecurrentConfig.ARCHITECTURES, RECURRENT),
        own_options=("n_kv_head", "bias", "positions", "window", "feed_forward")),
    "masked": Kind(
        Masked, "pretrain", "hidden tokens", ("roberta", "bert"),
        dict(n_layer=4, n_head=4, n_embd=128, block_size=64, dropout=0.0)),
    "seq2seq": Kind(
        Seq2Seq, "pretrain", "a source's target", ("marian", "bart"),
        dict(n_layer=4, n_head=4, n_embd=128, block_size=64, dropout=0.0)),
    "classification": Kind(  # a label is told by the words that are there: their embedding is worth adapting
        Labels, "finetune", "a label for a text", ("wide", "bag", "cnn", "roberta", "bert"),
        dict(n_layer=2, n_head=4, n_embd=64, block_size=64, dropout=0.1),
        others={"wide": CONVOLUTIONAL, "cnn": CONVOLUTIONAL,
                "bag": dict(tokenizer="words", block_size=256, dropout=0.0)},
        own_options=("add_prefix_space",), adapters="q,v,embedding"),
    "instruction": Kind(
        Instructions, "finetune", "an answer to an instruction", GPTConfig.ARCHITECTURES,
        dict(n_layer=4, n_head=4, n_embd=128, block_size=128, dropout=0.0)),
    "translation": Kind(
        Translation, "finetune", "a translation", ("marian", "bart"),
        dict(n_layer=2, n_head=4, n_embd=128, block_size=64, dropout=0.1)),
    "reward": Kind(RewardModel, "align", "what an answer is worth"),
    "dpo": Kind(DPO, "align", "to write what is preferred", losses=PAIR_LOSSES,
                own_options=("reference", "loss", "beta", "max_new_tokens", "label_smoothing", "gamma")),
    "grpo": Kind(GRPO, "align", "to write what earns a reward", losses=POLICY_LOSSES,
                 own_options=("reference", "loss", "beta", "max_new_tokens", "reward", "clip_range", "normalize",
                              "group_size", "updates", "temperature", "supervision", "discount",
                              "entropy_bonus")),
}


def kinds_of(command: str) -> dict[str, Kind]:
    """The rows that a subcommand starts."""
    return {name: kind for name, kind in KINDS.items() if kind.command == command}

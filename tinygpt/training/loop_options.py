"""What the training loop can be told: steps, learning rate, optimizer, device; and `option`, a field with a help text.

The command line is made from such fields, so that a default and its meaning stand in one place.

Prerequisites: docs/architecture.md, optim/. Next: losses.py.
"""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from typing import Any

from ..backend import default_device
from ..optim import OPTIMIZERS

__all__ = ["MOST_THREADS", "TrainingOptions", "option"]

LARGEST = 1 << 62  # an integer
MOST_THREADS = max(64, os.cpu_count() or 1)  # replicas; each takes memory, and on a small model a process


def option(default: Any, help: str, **metadata: Any) -> Any:
    """A dataclass field with its help text for the command line."""
    return dataclasses.field(default=default, metadata={"help": help, **metadata})


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How to train, whatever is trained. None stands for a default that the run works out.

    Raises:
        ValueError: an option outside its range.
    """

    steps: int = option(1000, "training steps")
    batch_size: int = option(32, "sequences in a step")
    accumulate: int = option(1, "micro-batches that a step's batch is cut into, to need less memory")
    lr: float = option(1e-3, "highest learning rate")
    min_lr: float | None = option(None, "learning rate at the end [lr / 10]")
    warmup_steps: int | None = option(None, "steps in which the learning rate rises [a tenth of them, at most 100]")
    optimizer: str = option("adamw", "how a gradient changes the weights", choices=tuple(OPTIMIZERS))
    beta1: float = option(0.9, "AdamW's beta1: how much of its mean of gradients a step keeps")
    beta2: float = option(0.99, "AdamW's beta2: how much of its mean of squared gradients a step keeps")
    weight_decay: float = option(0.1, "the optimizer's weight decay, of matrices only")
    clip: float = option(1.0, "longest gradient; longer ones are scaled down")
    eval_every: int | None = option(None, "steps between validations [a tenth of them]")
    save_every: int | None = option(None, "steps between checkpoints [as eval_every]")
    seed: int = option(0, "seed of initial weights, data order and dropout")
    threads: int | None = option(None, "replicas that train side by side [the physical cores]")
    fast_sum: bool = option(False, "let MPI or NCCL choose the order in which the ranks' gradients are added up; with "
                            "one rank nothing changes")
    device: str | None = option(None, "cpu, cuda or cuda:N [$TINYGPT_DEVICE, or cpu]")
    dtype: str = option("float32", "type of activations and of the factors of matrix products: float32, or bfloat16 on "
                        "a GPU; weights stay float32", choices=("float32", "bfloat16"))
    tf32: bool = option(False, "on a GPU: round the factors of float32 matrix products to TF32")

    @classmethod
    def described(cls, field: dataclasses.Field[Any]) -> str:
        """The help text of an option, with its default in brackets if it has one."""
        text = field.metadata["help"]
        return text if field.default is None or field.default == () else f"{text} [{field.default}]"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            choices, value = field.metadata.get("choices"), getattr(self, field.name)
            if choices and value is not None and value not in choices:
                raise ValueError(f"{field.name} must be one of {', '.join(choices)}, got {value!r}")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value >= LARGEST:
                raise ValueError(f"{field.name} must be less than {LARGEST:,}, got a larger number")
        if self.threads is not None and self.threads > MOST_THREADS:
            raise ValueError(f"threads must be at most {MOST_THREADS} on this machine, got {self.threads}")
        for name, least in (("steps", 0), ("batch_size", 1), ("accumulate", 1), ("warmup_steps", 0), ("eval_every", 1),
                            ("save_every", 1), ("seed", 0), ("threads", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate {self.accumulate} cuts a batch of {self.batch_size} into more parts than it "
                             "has sequences; give at most batch_size")
        for name, least, below in (("lr", 0, math.inf), ("min_lr", 0, math.inf), ("beta1", 0, 1), ("beta2", 0, 1),
                                   ("weight_decay", 0, math.inf)):
            value = getattr(self, name)
            if value is not None and not least <= value < below:
                raise ValueError(f"{name} must be at least {least}"
                                 f"{'' if below == math.inf else f' and less than {below}'}, got {value}")
        if not self.clip > 0:
            raise ValueError(f"clip must be more than 0, got {self.clip}")
        if self.min_lr is not None and self.lr is not None and self.min_lr > self.lr:
            raise ValueError(f"min_lr {self.min_lr} is more than lr {self.lr}")
        if (self.device or default_device()) == "cpu":
            if self.dtype == "bfloat16":
                raise ValueError("dtype bfloat16 needs a GPU (--device cuda); the CPU trains in float32")
            if self.tf32:
                raise ValueError("tf32 needs a GPU (--device cuda); the CPU multiplies float32 as it is")

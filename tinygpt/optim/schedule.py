"""The learning rate as a function of the step.

A schedule is a plain function: no object counts along, so a resumed run asks for the same step and gets the same rate.

    lr = cosine_schedule(step, max_lr=1e-3, min_lr=1e-4, warmup_steps=100, total_steps=2000)
    optimizer.step(lr=lr)

Both schedules warm up first: Adam's second moment knows nothing yet, and full steps would throw the weights about.

Prerequisites: adamw.py. Next: clipping.py. Papers: Loshchilov & Hutter, "SGDR" (2017) for the cosine; Vaswani et al.
(2017) for the warmup.
"""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["cosine_schedule", "linear_schedule"]


def cosine_schedule(step: int, *, max_lr: float, min_lr: float = 0.0, warmup_steps: int = 0,
                    total_steps: int) -> float:
    """Linear warmup to `max_lr`, then half a cosine down to `min_lr`; nanoGPT's `get_lr`.

    Steps count from 0. Step i of the warmup has max_lr · (i + 1) / (warmup_steps + 1), so that the first step is not
    wasted on a rate of zero; step `warmup_steps` is the first with `max_lr`; from step `total_steps` on it is `min_lr`
    (the last step of a run, total_steps - 1, is just above).

    Raises:
        ValueError: a negative step, or settings that contradict each other.
    """
    return _warm_up_then_fall(lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
                              step, max_lr, min_lr, warmup_steps, total_steps)


def linear_schedule(step: int, *, max_lr: float, min_lr: float = 0.0, warmup_steps: int = 0,
                    total_steps: int) -> float:
    """Linear warmup to `max_lr`, then a straight line down to `min_lr`, as BERT is trained; steps and errors as above.
    """
    return _warm_up_then_fall(lambda done: 1.0 - done, step, max_lr, min_lr, warmup_steps, total_steps)


def _warm_up_then_fall(fall: Callable[[float], float], step: int, max_lr: float, min_lr: float, warmup_steps: int,
                       total_steps: int) -> float:
    """`fall` goes from 1 down to 0 while the part of the decay that is done goes from 0 to 1."""
    if step < 0:
        raise ValueError(f"step is {step}, expected at least 0")
    if not 0.0 <= min_lr <= max_lr < math.inf:
        raise ValueError(f"min_lr is {min_lr} and max_lr {max_lr}, expected 0 <= min_lr <= max_lr")
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(f"warmup_steps is {warmup_steps} of total_steps {total_steps}, "
                         "expected 0 <= warmup_steps <= total_steps")
    if step < warmup_steps:
        return max_lr * (step + 1) / (warmup_steps + 1)
    done = 1.0 if step >= total_steps else (step - warmup_steps) / (total_steps - warmup_steps)
    return min_lr + (max_lr - min_lr) * fall(done)

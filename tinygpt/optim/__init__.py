"""Optimisation: AdamW and Muon over parameters in one flat array, learning-rate schedules, gradient clipping.

The textbook: adamw.py, schedule.py, clipping.py. What takes its place in training, tested equal to it: flat.py,
flat_optimizer.py, flat_adamw.py, flat_clipping.py. A guest: muon.py.
"""

from collections.abc import Callable

from .adamw import adamw_update, is_decayed
from .clipping import global_norm
from .flat import FlatParameters
from .flat_adamw import AdamW
from .flat_clipping import clip_coefficient, clip_grad_norm, grad_norm, grad_norm_on_device
from .flat_optimizer import FlatOptimizer
from .muon import Muon
from .schedule import cosine_schedule, linear_schedule

__all__ = ["OPTIMIZERS", "AdamW", "FlatOptimizer", "FlatParameters", "Muon", "adamw_update", "clip_coefficient",
           "clip_grad_norm", "cosine_schedule", "global_norm", "grad_norm", "grad_norm_on_device", "is_decayed",
           "linear_schedule"]

# name -> class(parameters, lr=, betas=, weight_decay=)
OPTIMIZERS: dict[str, Callable[..., FlatOptimizer]] = {
    "adamw": AdamW,
    "muon": Muon,
}

"""Optimisation: parameters in one flat array, AdamW, learning-rate schedules, gradient clipping.

Read in this order: flat.py, adamw.py, schedule.py, clipping.py.
"""

from .adamw import AdamW, adamw_update
from .clipping import clip_coefficient, clip_grad_norm, grad_norm, grad_norm_on_device
from .flat import FlatParameters, is_decayed
from .schedule import cosine_schedule, linear_schedule

OPTIMIZERS = {"adamw": AdamW}  # by name

__all__ = ["AdamW", "FlatParameters", "OPTIMIZERS", "adamw_update", "clip_coefficient", "clip_grad_norm",
           "cosine_schedule", "grad_norm", "grad_norm_on_device", "is_decayed", "linear_schedule"]

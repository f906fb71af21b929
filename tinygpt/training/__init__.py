"""Training: replicas, checkpoints, the loop, and pretraining from text to a folder that generates.

Reading order: options.py → parallel.py → checkpoint.py → interrupt.py, metrics.py, progress.py (small, each alone) →
trainer.py (the loop) → pretrain_options.py, presets.py → objectives/ → pretrain.py (all of it together).
"""

from .checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from .metrics import MetricsLog, plot_losses, read_metrics
from .options import TrainingOptions
from .parallel import Replicas
from .presets import PRESETS, preset
from .pretrain import PretrainOptions, PretrainResult, pretrain, saved_options
from .progress import Progress
from .trainer import BatchSource, DivergedError, Trainer

__all__ = [
    "BatchSource", "Checkpoint", "DivergedError", "MetricsLog", "PRESETS", "PretrainOptions", "PretrainResult",
    "Progress", "Replicas", "Trainer", "TrainingOptions", "plot_losses", "preset", "pretrain", "read_checkpoint",
    "read_metrics", "saved_options", "write_checkpoint",
]

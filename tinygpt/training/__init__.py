"""Training: replicas, checkpoints, the loop, and runs from data to a folder that works: pretraining and fine-tuning.

Reading order: options.py → workers.py, turns.py → parallel.py → checkpoint.py → interrupt.py, lock.py, metrics.py,
progress.py (small, each alone) → trainer.py (the loop) → run_options.py, pretrain_options.py, finetune_options.py,
presets.py → objectives/ → run.py (all of it together) → pretrain.py, finetune.py.
"""

from .checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from .metrics import MetricsLog, plot_losses, read_metrics
from .options import TrainingOptions
from .parallel import Replicas
from .presets import PRESETS, preset
from .finetune import finetune
from .finetune_options import FinetuneOptions
from .pretrain import pretrain
from .pretrain_options import PretrainOptions
from .progress import Progress
from .run import RunResult, saved_options
from .run_options import RunOptions
from .trainer import BatchSource, DivergedError, Trainer

__all__ = [
    "BatchSource", "Checkpoint", "DivergedError", "FinetuneOptions", "MetricsLog", "PRESETS", "PretrainOptions",
    "Progress", "Replicas", "RunOptions", "RunResult", "Trainer", "TrainingOptions", "finetune", "plot_losses",
    "preset", "pretrain", "read_checkpoint", "read_metrics", "saved_options", "write_checkpoint",
]

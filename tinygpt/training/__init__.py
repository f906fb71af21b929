"""Training: replicas, checkpoints, the loop, and runs from data to a folder that works: pretraining and fine-tuning.

Reading order: loop_options.py → losses.py → distillation.py → workers.py, turns.py → parallel.py → checkpoint.py →
interrupt.py, lock.py, metrics.py, progress.py (small, each alone) → trainer.py (the loop) → reference.py → rollouts.py
→ rewards.py → objectives/ → run_options.py → run_state.py → run.py (all of it together) → start.py.
"""

from .checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from .losses import Criterion, classification_loss, language_loss, masked_loss, seq2seq_loss
from .metrics import MetricsLog, plot_losses, read_metrics
from .loop_options import TrainingOptions
from .parallel import Replicas
from .progress import Progress
from .run import RunResult, saved_options
from .run_options import AlignOptions, FinetuneOptions, PretrainOptions, RunOptions
from .start import PRESETS, align, finetune, preset, pretrain
from .trainer import BatchSource, DivergedError, Trainer

__all__ = [
    "AlignOptions", "BatchSource", "Checkpoint", "Criterion", "DivergedError", "FinetuneOptions", "MetricsLog",
    "PRESETS",
    "PretrainOptions", "Progress", "Replicas", "RunOptions", "RunResult", "Trainer", "TrainingOptions",
    "align", "classification_loss", "finetune", "language_loss", "masked_loss", "plot_losses", "preset", "pretrain",
    "read_checkpoint", "read_metrics", "saved_options", "seq2seq_loss", "write_checkpoint",
]

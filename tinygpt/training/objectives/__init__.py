"""What is learnt: the next token, hidden tokens, or the target of a source; and the tasks of fine-tuning.

Reading order: base.py → causal.py → masked.py → seq2seq.py → task.py (what may begin with a model) →
classification.py → instruction.py → translation.py.
"""

from ..run_options import RunOptions
from .base import Objective, SizedSource
from .causal import Causal
from .classification import Labels
from .instruction import Instructions
from .masked import Masked
from .seq2seq import Seq2Seq
from .task import Task
from .translation import Translation

__all__ = ["OBJECTIVES", "Causal", "Instructions", "Labels", "Masked", "Objective", "Seq2Seq", "SizedSource", "Task",
           "Translation", "objective_of"]

OBJECTIVES: dict[str, type[Objective]] = {  # by RunOptions.kind
    "causal": Causal, "masked": Masked, "seq2seq": Seq2Seq, "classification": Labels, "instruction": Instructions,
    "translation": Translation,
}


def objective_of(options: RunOptions) -> Objective:
    """The objective that the options name."""
    return OBJECTIVES[options.kind](options)

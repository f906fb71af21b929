"""What is learnt: the next token, hidden tokens, or the target of a source; and the tasks of fine-tuning.

Reading order: base.py → causal.py → masked.py → seq2seq.py → task.py (what may begin with a model) →
classification.py → instruction.py → translation.py → kinds.py (the table of them all).
"""

from .base import Objective, SizedSource
from .causal import Causal
from .classification import Labels
from .instruction import Instructions
from .kinds import KINDS, Kind, kinds_of
from .masked import Masked
from .seq2seq import Seq2Seq
from .task import Task
from .translation import Translation

__all__ = ["Causal", "Instructions", "KINDS", "Kind", "Labels", "Masked", "Objective", "Seq2Seq", "SizedSource", "Task",
           "Translation", "kinds_of"]

"""What is learnt: the next token, hidden tokens, or the target of a source; the tasks of fine-tuning; and
what people prefer.

Reading order: base.py → causal.py → masked.py → seq2seq.py → task.py (what may begin with a model) →
classification.py → instruction.py → translation.py → preference.py (what is preferred) → reward.py → dpo.py → grpo.py →
kinds.py (the table of them all).
"""

from .base import Objective, SizedSource
from .causal import Causal
from .classification import Labels
from .dpo import DPO
from .grpo import GRPO
from .instruction import Instructions
from .kinds import KINDS, Kind, kinds_of
from .masked import Masked
from .preference import Preferences
from .reward import RewardModel
from .seq2seq import Seq2Seq
from .task import Task
from .translation import Translation

__all__ = [
    "Causal", "DPO", "GRPO", "Instructions", "KINDS", "Kind", "Labels", "Masked", "Objective", "Preferences",
    "RewardModel", "Seq2Seq", "SizedSource", "Task", "Translation", "kinds_of",
]

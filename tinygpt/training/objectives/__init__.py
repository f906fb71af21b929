"""What a model is pretrained to predict: the next token, hidden tokens, or the target of a source.

Reading order: base.py → causal.py → masked.py → seq2seq.py.
"""

from ..pretrain_options import PretrainOptions
from .base import Objective, SizedSource
from .causal import Causal
from .masked import Masked
from .seq2seq import Seq2Seq

__all__ = ["OBJECTIVES", "Causal", "Masked", "Objective", "Seq2Seq", "SizedSource",
           "objective_of"]

OBJECTIVES: dict[str, type[Objective]] = {"causal": Causal, "masked": Masked, "seq2seq": Seq2Seq}


def objective_of(options: PretrainOptions) -> Objective:
    """The objective that the options name."""
    return OBJECTIVES[options.objective](options)

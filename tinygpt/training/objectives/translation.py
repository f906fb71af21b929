"""A target for each source, taught to a model that is there or to a new one.

Prerequisites: task.py, seq2seq.py. Next: kinds.py.
"""

from __future__ import annotations

from ...models import EncoderDecoder, PretrainedModel
from .seq2seq import Seq2Seq
from .task import Task

__all__ = ["Translation"]


class Translation(Task, Seq2Seq):
    """Pairs, as for pretraining; what is saved is the best of all validations."""

    def fit(self, model: PretrainedModel) -> PretrainedModel:
        """An encoder-decoder as it is."""
        if not isinstance(model, EncoderDecoder):
            raise self._misfit(model, "an encoder-decoder")
        return model

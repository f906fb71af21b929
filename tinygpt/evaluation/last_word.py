"""The last word of a passage: whether the model would have written it, and what it cost.

In LAMBADA people guess the word from the whole passage and not from its last sentence, so a model has to have
understood what came before. A word counts if each of its tokens is the likeliest; perplexity is that of whole words.
What this does not see: other words that would do as well.

Prerequisites: questions.py, confidence.py. Next: free_answers.py. Paperno et al., "The LAMBADA dataset" (2016).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..models import PretrainedModel
from ..tokenizers import Tokenizer
from .confidence import wilson_interval
from .questions import Question
from .running import Track, untracked
from .text_pairs import score_texts

__all__ = ["LastWords", "guess_last_words"]


@dataclass(frozen=True)
class LastWords:
    """What guessing came to.

    Attributes:
        right: whether each word was guessed.
        nats: the mean of −log p of a word.
    """

    right: list[bool] = field(repr=False)
    nats: float

    def to_dict(self) -> dict[str, Any]:
        """The figures by name."""
        n, n_right = len(self.right), sum(self.right)
        return {"accuracy": n_right / n, "accuracy_interval": list(wilson_interval(n_right, n)),
                "perplexity": math.exp(self.nats) if self.nats < 700 else math.inf, "n_questions": n}


def guess_last_words(model: PretrainedModel, tokenizer: Tokenizer, questions: Sequence[Question],
                     batch_size: int = 32, track: Track = untracked) -> LastWords:
    """Guess the one choice of each question from its context; arguments and errors as for `answer_questions`."""
    if not questions:
        raise ValueError("guessing last words needs at least one passage")
    scores = score_texts(model, tokenizer, [question.pairs[0] for question in questions], [1] * len(questions),
                         [question.where for question in questions], batch_size, track)
    return LastWords(scores.first.tolist(), float(scores.nats.mean()))

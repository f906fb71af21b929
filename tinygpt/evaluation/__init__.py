"""Measuring what a model can do.

Reading order: table.py, confidence.py → language_modeling.py → likelihood.py → next_token.py → masked_words.py →
multiple_choice.py → classification.py, labelling.py → bleu.py, chrf.py, translation.py → diversity.py,
continuations.py → robustness.py. docs/evaluation.md says what each figure means.
"""

from .bleu import Bleu, corpus_bleu
from .chrf import ChrF, corpus_chrf
from .classification import Classification, confusion_matrix
from .confidence import wilson_interval
from .continuations import continuations
from .diversity import Diversity, distinct, diversity, ends_in_loop, repeated
from .labelling import label_numbers, label_probabilities
from .language_modeling import TextLoss, byte_lengths, text_loss
from .likelihood import continuation_nats
from .masked_words import MaskedWords, masked_words, masking_of
from .multiple_choice import MultipleChoice, Question, is_multiple_choice, multiple_choice, read_questions
from .next_token import NextToken, next_token
from .robustness import Forgery, Probe, forging_prompts, probe_special_tokens
from .table import format_table
from .translation import Translation, score_translations, translate

__all__ = [
    "Bleu", "ChrF", "Classification", "Diversity", "Forgery", "MaskedWords", "MultipleChoice", "NextToken", "Probe",
    "Question", "TextLoss", "Translation", "byte_lengths", "confusion_matrix", "continuation_nats", "continuations",
    "corpus_bleu", "corpus_chrf", "distinct", "diversity", "ends_in_loop", "forging_prompts", "format_table",
    "is_multiple_choice", "label_numbers", "label_probabilities", "masked_words", "masking_of", "multiple_choice",
    "next_token", "probe_special_tokens", "read_questions", "repeated", "score_translations", "text_loss", "translate",
    "wilson_interval",
]

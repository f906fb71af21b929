"""Measuring what a model can do.

Reading order: table.py, words.py, confidence.py, running.py → language_modeling.py → likelihood.py → next_token.py →
masked_words.py → multiple_choice.py → classification.py, confusion_plot.py, bag_of_words.py, labelling.py → bleu.py,
chrf.py, translation.py → rouge.py → diversity.py, continuations.py → answers.py, summarization.py, robustness.py, correlation.py → tasks.py (the table
of what can be measured). docs/evaluation.md says what each figure means.
"""

from .bag_of_words import NaiveBayes
from .bleu import Bleu, corpus_bleu
from .chrf import ChrF, corpus_chrf
from .classification import Classification, confusion_matrix
from .confidence import wilson_interval
from .confusion_plot import plot_confusion
from .continuations import continue_texts
from .correlation import pearson, spearman
from .diversity import Diversity, distinct, ends_in_loop, measure_diversity, repeated
from .labelling import label_logits, label_numbers, label_probabilities
from .language_modeling import TextLoss, byte_lengths, text_loss, total_loss
from .likelihood import continuation_nats
from .masked_words import MaskedWords, masking_of
from .multiple_choice import MultipleChoice, Question, answer_questions, is_multiple_choice, read_questions
from .next_token import NextToken, predict_text
from .robustness import Forgery, Probe, forging_prompts, probe_special_tokens
from .rouge import Rouge, mean_rouge, rouge
from .running import evaluating
from .summarization import summarize
from .table import format_table
from .translation import Translation, score_translations, translate

__all__ = [
    "Bleu", "ChrF", "Classification", "Diversity", "Forgery", "MaskedWords", "MultipleChoice", "NaiveBayes",
    "NextToken", "Probe", "Question", "Rouge", "TextLoss", "Translation", "answer_questions", "byte_lengths",
    "confusion_matrix", "continuation_nats", "continue_texts", "corpus_bleu", "corpus_chrf", "distinct",
    "ends_in_loop", "evaluating", "forging_prompts", "format_table", "is_multiple_choice", "label_logits",
    "label_numbers", "label_probabilities", "masking_of", "mean_rouge", "measure_diversity", "pearson", "plot_confusion", "predict_text",
    "probe_special_tokens", "read_questions", "repeated", "rouge", "score_translations", "spearman", "summarize", "text_loss", "total_loss", "translate",
    "wilson_interval",
]

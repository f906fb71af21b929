"""Measuring what a model can do.

Reading order: table.py, words.py, confidence.py, running.py → language_modeling.py → likelihood.py → next_token.py →
masked_words.py → text_pairs.py, questions.py, benchmarks.py (the table of benchmarks) → multiple_choice.py,
last_word.py, sql.py, free_answers.py → classification.py, confusion_plot.py, bag_of_words.py, labelling.py → bleu.py,
chrf.py, translation.py, rouge.py, summarization.py → diversity.py, continuations.py → answers.py, robustness.py,
correlation.py → tasks.py (the table of what can be measured) → suites.py, report_card.py, report_page.py. By
themselves stand calibration.py, frechet.py, leaking.py, reasoning.py, unkind_words.py. docs/evaluating.md says what
each figure means.
"""

from .bag_of_words import LogisticRegression, NaiveBayes, baselines
from .benchmarks import BENCHMARKS, Benchmark, read_questions
from .bleu import Bleu, corpus_bleu
from .chrf import ChrF, corpus_chrf
from .classification import Classification, confusion_matrix
from .confidence import wilson_interval
from .confusion_plot import plot_confusion
from .continuations import continue_texts
from .correlation import pearson, spearman
from .diversity import Diversity, distinct, ends_in_loop, measure_diversity, repeated
from .frechet import frechet_distance
from .free_answers import CHECKS, FreeAnswers, write_answers
from .labelling import label_logits, label_numbers, label_probabilities
from .language_modeling import TextLoss, byte_lengths, text_loss, total_loss
from .last_word import LastWords, guess_last_words
from .likelihood import score_continuations
from .masked_words import MaskedWords, masking_of
from .multiple_choice import MultipleChoice, answer_questions
from .next_token import NextToken, predict_text
from .questions import Question, with_shots
from .robustness import Forgery, Probe, forging_prompts, probe_special_tokens
from .rouge import Rouge, mean_rouge, rouge
from .running import evaluating
from .summarization import summarize
from .table import format_table
from .text_pairs import TextScores, score_texts
from .translation import Translation, score_translations, translate

__all__ = [
    "BENCHMARKS", "Benchmark", "Bleu", "CHECKS", "ChrF", "Classification", "Diversity", "Forgery", "FreeAnswers",
    "LastWords", "LogisticRegression", "MaskedWords", "MultipleChoice", "NaiveBayes", "NextToken", "Probe",
    "Question", "Rouge", "TextLoss", "TextScores", "Translation", "answer_questions", "baselines", "byte_lengths",
    "confusion_matrix", "continue_texts", "corpus_bleu", "corpus_chrf", "distinct", "ends_in_loop", "evaluating",
    "forging_prompts", "format_table", "frechet_distance", "guess_last_words", "label_logits", "label_numbers",
    "label_probabilities", "masking_of", "mean_rouge", "measure_diversity", "pearson", "plot_confusion",
    "predict_text", "probe_special_tokens", "read_questions", "repeated", "rouge", "score_continuations",
    "score_texts", "score_translations", "spearman", "summarize", "text_loss", "total_loss", "translate",
    "wilson_interval", "with_shots", "write_answers",
]

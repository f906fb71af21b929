"""Measuring what a model can do.

Reading order: language_modeling.py → masked_words.py.
"""

from .language_modeling import TextLoss, byte_lengths, text_loss

__all__ = ["TextLoss", "byte_lengths", "text_loss"]

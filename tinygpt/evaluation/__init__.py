"""Measuring what a model can do."""

from .language_modeling import TextLoss, byte_lengths, text_loss

__all__ = ["TextLoss", "byte_lengths", "text_loss"]

"""The models, and their configurations."""

from .config import BERTConfig, EncoderDecoderConfig, GPTConfig
from .base import PretrainedModel
from .gpt import GPT
from .auto import load_model

__all__ = ["BERTConfig", "EncoderDecoderConfig", "GPT", "GPTConfig", "PretrainedModel", "load_model"]

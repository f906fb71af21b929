"""The models, and their configurations."""

from .config import BERTConfig, EncoderDecoderConfig, GPTConfig
from .base import PretrainedModel
from .gpt import GPT
from .bert import BERT
from .encoder_decoder import EncoderDecoder
from .auto import load_model

__all__ = ["BERT", "BERTConfig", "EncoderDecoder", "EncoderDecoderConfig", "GPT", "GPTConfig", "PretrainedModel",
           "load_model"]

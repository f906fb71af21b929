"""The models, and their configurations.

Reading order: layout.py, configuration.py, config.py (what a model is) → inputs.py, base.py (what models share) →
gpt.py → bert.py → encoder_decoder.py → resize.py (new tokens) → auto.py (which class a folder needs).
"""

from .config import BERTConfig, EncoderDecoderConfig, GPTConfig
from .base import PretrainedModel
from .gpt import GPT
from .bert import BERT
from .encoder_decoder import EncoderDecoder
from .resize import resize_vocabulary
from .auto import load_model

__all__ = ["BERT", "BERTConfig", "EncoderDecoder", "EncoderDecoderConfig", "GPT", "GPTConfig", "PretrainedModel",
           "load_model", "resize_vocabulary"]

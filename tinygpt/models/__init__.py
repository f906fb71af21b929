"""The models, and their configurations.

gpt.py is the book's GPT. Reading order of the rest: layout.py, kinds.py, config_base.py, config.py (what a model is)
→ inputs.py, base.py, causal.py (what models share) → decoder.py (the public GPT) → recurrent.py → bag.py →
text_cnn.py → picture_cnn.py → wide.py → bert.py → encoder_decoder.py → resize.py (new tokens) → adapter.py (what LoRA
trained) → auto.py (which class a folder needs) → pooling.py, sentences.py (vectors of texts).
"""

from .config import BERTConfig, EncoderDecoderConfig, GPTConfig
from .base import PretrainedModel
from .causal import CausalLM
from .decoder import GPT
from .recurrent import RecurrentConfig, RecurrentLM
from .bag import BagClassifier, BagConfig, buckets_for
from .text_cnn import TextCNN, TextCNNConfig
from .picture_cnn import PictureCNN
from .wide import WideClassifier, WideConfig
from .bert import BERT
from .encoder_decoder import EncoderDecoder
from .resize import resize_vocabulary
from .adapter import ADAPTER
from .auto import load_adapted, load_model, new_model
from .sentences import SentenceEncoder, cosines

__all__ = ["ADAPTER", "BERT", "BERTConfig", "BagClassifier", "BagConfig", "CausalLM", "EncoderDecoder",
           "EncoderDecoderConfig", "GPT", "GPTConfig", "PictureCNN", "PretrainedModel", "RecurrentConfig",
           "RecurrentLM", "SentenceEncoder", "TextCNN", "TextCNNConfig", "WideClassifier", "WideConfig", "buckets_for",
           "cosines", "load_adapted", "load_model", "new_model", "resize_vocabulary"]

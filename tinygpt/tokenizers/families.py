"""What the class of a public tokenizer says that its files leave out: who plays which role, what goes around a text.

Many folders on the Hub hold no more than a vocabulary and merges. The rest is in the program that reads them:
transformers finds the class of the tokenizer in `tokenizer_config.json`, else in the model's `config.json`, by name or
by the type of the model, and the class has defaults. RoBERTa's mask is "<mask>" though no file says so.

Prerequisites: nothing. Next: `files.py`, which finds the family of a folder.
Source: the classes of tokenizers in github.com/huggingface/transformers, and its mapping of types to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FAMILIES", "GENERIC", "GPT2", "MODEL_TYPES", "ROBERTA", "WHISPER", "Family"]


@dataclass(frozen=True)
class Family:
    """Tokenizers that split as GPT-2 does, with the same defaults.

    Attributes:
        roles: who plays which role where no file says otherwise.
        around: what goes before a text and what goes after it, as roles or as tokens' names; None where
            tokenizer_config.json says so by `add_bos_token` and `add_eos_token`.
        refused: the settings in tokenizer_config.json that would change it.
    """

    roles: Mapping[str, str]
    around: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    refused: tuple[str, ...] = ()


GPT2 = Family({role: "<|endoftext|>" for role in ("bos_token", "eos_token", "unk_token")})
ROBERTA = Family({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>",
                  "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}, (("cls_token",), ("sep_token",)))
WHISPER = Family(GPT2.roles, (("<|startoftranscript|>", "<|notimestamps|>"), ("eos_token",)),
                 ("language", "task", "predict_timestamps"))

# By the name of the class, without the "Fast" that some end in.
FAMILIES = {"GPT2Tokenizer": GPT2, "CodeGenTokenizer": GPT2, "RobertaTokenizer": ROBERTA, "BartTokenizer": ROBERTA,
            "LEDTokenizer": ROBERTA, "LongformerTokenizer": ROBERTA, "MvpTokenizer": ROBERTA,
            "WhisperTokenizer": WHISPER}

# Classes that say nothing of the tokenizer: all is in tokenizer.json, or in the type of the model.
GENERIC = ("PreTrainedTokenizer", "TokenizersBackend", "PythonBackend")

# By the model_type of config.json.
MODEL_TYPES = {
    **dict.fromkeys(("gpt2", "gpt_neo", "gptj", "codegen", "opt", "phi", "starcoder2", "blip-2", "dbrx"),
                    "GPT2Tokenizer"),
    **dict.fromkeys(("roberta", "roberta-prelayernorm", "bart", "led", "longformer", "mvp", "data2vec-text", "ibert",
                     "lilt", "mega", "mra", "clap", "bridgetower"), "RobertaTokenizer"), "whisper": "WhisperTokenizer"}

"""A random model of each kind with its tokenizer, for the tests of pipelines."""

from __future__ import annotations

from dataclasses import replace

from tinygpt.backend import manual_seed
from tinygpt.data.chat_template import add_chat_template
from tinygpt.models import BERT, BERTConfig, EncoderDecoder, EncoderDecoderConfig, GPT, GPTConfig, PretrainedModel
from tinygpt.tokenizers import ByteBPE, CharTokenizer
from tinygpt.tokenizers.base import Tokenizer

TEXT = "the quick brown fox jumps over the lazy dog and the dog sleeps\n" * 8
SIZES = dict(block_size=24, n_layer=2, n_head=2, n_embd=16, initializer_range=0.3)
LABELS = {0: "NEGATIVE", 1: "POSITIVE", 2: "MIXED"}


def reader_tokenizer(kind: str = "bpe") -> Tokenizer:
    """RoBERTa's special tokens, and its template."""
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tok: Tokenizer = CharTokenizer.train(TEXT, names) if kind == "char" else ByteBPE.train(TEXT, 300, names)
    tok.set_template(["<s>"], ["</s>"])
    return tok


def reader(head: str | None, kind: str = "bpe", architecture: str = "roberta", n_labels: int = 3,
           problem_type: str | None = None, labels: dict[int, str] | None = None) -> tuple[BERT, Tokenizer]:
    """An encoder with a head."""
    tok = reader_tokenizer(kind)
    manual_seed(3)
    if labels is None and head == "classification":
        labels = {number: LABELS[number] for number in range(n_labels)}
    return BERT(BERTConfig(vocab_size=len(tok), pad_token_id=tok.pad_token_id, architecture=architecture, head=head,
                           id2label=labels, problem_type=problem_type, dropout=0.1, **SIZES)), tok


def writer(head: str = "lm", architecture: str = "gpt2") -> tuple[GPT, Tokenizer]:
    """A decoder."""
    tok = ByteBPE.train(TEXT, vocab_size=300, special_tokens=["<|endoftext|>", "<|pad|>"])
    manual_seed(3)
    labels = {0: "NEGATIVE", 1: "POSITIVE"} if head == "classification" else None
    return GPT(GPTConfig(vocab_size=len(tok), head=head, id2label=labels, architecture=architecture,
                         bos_token_id=tok.eos_token_id, eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id,
                         **SIZES)), tok


def chatter() -> tuple[GPT, Tokenizer]:
    """A decoder whose tokenizer has a chat template."""
    model, tok = writer()
    tok = add_chat_template(tok)
    manual_seed(3)
    return GPT(replace(model.config, vocab_size=len(tok), block_size=64)), tok


def translator(architecture: str = "marian") -> tuple[EncoderDecoder, Tokenizer]:
    """An encoder-decoder."""
    tok = ByteBPE.train(TEXT, vocab_size=300, special_tokens=["</s>", "<pad>"])
    tok.set_template([], ["</s>"])
    manual_seed(3)
    return EncoderDecoder(EncoderDecoderConfig(
        vocab_size=len(tok), eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id,
        suppress_token_ids=(tok.pad_token_id,), architecture=architecture, **SIZES)), tok


KINDS = {
    "text-generation": writer, "text-classification": lambda: reader("classification"),
    "fill-mask": lambda: reader("masked_lm"), "translation": translator, "feature-extraction": lambda: reader(None),
    "sentence-similarity": lambda: reader(None), "summarization": translator, "text2text-generation": translator,
    "zero-shot-classification": lambda: reader("classification", labels={0: "contradiction", 1: "ENTAILMENT"})}


def save(pair: tuple[PretrainedModel, Tokenizer], folder) -> str:
    """Write both, and say where."""
    model, tok = pair
    model.save_pretrained(folder, tok)
    return str(folder)

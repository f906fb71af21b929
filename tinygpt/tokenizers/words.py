"""Whole words as tokens, in small letters: what counts words wants, and small data, of which no word can be cut well.

Prerequisites: `pipeline.py`, `wordpiece.py`. Next: `auto.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .pipeline import PipelineTokenizer
from .pre_tokenizers import read_pre_tokenizer
from .wordpiece import WordLevel

__all__ = ["MAX_WORDS", "train_words"]

MAX_WORDS = 100_000
LOWER = {"type": "Lowercase"}
SPLIT = {"type": "Split", "pattern": {"Regex": r"\w+|[^\w\s]"}, "behavior": "Removed", "invert": True}


def train_words(texts: Iterable[str], special_tokens: Sequence[str] = (), *, unk_token: str = "<unk>",
                max_words: int = MAX_WORDS) -> PipelineTokenizer:
    """A tokenizer whose tokens are the words and the punctuation marks of some texts, the most frequent first.

    Args:
        texts: to count in.
        special_tokens: get the first ids, in this order.
        unk_token: what stands for every other word.
        max_words: so many words at most.

    >>> tok = train_words(["The cat's here.", "the dog"])
    >>> tok.decode(tok.encode("The CAT ran."))
    'the cat <unk> .'
    """
    specials = list(dict.fromkeys([*special_tokens, unk_token]))
    split, counts = read_pre_tokenizer(SPLIT), Counter[str]()
    for text in texts:
        counts.update(split(text.lower(), True))
    for name in specials:
        counts.pop(name, None)
    found = sorted(counts, key=lambda word: (-counts[word], word))[:max_words]
    vocab = {word: i for i, word in enumerate([*specials, *found])}
    return PipelineTokenizer(WordLevel(vocab, unk_token), specials, LOWER, SPLIT)

"""BERT's tokenizer: WordPiece behind BERT's normalizer and splitter; and `vocab.txt`, its tokens, one a line.

The number of the line is the id. Nothing else stands in the file; `tokenizer_config.json` may say whether text is made
lower case and who plays which role.

Prerequisites: `pipeline.py`, `wordpiece.py`. Next: `auto.py`.
Source: the class of the same name in github.com/huggingface/transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .files import CONFIG, SavedTokenizer, about, member, read_config, read_text
from .hf_json import added_of_folder
from .pipeline import PipelineTokenizer
from .special import AddedToken, SpecialTokens
from .template import Template
from .wordpiece import WordPiece

__all__ = ["BertTokenizer"]

VOCAB = "vocab.txt"
_ROLES = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
          "mask_token": "[MASK]"}


class BertTokenizer(PipelineTokenizer):
    """A `PipelineTokenizer` with BERT's steps."""

    @classmethod
    def from_vocab(cls, vocab: Mapping[str, int], special_tokens: SpecialTokens | None = None, *,
                   lowercase: bool = True, strip_accents: bool | None = None, handle_chinese_chars: bool = True,
                   clean_text: bool = True) -> BertTokenizer:
        """The tokenizer of a WordPiece vocabulary, in which "##" begins what goes on inside of a word.

        Args:
            vocab: the id of each token.
            special_tokens: the special tokens; by default those of BERT's names that the vocabulary has.
            lowercase: make text lower case.
            strip_accents: take accents off; None as `lowercase` is.
            handle_chinese_chars: each Chinese character is a word.
            clean_text: drop control characters.

        >>> tok = BertTokenizer.from_vocab({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "play": 3, "##ed": 4})
        >>> tok.encode("Played!")
        [1, 3, 4, 0, 2]
        """
        if special_tokens is None:
            played = {role: name for role, name in _ROLES.items() if name in vocab}
            special_tokens = SpecialTokens([AddedToken(name, vocab[name]) for name in played.values()], played)
        roles = special_tokens.roles
        before, after = ([roles[role]] if role in roles else [] for role in ("cls_token", "sep_token"))
        return cls(WordPiece(vocab, roles.get("unk_token", "[UNK]")), special_tokens,
                   {"type": "BertNormalizer", "clean_text": clean_text, "handle_chinese_chars": handle_chinese_chars,
                    "strip_accents": strip_accents, "lowercase": lowercase}, {"type": "BertPreTokenizer"},
                   {"type": "WordPiece", "prefix": "##", "cleanup": True},
                   Template.around(before, after, special_tokens.ids, second=((), 1)))

    def _with_special(self, special: SpecialTokens) -> BertTokenizer:
        return type(self)(self.model, special, self.normalizer, self.pre_tokenizer, self.decoder, self.template)

    @classmethod
    def matches(cls, saved: SavedTokenizer) -> bool:
        """Whether the folder has a `vocab.txt` and no `tokenizer.json`."""
        return saved.has(VOCAB)

    @classmethod
    def _read(cls, saved: SavedTokenizer) -> BertTokenizer:
        text = about(saved.path / VOCAB, read_text, saved.path / VOCAB)
        lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
        return about(saved.path / VOCAB, cls._of_lines, lines, read_config(saved.path) or {}, saved)

    @classmethod
    def _of_lines(cls, lines: list[str], config: Mapping[str, Any], saved: SavedTokenizer) -> BertTokenizer:
        if lines == [""]:
            raise ValueError("it holds no tokens")
        vocab = {token: i for i, token in enumerate(lines)}  # of a token given twice, the last line holds, as in BERT
        roles = {**{role: name for role, name in _ROLES.items() if name in vocab}, **(saved.roles or {})}
        special = SpecialTokens.from_file(added_of_folder({}, vocab, roles, saved.path), roles)
        settings = {ours: about(saved.path / CONFIG, member, config, theirs, bool, default)
                    for ours, theirs, default in (("lowercase", "do_lower_case", True),
                                                  ("handle_chinese_chars", "tokenize_chinese_chars", True),
                                                  ("strip_accents", "strip_accents", None))}
        return cls.from_vocab(vocab, special, **settings)

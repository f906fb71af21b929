"""Data that are tokens already: folders that `tinygpt data` has made, alone or in a mixture.

Nothing of them is copied into the folder of the run. It remembers which folders they are and the hashes of their
indexes; a rank on another machine needs the same folders there.

Prerequisites: base.py, data/mixture.py. Next: causal.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...data import require_block
from ...data.mixture import Mixture, MixtureSampler, find_mixture
from ...data.shards import Row, tokenizer_fingerprint
from ...tokenizers import load_tokenizer
from ...tokenizers.base import Tokenizer
from .base import Objective, SizedSource

__all__ = ["OfTokens"]

REMEMBERED = "tokens"  # in the memory of a run


class OfTokens(Objective):
    """An objective that takes folders of tokens as well as texts.

    Attributes:
        mixture: the folders; None where the data are texts.
    """

    mixture: Mixture | None = None

    def parts(self) -> tuple[Any, Any]:
        """Texts, as `texts_of_data` gives them; nothing where the data are tokens."""
        self.mixture = find_mixture(self.options.data)
        if self.mixture is None:
            return self.texts_of_data()
        self.memory[REMEMBERED] = self.mixture.memory
        return (), ()

    def texts_of_data(self) -> tuple[Any, Any]:
        """(training part, validation part) of data that are texts."""
        raise NotImplementedError

    def first_tokenizer(self, training: Any, validation: Any) -> Tokenizer:
        """The tokenizer that the options name; of tokens, the one that they were made with.

        Raises:
            ValueError: the options name another one.
        """
        if self.mixture is None:
            return super().first_tokenizer(training, validation)
        folder, name = self.mixture.folders[0], self.options.tokenizer
        tokenizer = load_tokenizer(folder.path)
        if tokenizer_fingerprint(tokenizer) != folder.tokenizer:
            raise ValueError(f"{folder.path} holds tokens of another tokenizer than the one that lies there; make "
                             "the folder again with tinygpt data")
        if name != "bpe" and (name in ("char", "words")
                              or tokenizer_fingerprint(load_tokenizer(name)) != folder.tokenizer):
            raise ValueError(f"{folder.path} holds tokens of another tokenizer than --tokenizer {name}: leave that "
                             "out, and the folder's own is taken")
        return tokenizer

    def write(self, path: Path, part: Any) -> None:
        """Write a part of texts as ids; tokens are there."""
        if self.mixture is None:
            super().write(path, part)

    def read(self, path: Path) -> Any:
        """The ids of a part; of tokens, the training part is a list with those of each folder."""
        if REMEMBERED not in self.memory:
            return super().read(path)
        if self.mixture is None:
            self.mixture = Mixture.remembered(self.memory[REMEMBERED])
        return self.mixture.split(self.options.validation)[path.stem == "validation"]

    def start_mixture(self, train: list[Row], validation: Row) -> SizedSource:
        """Windows of all folders."""
        assert self.mixture is not None
        require_block(len(validation), 1, "the validation part")
        self.train, self.validation = Row.joined(train), validation
        o = self.options
        return MixtureSampler.of(train, self.mixture.weights, self.config.block_size, o.batch_size, o.seed)

    def overview(self) -> list[str]:
        """What is mixed."""
        if self.mixture is None:
            return super().overview()
        return [f"{weight:.1%} of the windows from {folder.path}, of {len(folder.ids):,} tokens"
                for folder, weight in zip(self.mixture.folders, self.mixture.weights)]

"""What pretraining can be told: the data, the objective, the tokenizer and the model's sizes.

Read before: options.py. Read next: objectives/base.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .options import TrainingOptions, option

__all__ = ["ARCHITECTURES", "PretrainOptions"]

ARCHITECTURES = {  # objective -> the layouts that it can train, its default first
    "causal": ("gpt2", "llama"),
    "masked": ("roberta", "bert"),
    "seq2seq": ("marian", "bart"),
}


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(TrainingOptions):
    """What to train on, what to train, and how.

    Raises:
        ValueError: an option outside its range, or an architecture that the objective cannot train.
    """

    data: tuple[str, ...] = option((), "files, folders, - for standard input, or named corpora [the embedded corpus]; "
                                       "for seq2seq tables of pairs, the source in the first column")
    objective: str = option("causal", "what to predict: the next token, hidden tokens, or a source's target",
                            choices=tuple(ARCHITECTURES))
    tokenizer: str = option("bpe", "char, bpe, or a folder that holds a tokenizer")
    vocab_size: int = option(1024, "tokens of a new bpe tokenizer")
    validation: float = option(0.1, "part of the text, at its end, that only validates; for seq2seq, of the sources")
    steps: int = option(1600, "training steps")
    batch_size: int = option(16, "sequences in a step")
    lr: float = option(None, "highest learning rate [causal: 0.384 / n_embd, at most 0.003; else a third of that]")
    architecture: str = option(None, f"the model's layout [the objective's: "
                                     f"{', '.join(names[0] for names in ARCHITECTURES.values())}]",
                               choices=tuple(name for names in ARCHITECTURES.values() for name in names))
    n_layer: int = option(4, "transformer blocks; of an encoder-decoder, in each half")
    n_head: int = option(4, "attention heads")
    n_kv_head: int | None = option(None, "heads of keys and values [n_head]")
    n_embd: int = option(128, "channels")
    block_size: int = option(64, "longest context, in tokens")
    bias: bool | None = option(None, "biases in linear layers and norms [the layout's]")
    activation: str | None = option(None, "gelu, gelu_tanh, relu or silu [the layout's]")
    dropout: float = option(0.0, "dropout rate")
    initializer_range: float = option(None, "standard deviation of the initial weights "
                                            "[causal: GPT-2's, 0.02 * sqrt(768 / n_embd); else 1 / sqrt(n_embd)]")

    def __post_init__(self) -> None:
        layouts = ARCHITECTURES.get(self.objective, ("none",))
        if self.architecture is None:
            object.__setattr__(self, "architecture", layouts[0])
        # A weight of deviation C^-½ keeps the variance of what goes through; GPT-2's 0.02 is about half of that at its
        # 768 channels, and next to nothing in a narrow model, whose blocks would long do nothing. Models with the norm
        # behind the sum train well only with the whole of it.
        if self.initializer_range is None and self.n_embd > 0:
            std = 0.02 * math.sqrt(768 / self.n_embd) if self.objective == "causal" else 1 / math.sqrt(self.n_embd)
            object.__setattr__(self, "initializer_range", std)
        if self.lr is None and self.n_embd > 0:  # wide models, and those with the norm behind the sum, want small steps
            object.__setattr__(self, "lr", min(0.003, 0.384 / self.n_embd) / (1 if self.objective == "causal" else 3))
        super().__post_init__()
        if self.architecture not in layouts:
            raise ValueError(f"the objective {self.objective} trains the architectures {' and '.join(layouts)}, not "
                             f"{self.architecture!r}")
        if self.objective != "causal" and (self.bias is not None or self.n_kv_head is not None):
            name = "bias" if self.bias is not None else "n_kv_head"
            raise ValueError(f"{name} is an option of the causal objective; {self.architecture} fixes it")

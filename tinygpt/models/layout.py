"""The one table of what each architecture fixes: where norms stand, where positions come from, and defaults.

The architectures are made of the same parts (kinds.py); this file says which of them each one has. A model whose parts
are all its architecture's opens in transformers; config.py says which parts may differ.

Prerequisites: nn/. Next: kinds.py, which builds the parts; config_base.py, which answers from this table.

Papers: GPT-2 (Radford et al. 2019), Llama (Touvron et al. 2023), Mistral and Mixtral (Jiang et al. 2023, 2024), BERT
(Devlin et al. 2018), RoBERTa (Liu et al. 2019), BART (Lewis et al. 2019), Marian (Junczys-Dowmunt et al. 2018), which
is the layout of Vaswani et al. 2017.
"""

from dataclasses import dataclass

__all__ = ["Layout", "LAYOUTS"]


@dataclass(frozen=True)
class Layout:
    """What an architecture fixes (first line), and its defaults for options left at None (second line)."""

    norm: str                # a name in kinds.NORMS
    norm_first: bool         # norms before attention and feed-forward (and one after the last block), or after them
    positions: str           # a name in kinds.POSITIONS
    mask: str                # a name in kinds.MASKS; of an encoder-decoder, the decoder's
    feed_forward: str        # a name in kinds.FEED_FORWARDS
    embedding_norm: bool     # a norm right after the embeddings
    activation: str
    bias: bool
    norm_epsilon: float


#                      norm    first  positions     mask      feed-forward  e-norm  activation   bias   epsilon
LAYOUTS = {
    "gpt2":     Layout("layer", True,  "learned",    "causal", "plain",      False, "gelu_tanh", True,  1e-5),
    "llama":    Layout("rms",   True,  "rotary",     "causal", "gated",      False, "silu",      False, 1e-6),
    "mistral":  Layout("rms",   True,  "rotary",     "window", "gated",      False, "silu",      False, 1e-6),
    "mixtral":  Layout("rms",   True,  "rotary",     "causal", "experts",    False, "silu",      False, 1e-5),
    "bert":     Layout("layer", False, "learned",    "full",   "plain",      True,  "gelu",      True,  1e-12),
    "roberta":  Layout("layer", False, "learned",    "full",   "plain",      True,  "gelu",      True,  1e-5),
    "bart":     Layout("layer", False, "learned",    "causal", "plain",      True,  "gelu",      True,  1e-5),
    "marian":   Layout("layer", False, "sinusoidal", "causal", "plain",      False, "relu",      True,  1e-5),
}

"""The one table of what each architecture fixes: where norms stand, where positions come from, and defaults.

Six architectures share one block (nn/block.py); this file says which of the block's options each of them takes. Because
an architecture fixes them, whatever a configuration can describe can be saved in a Hugging Face folder.
Prerequisites: docs/architecture.md. Next: configuration.py, which answers from this table.

Papers: GPT-2 (Radford et al. 2019), Llama (Touvron et al. 2023), BERT (Devlin et al. 2018), RoBERTa (Liu et al. 2019),
BART (Lewis et al. 2019), Marian (Junczys-Dowmunt et al. 2018), which is the layout of Vaswani et al. 2017.
"""

from dataclasses import dataclass

__all__ = ["Layout", "LAYOUTS", "ACTIVATIONS"]

ACTIVATIONS = ("gelu", "gelu_tanh", "relu", "silu")


@dataclass(frozen=True)
class Layout:
    """What an architecture fixes (first line), and its defaults for options left at None (second line)."""

    norm: str                # "layer" | "rms"
    norm_first: bool         # norms before attention and feed-forward (and one after the last block), or after them
    positions: str           # "learned" | "rotary" | "sinusoidal"
    gated: bool              # SwiGLU: down(act(gate(x)) · up(x)) instead of down(act(up(x)))
    embedding_norm: bool     # a norm right after the embeddings
    activation: str
    bias: bool
    norm_epsilon: float


#                      norm    first  positions     gated  e-norm  activation   bias   epsilon
LAYOUTS = {
    "gpt2":     Layout("layer", True,  "learned",    False, False, "gelu_tanh", True,  1e-5),
    "llama":    Layout("rms",   True,  "rotary",     True,  False, "silu",      False, 1e-6),
    "bert":     Layout("layer", False, "learned",    False, True,  "gelu",      True,  1e-12),
    "roberta":  Layout("layer", False, "learned",    False, True,  "gelu",      True,  1e-5),
    "bart":     Layout("layer", False, "learned",    False, True,  "gelu",      True,  1e-5),
    "marian":   Layout("layer", False, "sinusoidal", False, False, "relu",      True,  1e-5),
}

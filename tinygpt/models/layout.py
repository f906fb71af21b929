"""The one table of what each architecture fixes: where norms stand, where positions come from, and defaults.

The architectures are made of the same parts (kinds.py); this file says which of them each one has. A model whose parts
are all its architecture's opens in transformers; config.py says which parts may differ.

Prerequisites: nn/. Next: kinds.py, which builds the parts; config_base.py, which answers from this table.

Papers: GPT-2 (Radford et al. 2019), Llama (Touvron et al. 2023), Mistral and Mixtral (Jiang et al. 2023, 2024), Qwen 2
and 3 (Yang et al. 2024, 2025), OLMo 2 (OLMo team 2025), GPT-NeoX (Black et al. 2022), whose layout Pythia has, Gemma 3
(Gemma team 2025), BERT (Devlin et al. 2018), RoBERTa (Liu et al. 2019), XLM-RoBERTa (Conneau et al. 2020), DistilBERT
(Sanh et al. 2019), BART (Lewis et al. 2019), Marian (Junczys-Dowmunt et al. 2018), which is the layout of Vaswani et
al. 2017; T5 (Raffel et al. 2020).
"""

from dataclasses import dataclass

__all__ = ["Layout", "LAYOUTS"]


@dataclass(frozen=True)
class Layout:
    """What an architecture fixes (first line), and its defaults for options left at None (second line)."""

    norm: str                # a name in kinds.NORMS
    block: str               # a name in kinds.BLOCKS: where norms and sums stand
    positions: str           # a name in kinds.POSITIONS
    mask: str                # a name in kinds.MASKS; of an encoder-decoder, the decoder's
    feed_forward: str        # a name in kinds.FEED_FORWARDS
    embedding_norm: bool     # a norm right after the embeddings
    activation: str
    bias: bool
    norm_epsilon: float
    biases: str = "all"      # where biases are, if there are any: "all", "attention", or "qkv": all but its output
    qk_norm: str = ""        # norms of queries and keys, each "head" by itself or of "all" heads together; "" for none
    scale_embedding: bool = False   # token embeddings times √C
    pooler: str = "tanh"     # of a classifier of texts: a name in ops
    layers: tuple[str, ...] = ()    # what blocks look at, names in kinds.VIEWS, repeated; () where all look at the same
    views: tuple[str, ...] = ("full", "window")     # what `layers` may name, in architectures that have the option
    options: tuple[str, ...] = ()   # fields of configurations that only some architectures have
    attention_scale: float | None = None    # what scores are multiplied by; None for 1/√D, or what an option says
    scale_output: bool = False      # a decoder's features by √C, where the output's matrix is the token embedding
    shared_embedding: bool = False  # an encoder and its decoder have one embedding, even if the output has its own

    @property
    def norm_first(self) -> bool:
        """Whether the residual stream itself is never normalised."""
        return self.block != "post"


#                         norm     block      positions     mask      feed-forward  e-norm activation   bias   epsilon
LAYOUTS = {
    "gpt2":        Layout("layer", "pre",     "learned",    "causal", "plain",      False, "gelu_tanh", True,  1e-5),
    "llama":       Layout("rms",   "pre",     "rotary",     "causal", "gated",      False, "silu",      False, 1e-6),
    "mistral":     Layout("rms",   "pre",     "rotary",     "window", "gated",      False, "silu",      False, 1e-6),
    "mixtral":     Layout("rms",   "pre",     "rotary",     "causal", "experts",    False, "silu",      False, 1e-5),
    "qwen2":       Layout("rms",   "pre",     "rotary",     "causal", "gated",      False, "silu",      True,  1e-6,
                          biases="qkv", layers=("full",), options=("layers",)),
    "qwen3":       Layout("rms",   "pre",     "rotary",     "causal", "gated",      False, "silu",      False, 1e-6,
                          biases="attention", qk_norm="head", layers=("full",), options=("layers",)),
    "olmo2":       Layout("rms",   "branch",  "rotary",     "causal", "gated",      False, "silu",      False, 1e-5,
                          biases="attention", qk_norm="all"),
    "smollm3":     Layout("rms",   "pre",     "rotary",     "causal", "gated",      False, "silu",      False, 1e-6,
                          layers=("full", "full", "full", "still"), views=("full", "still"), options=("layers",)),
    "gpt_neox":    Layout("layer", "parallel", "rotary",    "causal", "plain",      False, "gelu",      True,  1e-5,
                          options=("rotary_share",)),
    "gemma3_text": Layout("offset_rms", "sandwich", "rotary", "causal", "gated", False, "gelu_tanh", False, 1e-6,
                          biases="attention", qk_norm="head", scale_embedding=True, layers=(*5 * ("window",), "full"),
                          options=("layers", "local_rope_theta", "attention_scale")),
    "bert":        Layout("layer", "post",    "learned",    "full",   "plain",      True,  "gelu",      True,  1e-12),
    "roberta":     Layout("layer", "post",    "learned",    "full",   "plain",      True,  "gelu",      True,  1e-5),
    "xlm-roberta": Layout("layer", "post",    "learned",    "full",   "plain",      True,  "gelu",      True,  1e-5),
    "distilbert":  Layout("layer", "post",    "learned",    "full",   "plain",      True,  "gelu",      True,  1e-12,
                          pooler="relu"),
    "bart":        Layout("layer", "post",    "learned",    "causal", "plain",      True,  "gelu",      True,  1e-5),
    "marian":      Layout("layer", "post",    "sinusoidal", "causal", "plain",      False, "relu",      True,  1e-5),
    "t5":          Layout("rms",   "pre",     "relative",   "causal", "plain",      False, "relu",      False, 1e-6,
                          attention_scale=1.0, scale_output=True, shared_embedding=True,
                          options=("feed_forward", "head_dim", "relative_buckets", "relative_distance",
                                   "norm_epsilon")),
}

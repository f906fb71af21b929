"""Configurations: what a model is, as frozen dataclasses that are resolved and checked when they are made.

Adds `GPTConfig`, `BERTConfig` and `EncoderDecoderConfig`. A configuration that exists can be built, and what can be
built can be saved. None stands for the architecture's own default and is replaced at once (fields are annotated as what
they are then), so `dataclasses.replace` keeps it: pass None again for what should follow another field
(`replace(config, n_embd=256, n_inner=None)`).
Prerequisites: layout.py, kinds.py, config_base.py. Next: inputs.py.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .config_base import Configuration
from .kinds import FEED_FORWARDS, POSITIONS
from .layout import LAYOUTS

__all__ = ["GPTConfig", "BERTConfig", "EncoderDecoderConfig"]

ROPE_SCALINGS = {  # Hugging Face's rope_type -> the numbers it needs
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}


@dataclass(frozen=True)
class GPTConfig(Configuration):
    """A decoder-only model, in one of the layouts that models/layout.py lists.

    Args:
        vocab_size: V, the number of token ids.
        block_size: the longest context, in tokens; of an `endless` model, that of a training example.
        n_layer, n_head, n_embd: L blocks of H heads over C channels.
        n_kv_head: heads of keys and values (grouped queries; not in GPT-2's layout). Default `n_head`.
        head_dim: D, channels of one head. Default C / H; GPT-2's layout has no other.
        n_inner: width of the feed-forward, or of one expert. Default 4·C, or for gated ones 8·C/3 rounded up to a
            multiple of 32.
        architecture: "gpt2", "llama", "mistral", "mixtral", "qwen2", "qwen3", "olmo2", "smollm3", "gpt_neox" or
            "gemma3_text".
        positions: how the model tells positions, a key of `kinds.POSITIONS`: "learned", "sinusoidal", "rotary" or
            "alibi". Default the architecture's; another kind makes a model that transformers cannot open.
        window: how many tokens a query looks at, its own included; None for all. Where blocks differ (`layers`), those
            that look at a window; all do unless `layers` says otherwise. Transformers opens such a model in the layouts
            of Mistral, Mixtral, Qwen and Gemma only.
        feed_forward: a key of `kinds.FEED_FORWARDS`, "plain", "gated" or "experts". As for positions.
        activation: a key of `ops.ACTIVATIONS`. Default the architecture's.
        bias: biases on linear layers and LayerNorms. Default the architecture's.
        dropout: the probability of dropping, in [0, 1).
        norm_epsilon: added to the variance in norms. Default the architecture's.
        rope_theta: base of the frequencies of rotary positions.
        rope_scaling: None, or Hugging Face's dict: {"rope_type": "linear", "factor": …}, or "llama3" and four numbers.
        tie_word_embeddings: one matrix for the embedding and the output projection.
        initializer_range: standard deviation of the initial weights.
        bos_token_id, eos_token_id, pad_token_id: ids inside the vocabulary, or None; eos may be several.
        head: "lm" (logits over the vocabulary), "classification" (over labels, from the last token), or None (the
            features themselves).
        n_labels, id2label: for head="classification": how many labels, and their names; otherwise 0 and None.
        problem_type: for head="classification": Hugging Face's word for what the logits mean. None is one label of
            several; "regression" and "multi_label_classification" have logits here and no loss.
        n_experts, n_experts_per_token: for feed_forward="experts": how many, and how many a token goes through.
        router_aux_loss_coef: the weight of their balance loss in training (nn/experts.py).
        layers: what each block looks at, names in `kinds.VIEWS`, for architectures whose blocks differ ("qwen2",
            "qwen3", "smollm3", "gemma3_text"); there by default the architecture's pattern, or windows in all blocks
            where it has none and `window` is given. None: all look at the same.
        local_rope_theta: `rope_theta` of the layers with a window ("gemma3_text"); by default the same.
        rotary_share: which part of a head's channels rotary positions turn ("gpt_neox"); by default all, 1.0.
        attention_scale: what scores are multiplied by ("gemma3_text"); by default 1/√D.

    Raises:
        ValueError, TypeError: an option is unknown, or options do not fit each other.
    """

    vocab_size: int
    block_size: int = 1024
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    n_kv_head: int = None               # type: ignore[assignment]
    head_dim: int = None               # type: ignore[assignment]
    n_inner: int = None               # type: ignore[assignment]
    architecture: str = "gpt2"
    positions: str = None               # type: ignore[assignment]
    feed_forward: str = None               # type: ignore[assignment]
    window: int | None = None
    activation: str = None               # type: ignore[assignment]
    bias: bool = None               # type: ignore[assignment]
    dropout: float = 0.0
    norm_epsilon: float = None               # type: ignore[assignment]
    rope_theta: float = 10000.0
    rope_scaling: dict[str, Any] | None = None
    tie_word_embeddings: bool = True
    initializer_range: float = 0.02
    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = None
    pad_token_id: int | None = None
    head: str | None = "lm"
    n_labels: int = None               # type: ignore[assignment]
    id2label: dict[int, str] | None = None
    problem_type: str | None = None
    n_experts: int = 8
    n_experts_per_token: int = 2
    router_aux_loss_coef: float = 0.001
    layers: tuple[str, ...] | None = None
    local_rope_theta: float | None = None
    rotary_share: float | None = None
    attention_scale: float | None = None

    ARCHITECTURES: ClassVar = ("gpt2", "llama", "mistral", "mixtral", "qwen2", "qwen3", "olmo2", "smollm3", "gpt_neox",
                               "gemma3_text")
    HEADS: ClassVar = ("lm", "classification", None)
    PARTS: ClassVar = ("positions", "feed_forward")

    def __post_init__(self) -> None:
        self._check_shared()
        self._check_labels()
        for name, kinds in (("positions", POSITIONS), ("feed_forward", FEED_FORWARDS)):
            self._default(name, getattr(self.layout, name))
            self._check_choice(name, tuple(kinds))
        self._default("bias", self.layout.bias)
        self._check_flag("bias")
        if self.bias and self.architecture in ("mistral", "mixtral"):
            self._fail(f"architecture={self.architecture!r} has no biases; leave bias out, or choose 'llama'")
        if not self.bias and self.architecture in ("qwen2", "gpt_neox"):
            self._fail(f"architecture={self.architecture!r} always has biases; leave bias out, or choose 'llama'")
        if self.window is not None:
            self._check_size("window")
        self._default("n_kv_head", self.n_head)
        self._default("head_dim", self.n_embd // self.n_head)
        plain = self.feed_forward == "plain"
        self._default("n_inner", 4 * self.n_embd if plain else -(-8 * self.n_embd // 96) * 32)
        self._check_size("n_kv_head", "head_dim", "n_inner")
        self._check_number("rope_theta", 0.0, open_=True)
        self._check_layers()
        if self.n_head % self.n_kv_head:
            self._fail(f"n_head={self.n_head} is not divisible by n_kv_head={self.n_kv_head}")
        if self.positions == "rotary" and (self.rotary_dim % 2 or not self.rotary_dim):
            self._fail(f"rotary positions turn pairs of channels, so head_dim must be even, got {self.rotary_dim}")
        if self.positions in ("rotary", "sinusoidal") and not self.endless:
            self._check_table(self.head_dim if self.positions == "rotary" else self.n_embd)
        plain_heads = self.n_kv_head == self.n_head and self.head_dim == self.n_embd // self.n_head
        if self.architecture == "gpt2" and not plain_heads:
            self._fail("n_kv_head other than n_head and head_dim other than n_embd / n_head need architecture='llama'")
        self._check_rope_scaling()
        self._check_experts()

    def _check_layers(self) -> None:
        """The fields that only some architectures have."""
        for name in ("layers", "local_rope_theta", "rotary_share", "attention_scale"):
            if getattr(self, name) is not None and name not in self.layout.options:
                having = [other for other, layout in LAYOUTS.items() if name in layout.options]
                self._fail(f"architecture={self.architecture!r} has no {name}; {', '.join(having)} "
                           f"{'has' if len(having) == 1 else 'have'}")
        for name, default in (("local_rope_theta", self.rope_theta), ("rotary_share", 1.0)):
            if self.positions == "rotary" and name in self.layout.options:
                self._default(name, default)
            elif getattr(self, name) is not None:
                self._fail(f"{name} needs rotary positions, and positions={self.positions!r}; leave it out")
        if "attention_scale" in self.layout.options:
            self._default("attention_scale", self.head_dim ** -0.5)
        for name in ("local_rope_theta", "attention_scale"):
            if getattr(self, name) is not None:
                self._check_number(name, 0.0, open_=True)
        if self.rotary_share is not None:
            self._check_number("rotary_share", 0.0, 1.0 + 1e-9, open_=True)
        if self.layout.layers:
            self._check_views()

    def _check_views(self) -> None:
        """What each block looks at, where blocks differ."""
        pattern, views, n = self.layout.layers, self.layout.views, self.n_layer
        if self.window is not None and "window" not in views:
            self._fail(f"architecture={self.architecture!r} has no layers with a window; leave window out, or choose "
                       "'mistral'")
        if self.window is not None and "window" not in pattern:
            pattern = ("window",)
        layers: Any = (pattern * (n // len(pattern) + 1))[:n] if self.layers is None else self.layers
        if not isinstance(layers, (tuple, list)) or len(layers) != n or not all(kind in views for kind in layers):
            self._fail(f"layers must name one of {', '.join(map(repr, views))} for each of the {n} blocks, "
                       f"got {layers!r:.80}")
        self._set("layers", tuple(layers))
        if "window" in layers and self.window is None:
            if "window" not in pattern:
                self._fail("layers that look at a window need window, how many tokens they look at")
            self._set("window", 4096)
        if layers and self.window is not None and "window" not in layers:
            self._fail(f"window={self.window} is for layers that look at a window, and layers names none; leave window "
                       "out, or layers")

    def _check_experts(self) -> None:
        self._check_size("n_experts", "n_experts_per_token")
        self._check_number("router_aux_loss_coef", 0.0)
        if self.n_experts_per_token > self.n_experts:
            self._fail(f"n_experts_per_token={self.n_experts_per_token} is more than n_experts={self.n_experts}")

    @property
    def mask(self) -> str:
        """Which mask: a name in `kinds.MASKS`."""
        return self.layout.mask if self.window is None or self.layers is not None else "window"

    @property
    def rotary_dim(self) -> int:
        """How many channels of a head rotary positions turn."""
        return self.head_dim if self.rotary_share is None else int(self.head_dim * self.rotary_share)

    @property
    def endless(self) -> bool:
        """Whether a text may be longer than `block_size`, without end: what a query looks at has a fixed size, and
        positions are distances, for which no table is needed."""
        return self.window is not None and self.positions in ("rotary", "alibi") \
            and set(self.layers or ["window"]) == {"window"}

    def _check_rope_scaling(self) -> None:
        if self.rope_scaling is None:
            return
        if self.positions != "rotary":
            self._fail(f"rope_scaling needs rotary positions, and positions={self.positions!r}")
        if not isinstance(self.rope_scaling, Mapping):
            raise TypeError(f"GPTConfig: rope_scaling must be a dict or None, got {self.rope_scaling!r}")
        kind = str(self.rope_scaling.get("rope_type"))
        if kind not in ROPE_SCALINGS:
            self._fail(f"rope_scaling with rope_type={kind!r:.80} is not supported; choose one of "
                       f"{', '.join(map(repr, ROPE_SCALINGS))}")
        needed = ROPE_SCALINGS[kind]
        for name in needed:
            value = self.rope_scaling.get(name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= sys.float_info.max:
                self._fail(f"rope_scaling of type {kind!r} needs {name!r} > 0, got {value!r:.80}")
        if surplus := sorted(set(self.rope_scaling) - {"rope_type", *needed}):
            self._fail(f"rope_scaling of type {kind!r} takes no {surplus[0]!r:.80}; it takes {', '.join(needed)}")
        if kind == "llama3" and not self.rope_scaling["low_freq_factor"] < self.rope_scaling["high_freq_factor"]:
            self._fail("rope_scaling needs low_freq_factor below high_freq_factor")
        self._set("rope_scaling", dict(self.rope_scaling))


@dataclass(frozen=True)
class BERTConfig(Configuration):
    """An encoder-only model: BERT's layout, DistilBERT's, RoBERTa's or XLM-RoBERTa's.

    Fields mean what they mean in `GPTConfig`; further ones:

    Args:
        type_vocab_size: kinds of segments (sentence A or B). Default 2, for RoBERTa and XLM-RoBERTa 1; DistilBERT has
            none, 0.
        head: None (hidden states), "masked_lm" or "classification".
        pad_token_id: default 0, for the two RoBERTas 1; there it also sets where positions begin (pad + 1, as in
            fairseq).
    """

    vocab_size: int
    block_size: int = 512
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    n_inner: int = None               # type: ignore[assignment]
    architecture: str = "bert"
    activation: str = None               # type: ignore[assignment]
    dropout: float = 0.0
    norm_epsilon: float = None               # type: ignore[assignment]
    type_vocab_size: int = None               # type: ignore[assignment]
    tie_word_embeddings: bool = True
    initializer_range: float = 0.02
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int = None               # type: ignore[assignment]
    head: str | None = None
    n_labels: int = None               # type: ignore[assignment]
    id2label: dict[int, str] | None = None
    problem_type: str | None = None

    ARCHITECTURES: ClassVar = ("bert", "roberta", "xlm-roberta", "distilbert")
    HEADS: ClassVar = (None, "masked_lm", "classification")

    def __post_init__(self) -> None:
        distilbert = self.architecture == "distilbert"
        self._default("pad_token_id", 1 if self.counts_tokens else 0)
        self._check_shared()
        self._check_labels()
        self._default("type_vocab_size", 0 if distilbert else 1 if self.counts_tokens else 2)
        self._default("n_inner", 4 * self.n_embd)
        self._check_size("n_inner")
        self._check_size("type_vocab_size", minimum=0 if distilbert else 1)
        if distilbert and self.type_vocab_size:
            self._fail(f"architecture='distilbert' has no segments: type_vocab_size must be 0, got "
                       f"{self.type_vocab_size}")

    @property
    def counts_tokens(self) -> bool:
        """Whether positions count tokens, from the row after the padding's on, as RoBERTa's do."""
        return self.architecture in ("roberta", "xlm-roberta")

    @property
    def position_offset(self) -> int:
        """The row of the position table where position 0 stands: RoBERTa's begins after the padding's row."""
        return self.pad_token_id + 1 if self.counts_tokens else 0


@dataclass(frozen=True)
class EncoderDecoderConfig(Configuration):
    """An encoder-decoder: BART's layout, Marian's, which is Vaswani's, or T5's. Fields mean what they mean in
    `GPTConfig`.

    Args:
        n_layer, n_head, n_inner: the encoder's.
        n_decoder_layer, n_decoder_head, n_decoder_inner: the decoder's; default the encoder's.
        scale_embedding: token embeddings times √C. Default True for Marian, False for the others.
        pad_token_id: default 1, for T5 0.
        decoder_start_token_id: what the decoder reads first. Default the eos id for BART, the padding id for the
            others.
        forced_bos_token_id, forced_eos_token_id: generated first, and last when the length runs out; None: not forced.
        suppress_token_ids: never generated (Marian's padding).
        no_repeat_ngram_size: no n-gram of this size is repeated; 0 for no such rule.
        min_length: no target ends before it has so many tokens, the start token included.
        renormalize_logits: beams are scored by probabilities of what is left then, not by the model's own.
        tie_word_embeddings: one matrix for both embeddings and the output; otherwise three, or in T5's layout two.
        feed_forward, head_dim, norm_epsilon: only T5's layout has other values than its architecture's.
        relative_buckets, relative_distance: of T5's positions (nn/relative.py): how many distances are told apart, and
            from which on all are one.
    """

    vocab_size: int
    block_size: int = 1024
    n_layer: int = 6
    n_head: int = 8
    n_embd: int = 512
    n_inner: int = None               # type: ignore[assignment]
    n_decoder_layer: int = None               # type: ignore[assignment]
    n_decoder_head: int = None               # type: ignore[assignment]
    n_decoder_inner: int = None               # type: ignore[assignment]
    architecture: str = "marian"
    activation: str = None               # type: ignore[assignment]
    dropout: float = 0.0
    scale_embedding: bool = None               # type: ignore[assignment]
    tie_word_embeddings: bool = True
    initializer_range: float = 0.02
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int = None               # type: ignore[assignment]
    decoder_start_token_id: int = None               # type: ignore[assignment]
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | None = None
    suppress_token_ids: tuple[int, ...] = ()
    no_repeat_ngram_size: int = 0
    min_length: int = 0
    renormalize_logits: bool = False
    feed_forward: str = None               # type: ignore[assignment]
    head_dim: int | None = None
    norm_epsilon: float = None               # type: ignore[assignment]
    relative_buckets: int | None = None
    relative_distance: int | None = None

    ARCHITECTURES: ClassVar = ("bart", "marian", "t5")
    PARTS: ClassVar = ("feed_forward",)
    HEADS: ClassVar = ("lm",)
    head: ClassVar[str] = "lm"

    def __post_init__(self) -> None:
        marian, t5 = self.architecture == "marian", self.architecture == "t5"
        self._default("pad_token_id", 0 if t5 else 1)
        self._check_shared()
        self._default("n_inner", 4 * self.n_embd)
        for name in ("layer", "head", "inner"):
            self._default(f"n_decoder_{name}", getattr(self, f"n_{name}"))
        self._check_size("n_inner", "n_decoder_head", "n_decoder_inner")
        self._check_size("n_decoder_layer", "no_repeat_ngram_size", "min_length", minimum=0)
        self._check_options()
        if marian:
            self._check_table(self.n_embd)
        self._default("scale_embedding", marian)
        self._check_flag("scale_embedding", "renormalize_logits")
        eos = self.eos_token_id
        self._default("decoder_start_token_id", self.pad_token_id if marian or t5 or eos is None else eos)
        self._check_ids("decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id")
        self._set("suppress_token_ids", tuple(self.suppress_token_ids))
        self._check_ids("suppress_token_ids")

    def _check_options(self) -> None:
        """The fields of which only some layouts have a choice, and the sizes of heads."""
        own = {"feed_forward": self.layout.feed_forward, "norm_epsilon": self.layout.norm_epsilon, "head_dim": None,
               "relative_buckets": None, "relative_distance": None}
        t5 = {"head_dim": self.n_embd // self.n_head, "relative_buckets": 32, "relative_distance": 128}
        for name, value in own.items():
            chosen = name in self.layout.options
            self._default(name, t5.get(name, value) if chosen else value)
            if not chosen and getattr(self, name) != value:
                self._fail(f"architecture={self.architecture!r} has no {name} to choose; leave it out, or choose 't5'")
        self._check_choice("feed_forward", tuple(kind for kind in FEED_FORWARDS if kind != "experts"))
        if self.architecture != "t5":
            return self._check_width("n_decoder_head")
        self._check_size("head_dim", "relative_buckets", "relative_distance")
        assert self.relative_buckets is not None and self.relative_distance is not None
        if self.relative_buckets < 4 or self.relative_distance <= self.relative_buckets // 2:
            self._fail("relative_buckets must be at least 4, and relative_distance more than half of them, got "
                       f"{self.relative_buckets} and {self.relative_distance}")
        for name in ("head", "inner"):
            if getattr(self, f"n_decoder_{name}") != getattr(self, f"n_{name}"):
                self._fail(f"architecture='t5' has one n_{name} for both stacks: leave n_decoder_{name} out")
        return None

    @property
    def attention_scale(self) -> float | None:
        """What scores are multiplied by; None for 1/√D."""
        return self.layout.attention_scale

    @property
    def position_offset(self) -> int:
        """The row of the position table where position 0 stands: BART's first two rows are never used."""
        return 2 if self.architecture == "bart" else 0

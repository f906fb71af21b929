"""The name tables: for each architecture, every tensor of ours and its name in a Hugging Face file.

Ours stand on the left (docs/architecture.md lists them), theirs on the right.
Prerequisites: names.py. Next: folder.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from .config_fields import DECODERS
from .names import Entry, Names, linear, matrix, norm, sizes, vector

__all__ = ["TABLES", "names_of", "shapes_of"]


def _vocabulary(embedding: str, output: str = "lm_head") -> dict[str, Any]:
    """The token embedding and the output's matrix by their names, tied and untied."""
    table = matrix("token_embedding", embedding, "V", "C")
    return {"tied": (replace(table, copies=(f"{output}.weight",)),),
            "untied": (table, matrix("lm_head", output, "V", "C"))}


DECODER_HEADS: dict[str | None, tuple[Entry, ...]] = {
    "lm": (), None: (), "classification": (matrix("score", "score", "N", "C"),)}

GPT2 = Names(
    prefix="transformer.",
    **_vocabulary("transformer.wte"),
    entries=(matrix("positions", "transformer.wpe", "T", "C"),
             *norm("norm", "transformer.ln_f", option="bias")),
    blocks=(("n_layer", (
        *norm("blocks.{}.attention_norm", "transformer.h.{}.ln_1", option="bias"),
        *linear("blocks.{}.attention.qkv", "transformer.h.{}.attn.c_attn", ["3C"], "C", form="transposed",
                option="bias"),
        *linear("blocks.{}.attention.out", "transformer.h.{}.attn.c_proj", "C", "C", form="transposed", option="bias"),
        *norm("blocks.{}.feed_forward_norm", "transformer.h.{}.ln_2", option="bias"),
        *linear("blocks.{}.feed_forward.up", "transformer.h.{}.mlp.c_fc", "I", "C", form="transposed", option="bias"),
        *linear("blocks.{}.feed_forward.down", "transformer.h.{}.mlp.c_proj", "C", "I", form="transposed",
                option="bias"),
    )),),
    heads=DECODER_HEADS,
    ignored=(r"h\.\d+\.attn\.(bias|masked_bias)",),            # the causal mask, kept as a buffer
    zero_biases=True,
)

LLAMA = Names(
    prefix="model.",
    **_vocabulary("model.embed_tokens"),
    entries=norm("norm", "model.norm", bias=False),
    blocks=(("n_layer", (
        *norm("blocks.{}.attention_norm", "model.layers.{}.input_layernorm", bias=False),
        *linear("blocks.{}.attention.qkv", ("model.layers.{}.self_attn.q_proj", "model.layers.{}.self_attn.k_proj",
                                            "model.layers.{}.self_attn.v_proj"), "QKK", "C", option="attention_bias"),
        *linear("blocks.{}.attention.out", "model.layers.{}.self_attn.o_proj", "C", "Q", option="attention_bias"),
        *norm("blocks.{}.feed_forward_norm", "model.layers.{}.post_attention_layernorm", bias=False),
        *linear("blocks.{}.feed_forward.gate", "model.layers.{}.mlp.gate_proj", "I", "C", option="mlp_bias"),
        *linear("blocks.{}.feed_forward.up", "model.layers.{}.mlp.up_proj", "I", "C", option="mlp_bias"),
        *linear("blocks.{}.feed_forward.down", "model.layers.{}.mlp.down_proj", "C", "I", option="mlp_bias"),
    )),),
    heads=DECODER_HEADS,
    ignored=(r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq",),
)


def _block(*changes: Entry, without: tuple[str, ...] = (), names: Names = LLAMA) -> tuple[Any, ...]:
    """Llama's block with some entries in the place of those for the same tensors, or added, and others left out."""
    kept = {entry.ours: entry for entry in names.blocks[0][1] if not any(part in entry.ours for part in without)}
    return (("n_layer", tuple((kept | {entry.ours: entry for entry in changes}).values())),)


ATTENTION = "blocks.{}.attention", "model.layers.{}.self_attn"  # ours, theirs
LLAMA_BIASES = tuple(entry.ours for entry in LLAMA.blocks[0][1] if entry.option == "mlp_bias")
QKV_BIAS = next(entry for entry in LLAMA.blocks[0][1] if entry.ours.endswith("qkv.bias"))


def _qk_norms(q: str, k: str) -> tuple[Entry, ...]:
    return tuple(entry for name, rows in (("q_norm", q), ("k_norm", k))
                 for entry in norm(f"{ATTENTION[0]}.{name}", f"{ATTENTION[1]}.{name}", rows=rows, bias=False))


def _layer_norms(**theirs: str) -> tuple[Entry, ...]:
    return tuple(entry for ours, name in theirs.items()
                 for entry in norm(f"blocks.{{}}.{ours}", f"model.layers.{{}}.{name}", bias=False))


QWEN2 = replace(LLAMA, blocks=_block(replace(QKV_BIAS, option=None), without=(*LLAMA_BIASES, "out.bias")))
QWEN3 = replace(LLAMA, blocks=_block(*_qk_norms("D", "D"), without=LLAMA_BIASES))
OLMO2 = replace(LLAMA, blocks=_block(
    *_qk_norms("Q", "K"), *_layer_norms(attention_norm="post_attention_layernorm",
                                        feed_forward_norm="post_feedforward_layernorm"), without=LLAMA_BIASES))
GEMMA3 = replace(LLAMA, blocks=_block(
    *_qk_norms("D", "D"), *_layer_norms(
        attention_out_norm="post_attention_layernorm", feed_forward_norm="pre_feedforward_layernorm",
        feed_forward_out_norm="post_feedforward_layernorm"), without=LLAMA_BIASES))

NEOX_LAYER = "gpt_neox.layers.{}"
GPT_NEOX = Names(
    prefix="gpt_neox.",
    **_vocabulary("gpt_neox.embed_in", "embed_out"),
    entries=norm("norm", "gpt_neox.final_layer_norm"),
    blocks=(("n_layer", (
        *norm("blocks.{}.attention_norm", f"{NEOX_LAYER}.input_layernorm"),
        *(replace(entry, form="heads") for entry in linear(
            "blocks.{}.attention.qkv", f"{NEOX_LAYER}.attention.query_key_value", ["3C"], "C")),
        *linear("blocks.{}.attention.out", f"{NEOX_LAYER}.attention.dense", "C", "C"),
        *norm("blocks.{}.feed_forward_norm", f"{NEOX_LAYER}.post_attention_layernorm"),
        *linear("blocks.{}.feed_forward.up", f"{NEOX_LAYER}.mlp.dense_h_to_4h", "I", "C"),
        *linear("blocks.{}.feed_forward.down", f"{NEOX_LAYER}.mlp.dense_4h_to_h", "C", "I"),
    )),),
    heads=DECODER_HEADS,
    ignored=(r"layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)", r"rotary_emb\.inv_freq"),
    renamed={r"^lm_head\.": "embed_out."},
)

MIXTURE = "blocks.{}.feed_forward", "model.layers.{}.block_sparse_moe"  # ours, theirs
EXPERT = {"gate": ("w1", "I", "C"), "up": ("w3", "I", "C"), "down": ("w2", "C", "I")}  # ours: theirs, rows, columns
MIXTRAL = replace(
    LLAMA,
    blocks=(("n_layer", (
        *(entry for entry in LLAMA.blocks[0][1] if ".feed_forward." not in entry.ours and entry.option is None),
        matrix(f"{MIXTURE[0]}.router", f"{MIXTURE[1]}.gate", "E", "C"),
        *(matrix(f"{MIXTURE[0]}.experts.{{}}.{ours}", f"{MIXTURE[1]}.experts.{{}}.{theirs}", rows, columns,
                 many="n_experts") for ours, (theirs, rows, columns) in EXPERT.items()),
    )),),
)


OLD_NORMS = {r"LayerNorm\.gamma$": "LayerNorm.weight", r"LayerNorm\.beta$": "LayerNorm.bias"}


def _bert(base: str, output: str, head: tuple[Entry, ...], output_bias: tuple[str, str],
          classifier: tuple[str, str], ignored: tuple[str, ...]) -> Names:
    """BERT's table and RoBERTa's: one encoder, two ways of naming the heads."""
    layer = f"{base}.encoder.layer.{{}}"
    bias, its_copy = output_bias
    return Names(
        prefix=f"{base}.",
        **_vocabulary(f"{base}.embeddings.word_embeddings", output),
        entries=(matrix("positions", f"{base}.embeddings.position_embeddings", "T", "C"),
                 matrix("segment_embedding", f"{base}.embeddings.token_type_embeddings", "S", "C"),
                 *norm("embedding_norm", f"{base}.embeddings.LayerNorm")),
        blocks=(("n_layer", (
            *linear("blocks.{}.attention.qkv", (f"{layer}.attention.self.query", f"{layer}.attention.self.key",
                                                f"{layer}.attention.self.value"), "CCC", "C"),
            *linear("blocks.{}.attention.out", f"{layer}.attention.output.dense", "C", "C"),
            *norm("blocks.{}.attention_norm", f"{layer}.attention.output.LayerNorm"),
            *linear("blocks.{}.feed_forward.up", f"{layer}.intermediate.dense", "I", "C"),
            *linear("blocks.{}.feed_forward.down", f"{layer}.output.dense", "C", "I"),
            *norm("blocks.{}.feed_forward_norm", f"{layer}.output.LayerNorm"),
        )),),
        heads={None: (),
               "masked_lm": (*head, vector("lm_head.bias", bias, "V", instead=(its_copy,))),
               "classification": (*linear("classifier.dense", classifier[0], "C", "C"),
                                  *linear("classifier.out", classifier[1], "N", "C"))},
        ignored=(r"embeddings\.position_ids", *ignored),
        renamed=OLD_NORMS,
    )


BERT = _bert(
    "bert", "cls.predictions.decoder",
    head=(*linear("lm_head.dense", "cls.predictions.transform.dense", "C", "C"),
          *norm("lm_head.norm", "cls.predictions.transform.LayerNorm")),
    output_bias=("cls.predictions.decoder.bias", "cls.predictions.bias"),
    classifier=("bert.pooler.dense", "classifier"),
    ignored=(r"cls\.seq_relationship\.(weight|bias)", r"pooler\.dense\.(weight|bias)"),
)

ROBERTA = _bert(
    "roberta", "lm_head.decoder",
    head=(*linear("lm_head.dense", "lm_head.dense", "C", "C"), *norm("lm_head.norm", "lm_head.layer_norm")),
    output_bias=("lm_head.decoder.bias", "lm_head.bias"),
    classifier=("classifier.dense", "classifier.out_proj"),
    ignored=(r"pooler\.dense\.(weight|bias)",),
)


DISTIL_LAYER = "distilbert.transformer.layer.{}"
DISTILBERT = Names(
    prefix="distilbert.",
    **_vocabulary("distilbert.embeddings.word_embeddings", "vocab_projector"),
    entries=(matrix("positions", "distilbert.embeddings.position_embeddings", "T", "C"),
             *norm("embedding_norm", "distilbert.embeddings.LayerNorm")),
    blocks=(("n_layer", (
        *linear("blocks.{}.attention.qkv", tuple(f"{DISTIL_LAYER}.attention.{name}_lin" for name in "qkv"), "CCC", "C"),
        *linear("blocks.{}.attention.out", f"{DISTIL_LAYER}.attention.out_lin", "C", "C"),
        *norm("blocks.{}.attention_norm", f"{DISTIL_LAYER}.sa_layer_norm"),
        *linear("blocks.{}.feed_forward.up", f"{DISTIL_LAYER}.ffn.lin1", "I", "C"),
        *linear("blocks.{}.feed_forward.down", f"{DISTIL_LAYER}.ffn.lin2", "C", "I"),
        *norm("blocks.{}.feed_forward_norm", f"{DISTIL_LAYER}.output_layer_norm"),
    )),),
    heads={None: (),
           "masked_lm": (*linear("lm_head.dense", "vocab_transform", "C", "C"),
                         *norm("lm_head.norm", "vocab_layer_norm"),
                         vector("lm_head.bias", "vocab_projector.bias", "V")),
           "classification": (*linear("classifier.dense", "pre_classifier", "C", "C"),
                              *linear("classifier.out", "classifier", "N", "C"))},
    ignored=(r"embeddings\.position_ids",),
    renamed=OLD_NORMS,
)


def _stack(name: str, inner: str, *, cross: bool) -> tuple[Entry, ...]:
    """One block of BART's or Marian's encoder or decoder."""
    ours, theirs = f"{name}.blocks.{{}}", f"model.{name}.layers.{{}}"
    attention = f"{theirs}.self_attn"
    entries = (*linear(f"{ours}.attention.qkv", (f"{attention}.q_proj", f"{attention}.k_proj", f"{attention}.v_proj"),
                       "CCC", "C"),
               *linear(f"{ours}.attention.out", f"{attention}.out_proj", "C", "C"),
               *norm(f"{ours}.attention_norm", f"{theirs}.self_attn_layer_norm"))
    if cross:
        attention = f"{theirs}.encoder_attn"
        entries += (*linear(f"{ours}.cross_attention.q", f"{attention}.q_proj", "C", "C"),
                    *linear(f"{ours}.cross_attention.kv", (f"{attention}.k_proj", f"{attention}.v_proj"), "CC", "C"),
                    *linear(f"{ours}.cross_attention.out", f"{attention}.out_proj", "C", "C"),
                    *norm(f"{ours}.cross_attention_norm", f"{theirs}.encoder_attn_layer_norm"))
    return (*entries,
            *linear(f"{ours}.feed_forward.up", f"{theirs}.fc1", inner, "C"),
            *linear(f"{ours}.feed_forward.down", f"{theirs}.fc2", "C", inner),
            *norm(f"{ours}.feed_forward_norm", f"{theirs}.final_layer_norm"))


def _encoder_decoder(entries: tuple[Entry, ...], sines: tuple[str, ...] = ()) -> Names:
    shared = "model.shared.weight"
    return Names(
        prefix="model.",
        tied=(matrix("token_embedding", "model.shared", "V", "C",
                     copies=("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight",
                             "lm_head.weight")),),
        untied=(matrix("encoder.token_embedding", "model.encoder.embed_tokens", "V", "C", instead=(shared,)),
                matrix("decoder.token_embedding", "model.decoder.embed_tokens", "V", "C", instead=(shared,)),
                matrix("lm_head", "lm_head", "V", "C")),
        entries=entries,
        blocks=(("n_layer", _stack("encoder", "I", cross=False)),
                ("n_decoder_layer", _stack("decoder", "J", cross=True))),
        heads={"lm": (vector("lm_head.bias", "final_logits_bias", "V", form="row", optional=True),)},
        sines=sines,
        ignored=(r"(encoder|decoder)\.version",),
    )


BART = _encoder_decoder(
    entries=(matrix("encoder.positions", "model.encoder.embed_positions", "T", "C"),
             matrix("decoder.positions", "model.decoder.embed_positions", "T", "C"),
             *norm("encoder.embedding_norm", "model.encoder.layernorm_embedding"),
             *norm("decoder.embedding_norm", "model.decoder.layernorm_embedding")),
)

MARIAN = _encoder_decoder(
    entries=(),
    sines=(r"(encoder|decoder)\.embed_positions\.weight",),
)

RECURRENT = Names(
    prefix="",
    **_vocabulary("token_embedding"),
    entries=(),
    blocks=(("n_layer", (
        *(Entry(f"layers.weight_{name}_l{{}}", (f"layers.weight_{name}_l{{}}",), ("G",), "C") for name in ("ih", "hh")),
        *(vector(f"layers.bias_{name}_l{{}}", f"layers.bias_{name}_l{{}}", "G") for name in ("ih", "hh")),
    )),),
    heads={"lm": ()},
)

BAG = Names(
    prefix="",
    tied=(matrix("words", "words", "V", "N"),), untied=(),
    entries=(matrix("pairs", "pairs", "P", "N"), vector("bias", "bias", "N")),
    blocks=(), heads={"classification": ()},
)

CNN = Names(
    prefix="",
    tied=(matrix("token_embedding", "token_embedding", "V", "C"),), untied=(),
    entries=(*(entry for i, width in enumerate((3, 4, 5)) for entry in (
        matrix(f"kernels.{i}", f"kernels.{i}", "F", "C", further=(width,)),
        vector(f"kernels.{i}.bias", f"kernels.{i}.bias", "F"))),
        *linear("classifier", "classifier", "N", "3F")),
    blocks=(), heads={"classification": ()},
)

WIDE = Names(
    prefix="",
    tied=tuple(entry.under("bag.") for entry in BAG.tied) + tuple(entry.under("cnn.") for entry in CNN.tied), untied=(),
    entries=(*(entry.under("bag.") for entry in BAG.entries), *(entry.under("cnn.") for entry in CNN.entries)),
    blocks=(), heads={"classification": ()},
)


def _t5_stack(name: str, up: tuple[tuple[str, str], ...], *, cross: bool) -> tuple[Entry, ...]:
    """One block of T5's encoder or decoder; `up` names the matrices into the feed-forward layer, ours and theirs."""
    ours, theirs = f"{name}.blocks.{{}}", f"{name}.block.{{}}.layer"
    attention, last = f"{theirs}.0.SelfAttention", f"{theirs}.{1 + cross}"
    linears: list[tuple[str, Any, str, str]] = [
        ("attention.qkv", tuple(f"{attention}.{part}" for part in "qkv"), "QKK", "C"),
        ("attention.out", f"{attention}.o", "C", "Q"),
        *((f"feed_forward.{part}", f"{last}.DenseReluDense.{it}", "I", "C") for part, it in up),
        ("feed_forward.down", f"{last}.DenseReluDense.wo", "C", "I")]
    norms = {"attention_norm": f"{theirs}.0", "feed_forward_norm": last}
    if cross:
        attention = f"{theirs}.1.EncDecAttention"
        linears += [("cross_attention.q", f"{attention}.q", "Q", "C"),
                    ("cross_attention.kv", (f"{attention}.k", f"{attention}.v"), "KK", "C"),
                    ("cross_attention.out", f"{attention}.o", "C", "Q")]
        norms["cross_attention_norm"] = f"{theirs}.1"
    return (*(linear(f"{ours}.{part}", names, rows, columns)[0] for part, names, rows, columns in linears),
            *(entry for part, layer in norms.items()
              for entry in norm(f"{ours}.{part}", f"{layer}.layer_norm", bias=False)))


def _t5(*up: tuple[str, str]) -> Names:
    table = matrix("token_embedding", "shared", "V", "C",
                   copies=("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"))
    bias = "{0}.positions", "{0}.block.0.layer.0.SelfAttention.relative_attention_bias"
    return Names(
        prefix="",
        tied=(replace(table, copies=(*table.copies, "lm_head.weight")),),
        untied=(table, matrix("lm_head", "lm_head", "V", "C", like=("shared.weight",))),
        entries=tuple(entry for stack in ("encoder", "decoder") for entry in (
            matrix(bias[0].format(stack), bias[1].format(stack), "R", "H"),
            *norm(f"{stack}.norm", f"{stack}.final_layer_norm", bias=False))),
        blocks=(("n_layer", _t5_stack("encoder", up, cross=False)),
                ("n_decoder_layer", _t5_stack("decoder", up, cross=True))),
        heads={"lm": ()},
        ignored=(r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",),
    )


TABLES = {"gpt2": GPT2, "llama": LLAMA, "mistral": LLAMA, "mixtral": MIXTRAL, "qwen2": QWEN2, "qwen3": QWEN3,
          "olmo2": OLMO2, "smollm3": LLAMA, "gpt_neox": GPT_NEOX, "gemma3_text": GEMMA3, "bert": BERT,
          "roberta": ROBERTA, "xlm-roberta": ROBERTA, "distilbert": DISTILBERT, "bart": BART, "marian": MARIAN,
          "t5": _t5(("up", "wi")), "t5 gated": _t5(("gate", "wi_0"), ("up", "wi_1")),
          "lstm": RECURRENT, "gru": RECURRENT, "rnn": RECURRENT, "bag": BAG, "cnn": CNN, "wide": WIDE}


def _feed_forward(part: str = "", many: str = "", **widths: str) -> tuple[Entry, ...]:
    """The matrices of a feed-forward layer, by name: which has as many rows as its inside is wide, "I", or channels.
    `part` and `many` are for several such layers: what stands before their matrices' names, and the field that counts
    them."""
    names = {name: f"blocks.{{}}.feed_forward.{part}{name}" for name in widths}
    return tuple(entry for name, rows in widths.items()
                 for entry in linear(names[name], names[name], [rows], "C" if rows == "I" else "I", option="bias",
                                     many=many))


# What each kind of a part that may deviate from the layout (options.PARTS) is made of: of the whole model, and of each
# block. A kind without a row has no parameters. Names that the layout's table lacks are ours in the file as well.
PARTS: dict[str, dict[str, tuple[Entry, ...]]] = {
    "positions": {"learned": (matrix("positions", "positions", "T", "C"),),
                  "relative": (matrix("positions", "positions", "R", "H"),)},
}
BLOCK_PARTS: dict[str, dict[str, tuple[Entry, ...]]] = {
    "feed_forward": {
        "plain": _feed_forward(up="I", down="C"), "gated": _feed_forward(gate="I", up="I", down="C"),
        "experts": (matrix("blocks.{}.feed_forward.router", "blocks.{}.feed_forward.router", "E", "C"),
                    *_feed_forward("experts.{}.", "n_experts", gate="I", up="I", down="C")),
    },
}


def names_of(fields: Mapping[str, Any]) -> Names:
    """The name table of the model that `fields` describe: its layout's, with the parts exchanged that deviate."""
    names: Names = TABLES[fields["architecture"]]
    if fields["architecture"] not in DECODERS:                 # whose parts do not deviate
        return TABLES.get(f"{fields['architecture']} {fields.get('feed_forward')}", names)
    entries, ((count, block), *others) = names.entries, names.blocks
    for part, kinds in PARTS.items():
        entries = _exchanged(entries, kinds, fields.get(part))
    for part, kinds in BLOCK_PARTS.items():
        block = _exchanged(block, kinds, fields.get(part))
    if not any(".feed_forward." in entry.ours and entry.ours.endswith(".bias") for entry in names.blocks[0][1]):
        block = tuple(entry for entry in block                 # biases are in attention alone, in every kind
                      if ".feed_forward." not in entry.ours or not entry.ours.endswith(".bias"))
    return replace(names, entries=entries, blocks=((count, block), *others))


def shapes_of(fields: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(our name, shape) of every parameter of the model that a resolved configuration's `to_dict` describes."""
    symbols = sizes(dict(fields))
    for entry in names_of(fields).of(dict(fields)):
        if entry.option is None or fields.get("bias", True):
            yield entry.ours, entry.shape(symbols)


def _exchanged(entries: tuple[Entry, ...], kinds: Mapping[str, tuple[Entry, ...]],
               kind: str | None) -> tuple[Entry, ...]:
    """Entries with a part of this kind in place of the layout's; None for the layout's."""
    if kind is None:
        return entries
    wanted = {entry.ours: entry for entry in kinds.get(kind, ())}
    unwanted = {entry.ours for some in kinds.values() for entry in some} - wanted.keys()
    kept = tuple(entry for entry in entries if entry.ours not in unwanted and (
        entry.ours not in wanted or entry.rows == wanted[entry.ours].rows))
    known = {entry.ours for entry in kept}
    return kept + tuple(entry for name, entry in wanted.items() if name not in known)

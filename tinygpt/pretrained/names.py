"""What a name table is made of: entries that say where each of our tensors lies in a Hugging Face file.

Tables (tables.py) are written with the helpers here, one line a layer. Shapes are symbols, so that a table can be
checked, and fused rows split, without building a model:

    V vocabulary   T rows of the position table   C, 3C channels, three times as many   S kinds of segments   N labels
    Q, K rows of all queries, of all keys         I, J width of the feed-forward (the encoder's, the decoder's)
    E experts                                     D channels of a head   H heads   R distances that are told apart
    G rows of all gates of a recurrent layer      P buckets of pairs     F, 3F kernels of a width, of all three

In a name the first `{}` is the block's number, a second one the number of a part of the block (an expert).

Prerequisites: config_json.py. Next: tables.py, then folder.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .config_fields import COUNTS_TOKENS

__all__ = ["Entry", "Names", "linear", "norm", "matrix", "vector", "sizes"]


GATES = {"lstm": 4, "gru": 3, "rnn": 1}


@dataclass(frozen=True)
class Entry:
    """One of our tensors, and where it lies in their file.

    Attributes:
        ours: our name.
        theirs: their name; several when ours is theirs stacked along the first axis, in this order.
        rows: the rows of each part, as symbols.
        columns: the second axis as a symbol; "" for a vector. further: lengths of the axes behind it.
        form: "same"; "transposed": theirs is (columns, rows); "row": theirs is a vector with a leading axis of one;
            "heads": theirs has queries, keys and values of the first head, then of the next.
        option: the flag of config.json without which their file has no such tensor (or zeros: see `Names`).
        copies: names under which the same values may stand again, or instead; all must agree; not written.
        instead: names to read from where `theirs` is absent; otherwise without meaning; written with the same values.
        optional: zeros where the file has none.
        like: the name of another tensor, whose values it has where the file has none of its own.
        many: the field that counts the parts of a block that each have such a tensor; "" for a block's only one.
    """

    ours: str
    theirs: tuple[str, ...]
    rows: tuple[str, ...]
    columns: str = ""
    form: str = "same"
    option: str | None = None
    copies: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    optional: bool = False
    like: tuple[str, ...] = ()
    many: str = ""
    further: tuple[int, ...] = ()

    def shape(self, symbols: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of ours, where the symbols stand for these numbers."""
        rows = sum(symbols[symbol] for symbol in self.rows)
        return (rows, symbols[self.columns], *self.further) if self.columns else (rows,)

    def under(self, prefix: str) -> Entry:
        """The entry of a model that is a part of another one, of that name."""
        return replace(self, ours=prefix + self.ours, theirs=tuple(prefix + name for name in self.theirs))

    def of_block(self, *numbers: int) -> Entry:
        """The entry with numbers in its names: the block's and, if there are many, the part's."""
        return replace(self, ours=self.ours.format(*numbers),
                       theirs=tuple(name.format(*numbers) for name in self.theirs))


@dataclass(frozen=True)
class Names:
    """A family's name table.

    Attributes:
        prefix: what stands before the base model's names, in some files and not in others.
        entries: the tensors that every model has.
        blocks: (the field that counts the blocks, the tensors of one block), for each stack.
        heads: further tensors by head.
        tied, untied: the embeddings and, for heads over the vocabulary, the output, which share one matrix or do not.
        sines: patterns of names, without prefix, of tables that may be there and must hold the sines computed here.
        ignored: patterns of names without prefix that may be there and say nothing: buffers, heads not used.
        zero_biases: their classes always have biases: a model without them writes zeros, and reads nothing but zeros.
        renamed: older spellings of names, as pattern -> replacement.
    """

    prefix: str
    entries: tuple[Entry, ...]
    blocks: tuple[tuple[str, tuple[Entry, ...]], ...]
    heads: dict[str | None, tuple[Entry, ...]]
    tied: tuple[Entry, ...]
    untied: tuple[Entry, ...]
    sines: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    zero_biases: bool = False
    renamed: dict[str, str] = field(default_factory=dict)

    def of(self, fields: dict[str, Any]) -> Iterator[Entry]:
        """The entries of the model that `fields` describe, block by block."""
        head = fields.get("head", "lm")
        yield from self.untied if head in ("lm", "masked_lm") and not fields["tie_word_embeddings"] else self.tied
        yield from self.entries
        for count, entries in self.blocks:
            for number in range(fields[count]):
                for entry in entries:
                    for part in range(fields[entry.many] if entry.many else 1):
                        yield entry.of_block(number, part)
        yield from self.heads[head]


def matrix(ours: str, theirs: str, rows: str, columns: str, **more: Any) -> Entry:
    """A single matrix, such as an embedding; names without `.weight`."""
    return Entry(f"{ours}.weight", (f"{theirs}.weight",), (rows,), columns, **more)


def vector(ours: str, theirs: str, rows: str, **more: Any) -> Entry:
    """A single vector; full names."""
    return Entry(ours, (theirs,), (rows,), **more)


def linear(ours: str, theirs: str | tuple[str, ...], rows: Sequence[str], columns: str, *, form: str = "same",
           option: str | None = None, many: str = "") -> tuple[Entry, Entry]:
    """A linear layer's weight and bias; `rows` has one symbol for each of theirs."""
    parts = (theirs,) if isinstance(theirs, str) else theirs
    return (Entry(f"{ours}.weight", tuple(f"{part}.weight" for part in parts), tuple(rows), columns, form, many=many),
            Entry(f"{ours}.bias", tuple(f"{part}.bias" for part in parts), tuple(rows), option=option, many=many))


def norm(ours: str, theirs: str, *, option: str | None = None, bias: bool = True, rows: str = "C") -> tuple[Entry, ...]:
    """A norm's scale and shift."""
    return (vector(f"{ours}.weight", f"{theirs}.weight", rows),
            vector(f"{ours}.bias", f"{theirs}.bias", rows, option=option))[:1 + bias]


def sizes(fields: dict[str, Any]) -> dict[str, int]:
    """What the symbols stand for in the model that `fields` describe."""
    channels, heads = fields.get("n_embd") or 0, fields.get("n_head") or 1
    head_dim = fields.get("head_dim") or channels // heads
    architecture = fields["architecture"]
    offset = (fields.get("pad_token_id") or 0) + 1 if architecture in COUNTS_TOKENS else 2 * (architecture == "bart")
    inner = fields.get("n_inner") or 4 * channels
    return {"V": fields["vocab_size"], "T": fields["block_size"] + offset, "C": channels, "3C": 3 * channels,
            "I": inner, "J": fields.get("n_decoder_inner") or inner, "Q": heads * head_dim,
            "K": (fields.get("n_kv_head") or heads) * head_dim, "S": fields.get("type_vocab_size") or 0,
            "N": fields.get("n_labels") or 0, "E": fields.get("n_experts") or 0, "D": head_dim, "H": heads,
            "R": fields.get("relative_buckets") or 32,
            "G": GATES.get(architecture, 0) * channels, "P": fields.get("n_buckets") or 0,
            "F": fields.get("n_kernels") or 0, "3F": 3 * (fields.get("n_kernels") or 0)}

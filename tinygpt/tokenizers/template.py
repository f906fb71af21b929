"""What a tokenizer puts around every text: nothing for GPT-2, `<s> … </s>` for RoBERTa, a first token for Llama.

Hugging Face calls this the post-processor; `from_json` reads the kinds that `tokenizer.json` knows, and refuses others
by name.

Prerequisites: `special.py`. Next: `files.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Template"]


@dataclass(frozen=True)
class Template:
    """Ids before and after a text.

    Attributes:
        prefix_ids, suffix_ids: the ids.
        json: the post-processor as `tokenizer.json` writes it; None for an empty template.
    """

    prefix_ids: tuple[int, ...] = ()
    suffix_ids: tuple[int, ...] = ()
    json: dict[str, Any] | None = None

    @classmethod
    def around(cls, prefix: Sequence[str], suffix: Sequence[str], ids: Mapping[str, int]) -> Template:
        """The template that puts the tokens named `prefix` before a text and those named `suffix` after it."""
        for name in (*prefix, *suffix):
            if name not in ids:
                raise ValueError(f"the template names {name!r}, but the special tokens are {list(ids)}")
        if not prefix and not suffix:
            return cls()

        def items(sequence: str) -> list[dict[str, Any]]:
            return [*({"SpecialToken": {"id": name, "type_id": 0}} for name in prefix),
                    {"Sequence": {"id": sequence, "type_id": 0}},
                    *({"SpecialToken": {"id": name, "type_id": 0}} for name in suffix)]

        names = {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in (*prefix, *suffix)}
        return cls(tuple(ids[name] for name in prefix), tuple(ids[name] for name in suffix),
                   {"type": "TemplateProcessing", "single": items("A"), "pair": items("A") + items("B"),
                    "special_tokens": names})

    @classmethod
    def from_json(cls, post_processor: Any) -> Template:
        """Read a post-processor; ValueError for a kind that is not known."""
        prefix, suffix = _around(post_processor)
        return cls(tuple(prefix), tuple(suffix), post_processor)


def _around(step: Any) -> tuple[list[int], list[int]]:
    """Ids before and after a text, by one post-processor of `tokenizer.json`."""
    if step is None:
        return [], []
    try:
        kind = step["type"]
        if kind == "ByteLevel":  # corrects offsets only, which we do not give
            return [], []
        if kind in ("RobertaProcessing", "BertProcessing"):  # each of sep and cls is [name, id]
            return [_id(step["cls"][1])], [_id(step["sep"][1])]
        if kind == "Sequence":
            prefix: list[int] = []
            suffix: list[int] = []
            for part in step["processors"]:
                before, after = _around(part)
                prefix, suffix = before + prefix, suffix + after
            return prefix, suffix
        if kind == "TemplateProcessing":
            return _around_template(step)
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"the post_processor is malformed ({type(error).__name__}: {error})") from None
    raise ValueError(f"post_processor {kind!r:.100} is none that can be read (ByteLevel, RobertaProcessing, "
                     "BertProcessing, TemplateProcessing, Sequence)")


def _around_template(step: dict[str, Any]) -> tuple[list[int], list[int]]:
    sides: list[list[int]] = [[]]
    for item in step["single"]:
        if "Sequence" in item:
            sides.append([])
        else:
            sides[-1] += map(_id, step["special_tokens"][item["SpecialToken"]["id"]]["ids"])
    if len(sides) != 2:
        raise ValueError(f"the post_processor's template for one text holds it {len(sides) - 1} times, expected once")
    return sides[0], sides[1]


def _id(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"the post_processor gives {value!r} as a token id")
    return value

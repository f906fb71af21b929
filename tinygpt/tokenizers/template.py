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

    def pair(self, first: Sequence[int], second: Sequence[int]) -> tuple[list[int], list[int]]:
        """The ids of two texts together, and of each the number of its text, 0 or 1, as a model's segments want it."""
        found: list[int] = []
        types: list[int] = []
        for part, kind in _pair(self.json):
            ids = first if part == "A" else second if part == "B" else part
            found += ids
            types += [kind] * len(ids)
        return found, types

    @classmethod
    def around(cls, prefix: Sequence[str], suffix: Sequence[str], ids: Mapping[str, int],
               second: tuple[Sequence[str], int] | None = None) -> Template:
        """The template that puts the tokens named `prefix` before a text and those named `suffix` after it.

        Args:
            prefix, suffix: names of special tokens.
            ids: their ids.
            second: of two texts, the tokens before the second, by default `prefix`, and its number.
        """
        for name in (*prefix, *suffix):
            if name not in ids:
                raise ValueError(f"the template names {name!r}, but the special tokens are {list(ids)}")
        if not prefix and not suffix:
            return cls()

        def items(sequence: str, before: Sequence[str], kind: int) -> list[dict[str, Any]]:
            return [*({"SpecialToken": {"id": name, "type_id": kind}} for name in before),
                    {"Sequence": {"id": sequence, "type_id": kind}},
                    *({"SpecialToken": {"id": name, "type_id": kind}} for name in suffix)]

        between, kind = (prefix, 0) if second is None else second
        names = {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in (*prefix, *suffix)}
        return cls(tuple(ids[name] for name in prefix), tuple(ids[name] for name in suffix),
                   {"type": "TemplateProcessing", "single": items("A", prefix, 0),
                    "pair": items("A", prefix, 0) + items("B", between, kind),
                    "special_tokens": names})

    @classmethod
    def from_json(cls, post_processor: Any) -> Template:
        """Read a post-processor; ValueError for a kind that is not known."""
        prefix, suffix = _around(post_processor)
        return cls(tuple(prefix), tuple(suffix), post_processor)


Part = tuple[Any, int]  # "A", "B" or a list of ids; and the number of the text that it belongs to


def _pair(step: Any) -> list[Part]:
    """What two texts become, by one post-processor of `tokenizer.json`, whose single template has been read."""
    try:
        kind = None if step is None else step["type"]
        if kind in ("RobertaProcessing", "BertProcessing"):
            cls, sep = _around(step)
            bert = int(kind == "BertProcessing")
            return [(cls, 0), ("A", 0), (sep, 0), *([] if bert else [(sep, 0)]), ("B", bert), (sep, bert)]
        if kind == "Sequence":
            found = [_pair(part) for part in step["processors"]]
            return next((parts for parts in reversed(found) if len(parts) > 2), _pair(None))
        if kind == "TemplateProcessing":
            parts: list[Part] = []
            for item in step["pair"]:
                name, value = next(iter(item.items()))
                parts.append((value["id"] if name == "Sequence" else
                              [_id(i) for i in step["special_tokens"][value["id"]]["ids"]], _id(value["type_id"])))
            if [part for part, _ in parts if isinstance(part, str)] != ["A", "B"]:
                raise ValueError("the post_processor's template for two texts must hold the first and then the second")
            return parts
        return [("A", 0), ("B", 1)]
    except (KeyError, TypeError, IndexError, AttributeError, StopIteration) as error:
        raise ValueError(f"the post_processor is malformed ({type(error).__name__}: {error})") from None


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

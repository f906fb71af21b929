"""How well a model summarises: its summaries of given texts, scored against given ones, beside each text's beginning.

The first sentence is a summary that costs nothing, and of news a good one: what does not beat it has understood
nothing. An encoder-decoder writes a summary as a translation of the text. A decoder with a chat template is asked for
one.

Prerequisites: rouge.py, translation.py, answers.py. Next: tasks.py.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from ..data import file_format, located_records
from ..data.chat_template import chat_template
from ..files.shown import listed
from ..models import GPT, EncoderDecoder
from ..tokenizers import Tokenizer
from .answers import answer_prompts
from .running import Track, untracked
from .translation import translate

__all__ = ["first_sentence", "read_summaries", "summarize"]

TEXTS, SUMMARIES = ("text", "document", "article", "dialogue"), ("summary", "highlights")
REQUEST = "Summarize the following text in one or two sentences.\n\n"
MAX_NEW_TOKENS = 128


def first_sentence(text: str) -> str:
    """What comes before the first line end, or the first space behind a full stop, a question or an exclamation mark.

    >>> first_sentence("It rains. It pours.")
    'It rains.'
    """
    return re.split(r"(?<=[.!?])\s|\n", text.strip(), maxsplit=1)[0]


def _named(record: dict[str | int, object]) -> tuple[str | int, str | int] | None:
    """The columns of a text and its summary, if they have names that say so."""
    found = [next((name for name in names if name in record), None) for names in (TEXTS, SUMMARIES)]
    return None if None in found else (found[0], found[1])  # type: ignore[return-value]


def read_summaries(path: str | Path, limit: int | None = None) -> list[tuple[str, str]]:
    """Pairs of a text and its summary: the columns that TEXTS and SUMMARIES name, or else the first two.

    Raises:
        ValueError: a record without two texts, or no records.
    """
    return list(islice(_pairs(path), limit))


def _pairs(path: str | Path) -> Iterator[tuple[str, str]]:
    header = file_format(path) in ("csv", "tsv") and _named(
        dict.fromkeys(next(located_records(path, False))[1].values())) is not None
    for where, record in located_records(path, header):
        values = [record[column] for column in _named(record) or tuple(record)[:2]]
        if len(values) < 2 or not all(isinstance(value, str) and value.strip() for value in values):
            raise ValueError(f"{where}: expected a text ({', '.join(TEXTS)}) and its summary ({', '.join(SUMMARIES)}), "
                             f"or two columns of text, got {listed(record)}")
        yield values[0], values[1]


def summarize(model: EncoderDecoder | GPT, tokenizer: Tokenizer, texts: Sequence[str], *, num_beams: int = 1,
              track: Track = untracked) -> list[str]:
    """The model's summary of each text; what does not fit the context is cut, with a warning.

    Args:
        model: an encoder-decoder; or a decoder whose tokenizer has a chat template, which is asked.
        num_beams: of an encoder-decoder: beam search, above 1.
        track: watches the batches.
    """
    if isinstance(model, EncoderDecoder):
        return translate(model, tokenizer, texts, num_beams=num_beams, track=track)
    template, room = chat_template(tokenizer), model.config.block_size
    longest = min(MAX_NEW_TOKENS, room // 4)
    spare = room - longest - len(template.prompt([{"role": "user", "content": REQUEST}]))
    if spare < 1:
        raise ValueError(f"the context of {room} tokens leaves no room for a text beside the request and the answer")
    found: list[str] = []
    for text in track(texts, len(texts)):
        ids = tokenizer.encode(text, add_special_tokens=False)
        if len(ids) > spare:
            warnings.warn(f"a text of {len(ids):,} tokens is longer than the {spare} that fit and was cut",
                          stacklevel=2)
            text = tokenizer.decode(ids[:spare])
        prompt = template.prompt([{"role": "user", "content": REQUEST + text}])
        found += answer_prompts(model, template, [prompt], [longest])
    return found

"""Labelled texts: read from a table, and split so that both parts have every class and no text in common.

A text that stands in a table twice would be learnt in one part and found again in the other; so equal texts stay
together. Each class gives the same fraction of its texts, or a rare one might be missing where it is measured.

Prerequisites: records.py, pairs.py. Next: example_file.py, training/objectives/classification.py.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..files import shown
from .records import located_columns
from .sources import find_table

__all__ = ["Labelled", "MAX_LABELS", "class_balance", "label_names", "read_labelled", "split_labelled"]

Labelled = tuple[str, str]  # text, label

MAX_LABELS = 8000  # a confusion matrix of them takes 512 MB
SHOWN = 20


def read_labelled(specs: str | Path | Sequence[str | Path], text_column: str | int = "text",
                  label_column: str | int = "label") -> list[Labelled]:
    """(text, label) of every record, without the space around them.

    Args:
        specs: files of any format that `located_records` reads, or named corpora.
        text_column, label_column: names; or numbers from 0, if the table has no header line.

    Raises:
        FileNotFoundError, IsADirectoryError: no such file or corpus, or a folder.
        ValueError: a missing column, a record without label, broken JSON (with the line), or no text at all.

    Warns:
        UserWarning: empty texts were left out; how many, and where the first stands.
    """
    found: list[Labelled] = []
    empty: list[str] = []
    names = [specs] if isinstance(specs, (str, Path)) else specs
    for spec in names:
        for where, (text, label) in located_columns(find_table(spec), [text_column, label_column]):
            if not label.strip():
                raise ValueError(f"{where}: the label is empty")
            if text.strip():
                found.append((text.strip(), label.strip()))
            else:
                empty.append(where)
    if not found:
        raise ValueError(f"{', '.join(map(str, names))} holds no text: every one is empty ({empty[0]} is the first)")
    if empty:
        warnings.warn(f"left out {len(empty):,} of {len(found) + len(empty):,} texts, which are empty (the first: "
                      f"{empty[0]})", stacklevel=2)
    return found


def label_names(examples: Sequence[Labelled]) -> list[str]:
    """The different labels, sorted: as numbers if all of them are whole numbers, else as text.

    >>> label_names([("a", "10"), ("b", "9")]), label_names([("a", "spam"), ("b", "ham"), ("c", "spam")])
    (['9', '10'], ['ham', 'spam'])
    """
    names = {label for _, label in examples}
    return sorted(names, key=(lambda name: (int(name), name)) if all(
        name.isascii() and name.isdecimal() for name in names) else None)


def class_balance(labels: Sequence[str]) -> str:
    """How many texts each label has, in one line, the largest class first; at most twenty of them.

    >>> class_balance(["ham", "spam", "ham", "ham"])
    'ham 3 (75.0%), spam 1 (25.0%)'
    """
    counts = sorted(Counter(labels).items(), key=lambda item: (-item[1], item[0]))
    more = f", and {len(counts) - SHOWN:,} more" if len(counts) > SHOWN else ""
    return ", ".join(f"{name if len(name) <= 40 else name[:39] + '…'} {n:,} ({n / len(labels):.1%})"
                     for name, n in counts[:SHOWN]) + more


def split_labelled(examples: Sequence[Labelled], validation: float = 0.1,
                   seed: int = 0) -> tuple[list[Labelled], list[Labelled]]:
    """(training examples, held-out examples), each in the order given: stratified, and no text is on both sides.

    Args:
        examples: texts and labels.
        validation: the fraction of each class's different texts to hold out, in (0, 1); of a class with two different
            texts or more, at least one is on either side.
        seed: which ones.

    Raises:
        ValueError: a fraction outside (0, 1), one class only, more than MAX_LABELS, or nothing to hold out.
    """
    if not 0 < validation < 1:
        raise ValueError(f"the validation fraction must be in (0, 1), got {validation}")
    names = label_names(examples)
    if len(names) < 2:
        raise ValueError(f"classification needs two classes at least; all {len(examples):,} texts have the label "
                         f"{shown(names[0])}")
    if len(names) > MAX_LABELS:
        raise ValueError(f"the {len(examples):,} texts have {len(names):,} different labels, and at most "
                         f"{MAX_LABELS:,} can be learnt; is the label column the right one?")
    classes: dict[str, dict[str, None]] = {name: {} for name in names}
    seen: set[str] = set()
    for text, label in examples:  # a text with two labels counts for the class where it stands first
        if text not in seen:
            seen.add(text)
            classes[label][text] = None
    held: set[str] = set()
    rng = np.random.default_rng([seed, len(seen)])
    for texts in map(list, classes.values()):
        n_held = min(max(1, round(validation * len(texts))), len(texts) - 1)
        if n_held > 0:
            held |= {texts[place] for place in rng.permutation(len(texts))[:n_held]}
    if not held:
        raise ValueError("no text can be held out for validation: every class has a single text; give more of them")
    return ([example for example in examples if example[0] not in held],
            [example for example in examples if example[0] in held])

"""Whole folders: `read_folder` gives the fields of a configuration and our arrays by name, `write_folder` takes them.

Nothing here knows a model class: what is read goes into a model's parameters, what is written comes from `state_dict`.
Weights become float32 on the way in, each when it is asked for, so that no more than one lies beside the model that
takes them; and are written as float32. A GGUF file is read as the folder that it was made from.

Prerequisites: names.py, tables.py, gguf_model.py. Next: hub.py; models/base.py uses it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..nn.sinusoidal import sinusoidal_table
from .config_fields import DECODERS
from .config_json import fields_of, read_config, write_config
from .gguf_file import GGUFFile, is_gguf
from .gguf_model import GGUFWeights, gguf_config
from .names import Entry, Names, sizes
from .safetensors_file import SafetensorsFile, write_safetensors
from .shards import WEIGHTS, open_weights
from .tables import names_of

__all__ = ["State", "read_folder", "write_folder"]

Holder = SafetensorsFile | GGUFWeights  # arrays by name, and what is known of them before they are read

SHOWN = 4  # names listed in an error message
SINES_ATOL = 0.005  # bfloat16 rounds numbers near 1 to a multiple of 2⁻⁸


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(f"{name!r:.80}" for name in names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _shapes(entry: Entry, sizes: Mapping[str, int]) -> Iterator[tuple[int, ...]]:
    """The shape of each of their tensors."""
    for symbol in entry.rows:
        shape = replace(entry, rows=(symbol,)).shape(sizes)
        yield shape[::-1] if entry.form == "transposed" else (1, *shape) if entry.form == "row" else shape


class _Reader:
    """Their tensors under normalised names, each checked when it is taken; and which were taken."""

    def __init__(self, folder: Path, names: Names, holders: Mapping[str, Holder]) -> None:
        self.folder, self.names, self.taken = folder, names, set[str]()
        self.files: dict[str, tuple[Holder, str]] = {}
        for name, file in holders.items():
            plain = self.plain(name)
            if plain in self.files:
                raise ValueError(f"{folder}: {_some([name, self.files[plain][1]])} are two names of one tensor")
            self.files[plain] = file, name

    def plain(self, name: str) -> str:
        """The name without the base model's prefix and in its newer spelling."""
        name = re.sub(r"(?:^|(?<=\.))_orig_mod\.", "", name)      # torch.compile wraps a module, or parts of it
        for pattern, replacement in self.names.renamed.items():
            name = re.sub(pattern, replacement, name)
        return name.removeprefix(self.names.prefix)

    def has(self, name: str) -> bool:
        return self.plain(name) in self.files

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        """Take note of a tensor that will be read; it must be of this shape, and of a type that holds weights."""
        self.taken.add(self.plain(name))
        file, stored = self.files[self.plain(name)]
        info = file.tensors[stored]
        if info.shape != shape:
            raise ValueError(f"{file.path}: tensor {stored!r} has shape {info.shape}, but {shape} follows from "
                             "config.json")
        if not info.holds_weights:
            raise ValueError(f"{file.path}: tensor {stored!r} holds {info.dtype}; weights must be "
                             f"{', '.join(info.WEIGHTS)}: take files of the model that are of such a type")

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The tensor as float32."""
        self.check(name, shape)
        file, stored = self.files[self.plain(name)]
        return file[stored].astype(np.float32, copy=False)

    def check_sines(self) -> None:
        """Positions in the file must be those that are computed, up to the rounding of half-precision files."""
        for plain, (file, stored) in self.files.items():
            if any(re.fullmatch(pattern, plain) for pattern in self.names.sines):
                shape = file.tensors[stored].shape
                table = self.take(stored, shape)
                if len(shape) != 2 or not np.allclose(table, sinusoidal_table(*shape), rtol=0, atol=SINES_ATOL):
                    raise ValueError(f"{file.path}: {stored!r} is not the table of sines that this architecture has; "
                                     "other positions are not supported")

    def surplus(self) -> list[str]:
        """The names that nothing asked for and that are not known to be without meaning."""
        return [stored for plain, (_, stored) in self.files.items() if plain not in self.taken
                and not any(re.fullmatch(pattern, plain) for pattern in self.names.ignored)]


def _read_entry(reader: _Reader, entry: Entry, sizes: Mapping[str, int]) -> np.ndarray:
    """Our array of one entry, all of whose tensors are there, as the table's form says."""
    parts = [reader.take(name, shape) for name, shape in zip(entry.theirs, _shapes(entry, sizes))]
    if entry.form == "transposed":
        return np.ascontiguousarray(parts[0].T)
    if entry.form == "heads":
        return _by_part(parts[0], sizes["H"], 3)
    return parts[0][0] if entry.form == "row" else parts[0] if len(parts) == 1 else np.concatenate(parts)


def _by_part(array: np.ndarray, *counts: int) -> np.ndarray:
    """Rows that are in two groups, one inside the other, of so many members, in the other order of the two."""
    return array.reshape(*counts, -1, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)


def _check_copies(reader: _Reader, entry: Entry, sizes: Mapping[str, int]) -> None:
    """The tensors under other names of this one are consumed; a copy must say the same."""
    copies = [name for name in entry.copies if reader.has(name)]
    if copies:
        shape = next(_shapes(entry, sizes))
        array = reader.take(entry.theirs[0], shape)
        for name in copies:
            if not np.array_equal(reader.take(name, shape), array):
                raise ValueError(f"{reader.folder}: {name!r} differs from {entry.theirs[0]!r}, but tie_word_embeddings "
                                 "is true: they should be one matrix")
    reader.taken |= {reader.plain(name) for name in entry.instead}


def _zeros(entry: Entry, sizes: Mapping[str, int]) -> np.ndarray:
    return np.zeros(entry.shape(sizes), np.float32)


def _refuse_bias(reader: _Reader, entry: Entry, sizes: Mapping[str, int]) -> None:
    """A model without biases may meet them in a file only as zeros."""
    for name, shape in zip(entry.theirs, _shapes(entry, sizes)):
        if reader.has(name) and reader.take(name, shape).any():
            raise ValueError(f"{reader.folder}: {name!r} is not zero, but config.json says that the model has no bias")


def _from_present(reader: _Reader, entry: Entry) -> Entry:
    """The entry itself, or with the name that stands instead of an absent single one."""
    if len(entry.theirs) == 1 and not reader.has(entry.theirs[0]):
        for name in filter(reader.has, (*entry.copies, *entry.instead, *entry.like)):
            return replace(entry, theirs=(name,))
    return entry


class State(Mapping[str, np.ndarray]):
    """Our arrays by name, each read from its file whenever it is asked for.

    Args:
        reads: by name, what reads the array.
    """

    def __init__(self, reads: Mapping[str, Callable[[], np.ndarray]]) -> None:
        self._reads = reads

    def __getitem__(self, name: str) -> np.ndarray:
        return self._reads[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._reads)

    def __len__(self) -> int:
        return len(self._reads)


def _opened(path: Path) -> tuple[dict[str, Any], Mapping[str, Holder]]:
    """The fields of the configuration, and which file holds which tensor."""
    if path.is_file():
        if not is_gguf(path):
            raise ValueError(f"{path} is a file, and no GGUF file; give a model's folder, or a file that begins with "
                             "GGUF")
        file = GGUFFile(path)
        config = gguf_config(file)
        weights = GGUFWeights(file, config)
        return fields_of(config, {}, path), dict.fromkeys(weights, weights)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no model folder {path}")
    return read_config(path), open_weights(path)


def read_folder(folder: str | Path) -> tuple[dict[str, Any], State]:
    """Read a Hugging Face folder, or a GGUF file, of any architecture that `tables.TABLES` lists.

    Args:
        folder: holds config.json and model.safetensors, or the shards that model.safetensors.index.json names; or the
            path of a GGUF file.

    Returns:
        (fields, state): the fields of our configuration with `architecture` and `head`, and our arrays by our names,
        all float32. A tied matrix stands once.

    Raises:
        FileNotFoundError: no such folder, or a file is missing.
        ValueError: something is not supported, or config.json and the tensors do not fit: the message names it.
    """
    folder = Path(folder)
    fields, holders = _opened(folder)
    names, symbols = names_of(fields), sizes(fields)
    flags = {"bias": fields.get("bias"), "attention_bias": fields.pop("attention_bias", None),
             "mlp_bias": fields.pop("mlp_bias", None)}
    fields["bias"] = any(flags.values())                       # Llama's two become one; a missing half is zeros
    flags["bias"] = fields["bias"]
    reader, reads, missing = _Reader(folder, names, holders), dict[str, Callable[[], np.ndarray]](), list[str]()
    for entry in names.of(fields):
        if entry.option and not flags[entry.option]:
            _refuse_bias(reader, entry, symbols)
            if fields["bias"]:
                reads[entry.ours] = partial(_zeros, entry, symbols)
            continue
        source = _from_present(reader, entry)
        absent = [name for name in source.theirs if not reader.has(name)]
        if absent and entry.optional:
            reads[entry.ours] = partial(_zeros, entry, symbols)
        elif absent:
            missing += absent
            if len(missing) > len(reader.files) + SHOWN:       # a config.json that claims a million blocks
                break
        else:
            for name, shape in zip(source.theirs, _shapes(source, symbols)):
                reader.check(name, shape)
            _check_copies(reader, source, symbols)
            reads[entry.ours] = partial(_read_entry, reader, source, symbols)
    if missing:
        raise ValueError(f"{folder}: the tensors {_some(missing)} are missing, which config.json calls for")
    reader.check_sines()
    if surplus := reader.surplus():
        raise ValueError(f"{folder}: the tensors {_some(surplus)} belong to no part of a model of this config.json")
    if fields["architecture"] not in DECODERS:
        del fields["bias"]                                     # no choice there
    return fields, State(reads)


def _their_tensors(entry: Entry, array: np.ndarray, sizes: Mapping[str, int]) -> Iterator[tuple[str, np.ndarray]]:
    """Their names and arrays of one entry, as views where that is possible."""
    at = 0
    if entry.form == "heads":
        array = _by_part(array, 3, sizes["H"])
    for name, symbol in zip(entry.theirs, entry.rows):
        part = array[at:at + sizes[symbol]]
        at += sizes[symbol]
        yield name, part.T if entry.form == "transposed" else part[None] if entry.form == "row" else part


def write_folder(folder: str | Path, fields: Mapping[str, Any], state: Mapping[str, np.ndarray]) -> None:
    """Write config.json, generation_config.json and model.safetensors, as `transformers` reads them.

    Args:
        folder: made if it is not there; each file is replaced in one step.
        fields: those of a resolved configuration, `to_dict()`.
        state: our host arrays by our names; written as float32.

    Raises:
        ValueError: a tensor is missing, surplus, or of another shape than the configuration says.
    """
    names, symbols, fields = names_of(fields), sizes(dict(fields)), dict(fields)
    bias = fields.get("bias", True)
    left, theirs = dict(state), dict[str, np.ndarray]()
    for entry in names.of(fields):
        wanted = _zeros(entry, symbols) if entry.option and not bias else None
        if wanted is not None and not names.zero_biases:
            continue
        array = left.pop(entry.ours, None) if wanted is None else wanted
        shape = entry.shape(symbols)
        if array is None or array.shape != shape:
            raise ValueError(f"cannot save: {entry.ours!r} must have shape {shape}, but it "
                             f"{'is missing' if array is None else f'has shape {array.shape}'}")
        array = array.astype(np.float32, copy=False)
        tensors = dict(_their_tensors(entry, array, symbols))
        theirs |= tensors | dict.fromkeys(entry.instead, array)
    if left:
        raise ValueError(f"cannot save: {_some(sorted(left))} have no name in the layout {fields['architecture']!r}")
    if fields.get("head", "lm") is None:                       # a base model's file has no prefix
        theirs = {name.removeprefix(names.prefix): array for name, array in theirs.items()}
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_safetensors(Path(folder) / WEIGHTS, theirs, {"format": "pt"})
    write_config(folder, fields)

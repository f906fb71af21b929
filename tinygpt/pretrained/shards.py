"""The weights of a model folder, whether they lie in one safetensors file or are cut into several.

`model.safetensors.index.json` says which file holds which tensor. Its file names are somebody else's words: only plain
names of files in the same folder are followed.
Prerequisites: safetensors_file.py. Next: config_fields.py.
"""

from __future__ import annotations

from pathlib import Path

from ..files import read_json
from .safetensors_file import SafetensorsFile

__all__ = ["WEIGHTS", "INDEX", "open_weights", "shard_names"]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
MAX_SHARDS = 1000


def shard_names(path: Path) -> dict[str, str]:
    """The map from tensor to file of the index at `path`, checked: plain names in the same folder."""
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"{path} must hold a 'weight_map' from tensor names to file names")
    for tensor, name in weight_map.items():
        if (not isinstance(name, str) or not name.endswith(".safetensors") or name.startswith(".")
                or any(character in name for character in "/\\:\0")):
            raise ValueError(f"{path} sends tensor {tensor!r:.80} to {name!r:.80}; only plain names of .safetensors "
                             "files in the same folder are followed")
    if len(set(weight_map.values())) > MAX_SHARDS:
        raise ValueError(f"{path} names {len(set(weight_map.values())):,} files; at most {MAX_SHARDS:,} are read")
    return weight_map


def open_weights(folder: str | Path) -> dict[str, SafetensorsFile]:
    """Tensor name -> the open file that holds it, for the folder's one file or all its shards.

    Raises:
        FileNotFoundError: the folder holds no safetensors weights, or lacks a shard.
        ValueError: a file is malformed, a tensor stands in two shards or is not where the index says.
    """
    folder = Path(folder)
    if (folder / WEIGHTS).is_file():
        file = SafetensorsFile(folder / WEIGHTS)
        return dict.fromkeys(file, file)
    if not (folder / INDEX).is_file():
        hint = ""
        if any(folder.glob("pytorch_model*.bin")):
            hint = "; its pytorch_model.bin is a pickle, which could run code and is never opened: " \
                   "save the model as safetensors with transformers"
        raise FileNotFoundError(f"{folder} holds no {WEIGHTS}{hint}")
    weight_map = shard_names(folder / INDEX)
    holders: dict[str, SafetensorsFile] = {}
    for name in sorted(set(weight_map.values())):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} lacks {name}, which {INDEX} names; download it again")
        file = SafetensorsFile(folder / name)
        if double := sorted(set(file) & set(holders)):
            raise ValueError(f"{folder}: tensor {double[0]!r} stands in {holders[double[0]].path.name} and in {name}")
        holders |= dict.fromkeys(file, file)
    for tensor, name in weight_map.items():
        if tensor not in holders or holders[tensor].path.name != name:
            raise ValueError(f"{folder}: {INDEX} says that {name:.80} holds {tensor!r:.80}, but it does not")
    return holders

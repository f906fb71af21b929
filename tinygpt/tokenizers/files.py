"""The files of a tokenizer folder: strict reading, safe writing, and the small `tokenizer_config.json`.

What is read here may come from anyone, so nothing in it is trusted: not its encoding, its nesting, its keys or its
types. Whatever is wrong is a ValueError that names the file.

Prerequisites: `special.py`, `families.py`. Next: `added_tokens.py`, `base.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from ..files import parse_json, read_bounded
from ..files.atomic_file import write_text
from ..files.json_file import MAX_JSON_BYTES
from .families import FAMILIES, GENERIC, MODEL_TYPES
from .special import ROLES, SpecialTokens

__all__ = ["ADDED", "CONFIG", "MODEL_CONFIG", "ROLES_MAP", "TOKENIZER", "TWO_FILES", "SavedTokenizer", "about",
           "flat_steps", "kind_of", "member", "model_type", "read_chat_template", "read_class", "read_config",
           "read_json", "read_roles", "read_text", "write_config", "write_json"]

TOKENIZER, CONFIG = "tokenizer.json", "tokenizer_config.json"
TWO_FILES = {"vocab.json": "merges.txt", "encoder.json": "vocab.bpe"}  # formats of two files
ROLES_MAP = "special_tokens_map.json"  # where older folders say who plays which role
ADDED = "added_tokens.json"  # where they list tokens that were added to the vocabulary
MODEL_CONFIG = "config.json"  # of the model that the tokenizer belongs to
CHAT_TEMPLATE = "chat_template.jinja"  # where newer folders keep it, apart from tokenizer_config.json

_Result = TypeVar("_Result")


def read_text(path: Path) -> str:
    """The text of a file, line ends as they are; ValueError if it is no UTF-8, no file, or too large."""
    try:
        return read_bounded(path, MAX_JSON_BYTES, "a file of a tokenizer").decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start:,}") from None


def read_json(path: Path) -> Any:
    """The value that a JSON file holds; errors as for `parse_json` and `read_bounded`."""
    return parse_json(read_bounded(path, MAX_JSON_BYTES, "a file of a tokenizer"), str(path))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, indented, with characters as they are."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_config(folder: str | PathLike[str], special: SpecialTokens, chat_template: str | None = None,
                 tokenizer_class: str = "PreTrainedTokenizerFast", format: str = TOKENIZER) -> None:
    """Write the `tokenizer_config.json` with which transformers opens the folder, after the other files.

    A role that reading would give to a token, and that nobody plays, is written as null. What another tokenizer left in
    the folder is removed: reading would find it in other formats, or take its roles and its added tokens.

    Args:
        folder: where to.
        special, chat_template: what it says.
        tokenizer_class: the class of transformers that reads the folder.
        format: the file of the vocabulary, which stays: `TOKENIZER`, or one of `TWO_FILES` with its partner.
    """
    others = [name for name in special.ids if name not in special.roles.values()]
    more: dict[str, Any] = {role: None for role in _presumed(special, tokenizer_class) if role not in special.roles}
    more |= {"additional_special_tokens": others} if others else {}
    if chat_template is not None:
        more["chat_template"] = chat_template
    write_json(Path(folder) / CONFIG, {"tokenizer_class": tokenizer_class, **special.roles, **more,
                                       "clean_up_tokenization_spaces": False})
    others_files = {TOKENIZER, *TWO_FILES, *TWO_FILES.values(), ROLES_MAP, ADDED, CHAT_TEMPLATE}
    for name in others_files - {format, TWO_FILES.get(format)}:
        (Path(folder) / name).unlink(missing_ok=True)


def _presumed(special: SpecialTokens, tokenizer_class: str) -> Iterable[str]:
    """The roles that a folder of this class gives to one of the tokens though no file says so."""
    if tokenizer_class in FAMILIES:
        return [role for role, name in FAMILIES[tokenizer_class].roles.items() if name in special.ids]
    return [] if special.roles else SpecialTokens(special.tokens).roles


def read_config(folder: str | PathLike[str], name: str = CONFIG) -> dict[str, Any] | None:
    """What `tokenizer_config.json` holds, or None without one."""
    path = Path(folder) / name
    if not path.is_file():
        return None
    config = read_json(path)
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds a {type(config).__name__}, expected an object")
    return config


def read_class(folder: str | PathLike[str]) -> str | None:
    """The class of transformers that reads a folder, without the "Fast" that some names end in.

    `tokenizer_config.json` names it, else the model's `config.json`; else it follows from the type of the model, whose
    name stands for a class that is not known here. None where nothing says it.
    """
    config, model = read_config(folder) or {}, read_config(folder, MODEL_CONFIG) or {}
    for path, holder in ((CONFIG, config), (MODEL_CONFIG, model)):
        name = about(Path(folder) / path, member, holder, "tokenizer_class", str, "").removesuffix("Fast")
        if name in GENERIC and (Path(folder) / TOKENIZER).is_file():
            return None  # tokenizer.json has it all
        if name and name not in GENERIC:
            return name
    kind = about(Path(folder) / MODEL_CONFIG, member, model, "model_type", str, "")
    return MODEL_TYPES.get(kind, kind) or None


def read_roles(folder: str | PathLike[str]) -> dict[str, str] | None:
    """Who plays which role, by `tokenizer_config.json` and `special_tokens_map.json`.

    A role of which neither speaks is played as the class of the tokenizer has it; null stands for nobody. Files that
    name no role, and no class, have not said that there are none: that is None, as without files, and names tell.
    """
    said: dict[str, str | None] = {}
    for name in (ROLES_MAP, CONFIG):  # what the second says goes before
        config = read_config(folder, name) or {}
        for role in ROLES:
            value = config.get(role)
            value = value.get("content", value) if isinstance(value, dict) else value
            if value is not None and not isinstance(value, str):
                raise ValueError(f"{Path(folder) / name}: {role} is {value!r:.100}, expected the token's text")
            if role in config:
                said[role] = value
    family = FAMILIES.get(read_class(folder) or "")
    if not said and family is None:
        return None
    for name in family.refused if family else ():
        if (read_config(folder) or {}).get(name):
            raise ValueError(f"{Path(folder) / CONFIG}: {name} changes what goes around a text in a way that is not "
                             "known here: take it out, or put null")
    return {role: name for role, name in {**(family.roles if family else {}), **said}.items() if name is not None}


def read_chat_template(folder: str | PathLike[str]) -> str | None:
    """The chat template that comes with a tokenizer, as the Jinja source that it is; None without one.

    It stands in `chat_template.jinja`, else in `tokenizer_config.json`; of several named ones, "default" is taken.
    """
    path = Path(folder) / CHAT_TEMPLATE
    if path.is_file():
        return read_text(path)
    found = (read_config(folder) or {}).get("chat_template")
    if isinstance(found, list):
        named = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
        found = named.get("default")
    if found is not None and not isinstance(found, str):
        raise ValueError(f"{Path(folder) / CONFIG}: the chat_template is {found!r:.100}, expected a text")
    return found


def about(path: Path, read: Callable[..., _Result], *args: Any) -> _Result:
    """`read(*args)`, where what is wrong with the file's contents is a ValueError that begins with its path, or with
    that of another file of the folder, if that one is to blame."""
    try:
        return read(*args)
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None
    except (ValueError, TypeError) as error:
        message = str(error) if str(error).startswith(str(path.parent)) else f"{path}: {error}"
        raise ValueError(message if len(message) < 1000 else f"{message[:1000]}…") from None


def member(holder: Any, key: str, kind: type, *default: Any) -> Any:
    """`holder[key]`, of exactly that type: a JSON true is no integer."""
    if not isinstance(holder, Mapping):
        raise ValueError(f"expected an object with {key!r}, got {holder!r:.100}")
    value = holder.get(key, *default)
    if value is None and default:
        return default[0]
    if type(value) is not kind:
        raise ValueError(f"{key!r} is {value!r:.100}, expected {kind.__name__}")
    return value


def kind_of(step: Any, what: str) -> str:
    """The "type" of a step of a `tokenizer.json`; `what` names the step in the error."""
    if not isinstance(step, dict) or not isinstance(step.get("type"), str):
        raise ValueError(f"the {what} is {step!r:.100}, expected an object with a type")
    return step["type"]


def flat_steps(step: Any, what: str, children: str) -> list[tuple[str, dict[str, Any]]]:
    """The steps of a pipeline in order, each with its type; a Sequence stands for the steps in it."""
    if step is None:
        return []
    if kind_of(step, what) != "Sequence":
        return [(step["type"], step)]
    within = member(step, children, list)
    return [inner for child in within if kind_of(child, what) for inner in flat_steps(child, what, children)]


def model_type(document: Any) -> Any:
    """What the model of a `tokenizer.json` calls itself: "BPE", "WordPiece", …; old files do not say it."""
    if not isinstance(document, dict) or document.get("model") is None:
        raise ValueError("there is no model in it: the program that wrote the file stopped half-way, or wrote a "
                         "vocabulary into another file, such as spiece.model")
    model = member(document, "model", dict)
    return model.get("type", "BPE" if "merges" in model else "WordPiece" if "max_input_chars_per_word" in model
                     else "Unigram" if isinstance(model.get("vocab"), list) else None)


class SavedTokenizer:
    """The folder of a tokenizer; a file is read when it is first asked for, and once.

    Args:
        folder: where it is.

    Attributes:
        path: the folder.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.path = Path(folder)

    def has(self, name: str) -> bool:
        """Whether the folder has a file of that name."""
        return (self.path / name).is_file()

    @cached_property
    def document(self) -> Any:
        """What `tokenizer.json` holds; FileNotFoundError without one."""
        return read_json(self.path / TOKENIZER)

    @cached_property
    def model_type(self) -> Any:
        """What the model of `tokenizer.json` calls itself."""
        return about(self.path / TOKENIZER, model_type, self.document)

    @cached_property
    def roles(self) -> dict[str, str] | None:
        """Who plays which role, if a file says so."""
        return read_roles(self.path)

    @cached_property
    def chat_template(self) -> str | None:
        """The chat template, if there is one."""
        return read_chat_template(self.path)

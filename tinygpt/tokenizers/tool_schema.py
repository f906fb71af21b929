"""A Python function as the JSON schema that chat templates show to a model that may call it.

The name, the types and the words come from the function itself: its signature and its docstring, whose "Args:" section
says what each argument is, as this project's own docstrings do. The schema is OpenAI's, which transformers makes too.

Prerequisites: nothing. Next: chat_text.py.
"""

from __future__ import annotations

import enum
import inspect
import json
import re
import types
import typing
from collections.abc import Callable
from typing import Any

__all__ = ["tool_schema"]

_TYPES: dict[Any, dict[str, Any]] = {
    int: {"type": "integer"}, float: {"type": "number"}, str: {"type": "string"}, bool: {"type": "boolean"},
    type(None): {"type": "null"}, list: {"type": "array"}, tuple: {"type": "array"}, dict: {"type": "object"}, Any: {}}

_SECTION = re.compile(r"^\s*(Args|Returns|Raises):[ \t]*$|^\s*Returns:", re.M)
_ARGUMENT = re.compile(r"([ \t]*)(\w+)(?:[ \t]*\([^()\n]*\))?:\s*(.*)")
_CHOICES = re.compile(r"\(choices:\s*(.*?)\)\s*$", re.I)


def tool_schema(function: Callable[..., Any]) -> dict[str, Any]:
    """{"type": "function", "function": {"name", "description", "parameters", and "return" where that is annotated}}.

    Args:
        function: every argument annotated, and described in a docstring in Google's style. A description may end with
            `(choices: ["a", "b"])`, the values that are allowed.

    Raises:
        ValueError: no docstring, an argument without a type or a description, or a type that JSON does not have.

    >>> def square(x: float) -> float:
    ...     \"\"\"The square of a number.
    ...
    ...     Args:
    ...         x: the number
    ...     \"\"\"
    >>> tool_schema(square)["function"]["parameters"]
    {'type': 'object', 'properties': {'x': {'type': 'number', 'description': 'the number'}}, 'required': ['x']}
    """
    name, words = getattr(function, "__name__", "tool"), inspect.getdoc(function)
    if not words:
        raise ValueError(f"the tool {name} has no docstring, which says to the model what it does")
    sections = _sections(words.strip())
    described = _arguments(sections["Args"])
    hints = typing.get_type_hints(function)
    properties: dict[str, Any] = {}
    required = []
    for place, (argument, parameter) in enumerate(inspect.signature(function).parameters.items()):
        if argument not in hints:
            if place == 0 and argument in ("self", "cls"):
                continue
            raise ValueError(f"the tool {name}: the argument {argument!r} has no type")
        if argument not in described:
            raise ValueError(f"the tool {name}: the docstring does not describe the argument {argument!r}")
        schema, description = _of_hint(hints[argument], name), described[argument]
        if choices := _CHOICES.search(description):
            schema["enum"] = [choice.strip() if isinstance(choice, str) else choice
                              for choice in json.loads(choices[1])]
            description = description[:choices.start()].strip()
        properties[argument] = {**schema, "description": description}
        if parameter.default is inspect.Parameter.empty:
            required.append(argument)
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = required
    found: dict[str, Any] = {"name": name, "description": sections[""], "parameters": parameters}
    if "return" in hints:
        try:
            found["return"] = _of_hint(hints["return"], name)
        except ValueError:
            pass  # the model never makes it
        else:
            if sections["Returns"]:
                found["return"]["description"] = sections["Returns"]
    return {"type": "function", "function": found}


def _sections(words: str) -> dict[str, str]:
    """What a docstring says at first, under "", and what stands under each of its headings."""
    found, heading, start = {"": "", "Args": "", "Returns": "", "Raises": ""}, "", 0
    for match in _SECTION.finditer(words):
        found[heading] = words[start:match.start()].strip("\n").rstrip() if heading else words[:match.start()].strip()
        heading, start = match[0].strip().removesuffix(":"), match.end()
    found[heading] = words[start:].strip("\n").rstrip() if heading else words.strip()
    found["Returns"] = found["Returns"].strip()
    return found


def _arguments(section: str) -> dict[str, str]:
    """Argument -> description; the lines of one, which are indented deeper, become one line."""
    found: dict[str, list[str]] = {}
    indent: str | None = None
    current: list[str] = []
    for line in filter(str.strip, section.split("\n")):
        match = _ARGUMENT.match(line)
        if match and (indent is None or len(match[1]) <= len(indent)):
            indent, current = match[1], [match[3].strip()]
            found[match[2]] = current
        else:
            current.append(line.strip())
    return {name: " ".join(filter(None, lines)) for name, lines in found.items()}


def _of_hint(hint: Any, name: str) -> dict[str, Any]:
    """The schema of a type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is None and isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _one_of([member.value for member in hint], name)
    if origin is typing.Literal:
        return _one_of(list(args), name)
    if origin is typing.Union or origin is types.UnionType:
        kinds = [_of_hint(arg, name) for arg in args if arg is not type(None)]
        if len(kinds) == 1:
            found = kinds[0]
        elif all(kind.keys() == {"type"} and isinstance(kind["type"], str) for kind in kinds):
            names = sorted({kind["type"] for kind in kinds})
            found = {"type": names[0] if len(names) == 1 else names}
        else:
            found = {"anyOf": kinds}
        return {**found, "nullable": True} if type(None) in args else found
    if origin is list and len(args) == 1:
        return {"type": "array", "items": _of_hint(args[0], name)}
    if origin is tuple and len(args) > 1 and ... not in args:
        return {"type": "array", "prefixItems": [_of_hint(arg, name) for arg in args]}
    if origin is dict and len(args) == 2:
        return {"type": "object", "additionalProperties": _of_hint(args[1], name)}
    if hint in _TYPES:
        return dict(_TYPES[hint])
    raise ValueError(f"the tool {name}: JSON has no type for {hint!r}; give the tool as a JSON schema")


def _one_of(values: list[Any], name: str) -> dict[str, Any]:
    if not values or any(type(value) not in (int, float, str, bool, type(None)) for value in values):
        raise ValueError(f"the tool {name}: {values!r:.60} are no values that JSON has")
    kinds = list(dict.fromkeys(_TYPES[type(value)]["type"] for value in values))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": values}

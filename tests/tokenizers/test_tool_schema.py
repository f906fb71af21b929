"""Functions as JSON schemas for chat templates: what transformers makes of them, and what is refused."""

from __future__ import annotations

import enum
from typing import Any, Literal, Optional, Union

import pytest

from tinygpt.tokenizers import ByteBPE
from tinygpt.tokenizers.tool_schema import tool_schema


class Unit(enum.Enum):
    KELVIN = "K"
    CELSIUS = "C"


def temperature(place: str, unit: Literal["K", "C"] = "C", days: int | None = None) -> float:
    """The temperature at a place.

    It is measured, and where it is not,
    guessed.

    Args:
        place: Where, such as "Lima: the old town"
            or a village.
        unit (str, optional): The unit (choices: ["K", "C"])
        days: How far ahead.

    Returns:
        The temperature.

    Raises:
        ValueError: no such place.
    """
    return 0.0


def everything(a: list[int], b: dict[str, float], c: tuple[int, str], d: Union[int, str], e: Optional[list[str]],
               f: Any, g: Unit, h: list, i: dict, j: tuple, k: bool, last: Literal[1, "a", None],
               m: list[dict[str, int]], n: Union[int, list[int], None] = None):
    """Takes everything.

    Args:
        a: A.
        b: B.
        c: C.
        d: D.
        e: E.
        f: F.
        g: G.
        h: H.
        i: I.
        j: J.
        k: K.
        last: L.
        m: M.
        n: N.
    """


def nothing() -> str:
    """The time."""
    return ""


def plain(x: float):
    """Doubles.
    Args:
        x: the number"""


class Holder:
    def method(self, x: int) -> "Holder":
        """A method.

        Args:
            x: it
        """
        return self


FUNCTIONS = [temperature, everything, nothing, plain, Holder().method]


@pytest.mark.oracle
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_transformers_makes_the_same_schema(function):
    pytest.importorskip("transformers")
    from transformers.utils import get_json_schema
    assert tool_schema(function) == get_json_schema(function)


def test_a_schema():
    found = tool_schema(temperature)["function"]
    assert found["name"] == "temperature" and found["description"].startswith("The temperature at a place.\n\nIt is")
    assert found["parameters"]["required"] == ["place"]
    assert found["parameters"]["properties"] == {
        "place": {"type": "string", "description": 'Where, such as "Lima: the old town" or a village.'},
        "unit": {"type": "string", "enum": ["K", "C"], "description": "The unit"},
        "days": {"type": "integer", "nullable": True, "description": "How far ahead."}}
    assert found["return"] == {"type": "number", "description": "The temperature."}


def test_templates_show_functions():
    pytest.importorskip("jinja2")
    tok = ByteBPE.train("ab", vocab_size=256)
    tok.chat_template = "{{ tools[0].function.name }}: {{ tools[0].function.parameters.required | join }}"
    assert tok.apply_chat_template([{"role": "user", "content": "a"}], tools=[plain], tokenize=False) == "plain: x"


def bare(x: int):
    pass


def untyped(x):
    """Doubles.

    Args:
        x: it
    """


def undescribed(x: int):
    """Doubles."""


def strange(x: ByteBPE):
    """Doubles.

    Args:
        x: it
    """


def endless(x: tuple[int, ...]):
    """Doubles.

    Args:
        x: it
    """


@pytest.mark.parametrize("function, message", [
    (bare, "has no docstring"), (untyped, "'x' has no type"), (undescribed, "does not describe the argument 'x'"),
    (strange, "JSON has no type"), (endless, "JSON has no type"),
])
def test_functions_that_say_too_little(function, message):
    with pytest.raises(ValueError, match=f"the tool {function.__name__}.*{message}"):
        tool_schema(function)

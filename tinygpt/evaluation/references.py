"""Public figures to read ours beside: what GPT-2, SmolLM2 and people reach, and who says so.

Figures of models depend on prompts and scoring. These were measured by lm-evaluation-harness without examples, on whole
test sets, unless it says otherwise; our questions are scored in the same way. `source` says where a figure was read.
Those of the papers that published the questions are from memory, and say so: look them up before you rely on them.

Next: suites.py.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["REFERENCES", "Reference"]


@dataclass(frozen=True)
class Reference:
    """A figure of somebody else's. `source` says where it is published."""

    who: str
    value: float
    source: str


HARNESS = "lm-evaluation-harness, "
LLM_C = HARNESS + "as dev/data/hellaswag.py of karpathy/llm.c quotes it"
GPT2023 = HARNESS + "model page of crumb/gpt2023"
SLERP = HARNESS + "model page of lldois/SmolLM2-135M-Reasoning-SLERP-Champion"


def _gpt2(value: float, source: str) -> Reference:
    return Reference("GPT-2 124M", value, source)


def _smollm2(value: float, source: str) -> Reference:
    return Reference("SmolLM2-135M-Instruct", value, source)


def _remembered(who: str, value: float, paper: str) -> Reference:
    return Reference(who, value, f"{paper}, from memory")


# By benchmark.
REFERENCES: dict[str, tuple[Reference, ...]] = {
    "hellaswag": (_gpt2(0.311, LLM_C), _smollm2(0.430, SLERP),
                  _smollm2(0.409, "lighteval, its own model page"),
                  _remembered("people", 0.956, "Zellers et al. 2019")),
    "piqa": (_gpt2(0.629, GPT2023 + ", without a norm"), _smollm2(0.669, SLERP),
             _smollm2(0.663, "lighteval, its own model page"),
             _remembered("people", 0.949, "Bisk et al. 2019")),
    "winogrande": (_gpt2(0.516, GPT2023), _remembered("people", 0.940, "Sakaguchi et al. 2019")),
    "copa": (_remembered("people", 1.0, "Wang et al. 2019, SuperGLUE"),),
    "openbookqa": (_remembered("people", 0.917, "Mihaylov et al. 2018"),),
    "mmlu": (_remembered("people", 0.898, "Hendrycks et al. 2020, an estimate of experts"),),
    "lambada": (_gpt2(0.326, GPT2023),),
    "blimp": (_remembered("GPT-2 124M", 0.83, "on all 67 phenomena"),
              _remembered("LSTM", 0.70, "Warstadt et al. 2019, all 67"),
              _remembered("5-gram", 0.61, "Warstadt et al. 2019, all 67"),
              _remembered("people", 0.886, "Warstadt et al. 2019")),
}

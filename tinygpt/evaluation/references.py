"""Public figures to read ours beside: what GPT-2, SmolLM2 and people reach, and who says so.

Figures of models depend on prompts and scoring. These were measured by lm-evaluation-harness without examples, on whole
test sets, unless it says otherwise; our questions are scored in the same way. People's are of the papers that published
the questions.

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


def _gpt2(value: float, source: str = "lm-evaluation-harness") -> Reference:
    return Reference("GPT-2 124M", value, source)


def _people(value: float, source: str) -> Reference:
    return Reference("people", value, source)


def _smollm2(value: float) -> Reference:
    return Reference("SmolLM2-135M-Instruct", value, "lm-evaluation-harness, by users of the model")


# By benchmark.
REFERENCES: dict[str, tuple[Reference, ...]] = {
    "hellaswag": (_gpt2(0.311), _smollm2(0.430), _people(0.956, "Zellers et al. 2019")),
    "piqa": (_gpt2(0.625), _smollm2(0.669), _people(0.949, "Bisk et al. 2019")),
    "winogrande": (_gpt2(0.516), _people(0.940, "Sakaguchi et al. 2019")),
    "copa": (_people(1.0, "Wang et al. 2019, SuperGLUE"),),
    "openbookqa": (_people(0.917, "Mihaylov et al. 2018"),),
    "mmlu": (_people(0.898, "Hendrycks et al. 2020, an estimate of experts"),),
    "lambada": (_gpt2(0.326),),
    "blimp": (_gpt2(0.83, "on all 67 phenomena"), Reference("LSTM", 0.70, "Warstadt et al. 2019, all 67"),
              Reference("5-gram", 0.61, "Warstadt et al. 2019, all 67"), _people(0.886, "Warstadt et al. 2019")),
}

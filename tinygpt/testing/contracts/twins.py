"""`check_twin`: a fast twin against its rule, output and gradients, in float64 and float32.

The rule has been checked against the oracles; the twin has to say the same. Its contracts are those of a rule. Of a
twin that is asked only where nothing is recorded, the outputs are compared.

Prerequisites: rules.py, samples/, kernels/twins.py. Next: models.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...autograd import Operation, no_grad
from ...backend import to_device, to_numpy
from ...engine.dispatch import Twin
from ..oracles.arguments import function_name
from ..reports.report import GradcheckReport
from ..samples.registry import Sample
from .base import CLOSE, LAYOUTS, Broken, in_layout, near
from .rules import FLOAT32, FLOOR32, RuleUse, as_rule, check_rule, in_dtype

__all__ = ["check_twin", "serves"]

FEW = 10_000  # elements, up to which every memory layout is tried


def _placed(sample: Sample, dtype: Any, device: str) -> list[Any]:
    inputs = in_dtype(sample.inputs, dtype)
    return inputs if device == "cpu" else [to_device(x, device) if isinstance(x, np.ndarray) else x for x in inputs]


def serves(twin: Twin, sample: Sample, dtype: Any = np.float64) -> bool:
    """Whether the twin takes this sample, rather than leaving it to the rule."""
    inputs = _placed(sample, dtype, twin.device)
    with np.errstate(all="ignore"):
        return twin.function(*inputs, **sample.settings) is not NotImplemented


def check_twin(operation: Operation, twin: Twin, sample: Sample, seed: int = 0) -> GradcheckReport:
    """Compare a twin with its rule on one sample, in each dtype that it serves.

    Returns:
        a report; its `oracles` count the dtypes that were compared (none if the twin left the sample to the rule).
    """
    report = GradcheckReport(f"{function_name(twin.function)}, a twin of {operation.name}", seed)
    for dtype in (np.float64, np.float32):
        if not serves(twin, sample, dtype):
            continue
        for layout in LAYOUTS if _size(sample) <= FEW else LAYOUTS[:1]:
            try:
                report.worst = max(report.worst, _compare(operation, twin, sample, dtype, layout, seed))
            except Broken as broken:
                report.findings.append(broken.finding(f"{np.dtype(dtype)}, {layout}: "))
        report.oracles[f"the rule in {np.dtype(dtype)}"] += 1
    return report


def _size(sample: Sample) -> int:
    return sum(x.size for x in sample.inputs if isinstance(x, np.ndarray))


def _or_rule(operation: Operation, twin: Twin) -> Callable:
    """The twin; the rule where it leaves an odd layout to it."""
    rule = as_rule(twin.function)

    def either(xp: Any, *inputs: Any, **settings: Any) -> Any:
        result = rule(xp, *inputs, **settings)
        if result is NotImplemented:
            return operation.rule(xp, *inputs, **settings)
        if twin.recorded:
            return result
        if result[1] is not None:
            raise Broken("form", "a twin that is not asked where anything is recorded returns None for backward")
        return result[0], lambda g: ()
    return either


def _compare(operation: Operation, twin: Twin, sample: Sample, dtype: Any, layout: str, seed: int) -> float:
    """Outputs, and gradients unless the twin has no way back; the largest difference in float64."""
    inputs = [in_layout(x, layout) if getattr(x, "ndim", 0) else x for x in _placed(sample, dtype, twin.device)]
    use = RuleUse(operation.rule, inputs, sample.settings, sample.constants)
    rng, rule = np.random.default_rng(seed), _or_rule(operation, twin)
    call = use.call(rule)
    if twin.recorded:
        check_rule(call, rng)
    call.watch.check("the twin")
    reference = use.in_dtype(np.float64).call()
    if len(call.outputs) != len(reference.outputs):
        raise Broken("form", f"the twin has {len(call.outputs)} outputs, the rule {len(reference.outputs)}")
    worst = max([_apart("output", out, expected, dtype) for out, expected in zip(call.outputs, reference.outputs)])
    if twin.recorded:
        with no_grad():  # nothing is kept for a backward pass then: another way through the twin, perhaps
            unrecorded = use.call(rule)
        for out, again in zip(call.outputs, unrecorded.outputs):
            if not near(out, again, 1.0, _tolerances(dtype)[1]):
                raise Broken("no_grad", "the twin's output under no_grad differs from that on the tape")
        cotangents = [g.astype(dtype) for g in reference.cotangents(rng)]
        found, wanted = call.gradients(cotangents), reference.gradients([g.astype(np.float64) for g in cotangents])
        worst = max([worst, *(_apart(f"gradient of {name}", dx, expected, dtype)
                              for name, dx, expected in zip(use.names, found, wanted))])
    return worst if dtype == np.float64 else 0.0


def _tolerances(dtype: Any) -> tuple[float, float]:
    """The size of things at the least, and how near is near: what `near` takes."""
    return (FLOOR32, FLOAT32) if dtype == np.float32 else (1.0, CLOSE)


def _apart(what: str, got: Any, expected: Any, dtype: Any) -> float:
    """How far the twin's numbers are from the rule's, in float64; Broken if that is more than rounding explains."""
    if got is None and expected is None:
        return 0.0
    if got is None or expected is None:
        raise Broken("form", f"the {what} is None for one of twin and rule")
    if got.shape != expected.shape:
        raise Broken("shape", f"the twin's {what} has shape {got.shape}, the rule's {expected.shape}")
    if got.dtype != (dtype if expected.dtype == np.float64 else expected.dtype):
        raise Broken("dtype", f"the {what} is {got.dtype} for inputs of {np.dtype(dtype)}")
    gap = float(np.abs(to_numpy(got) - to_numpy(expected)).max(initial=0))
    if not near(expected, got, *_tolerances(dtype)):
        raise Broken("same as the rule", f"the {what} differs from the rule's by up to {gap:.3g}")
    return gap

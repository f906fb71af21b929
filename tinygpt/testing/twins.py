"""`check_twin`: a fast twin against its rule, output and gradients, in float64 and float32.

The rule has been checked against the oracles; the twin has to say the same. Its contracts are those of a rule. Of a
twin that is asked only where nothing is recorded, the outputs are compared.

Prerequisites: vjp.py, kernels/twins.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Operation, no_grad
from ..engine.dispatch import Twin
from ..backend import array_module, to_device, to_numpy
from .arguments import function_name
from .contracts import Broken, near, same
from .report import Finding, GradcheckReport
from .rules import FLOAT32, FLOOR32, RuleCall, check_float32, check_rule, in_dtype
from .samples import Sample
from .values import LAYOUTS, in_layout
from .vjp import as_rule, input_names

__all__ = ["check_twin", "serves"]

FEW = 10_000  # elements, up to which every memory layout is tried
CLOSE = 1e-9  # of the largest entry (or of a number near 1), in float64: the same mathematics in another order


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
                compare = _compare if twin.recorded else _compare_outputs
                report.worst = max(report.worst, compare(operation, twin, sample, dtype, layout, seed))
            except Broken as broken:
                report.findings.append(Finding("contract", f"{np.dtype(dtype)}, {layout}: {broken}", broken.argument,
                                               oracle=f"contract: {broken.contract}"))
        report.oracles[f"the rule in {np.dtype(dtype)}"] += 1
    return report


def _size(sample: Sample) -> int:
    return sum(x.size for x in sample.inputs if isinstance(x, np.ndarray))


def _or_rule(operation: Operation, twin: Twin) -> Callable:
    """The twin; the rule where it leaves an odd layout to it."""
    rule = as_rule(twin.function)

    def either(xp: Any, *inputs: Any, **settings: Any) -> Any:
        result = rule(xp, *inputs, **settings)
        return operation.rule(xp, *inputs, **settings) if result is NotImplemented else result
    return either


def _compare_outputs(operation: Operation, twin: Twin, sample: Sample, dtype: Any, layout: str, seed: int) -> float:
    """The outputs of a twin without a way back; its inputs stay as they were."""
    inputs = [in_layout(x, layout) if getattr(x, "ndim", 0) else x for x in _placed(sample, dtype, twin.device)]
    before = [x.copy() if hasattr(x, "copy") else x for x in inputs]
    with np.errstate(all="ignore"):
        result = twin.function(*inputs, **sample.settings)
        if result is NotImplemented:  # an odd layout, left to the rule
            return 0.0
        expected, _ = operation.rule(array_module(*inputs), *in_dtype(inputs, np.float64), **sample.settings)
    outs, backward = result[0] if isinstance(result[0], tuple) else (result[0],), result[1]
    wanted = expected if isinstance(expected, tuple) else (np.asarray(expected) if isinstance(
        expected, np.generic) else expected,)
    if backward is not None:
        raise Broken("form", "a twin that is not asked where anything is recorded returns None for backward")
    for x, old in zip(inputs, before):
        if hasattr(x, "dtype") and not same(x, old):
            raise Broken("inputs unchanged", "the twin changed an input in place")
    if len(outs) != len(wanted):
        raise Broken("form", f"the twin has {len(outs)} outputs, the rule {len(wanted)}")
    worst = 0.0
    for out, expected in zip(map(to_numpy, outs), map(to_numpy, wanted)):
        if out.shape != expected.shape:
            raise Broken("shape", f"the twin's output has shape {out.shape}, the rule's {expected.shape}")
        if out.dtype != dtype:
            raise Broken("dtype", f"the twin returned {out.dtype} for {np.dtype(dtype)}")
        if not near(expected, out, *((FLOOR32, FLOAT32) if dtype == np.float32 else (1.0, CLOSE))):
            raise Broken("same as the rule", "the output differs from the rule's by up to "
                         f"{np.abs(out - expected).max(initial=0):.3g}")
        worst = max(worst, float(np.abs(out - expected).max(initial=0)))
    return worst if dtype == np.float64 else 0.0


def _compare(operation: Operation, twin: Twin, sample: Sample, dtype: Any, layout: str, seed: int) -> float:
    inputs = [in_layout(x, layout) if getattr(x, "ndim", 0) else x for x in _placed(sample, dtype, twin.device)]
    wide = in_dtype(inputs, np.float64)
    names = input_names(operation.rule, len(inputs))
    inputs, wide = ([*given, *[None] * (len(names) - len(given))] for given in (inputs, wide))
    checked = [k for k, x in enumerate(inputs) if names[k] not in sample.constants
               and getattr(getattr(x, "dtype", None), "kind", "") == "f"]
    rng = np.random.default_rng(seed)
    before = [x.copy() if hasattr(x, "copy") else x for x in inputs]
    twin_rule = _or_rule(operation, twin)
    call = RuleCall(twin_rule, inputs, sample.settings, names, checked)
    check_rule(call, before, rng)
    reference = RuleCall(operation.rule, wide, sample.settings, names, checked)
    if len(call.outputs) != len(reference.outputs):
        raise Broken("form", f"the twin has {len(call.outputs)} outputs, the rule {len(reference.outputs)}")
    cotangents = reference.cotangents(rng)
    for out, expected in zip(call.outputs, reference.outputs):
        if out.shape != expected.shape:
            raise Broken("shape", f"the twin's output has shape {out.shape}, the rule's {expected.shape}")
    with no_grad():  # nothing is kept for a backward pass then: another way through the twin, perhaps
        unrecorded = RuleCall(twin_rule, inputs, sample.settings, names, checked)
    for out, again in zip(call.outputs, unrecorded.outputs):
        if not near(out, again, 1.0, CLOSE if dtype == np.float64 else FLOAT32):
            raise Broken("no_grad", "the twin's output under no_grad differs from that on the tape")
    if dtype == np.float32:
        check_float32(call, reference, cotangents)
        return 0.0
    worst = 0.0
    pairs = [("output", out, expected) for out, expected in zip(call.outputs, reference.outputs)]
    pairs += [(f"gradient of {name}", dx, expected) for name, dx, expected in zip(
        names, call.gradients(cotangents), reference.gradients(cotangents))]
    for what, got, expected in pairs:
        if (got is None) != (expected is None):
            raise Broken("form", f"the {what} is None for one of twin and rule")
        if got is None:
            continue
        if got.dtype != expected.dtype:
            raise Broken("dtype", f"the {what} is {got.dtype}, the rule's {expected.dtype}")
        gap = float(np.abs(to_numpy(got) - to_numpy(expected)).max(initial=0))
        if not near(expected, got, 1.0, CLOSE):
            raise Broken("same as the rule", f"the {what} differs from the rule's by up to {gap:.3g}")
        worst = max(worst, gap)
    return worst

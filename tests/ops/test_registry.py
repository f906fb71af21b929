"""The gate: no operation and no twin without samples, and every one of them right on its samples."""

from __future__ import annotations

import numpy as np
import pytest

import tinygpt.kernels  # noqa: F401  (enters the twins)
from tinygpt.autograd import OPS
from tinygpt.ops.numpy_functions import THEMES
from tinygpt.ops.numpy_table import ENTRIES
from tinygpt.testing import op_db
from tinygpt.testing.registry import COMPLEX, check_operation, operations
from tinygpt.engine.dispatch import twins_of

EXEMPT = {"ravel": "it is reshape"}  # operation: why it needs no samples
OURS = operations()
RULES = [name for name in OURS if name in OPS]
TWINS = [(name, twin) for name in RULES for twin in twins_of(OPS[name])]
EXAMPLES, FEWER = 15, 3  # of functions of the library, of which there are many


def test_every_operation_has_samples() -> None:
    missing = [name for name in {*OURS, *ENTRIES} if name not in op_db and name not in EXEMPT]
    assert not missing, f"no samples in tinygpt.testing.op_db for {', '.join(missing)}"
    assert all(EXEMPT.values()), "an exemption says why"
    assert not [name for name in (*op_db, *EXEMPT) if name not in {*OURS, *ENTRIES}], "samples of what does not exist"
    assert len(RULES) > 100 and len(OURS) > 200 and COMPLEX < set(RULES)


def test_every_twin_has_samples_around_its_blocks() -> None:
    missing = [name for name, _ in TWINS if op_db[name].draw_large is None]
    assert not missing, f"no large samples in tinygpt.testing.op_db for {', '.join(missing)}"
    assert len(TWINS) > 8


@pytest.mark.parametrize("name", OURS)
def test_gradients(name: str) -> None:
    rule = OPS[name].rule.__module__.rpartition(".")[2] if name in OPS else ""
    rows = list(check_operation(name, FEWER if rule in ("", *THEMES) else EXAMPLES))
    assert len(rows) == 1 + (sum(twin.device == "cpu" for twin in twins_of(OPS[name])) if name in OPS else 0)
    for row in rows:
        assert not row.reports, str(row.reports[0])
        assert row.examples, f"{row.name} served none of its samples"


@pytest.mark.parametrize("name, twin", TWINS, ids=[f"{name}-{twin.function.__name__}" for name, twin in TWINS])
def test_twins_serve_float32_and_large_samples(name: str, twin) -> None:
    if twin.device != "cpu":
        pytest.skip("served on a GPU")
    from tinygpt.testing.contracts.twins import serves
    assert any(serves(twin, sample, np.float32) for sample in op_db[name].large_samples())


def test_samples_are_the_same_every_time_and_differ_by_seed() -> None:
    for name in OURS:
        first, again, other = ([repr(sample) for sample in op_db[name].samples(10, seed)] for seed in (3, 3, 4))
        assert first == again != other, name


@pytest.mark.parametrize("name", ["add", "multiply", "exp", "sum", "relu", "gelu", "getitem", "concatenate"])
def test_samples_reach_the_corners(name: str) -> None:
    """Nothing at all, no axes, one element, several axes."""
    shapes = [x.shape for sample in op_db[name].samples(200) for x in sample.inputs if isinstance(x, np.ndarray)]
    sizes = {int(np.prod(shape)) for shape in shapes}
    assert 1 in sizes and max(sizes) > 20 and max(map(len, shapes)) >= 3
    if name not in ("getitem", "concatenate"):
        assert () in shapes and 0 in sizes


def test_samples_repeat_indices_and_meet_ties() -> None:
    keys = [sample.settings["key"] for sample in op_db["getitem"].samples(100)]
    assert any(isinstance(key, np.ndarray) and key.dtype.kind == "i" and len(np.unique(key)) < key.size for key in keys)
    ties = [sample.inputs[0] for sample in op_db["max"].samples(100)]
    assert any(x.size > 1 and np.sum(x == x.max()) > 1 for x in ties)
    assert any(np.any(x == 0) for sample in op_db["relu"].samples(100) for x in sample.inputs)

"""What a bug is checked on: examples, drawn from a seed, of four kinds."""

from __future__ import annotations

import contextlib
import operator
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygpt import Tensor
from tinygpt.autograd import OPS, Operation
from tinygpt.engine.dispatch import Twin, twins_of
from tinygpt.nn.evaluating import evaluating
from tinygpt.testing import check_model, check_vjp, gradcheck, op_db
from tinygpt.testing.contracts.rules import as_function, input_names
from tinygpt.testing.contracts.twins import check_twin
from tinygpt.testing.oracles.parameters import ParameterProblem, in_float64
from tinygpt.testing.oracles.problem import Problem, TensorProblem
from tinygpt.testing.reports.report import GradcheckReport
from tinygpt.testing.samples import Sample
from tinygpt.training import losses

from .mutation import Edit, mutant

__all__ = ["BUGS", "Bug", "Example", "FunctionExample", "ModelExample", "RuleExample", "TwinExample", "add", "edit"]


class Example:
    """One example of a bug."""

    def ours(self, seed: int) -> GradcheckReport:
        """What our checker says."""
        raise NotImplementedError

    @contextlib.contextmanager
    def problem(self) -> Iterator[Problem]:
        """The function and its gradient, for other checkers."""
        raise NotImplementedError
        yield


@dataclass
class RuleExample(Example):
    """A rule and a sample."""

    rule: Callable
    sample: Sample

    def ours(self, seed: int) -> GradcheckReport:
        return check_vjp(self.rule, *self.sample.inputs, constants=self.sample.constants, seed=seed,
                         raise_exception=False, **self.sample.settings)

    @contextlib.contextmanager
    def problem(self) -> Iterator[Problem]:
        names = input_names(self.rule, len(self.sample.inputs))
        inputs = [Tensor(x, requires_grad=True) if getattr(getattr(x, "dtype", None), "kind", "") == "f"
                  and name not in self.sample.constants else x for name, x in zip(names, self.sample.inputs)]
        yield _started(TensorProblem(as_function(self.rule, "rule", self.sample.settings), tuple(inputs), {}))


@dataclass
class FunctionExample(Example):
    """A function of Tensors and its inputs."""

    func: Callable
    inputs: tuple[Any, ...]

    def ours(self, seed: int) -> GradcheckReport:
        return gradcheck(self.func, *self.inputs, seed=seed, raise_exception=False)

    @contextlib.contextmanager
    def problem(self) -> Iterator[Problem]:
        yield _started(TensorProblem(self.func, self.inputs, {}))


def _loss(model: Any, batch: Any) -> tuple[Tensor, float]:
    """The loss that training has for a model."""
    return losses.language_loss(model, batch), losses.count_targets(batch)


@dataclass
class ModelExample(Example):
    """A language model and a batch; perhaps an optimizer, in whose arrays the weights live."""

    model: Any
    batch: dict[str, np.ndarray]
    optimizer: Any = None

    def ours(self, seed: int) -> GradcheckReport:
        return check_model(self.model, self.batch, loss=_loss, seed=seed, raise_exception=False)

    @contextlib.contextmanager
    def problem(self) -> Iterator[Problem]:
        parameters = dict(self.model.named_parameters())
        with evaluating(self.model), in_float64(parameters.values()):
            yield _started(ParameterProblem(lambda: operator.truediv(*_loss(self.model, self.batch)), parameters))


@dataclass
class TwinExample(Example):
    """A twin and a sample of its operation."""

    name: str
    twin: Twin
    sample: Sample

    def ours(self, seed: int) -> GradcheckReport:
        return check_twin(OPS[self.name], self.twin, self.sample, seed)

    @contextlib.contextmanager
    def problem(self) -> Iterator[Problem]:
        operation = Operation(self.name, OPS[self.name].rule)
        twins_of(operation)[:] = [self.twin]
        inputs = [Tensor(x, requires_grad=True) if getattr(getattr(x, "dtype", None), "kind", "") == "f" else x
                  for x in self.sample.inputs]
        try:
            yield _started(TensorProblem(lambda *xs: operation(xs, self.sample.settings), tuple(inputs), {}))
        finally:
            twins_of(operation).clear()


def _started(problem: Problem) -> Problem:
    problem.start()
    return problem


@dataclass
class Bug:
    """A wrong gradient.

    Attributes:
        name: by which it is switched on.
        draw: makes one example, with the bug in it.
        on: makes a context in which the bug is active everywhere; empty for a rule's bug, which travels in the example.
        costly: whether one example takes a second rather than milliseconds.
    """

    name: str
    draw: Callable[[np.random.Generator], Example]
    on: Callable[[], contextlib.AbstractContextManager] = field(default=contextlib.nullcontext)
    costly: bool = False

    def example(self, seed: int, i: int) -> Example:
        """The i-th example of a seed."""
        return self.draw(np.random.default_rng([seed, zlib.crc32(self.name.encode()), i]))


BUGS: dict[str, Bug] = {}


def add(bug: Bug) -> None:
    """Enter a bug."""
    assert bug.name not in BUGS, f"two bugs are called {bug.name}"
    BUGS[bug.name] = bug


def edit(name: str, operation: str, *edits: Edit, draw: Callable[[np.random.Generator], Sample] | None = None,
         **names: Any) -> None:
    """Enter a bug that edits the rule of an operation; `draw` takes the place of the operation's own samples."""
    rule = mutant(OPS[operation].rule, *edits, **names)
    add(Bug(name, lambda rng: RuleExample(rule, (draw or op_db[operation].draw)(rng))))

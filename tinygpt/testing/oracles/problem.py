"""One face for everything that is checked: a function of float64 arrays, and somebody's gradient of it.

The oracles see a function from a list of arrays to one vector (all outputs, joined), and its vector-Jacobian product.
`TensorProblem` is a function of Tensors, whose gradient is what `backward` computes; `PlainProblem` a function of
arrays that returns one number, with a gradient written by hand. Both hand out arrays on the host; where the arguments
live on a GPU, so do the arrays that the function gets.

Prerequisites: arguments.py. Next: line.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ...autograd import Operation, Tensor, is_grad_enabled, no_grad
from ...autograd.graph import Node
from ...backend import Array, to_device, to_numpy
from .arguments import Arguments, function_name, leaves

__all__ = ["CallProblem", "EPS", "PlainProblem", "Problem", "TensorProblem", "draw_cotangent", "euclidean",
           "gradients_of", "host_array", "leaves_of", "require_recording",
           "restored"]

EPS = float(np.finfo(np.float64).eps)
AMPLIFIED = 1000.0  # how many times its own size a number inside may move an output, at the most


@contextlib.contextmanager
def restored(tensors: Iterable[Tensor]) -> Iterator[None]:
    """No `.grad` inside the block; after it, also after an error, values and gradients are what they were.

    Copies are kept, for the arrays of a parameter that an optimizer holds are always the same ones, written to.
    """
    tensors = list(tensors)
    before = [[(array, None if array is None else array.copy()) for array in (t.data, t.grad)] for t in tensors]
    try:
        for t in tensors:
            t.grad = None
        yield
    finally:
        for t, kept in zip(tensors, before):
            for array, values in kept:
                if array is not None and not np.array_equal(to_numpy(array), to_numpy(values), equal_nan=True):
                    array[...] = values
            t.data, t.grad = (array for array, _ in kept)


def require_recording(who: str) -> None:
    """ValueError under `no_grad`, where no gradient would arrive anywhere."""
    if not is_grad_enabled():
        raise ValueError(f"{who}: nothing is recorded under no_grad, so there is no gradient to check: call it outside")


def leaves_of(who: str, compute: Callable[[], Iterable[Tensor]], known: Iterable[Tensor]) -> list[Tensor]:
    """The leaves with a gradient that `compute` uses, apart from the known ones.

    Raises:
        ValueError: it uses a Tensor that was computed before, whose graph the first backward pass would free.
    """
    before = Node(who, lambda g: (), [], np.zeros(())).born
    with np.errstate(all="ignore"):
        waiting: list[Any] = [out._node or out for out in compute() if out.requires_grad]
    seen = {id(t) for t in known}
    found = []
    while waiting:
        source = waiting.pop()
        if source is None or id(source) in seen:
            continue
        seen.add(id(source))
        if isinstance(source, Tensor):
            found.append(source)
        elif source.born < before:
            raise ValueError(f"{who} uses a Tensor that was computed outside it, by {source.name}: compute it inside, "
                             "or hand in its .detach()")
        else:
            waiting += source.sources
    return found


def gradients_of(tensors: Iterable[Tensor]) -> list[np.ndarray | None]:
    """What arrived at each Tensor, on the host."""
    return [None if t.grad is None else to_numpy(t.grad) for t in tensors]


def host_array(x: Any) -> np.ndarray:
    """A result of any engine as a NumPy array: CuPy's, a Tensor's, a number, or whatever NumPy can read."""
    if isinstance(x, Tensor):
        x = x.data
    try:
        x = to_numpy(x)
    except TypeError:
        pass
    return np.asarray(x)  # also of a subclass, np.matrix say


def draw_cotangent(rng: np.random.Generator, n: int) -> np.ndarray:
    """n numbers of both signs, none near zero, and exact in any floating-point type."""
    return rng.integers(64, 193, n) / 128 * rng.choice([-1.0, 1.0], n)


def euclidean(x: np.ndarray) -> float:
    """The length of a vector of numbers that may be so large, or so small, that their squares are none."""
    largest = float(np.abs(x).max(initial=0))
    return largest * float(np.linalg.norm(x / largest)) if 0 < largest < np.inf else largest


class Problem:
    """A function of arrays, and a gradient to check.

    Attributes:
        name: the function's name.
        names: the names of the checked arguments.
        inputs: where the gradient is checked: float64 arrays on the host.
        base: the joined finite outputs at `inputs`.
        size: the largest number among inputs and outputs.
        magnitude: the size of the numbers that the function works with, as far as they can be seen; at least 1.
        coarse: whether some outputs have fewer digits than float64.
        rounding: how far rounding inside the function moves each element of `base`.
        evaluations: how often `forward` has run.
    """

    def __init__(self, name: str, names: list[str], inputs: list[np.ndarray]) -> None:
        self.name, self.names, self.inputs = name, names, inputs
        self.evaluations = 0
        self.finite: np.ndarray | None = None
        self.base = np.zeros(0)
        self.size, self.magnitude = 0.0, 1.0
        self.coarse = False
        self.moved = self.rounding = np.zeros(0)

    def outputs(self, arrays: Sequence[np.ndarray]) -> list[Array]:
        """The floating-point outputs at `arrays`, which may be complex."""
        raise NotImplementedError

    def vjp(self, arrays: Sequence[np.ndarray], v: np.ndarray) -> list[np.ndarray | None]:
        """The gradient of Σ v·forward for each input; None where none arrived."""
        raise NotImplementedError

    def copies(self) -> list[np.ndarray]:
        """`inputs`, for a function that may write to them."""
        return [x.copy() for x in self.inputs]

    def dense(self, found: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        """A gradient with zeros where none arrived."""
        return [np.zeros(x.shape) if g is None else g for g, x in zip(found, self.inputs)]

    def gradient(self, v: np.ndarray) -> list[np.ndarray]:
        """The gradient of Σ v·forward at `inputs`, zeros where none arrived."""
        return self.dense(self.vjp(self.copies(), v))

    def everything(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """All outputs joined to one vector."""
        self.evaluations += 1
        with np.errstate(all="ignore"):
            return self._whole(self.outputs(arrays))

    def _whole(self, outputs: Sequence[Array]) -> np.ndarray:
        parts = [to_numpy(out).reshape(-1) for out in outputs]
        self.coarse = self.coarse or any(part.dtype.kind == "f" and part.dtype.itemsize < 8 for part in parts)
        y = np.concatenate(parts) if len(parts) != 1 else parts[0]
        return y.astype(np.result_type(y, np.float64), copy=False)  # differences of float16 are to be seen

    def forward(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Those of the outputs, joined to one vector, that are finite at `inputs`."""
        return self._finite(self.everything(arrays))

    def joined(self, outputs: Sequence[Array]) -> np.ndarray:
        """Outputs as `forward` joins them."""
        return self._finite(self._whole(outputs))

    def _finite(self, y: np.ndarray) -> np.ndarray:
        return y if self.finite is None else y[self.finite]

    def start(self) -> None:
        """Evaluate at `inputs`, and note which outputs are finite there."""
        self.base = self.everything(self.copies())
        if not np.isfinite(self.base).all():
            self.finite = np.isfinite(self.base)
            self.base = self.base[self.finite]
        self.moved = self.shaken(EPS)
        sizes = [float(np.abs(x).max(initial=0)) for x in (*self.inputs, self.base)]
        self.size = max(sizes)
        self.saw_sizes(sizes)

    def shaken(self, eps: float) -> np.ndarray:
        """How far rounding moves each output, as far as it can be seen; `eps` is what a last digit is worth.

        Values that cancel inside a function leave its outputs with more rounding than their own size tells, and values
        that are multiplied by 1e-9 with less than the size of the numbers inside. So the inputs are shaken in their
        last digits; and over steps so short that any smooth function is a parabola, what is not one is rounding. A sine
        of a million turns even there: what falls with the step by far more than rounding does is its own shape.
        """
        rng = np.random.default_rng(0)

        def at(step: float, signs: Sequence[np.ndarray]) -> np.ndarray:
            try:
                y = self.forward([x + x * (step * sign) for x, sign in zip(self.inputs, signs)])
            except Exception:  # the inputs may lie at the edge of the domain
                return self.base
            return np.where(np.isfinite(y), y, self.base) if y.shape == self.base.shape else self.base
        signs = [rng.choice([-1.0, 1.0], x.shape) for x in self.inputs]
        moved = [np.abs(at(digits * eps, signs) - self.base) for digits in (1, -1, 4, -4)]
        digits = np.maximum.reduce([*moved, eps * np.abs(self.base)])

        def bent(size: float) -> tuple[np.ndarray, np.ndarray]:
            a, b, c, d = (at(step * size, signs) for step in (-3, -1, 1, 3))
            return np.abs((d - a) - 3 * (c - b)) / 4, d != a
        rough, _ = bent(eps**0.5 / 4)
        if (rough > 8 * digits).any():
            finer, moves = bent(eps**0.5 / 64)
            rough = np.where(moves & (finer < rough / 64), finer, rough)  # 1/4096 where smooth, 1 where it is rounding
        return np.maximum.reduce([*moved, rough])

    def saw_sizes(self, sizes: Iterable[float]) -> None:
        """Numbers of these sizes occur: what moves an output by much more than their rounding is a jump, not noise."""
        self.magnitude = max([self.magnitude, *sizes])
        self.rounding = self.rounding_of(self.moved, EPS)

    def rounding_of(self, moved: np.ndarray, eps: float) -> np.ndarray:
        """What `shaken` saw, no less than the outputs' own last digit and no more than rounding explains."""
        return np.maximum(eps * np.abs(self.base), np.minimum(moved, AMPLIFIED * eps * self.magnitude))

    def spread(self, v: np.ndarray) -> np.ndarray:
        """A cotangent of the finite outputs as one of all outputs."""
        if self.finite is None:
            return v
        whole = np.zeros(self.finite.size)
        whole[self.finite] = v
        return whole


class CallProblem(Problem):
    """A function with its arguments."""

    def __init__(self, func: Callable, args: tuple, kwargs: dict[str, Any]) -> None:
        self.func = func
        self.arguments = Arguments(func, args, kwargs)
        super().__init__(function_name(func), self.arguments.names, self.arguments.values)


class TensorProblem(CallProblem):
    """A function of Tensors."""

    def __init__(self, func: Callable, args: tuple, kwargs: dict[str, Any]) -> None:
        require_recording("gradcheck")
        super().__init__(func, args, kwargs)

    def tensors(self, arrays: Iterable[Any]) -> list[Tensor]:
        """Leaves for one call."""
        return [Tensor(array, requires_grad=True) for array in self.arguments.placed(list(arrays))]

    def call(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The floating-point outputs for given Tensors."""
        result = self.arguments.call(self.func, list(tensors))
        found = [leaf for _, leaf in leaves(result) if isinstance(leaf, Tensor) and leaf.dtype.kind in "fc"]
        if not found:
            kind = type(result).__name__ + (f" of {result.dtype}" if hasattr(result, "dtype") else "")
            raise TypeError(f"gradcheck: {self.name} returned {kind}, expected a Tensor of floating-point numbers (or "
                            "several); for a function of plain arrays give its gradient as grad=")
        return found

    def outputs(self, arrays: Sequence[np.ndarray]) -> list[Array]:
        with no_grad():
            return [out.data for out in self.call([Tensor(array) for array in self.arguments.placed(list(arrays))])]

    def others(self) -> list[Tensor]:
        """The leaves that the function uses and was not given: parameters in its closure, say."""
        mine = self.tensors(self.copies())
        return leaves_of(self.name, lambda: self.call(mine), mine)

    def split(self, outputs: Sequence[Tensor], v: np.ndarray) -> list[Array]:
        """A joined cotangent cut into one for each output, of its shape, dtype and device."""
        parts, start = [], 0
        for out in outputs:
            part = v[start:start + out.size].reshape(out.shape).astype(out.dtype)
            parts.append(part if out.device == "cpu" else to_device(part, out.device))
            start += out.size
        return parts

    @staticmethod
    def start_backward(outputs: Sequence[Tensor], cotangents: Sequence[Array]) -> None:
        """One backward pass from several outputs at once, each with its own cotangent."""
        pairs = [(out, g) for out, g in zip(outputs, cotangents) if out.requires_grad]
        if len(pairs) == 1:
            pairs[0][0].backward(pairs[0][1])
        elif pairs:  # tied into one node, whose closure hands each output its cotangent
            outs, parts = zip(*pairs)
            Operation("gradcheck", lambda xp, *xs: (xp.zeros(()), lambda g: parts))([list(outs)], {}).backward()

    def pull(self, tensors: Sequence[Tensor], v: np.ndarray) -> list[Tensor]:
        """One forward and one backward pass: adds to the `.grad` of the Tensors; returns the outputs."""
        with np.errstate(all="ignore"):
            outputs = self.call(tensors)
            self.start_backward(outputs, self.split(outputs, self.spread(v)))
        return outputs

    def vjp(self, arrays: Sequence[np.ndarray], v: np.ndarray) -> list[np.ndarray | None]:
        tensors = self.tensors(arrays)
        self.pull(tensors, v)
        return gradients_of(tensors)


class PlainProblem(CallProblem):
    """A function of plain arrays that returns one number, and a gradient written by hand."""

    def __init__(self, func: Callable, grad: Callable, args: tuple, kwargs: dict[str, Any]) -> None:
        super().__init__(func, args, kwargs)
        self.grad = grad

    def outputs(self, arrays: Sequence[np.ndarray]) -> list[Array]:
        return [self.value(self.arguments.placed(list(arrays)))]

    def value(self, placed: Sequence[Array]) -> np.ndarray:
        """The one number that the function returns, as an array of one element."""
        out = host_array(self.arguments.call(self.func, list(placed)))
        if out.size != 1 or out.dtype.kind not in "fc":
            what = f"{out.dtype} of shape {out.shape}"
            raise ValueError(f"gradcheck: {self.name} returned {what}; with grad= the function must return one "
                             "floating-point number (reduce it, say by a weighted sum)")
        return out

    def gradients(self, arrays: Sequence[Array]) -> list[Any]:
        """What `grad` returned for each checked argument, unconverted."""
        given = self.arguments.call(self.grad, list(arrays))
        numbers = isinstance(given, list) and len(self.inputs) == 1 and np.shape(given) == self.inputs[0].shape
        found = list(given) if isinstance(given, (tuple, list)) and not numbers else [given]
        args, kwargs = self.arguments.tree
        if len(found) == len(args) + len(kwargs) != len(self.inputs):  # one entry an argument, also for the unchecked
            order = [(0, i) for i in range(len(args))] + [(1, key) for key in kwargs]
            found = [dx for place, dx in zip(order, found) if place in self.arguments.paths]
        if len(found) != len(self.inputs):
            raise ValueError(f"gradcheck: grad returned {len(found)} gradients for {len(self.inputs)} arguments "
                             f"({', '.join(self.names)}): return one array for one, a tuple for several")
        return found

    def vjp(self, arrays: Sequence[np.ndarray], v: np.ndarray) -> list[np.ndarray | None]:
        with np.errstate(all="ignore"):
            found = self.gradients(self.arguments.placed([x.copy() for x in arrays]))
        return [None if dx is None else host_array(dx) * float(v[0]) for dx in found]

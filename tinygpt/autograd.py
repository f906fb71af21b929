"""Reverse-mode automatic differentiation: Tensor, the differentiable rule, and the walk backwards.

A *rule* is a plain function of arrays. It returns its output and a closure that turns the gradient of the output
into the gradients of the inputs; the two stand side by side, so an operation is read, and checked, in one place:

    @differentiable
    def multiply(xp, x, y):
        def backward(g):                        # d(xy) = y dx + x dy
            return unbroadcast(g * y, x), unbroadcast(g * x, y)
        return x * y, backward

Called with Tensors, the operation leaves a `Node` behind that holds the closure and the nodes it came from.
`Tensor.backward` walks these nodes from the newest to the oldest. A node holds arrays, never the Tensors around
them, so there are no reference cycles: a graph is freed the moment its last Tensor goes.

Read before: backend.py. Read next: ops/ (the rules). The method is that of Linnainmaa (1970); Baydin et al.,
"Automatic differentiation in machine learning: a survey" (JMLR 2018), is a good introduction.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import operator
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from .backend import Array, array_module, backend_of, device_of, on_device, resolve_device, to_device, to_numpy

__all__ = [
    "Backward", "Deferred", "Gradient", "Node", "OPS", "Operation", "Output", "Rule", "Tensor", "Twin",
    "differentiable", "is_grad_enabled", "no_grad", "unbroadcast",
]

# A rule's closure returns one of these for each input: an array; a function that computes one, called only if somebody
# wants that gradient (worth it where it costs a matrix product), which may be a `Deferred`; or None where there is
# nothing to differentiate.
Gradient = Array | Callable[[], Array] | None
Backward = Callable[[Array], Sequence[Gradient]]
Output = tuple[Any, Backward]  # what a rule returns: an array, or a tuple of arrays, and the closure
Rule = Callable[..., Output]


class Deferred:
    """A gradient that is not computed yet and that knows a short way into a gradient that has its place in memory.

    Two methods, for a twin that writes large gradients: calling it computes the gradient as a new array, and
    `add_to` adds it to one that is there, by a way that needs no array of its own.
    """

    def __call__(self) -> Array:
        """The gradient, as a new array."""
        raise NotImplementedError

    def add_to(self, total: Array, vacant: bool) -> None:
        """Add it to `total` in place. If `vacant`, `total` counts as zero, whatever it holds."""
        raise NotImplementedError


# ---------------------------------------------------------------------------------------------------------------------
# Switching the tape off


class _OpenBlocks(threading.local):
    """The `with no_grad():` blocks open in this thread: the no_grad, and the generator frame it stands in, or None."""

    def __init__(self) -> None:
        self.blocks: list[tuple[no_grad, FrameType | None]] = []


_open = _OpenBlocks()
_GENERATOR_CODE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def is_grad_enabled() -> bool:
    """False inside `with no_grad():`, in the thread that entered it."""
    for _, frame in _open.blocks:
        # A generator that has yielded inside its block stands outside the call stack: its block does not count.
        if frame is None or frame.f_back is not None:
            return False
    return True


class no_grad:
    """Record nothing inside: `with no_grad(): …`, or `@no_grad()` above a function or generator function.

    The switch is the thread's own, and it does not leak out of a generator that yields inside the block:

    >>> def stream(x):
    ...     with no_grad():
    ...         yield x * 2
    >>> x = Tensor([1.0], requires_grad=True)
    >>> for y in stream(x):
    ...     print(y.requires_grad, (x * 2).requires_grad)
    False True
    """

    def __enter__(self) -> no_grad:
        _open.blocks.append((self, _generator_around(sys._getframe(1))))
        return self

    def __exit__(self, *exception: object) -> None:
        mine = [block for block in _open.blocks if block[0] is self]
        block = (self, _generator_around(sys._getframe(1)))  # of several, since blocks of generators may interleave
        if mine:
            _open.blocks.remove(block if block in mine else mine[-1])

    def __call__(self, function: Callable) -> Callable:
        if inspect.isgeneratorfunction(function):
            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with no_grad():
                    return (yield from function(*args, **kwargs))
        else:
            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with no_grad():
                    return function(*args, **kwargs)
        return wrapper


def _generator_around(frame: FrameType | None) -> FrameType | None:
    """The frame that `with` was written in if it is a generator's, else None.

    The frames of contextlib, and the bodies of `@contextmanager` functions that it runs, are passed over: they yield to
    a `with` block further up.
    """
    while frame is not None and any(f is not None and f.f_globals.get("__name__") == "contextlib"
                                    for f in (frame, frame.f_back)):
        frame = frame.f_back
    return frame if frame is not None and frame.f_code.co_flags & _GENERATOR_CODE else None


# ---------------------------------------------------------------------------------------------------------------------
# Tensor


class Tensor:
    """An array that remembers how it was made.

    Args:
        data: a NumPy or CuPy array (kept, not copied, where it is on the right device already), a number or nested
            lists of numbers.
        requires_grad: whether `backward` is to compute a gradient for it; needs a floating-point dtype.
        device: "cpu", "cuda" or "cuda:N"; None keeps a GPU array where it is and puts host data on the default device.
        dtype: converts the data; None keeps its dtype.

    Attributes:
        data: the array.
        grad: an array of the same shape and dtype after `backward`, else None.
        requires_grad: whether a gradient flows to or through it.

    Raises:
        TypeError: data that is no array of numbers, or `requires_grad` with integers or booleans.
    """

    __slots__ = ("data", "grad", "requires_grad", "_node", "__weakref__")

    def __init__(self, data: Any, requires_grad: bool = False, *, device: str | None = None, dtype: Any = None) -> None:
        if isinstance(data, Tensor):
            data = data.data
        if not isinstance(data, np.ndarray) and not hasattr(data, "__cuda_array_interface__") and not _is_array(data):
            data = np.asarray(data)
        if data.dtype.kind not in "biufc" and data.dtype.name != "bfloat16":
            raise TypeError(f"Tensor: expected numbers, got {data.dtype} data")
        if device is not None or isinstance(data, np.ndarray):
            data = to_device(data, resolve_device(device))
        if dtype is not None:
            with on_device(device_of(data)):
                data = data.astype(dtype, copy=False)
        if requires_grad and data.dtype.kind in "biu":
            raise TypeError(f"Tensor: requires_grad needs floating-point data, got {data.dtype}; convert it first")
        self.data: Array = data
        self.grad: Array | None = None
        self.requires_grad = requires_grad
        self._node: Node | None = None

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements."""
        return self.data.dtype

    @property
    def device(self) -> str:
        """Where the data is: "cpu", "cuda:0", …"""
        return device_of(self.data)

    def numpy(self) -> np.ndarray:
        """The data as a NumPy array on the host (shared where it is there already)."""
        return to_numpy(self.data)

    def item(self) -> Any:
        """The one element, as a Python number."""
        return self.data.item()

    def detach(self) -> Tensor:
        """The same data, cut off the graph."""
        return _wrap(self.data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if not isinstance(self.data, np.ndarray):
            raise TypeError(f"a Tensor on {self.device} does not turn into a NumPy array by itself: use .numpy()")
        return np.array(self.data, dtype=dtype, copy=copy)

    def __float__(self) -> float:
        return float(self.data.item())

    def __int__(self) -> int:
        return int(self.data.item())

    def __index__(self) -> int:
        return operator.index(self.data.item())

    def __bool__(self) -> bool:
        return bool(self.data)

    def __format__(self, specification: str) -> str:
        return format(self.item(), specification) if specification else str(self)

    def __len__(self) -> int:
        if not self.data.ndim:
            raise TypeError("len() of a Tensor with no axes")
        return self.data.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    __hash__ = object.__hash__  # by identity, since == compares element by element

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError("a Tensor's items cannot be assigned, since earlier results may depend on them: "
                        "use tinygpt.ops.where, or assign to tensor.data before it is used")

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=100)
        where = "" if self.device == "cpu" else f", device={self.device!r}"
        flag = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({values}, shape={self.shape}, dtype={self.dtype}{where}{flag})"

    # -- the walk backwards -------------------------------------------------------------------------------------------

    def backward(self, gradient: Any = None) -> None:
        """Add d(self)/d(leaf) to the `.grad` of every leaf that this Tensor was computed from, and free the graph.

        Args:
            gradient: the gradient of the final result with respect to this Tensor, of its shape; 1 by default, which
                needs a Tensor of one element.

        Raises:
            ValueError: nothing to differentiate, a missing or misshapen `gradient`, or a graph that an earlier
                `backward` has freed.
        """
        if not self.requires_grad:
            raise ValueError("backward: this Tensor does not depend on any Tensor with requires_grad=True")
        with on_device(self.device):
            g = self._seed(gradient)
            if self._node is None:
                self._accumulate(g)
                return
        pending: dict[Node, Any] = {self._node: g}  # the gradient so far of each node's output
        for node in _newest_first(self._node):
            g = pending.pop(node)
            if type(node) is Part:
                parts = pending.setdefault(node.whole, [None] * len(node.whole.shapes))
                parts[node.position] = g
                continue
            with on_device(node.device):
                for source, dx in node.gradients(g):
                    if isinstance(source, Tensor):
                        source._accumulate(dx)
                    elif source in pending:
                        pending[source] = _add(pending[source], dx)  # not in place: others may hold either array
                    else:
                        pending[source] = dx
            node.free()

    def _seed(self, gradient: Any) -> Array:
        xp = array_module(self.data)
        if gradient is None:
            if self.data.size != 1:
                raise ValueError(f"backward: a Tensor of shape {self.shape} needs a gradient of that shape: call "
                                 ".backward(gradient), or reduce it to one number first, with .sum() say")
            return xp.ones_like(self.data)
        if isinstance(gradient, Tensor):
            gradient = gradient.data
        elif not hasattr(gradient, "shape"):  # numbers and lists of them have no device yet
            gradient = to_device(gradient, self.device)
        array_module(self.data, gradient)  # raises if they are on two devices
        gradient = xp.asarray(gradient, dtype=self.data.dtype)
        if gradient.shape != self.shape:
            raise ValueError(f"backward: expected a gradient of shape {self.shape}, got {gradient.shape}")
        return gradient

    def _accumulate(self, g: Array) -> None:
        """Add `g` to `.grad`. Never in place: `g` and the old gradient may be in other hands."""
        if self.grad is not None:
            self.grad = _add(self.grad, g)
        else:
            with on_device(self.device):
                self.grad = g.copy()

    def _take(self, g: Deferred) -> bool:
        """Add `g` to a gradient that has its place in memory; False for one that has not (see nn.Parameter)."""
        return False

    if TYPE_CHECKING:  # operators and methods are bound to their rules by ops/operators.py
        def __getattr__(self, name: str) -> Any: ...
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __matmul__ = \
            __rmatmul__ = __pow__ = __rpow__ = __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = \
            lambda self, other: self
        __neg__ = __abs__ = lambda self: self


def _wrap(data: Array, node: Node | None = None) -> Tensor:
    """A Tensor around an array that needs no conversion: the constructor without its checks."""
    tensor = Tensor.__new__(Tensor)
    tensor.data, tensor.grad, tensor.requires_grad, tensor._node = data, None, node is not None, node
    return tensor


def _is_array(x: Any) -> bool:
    try:
        backend_of(x)
    except TypeError:
        return False
    return not isinstance(x, np.generic)


def _as_array(x: Any) -> Array:
    """NumPy's reductions and 0-d arithmetic return scalars; everything on the tape is an array."""
    return np.asarray(x) if isinstance(x, np.generic) else x


def _add(x: Array, y: Array) -> Array:
    """x + y as a new array, on their device."""
    if type(x) is np.ndarray:
        return _as_array(x + y)
    with on_device(device_of(x)):
        return x + y


# ---------------------------------------------------------------------------------------------------------------------
# The graph

_clock = itertools.count()


class Node:
    """What one operation left on the tape: its closure, and where its inputs came from.

    `sources` has one entry an input: a Node, a leaf Tensor, or None for an input without a gradient.
    """

    __slots__ = ("name", "backward", "sources", "shape", "dtype", "device", "born")

    def __init__(self, name: str, backward: Backward, sources: list[Any], out: Array) -> None:
        self.name, self.sources, self.shape, self.dtype = name, sources, out.shape, out.dtype
        self.device = "cpu" if type(out) is np.ndarray else device_of(out)
        self.backward: Backward | None = backward
        self.born = next(_clock)

    def gradients(self, g: Array) -> Iterator[tuple[Any, Array]]:
        """(source, gradient) for each source that wants one; each is checked against the input that it belongs to."""
        assert self.backward is not None
        returned = self.backward(g)
        if len(returned) != len(self.sources):
            raise ValueError(f"{self.name}: backward returned {len(returned)} gradients for {len(self.sources)} inputs")
        for position, (source, dx) in enumerate(zip(self.sources, returned)):
            if source is None:
                continue
            if isinstance(dx, Deferred) and isinstance(source, Tensor) and source._take(dx):
                continue
            if callable(dx):
                dx = dx()
            if dx is None:
                continue
            if type(dx) is not np.ndarray or self.device != "cpu":
                dx = _as_array(dx)
                if device_of(dx) != source.device:
                    raise ValueError(f"{self.name}: backward returned a gradient on {device_of(dx)} for input "
                                     f"{position} on {source.device}")
            if dx.shape != source.shape or dx.dtype != source.dtype:
                raise ValueError(f"{self.name}: backward returned a gradient of shape {dx.shape} and dtype "
                                 f"{dx.dtype} for input {position} of shape {source.shape} and dtype {source.dtype}")
            yield source, dx

    def free(self) -> None:
        """Let go of the closure, and with it of every array that only this backward step needed."""
        self.backward, self.sources = None, []


def _newest_first(root: Node) -> list[Node]:
    """Every node that `root` was computed from, so that a node comes before all that it came from.

    A node is made after its inputs, so sorting by birth is a topological order: when a node's turn comes, every use
    of its output has already added its part of the gradient. Iterative, since a graph may be 100,000 nodes deep.
    """
    found, waiting = {root}, [root]
    while waiting:
        node = waiting.pop()
        if node.backward is None:
            raise ValueError(f"backward: the graph was freed by an earlier backward (at {node.name!r}): compute the "
                             "result again, or add the losses up and call backward once")
        for source in node.sources:
            if isinstance(source, Node) and source not in found:
                found.add(source)
                waiting.append(source)
    return sorted(found, key=operator.attrgetter("born"), reverse=True)


class Whole(Node):
    """The node of an operation with several outputs; its closure takes the tuple of their gradients."""

    __slots__ = ("shapes", "zeros")

    def __init__(self, name: str, backward: Backward, sources: list[Any], outs: tuple[Array, ...]) -> None:
        super().__init__(name, backward, sources, outs[0])
        self.shapes = [out.shape for out in outs]
        self.zeros = array_module(*outs).zeros

    def gradients(self, g: Any) -> Iterator[tuple[Any, Array]]:
        """As for a Node; an output that nothing was computed from has the gradient 0."""
        return super().gradients(tuple(
            self.zeros(shape, dtype=self.dtype) if part is None else part for part, shape in zip(g, self.shapes)))


class Part(Node):
    """One output of a `Whole`; its gradient waits for those of the other outputs."""

    __slots__ = ("whole", "position")

    def __init__(self, whole: Whole, position: int, out: Array) -> None:
        super().__init__(f"{whole.name}[{position}]", lambda g: (g,), [whole], out)
        self.whole, self.position = whole, position


# ---------------------------------------------------------------------------------------------------------------------
# Operations


class Twin:
    """A faster function with the contract of a rule, for one kind of device; see kernels/."""

    __slots__ = ("function", "device")

    def __init__(self, function: Callable[..., Any], device: str) -> None:
        self.function, self.device = function, device


class Operation:
    """An entry of `OPS`: a rule, the faster twins that may stand in for it, and whether they may at the moment.

    Attributes:
        name: its key in `OPS`.
        rule: `rule(xp, *arrays, **settings) -> (output, backward)`.
        twins: functions `twin(*arrays, **settings) -> (output, backward)`, or NotImplemented where they cannot serve.
    """

    twins_enabled = True  # one switch for all: kernels.disabled() turns it

    __slots__ = ("name", "rule", "twins", "signature", "inputs", "n_inputs", "settings", "variadic")

    def __init__(self, name: str, rule: Rule) -> None:
        self.name, self.rule = name, rule
        self.twins: list[Twin] = []
        self.signature = inspect.signature(rule)
        parameters = list(self.signature.parameters.values())[1:]  # without xp
        self.settings = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self.inputs = frozenset(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
        self.n_inputs = 1 if self.variadic else len(parameters) - len(self.settings)

    def by_position(self, values: Sequence[Any], settings: dict[str, Any]) -> dict[str, Any]:
        """Settings that were given by position, with those that were given by name."""
        if len(values) > len(self.settings) or any(name in settings for name in self.settings[:len(values)]):
            raise TypeError(f"{self.name} takes {self.n_inputs} inputs, then the settings "
                            f"({', '.join(self.settings)}); got {self.n_inputs + len(values)} arguments by position"
                            + (f" and {', '.join(settings)} by name" if settings else ""))
        return dict(zip(self.settings, values), **settings)

    def by_name(self, inputs: Sequence[Any], settings: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        """Inputs and settings, where some of the inputs were given by name."""
        try:
            bound = self.signature.bind(None, *inputs, **settings)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        bound.apply_defaults()
        return bound.args[1:], bound.kwargs

    def run(self, arrays: Sequence[Any], settings: dict[str, Any]) -> Output:
        """Output and closure for plain arrays: of the first twin that serves them, else of the rule."""
        xp = array_module(*arrays)
        if xp is np:
            return self._choose(np, "cpu", arrays, settings)
        first = next(x for x in arrays if hasattr(x, "dtype") and not isinstance(x, np.generic))
        with on_device(device_of(first)):
            return self._choose(xp, backend_of(first).kind, arrays, settings)

    def _choose(self, xp: Any, kind: str, arrays: Sequence[Any], settings: dict[str, Any]) -> Output:
        if self.twins and Operation.twins_enabled:
            for twin in self.twins:
                if twin.device == kind:
                    result = twin.function(*arrays, **settings)
                    if result is not NotImplemented:
                        return result
        return self.rule(xp, *arrays, **settings)

    def __call__(self, inputs: Sequence[Any], settings: dict[str, Any]) -> Any:
        """Apply to Tensors, arrays and numbers; the result is on the tape if an input requires a gradient."""
        if self.variadic:
            inputs = list(inputs[0])  # one sequence of inputs
        arrays = []
        tracked = False
        for x in inputs:
            if isinstance(x, Tensor):
                tracked = tracked or x.requires_grad
                x = x.data
            elif isinstance(x, (list, tuple)) or (len(inputs) == 1 and isinstance(x, (int, float, complex))):
                x = np.asarray(x)
            arrays.append(x)
        out, backward = self.run(arrays, settings)
        if isinstance(out, (np.generic, int, float, complex)):
            out = np.asarray(out)
        recorded = tracked and is_grad_enabled()
        sources = []
        if recorded:
            sources = [(x._node or x) if isinstance(x, Tensor) and x.requires_grad else None for x in inputs]
            sources += [None] * (self.n_inputs - len(inputs))  # optional inputs that were left out
        if type(out) is tuple:
            whole = Whole(self.name, backward, sources, out) if recorded else None
            return tuple(_wrap(part, whole and Part(whole, i, part)) for i, part in enumerate(out))
        return _wrap(out, Node(self.name, backward, sources, out) if recorded else None)


OPS: dict[str, Operation] = {}


def differentiable(rule: Rule) -> Callable[..., Any]:
    """Make a rule `rule(xp, *arrays, **settings) -> (output, backward)` a function of Tensors, and enter it in `OPS`.

    `xp` is the array module of the inputs, numpy or cupy; callers leave it out. Inputs are positional and may be
    Tensors, arrays or numbers; settings are keyword-only. `backward(g)` gets the gradient of the output, which it
    must not change, and returns for each input an array of the input's shape and dtype, a function of no arguments
    that computes that array when it is wanted, or None. A rule that takes `*xs` is called with one list of inputs. One
    that returns a tuple of outputs gives a tuple of Tensors, and its `backward` gets the tuple of their gradients.

    >>> @differentiable
    ... def cube(xp, x):
    ...     def backward(g):                 # d(x³) = 3x² dx
    ...         return (3 * x * x * g,)
    ...     return x ** 3, backward
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> cube(x).backward([1.0, 1.0])
    >>> x.grad
    array([ 3., 12.])
    """
    name = rule.__name__
    if name in OPS and (OPS[name].rule.__module__, OPS[name].rule.__qualname__) != (rule.__module__, rule.__qualname__):
        name = f"{rule.__module__}.{rule.__qualname__}"  # a user's rule never takes the place of one that is there
    operation = OPS[name] = Operation(name, rule)

    @functools.wraps(rule)
    def apply(*inputs: Any, **settings: Any) -> Any:
        if len(inputs) > operation.n_inputs:  # settings by position: softmax(x, -1), sum(x, 0)
            settings = operation.by_position(inputs[operation.n_inputs:], settings)
            inputs = inputs[:operation.n_inputs]
        if settings and not operation.inputs.isdisjoint(settings):  # linear(x, weight=w, bias=b)
            return operation(*operation.by_name(inputs, settings))
        return operation(inputs, settings)

    signature = inspect.signature(rule)
    apply.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=list(signature.parameters.values())[1:], return_annotation=Tensor)
    apply.operation = operation  # type: ignore[attr-defined]
    return apply


def unbroadcast(g: Array, like: Any) -> Array:
    """Sum a gradient down to the shape that broadcasting started from; the adjoint of broadcasting.

    A value that broadcasting copied to n places contributes n times, so its gradient is the sum of theirs.

    Args:
        g: the gradient, of the broadcast shape.
        like: the input, whose shape and dtype the result has; or a shape. A number takes no gradient: None.
    """
    if isinstance(like, (int, float, complex)):
        return None
    shape = like if isinstance(like, tuple) else like.shape
    if g.shape != shape:
        extra = g.ndim - len(shape)
        axes = tuple(range(extra)) + tuple(
            extra + i for i, n in enumerate(shape) if n == 1 and g.shape[extra + i] != 1)
        g = g.sum(axis=axes, keepdims=True).reshape(shape)
    return g if isinstance(like, tuple) else g.astype(like.dtype, copy=False)

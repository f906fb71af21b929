"""Operations against the node tests of ONNX: inputs, attributes and right results of a standard, for each kind of node.

`CALLS` says how a node is written here: a function of the node's inputs (floating ones as Tensors with a gradient) and
attributes. To add a kind of node, add a row. What a node asks for that no call here can express is refused by
`Unexpressible` with the reason, and is counted; kinds of nodes without a row are listed by the last test.
"""

from __future__ import annotations

import functools
import importlib
import math
import pkgutil
import unittest.mock
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygpt as tg
from tinygpt import ops

pytestmark = pytest.mark.oracle


class Unexpressible(Exception):
    """What this node asks for, no call here expresses."""


class Case(NamedTuple):
    name: str
    attributes: dict[str, Any]
    inputs: list[Any]
    outputs: list[Any]


@functools.cache
def cases() -> dict[str, list[Case]]:
    """The cases of all kinds of nodes: each file of the package hands them to `expect` when it is imported."""
    import onnx
    node = importlib.import_module("onnx.backend.test.case.node")
    found: dict[str, list[Case]] = {}

    def expect(made: Any, inputs: Any, outputs: Any, name: str, **settings: Any) -> None:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in made.attribute}
        attributes = {key: value.decode() if isinstance(value, bytes) else value for key, value in attributes.items()}
        if made.op_type == "Split" and len(made.input) == 1:
            attributes.setdefault("num_outputs", len(made.output))
        given = iter(inputs)  # those that are left out have no name
        found.setdefault(made.op_type, []).append(
            Case(name, attributes, [next(given) if part else None for part in made.input], list(outputs)))
    with unittest.mock.patch.object(node, "expect", expect), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in pkgutil.iter_modules(node.__path__):
            if not module.ispkg:
                importlib.import_module(f"{node.__name__}.{module.name}")
    return found


# -- how nodes are written here ---------------------------------------------------------------------------------------


def whole(x: Any) -> Any:
    """The numbers of an input that is a setting here."""
    return x.data.tolist() if isinstance(x, tg.Tensor) else x


def axes_of(x: Any, axes: Any, noop_with_empty_axes: int) -> Any:
    axes = None if axes is None else tuple(whole(axes))
    return axes if axes else () if noop_with_empty_axes else None


def reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
        return function(x, axis=axes_of(x, axes, noop_with_empty_axes), keepdims=bool(keepdims))
    return call


def extreme(function: Callable[..., Any], of_nothing: float) -> Callable[..., Any]:
    def call(x: Any, **settings: Any) -> Any:
        if not x.size:
            settings["initial"] = of_nothing > 0 if x.dtype == bool else of_nothing
        return function(x, **settings)
    return reduction(call)


def found_at(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
        if select_last_index:
            raise Unexpressible("the last of equal ones")
        return function(x, axis=axis, keepdims=bool(keepdims))
    return call


def folded(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *xs: functools.reduce(function, xs)


def of_floats(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*xs: Any, **settings: Any) -> Any:
        if any(x.dtype.kind != "f" for x in xs):
            raise Unexpressible("whole numbers, which NumPy widens or divides otherwise")
        return function(*xs, **settings)
    return call


def per_channel(x: Any, like: Any) -> Any:
    """A row of numbers for the channels, the second axis of `like`."""
    return x.reshape((-1,) + (1,) * (like.ndim - 2))


def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    low, high = (None if bound is None else bound.item() for bound in (low, high))
    if x.dtype.kind != "f" or None not in (low, high) and low > high:
        raise Unexpressible("bounds of whole numbers, or that leave nothing")
    return ops.clip(x, low=low, high=high)


def gelu(x: Any, *, approximate: str = "none") -> Any:
    return ops.gelu(x) if approximate == "none" else ops.gelu_tanh(x)


def elu(x: Any, *, alpha: float = 1.0) -> Any:
    return ops.where(x > 0, x, alpha * np.expm1(ops.minimum(x, 0.0)))


def celu(x: Any, *, alpha: float = 1.0) -> Any:
    return ops.maximum(x, 0.0) + ops.minimum(alpha * np.expm1(x / alpha), 0.0)


def selu(x: Any, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Any:
    return gamma * elu(x, alpha=alpha)


def shrink(x: Any, *, lambd: float = 0.5, bias: float = 0.0) -> Any:
    return ops.where(x < -lambd, x + bias, ops.where(x > lambd, x - bias, x * 0))


def swish(x: Any, *, alpha: float = 1.0) -> Any:
    return x * ops.sigmoid(x * alpha)


def at_last(function: Callable[..., Any]) -> Callable[..., Any]:
    """A norm over the axes from `axis` on, by one of ours over the last axis."""
    def call(x: Any, scale: Any, bias: Any = None, *, axis: int = -1, epsilon: float = 1e-5, **other: Any) -> Any:
        behind = x.shape[axis % x.ndim:]
        row = lambda part: None if part is None else np.broadcast_to(part, behind).reshape(-1)
        rows = x.reshape(x.shape[:axis % x.ndim] + (-1,))
        given = [row(scale)] + ([row(bias)] if bias is not None else [])
        return function(rows, *given, epsilon=epsilon).reshape(x.shape)
    return call


def normalized(x: Any, n_groups: int, epsilon: float) -> Any:
    """Each group of channels of an image to mean 0 and variance 1."""
    return ops.layer_norm(x.reshape((x.shape[0], n_groups, -1)), epsilon=epsilon).reshape(x.shape)


def instance_norm(x: Any, scale: Any, bias: Any, *, epsilon: float = 1e-5) -> Any:
    return normalized(x, x.shape[1], epsilon) * per_channel(scale, x) + per_channel(bias, x)


def group_norm(x: Any, scale: Any, bias: Any, *, num_groups: int, epsilon: float = 1e-5) -> Any:
    return normalized(x, num_groups, epsilon) * per_channel(scale, x) + per_channel(bias, x)


def batch_norm(x: Any, scale: Any, bias: Any, mean: Any, var: Any, *, epsilon: float = 1e-5,
               training_mode: int = 0, **other: Any) -> Any:
    if training_mode:
        raise Unexpressible("running means")
    row = functools.partial(per_channel, like=x)
    return (x - row(mean)) / ops.sqrt(row(var) + epsilon) * row(scale) + row(bias)


def mean_variance_norm(x: Any, *, axes: Any = (0, 2, 3)) -> Any:
    return (x - x.mean(axis=tuple(axes), keepdims=True)) / (np.std(x, axis=tuple(axes), keepdims=True) + 1e-9)


def lp_norm(x: Any, *, axis: int = -1, p: int = 2) -> Any:
    length = np.linalg.norm(x, ord=p, axis=axis, keepdims=True)
    return ops.where(length == 0, x * 0, x / ops.where(length == 0, 1.0, length))


def gather_nd(x: Any, indices: Any, *, batch_dims: int = 0) -> Any:
    places = whole_array(indices)
    batch = np.ix_(*[np.arange(n) for n in places.shape[:batch_dims]])
    batch = tuple(part.reshape(part.shape + (1,) * (places.ndim - 1 - batch_dims)) for part in batch)
    return x[batch + tuple(np.moveaxis(places, -1, 0))]


def whole_array(x: Any) -> np.ndarray:
    return np.asarray(x.data if isinstance(x, tg.Tensor) else x)


def gemm(a: Any, b: Any, c: Any = None, *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0,
         transB: int = 0) -> Any:
    out = alpha * ((a.T if transA else a) @ (b.T if transB else b))
    return out if c is None else out + beta * c


def running(function: Callable[..., Any], start: float) -> Callable[..., Any]:
    def call(x: Any, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Any:
        axis = int(axis.item())
        x = np.flip(x, axis) if reverse else x
        if exclusive:
            first, rest = np.split(x, [x.shape[axis] - 1], axis=axis)
            x = np.concatenate([rest * 0 + start, first], axis=axis)
        out = function(x, axis=axis)
        return np.flip(out, axis) if reverse else out
    return call


def trilu(x: Any, k: Any = None, *, upper: int = 1) -> Any:
    return (np.triu if upper else np.tril)(x, 0 if k is None else int(k.item()))


def split(x: Any, lengths: Any = None, *, axis: int = 0, num_outputs: int = 0) -> Any:
    if lengths is None:
        length = -(-x.shape[axis] // num_outputs)
        ends = [length * i for i in range(1, num_outputs)]
    else:
        ends = np.cumsum(whole(lengths))[:-1].tolist()
    return np.split(x, ends, axis=axis)


def reshape(x: Any, shape: Any, *, allowzero: int = 0) -> Any:
    lengths = whole(shape)
    return x.reshape(lengths if allowzero else [x.shape[i] if n == 0 else n for i, n in enumerate(lengths)])


def expand(x: Any, shape: Any) -> Any:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(whole(shape))))


def pad(x: Any, pads: Any, value: Any = None, axes: Any = None, *, mode: str = "constant") -> Any:
    given, n = whole(pads), x.ndim
    along = [a % n for a in whole(axes)] if axes is not None else list(range(n))
    widths = [(0, 0)] * n
    for i, axis in enumerate(along):
        widths[axis] = (given[i], given[i + len(along)])
    if min(map(min, widths)) < 0:
        raise Unexpressible("negative widths, which cut")
    fill = {"constant_values": value.item()} if value is not None and mode == "constant" else {}
    return np.pad(x, widths, mode=mode, **fill)


def slice_(x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    starts, ends = whole(starts), whole(ends)
    axes = list(range(len(starts))) if axes is None else whole(axes)
    key = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, [1] * len(starts) if steps is None else whole(steps)):
        n = x.shape[axis]
        key[axis] = slice(max(start, -n), end if step > 0 or end >= -n else None, step)
    return x[tuple(key)]


def squeeze(x: Any, axes: Any = None) -> Any:
    return np.squeeze(x, axis=None if axes is None else tuple(whole(axes)))


def top_k(x: Any, k: Any, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:
    if x.dtype.kind != "f":
        raise Unexpressible("whole numbers")
    order = np.argsort(-x.data if largest else x.data, axis=axis, kind="stable")
    places = np.split(order, [int(k.item())], axis=axis)[0]
    return np.take_along_axis(x, places, axis=axis), places


def blocks(x: Any, *, blocksize: int, mode: str = "DCR") -> Any:
    b, c, h, w = x.shape
    parts = (b, blocksize, blocksize, c // blocksize**2, h, w) if mode == "DCR" else (
        b, c // blocksize**2, blocksize, blocksize, h, w)
    order = (0, 3, 4, 1, 5, 2) if mode == "DCR" else (0, 1, 4, 2, 5, 3)
    return x.reshape(parts).transpose(order).reshape(b, -1, h * blocksize, w * blocksize)


def space_to_depth(x: Any, *, blocksize: int, mode: str = "DCR") -> Any:
    if mode != "DCR":
        raise Unexpressible(f"mode {mode}")
    b, c, h, w = x.shape
    parts = x.reshape(b, c, h // blocksize, blocksize, w // blocksize, blocksize)
    return parts.transpose(0, 3, 5, 1, 2, 4).reshape(b, -1, h // blocksize, w // blocksize)


def cross_entropy(scores: Any, target: Any, weight: Any = None, *, reduction: str = "mean",
                  ignore_index: int = -100) -> Any:
    targets = whole_array(target)
    shares = None
    if weight is not None:
        shares = whole_array(weight)[np.where(targets == ignore_index, 0, targets)]
    logits = np.moveaxis(scores, 1, -1)
    loss = ops.cross_entropy(logits, targets, shares, ignore_index=ignore_index, reduction=reduction)
    return loss, np.moveaxis(ops.log_softmax(logits), -1, 1)


def negative_log_likelihood(logs: Any, target: Any, weight: Any = None, *, reduction: str = "mean",
                            ignore_index: int | None = None) -> Any:
    targets = whole_array(target)
    counts = np.ones(targets.shape, bool) if ignore_index is None else targets != ignore_index
    ids = np.where(counts, targets, 0)
    shares = counts * (1.0 if weight is None else whole_array(weight)[ids])
    losses = -np.take_along_axis(logs, ids[:, None], axis=1)[:, 0] * shares.astype(logs.dtype)
    total = losses if reduction == "none" else losses.sum()
    return total / shares.sum() if reduction == "mean" else total


def attention(q: Any, k: Any, v: Any, mask: Any = None, past_k: Any = None, past_v: Any = None, lengths: Any = None, *,
              is_causal: int = 0, scale: float | None = None, softcap: float = 0.0, q_num_heads: int = 0,
              kv_num_heads: int = 0, **other: Any) -> Any:
    if softcap or other or past_k is not None or lengths is not None:
        raise Unexpressible("caps, caches, and outputs on the way")
    in_a_row = q.ndim == 3
    if in_a_row:
        q, k, v = (x.reshape(*x.shape[:2], n, -1).swapaxes(1, 2)
                   for x, n in ((q, q_num_heads), (k, kv_num_heads), (v, kv_num_heads)))
    n_keys = k.shape[2]
    if k.shape != v.shape or is_causal and q.shape[2] != n_keys or mask is not None and mask.shape[-1] != n_keys:
        raise Unexpressible("values of another width; the first queries of several keys, where ours are the last")
    mask = mask.data if mask is not None and mask.dtype == bool else mask
    out = ops.scaled_dot_product_attention(q, k, v, mask, causal=bool(is_causal), scale=scale)
    return out.swapaxes(1, 2).reshape(out.shape[0], out.shape[2], -1) if in_a_row else out


def rotary(x: Any, cos: Any, sin: Any, positions: Any = None, *, interleaved: int = 0, num_heads: int = 0,
           rotary_embedding_dim: int = 0) -> Any:
    if interleaved or rotary_embedding_dim:
        raise Unexpressible("pairs of neighbours, or a part of the head")
    cos, sin = (part.data if positions is None else part.data[whole_array(positions)] for part in (cos, sin))
    if num_heads:
        rows = x.reshape(*x.shape[:2], num_heads, -1)
        return ops.rotary_embedding(rows, cos[:, :, None], sin[:, :, None]).reshape(x.shape)
    return ops.rotary_embedding(x, cos[:, None], sin[:, None])


def is_inf(x: Any, *, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    return np.isinf(x) & ((np.sign(x.data) > 0) & bool(detect_positive) | (np.sign(x.data) < 0) & bool(detect_negative))


def _padded(x: Any, pads: Any, auto_pad: str, filling: float = 0.0) -> Any:
    """The input with ONNX's padding, which may be another at each end."""
    if auto_pad not in ("NOTSET", "VALID"):
        raise Unexpressible(f"auto_pad {auto_pad}")
    if not pads or not any(pads):
        return x
    n = x.ndim - 2
    return np.pad(x, [(0, 0), (0, 0), *zip(pads[:n], pads[n:])], constant_values=filling)


def conv(x: Any, w: Any, b: Any = None, *, kernel_shape: Any = None, strides: Any = 1, pads: Any = None,
         dilations: Any = 1, group: int = 1, auto_pad: str = "NOTSET") -> Any:
    return ops.convolution(_padded(x, pads, auto_pad), w, b, stride=strides, dilation=dilations, groups=group)


def max_pool(x: Any, *, kernel_shape: Any, strides: Any = 1, pads: Any = None, dilations: Any = 1, ceil_mode: int = 0,
             auto_pad: str = "NOTSET", storage_order: int = 0) -> Any:
    if ceil_mode or storage_order or x.dtype.kind != "f":
        raise Unexpressible("windows that lie over the end, places of the largest, whole numbers")
    return ops.max_pool(_padded(x, pads, auto_pad, -math.inf), kernel_size=kernel_shape, stride=strides,
                        dilation=dilations)


def average_pool(x: Any, *, kernel_shape: Any, strides: Any = 1, pads: Any = None, dilations: Any = 1,
                 ceil_mode: int = 0, auto_pad: str = "NOTSET", count_include_pad: int = 0) -> Any:
    if ceil_mode or np.any(np.asarray(dilations) != 1):
        raise Unexpressible("windows that lie over the end, or with gaps")
    found = ops.average_pool(_padded(x, pads, auto_pad), kernel_size=kernel_shape, stride=strides)
    if count_include_pad:
        return found
    share = _padded(np.ones(x.shape, x.dtype), pads, auto_pad)
    return found / ops.average_pool(share, kernel_size=kernel_shape, stride=strides)


def recurrent(over_time: Callable[..., Any], order: tuple[int, ...]) -> Callable[..., Any]:
    """`order`: where our gates stand in ONNX's."""
    def call(x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, h: Any = None, c: Any = None,
             peepholes: Any = None, *, hidden_size: int, layout: int = 0, linear_before_reset: int = 0,
             **other: Any) -> Any:
        x = x if layout else x.swapaxes(0, 1)  # (B, T, I)
        if other or peepholes is not None or w.shape[0] > 1:
            raise Unexpressible("two directions, peepholes, other activations")
        if over_time is ops.gru and not linear_before_reset and x.shape[1] > 1:
            raise Unexpressible("a reset before the product with the state")
        if lengths is not None and np.any(whole_array(lengths) != x.shape[1]):
            raise Unexpressible("lengths, which the layers know")

        def gates(part: Any) -> Any:
            return np.concatenate([part[0, i * hidden_size:(i + 1) * hidden_size] for i in order])
        half = len(order) * hidden_size
        zeros = np.zeros((x.shape[0], hidden_size), x.dtype)
        states = [zeros if part is None else part[:, 0] if layout else part[0] for part in (h, c)]
        out = over_time(ops.linear(x, gates(w), None if b is None else gates(b[:, :half])),
                        *states[:2 if over_time is ops.lstm else 1], gates(r),
                        None if b is None else gates(b[:, half:]))
        out = out[0] if isinstance(out, tuple) else out  # (B, T, H)
        last = out[:, -1]
        return (out[:, :, None], last[:, None]) if layout else last[None]
    return call


CALLS: dict[str, Callable[..., Any]] = {
    "Conv": conv, "MaxPool": max_pool, "AveragePool": average_pool,
    "GlobalMaxPool": lambda x: ops.max_pool(x, kernel_size=x.shape[2:]),
    "GlobalAveragePool": lambda x: ops.average_pool(x, kernel_size=x.shape[2:]),
    "RNN": recurrent(ops.rnn, (0,)), "LSTM": recurrent(ops.lstm, (0, 2, 3, 1)), "GRU": recurrent(ops.gru, (1, 0, 2)),
    **{kind: getattr(np, kind.lower()) for kind in (
        "Abs Sin Cos Tan Sinh Cosh Tanh Exp Log Sqrt Floor Ceil Sign Reciprocal").split()},
    **{kind: getattr(np, "arc" + kind[1:].lower()) for kind in "Asin Acos Atan Asinh Acosh Atanh".split()},
    **{kind: getattr(ops, kind.lower()) for kind in "Sigmoid Relu Erf".split()},
    "Neg": np.negative, "Round": np.round, "Identity": lambda x: x * 1, "Add": np.add, "Sub": np.subtract,
    "Mul": np.multiply, "Div": of_floats(np.divide), "Pow": of_floats(np.power), "Max": folded(np.maximum),
    "Min": folded(np.minimum), "Sum": folded(np.add), "Mean": lambda *xs: functools.reduce(np.add, xs) / len(xs),
    "Mod": lambda x, y, *, fmod=0: (np.fmod if fmod else np.remainder)(x, y), "Clip": clip, "Where": np.where,
    "Equal": np.equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal, "Less": np.less,
    "LessOrEqual": np.less_equal, "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
    "Not": np.logical_not, "IsNaN": np.isnan, "IsInf": is_inf,
    "Gelu": gelu, "Elu": elu, "Celu": celu, "Selu": selu, "Shrink": shrink, "Swish": swish,
    "SwiGLU": lambda x, y, *, alpha=1.0: swish(x, alpha=alpha) * y, "Softsign": lambda x: x / (1 + abs(x)),
    "Softplus": lambda x: np.logaddexp(x, 0), "Mish": lambda x: x * ops.tanh(np.logaddexp(x, 0)),
    "LeakyRelu": lambda x, *, alpha=0.01: ops.where(x < 0, alpha * x, x),
    "PRelu": lambda x, slope: ops.where(x < 0, slope * x, x), "HardSwish": lambda x: x * (x / 6 + 0.5).clip(0, 1),
    "HardSigmoid": lambda x, *, alpha=0.2, beta=0.5: (alpha * x + beta).clip(0, 1),
    "ThresholdedRelu": lambda x, *, alpha=1.0: ops.where(x > alpha, x, x * 0),
    "Softmax": lambda x, *, axis=-1: ops.softmax(x, axis=axis),
    "LogSoftmax": lambda x, *, axis=-1: ops.log_softmax(x, axis=axis),
    "LayerNormalization": at_last(ops.layer_norm), "RMSNormalization": at_last(ops.rms_norm),
    "InstanceNormalization": instance_norm, "GroupNormalization": group_norm, "BatchNormalization": batch_norm,
    "MeanVarianceNormalization": mean_variance_norm, "LpNormalization": lp_norm,
    "ReduceSum": reduction(np.sum), "ReduceMean": reduction(np.mean), "ReduceProd": reduction(np.prod),
    "ReduceMax": extreme(np.max, -math.inf), "ReduceMin": extreme(np.min, math.inf),
    "ReduceL1": reduction(lambda x, **settings: abs(x).sum(**settings)),
    "ReduceL2": reduction(lambda x, **settings: ops.sqrt((x * x).sum(**settings))),
    "ReduceSumSquare": reduction(lambda x, **settings: (x * x).sum(**settings)),
    "ReduceLogSum": reduction(lambda x, **settings: ops.log(x.sum(**settings))),
    "ReduceLogSumExp": reduction(ops.logsumexp), "ArgMax": found_at(np.argmax), "ArgMin": found_at(np.argmin),
    "CumSum": running(np.cumsum, 0), "CumProd": running(np.cumprod, 1),
    "MatMul": np.matmul, "Gemm": gemm, "Det": np.linalg.det,
    "Einsum": lambda *xs, equation: np.einsum(equation.replace(" ", ""), *xs),
    "Gather": lambda x, indices, *, axis=0: np.take(x, indices, axis=axis), "GatherND": gather_nd,
    "GatherElements": lambda x, indices, *, axis=0: np.take_along_axis(x, indices, axis=axis),
    "Compress": lambda x, condition, *, axis=None: np.compress(condition, x, axis=axis), "TopK": top_k,
    "Trilu": trilu, "Concat": lambda *xs, axis: np.concatenate(xs, axis=axis), "Split": split, "Slice": slice_,
    "Reshape": reshape, "Squeeze": squeeze, "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(whole(axes))),
    "Flatten": lambda x, *, axis=1: x.reshape(int(np.prod(x.shape[:axis], dtype=int)), -1), "Expand": expand,
    "Tile": lambda x, repeats: np.tile(x, whole(repeats)), "Pad": pad,
    "Transpose": lambda x, *, perm=None: np.transpose(x, perm), "DepthToSpace": blocks,
    "SpaceToDepth": space_to_depth, "Size": lambda x: np.asarray(x.size), "NonZero": lambda x: np.array(np.nonzero(x)),
    "SoftmaxCrossEntropyLoss": cross_entropy, "NegativeLogLikelihoodLoss": negative_log_likelihood,
    "Attention": attention, "RotaryEmbedding": rotary,
}

# -- the tests --------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _oracle() -> None:
    pytest.importorskip("onnx")


def given(x: Any) -> Any:
    """An input of a node as our functions get it."""
    if x is None:
        return None
    if not isinstance(x, (np.ndarray, np.generic)) or x.dtype.kind not in "fbiu":
        raise Unexpressible(f"an input of {getattr(x, 'dtype', type(x))}")
    return tg.Tensor(x, requires_grad=x.dtype.kind == "f")


def check(kind: str, case: Case) -> None:
    """One case: the values, the shape, and that a result of floating-point numbers is on the tape."""
    inputs = [given(x) for x in case.inputs]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = CALLS[kind](*inputs, **case.attributes)
    found = list(found) if isinstance(found, (tuple, list)) else [found]
    for ours, right in zip(found, case.outputs):
        values = ours.data if isinstance(ours, tg.Tensor) else np.asarray(ours)
        if right.dtype.kind == "f" and any(isinstance(x, tg.Tensor) and x.requires_grad for x in inputs):
            assert ours.requires_grad
        rtol = 2e-3 if right.dtype == np.float16 else 1e-5
        assert values.shape == right.shape
        np.testing.assert_allclose(values.astype(np.float64), right.astype(np.float64), rtol=rtol, atol=rtol / 10)


@pytest.mark.parametrize("kind", CALLS)
def test_nodes(kind: str) -> None:
    done, left_out = 0, {}
    for case in cases()[kind]:
        try:
            check(kind, case)
            done += 1
        except Unexpressible as error:
            left_out[case.name] = str(error)
    print(f"{kind}: {done} of {len(cases()[kind])}", *map(": ".join, left_out.items()), sep="\n  ")
    assert done


def test_what_has_no_call_here() -> None:
    """A list, in the summary of the tests, of the kinds of nodes that this file has no row for."""
    others = {kind: len(found) for kind, found in cases().items() if kind not in CALLS}
    assert not CALLS.keys() - cases().keys()
    pytest.skip(f"{len(cases()) - len(others)} kinds of nodes are called; these {len(others)} are not: "
                + ", ".join(f"{kind} ({n})" for kind, n in sorted(others.items())))

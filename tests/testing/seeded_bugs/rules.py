"""Bugs in the rules: arithmetic, shapes, reductions, matrices, normalisation, attention, losses, manners."""

from __future__ import annotations

import numpy as np

from tinygpt.autograd import unbroadcast
from tinygpt.ops import reduction
from tinygpt.ops.dropout import keep_scale
from tinygpt.testing.samples import Sample

from .cases import Bug, RuleExample, add, edit
from .mutation import mutant

# -- element by element --------------------------------------------------------------------------------------------

edit("subtract: sign of the second", "subtract", ("unbroadcast(-g, y)", "unbroadcast(g, y)"))
edit("multiply: factors swapped", "multiply", (
    "unbroadcast(g * y, x), lambda: unbroadcast(g * x, y)", "unbroadcast(g * x, x), lambda: unbroadcast(g * y, y)"))
edit("divide: missing b²", "divide", ("-g * x / (y * y)", "-g * x / y"))
edit("power: exponent not brought down", "power", ("g * y * x **", "g * x **"))
edit("power: logarithm of the exponent", "power",
     ("xp.log(xp.where(base > 0, base, 1))", "xp.log(xp.where(xp.asarray(y) > 0, y, 1))"))
edit("add: no unbroadcast", "add", ("unbroadcast(g, x)", "g"))
edit("add: unbroadcast by mean", "add", unbroadcast=mutant(unbroadcast, ("g.sum(axis=axes", "g.mean(axis=axes")))
edit("multiply: unbroadcast forgets axes of length 1", "multiply", unbroadcast=mutant(
    unbroadcast, ("g = g.sum(axis=axes, keepdims=True).reshape(shape)",
                  "g = g.sum(axis=tuple(range(extra)))[tuple(slice(0, n) for n in shape)]")))
edit("maximum: ties get all twice", "maximum", ("0.5 * (x > y) + 0.5 * (x >= y)", "1.0 * (x >= y)"),
     ("1 - share", "1.0 * (y >= x)"))
edit("minimum: the larger one gets it", "minimum", ("0.5 * (x < y) + 0.5 * (x <= y)", "0.5 * (x > y) + 0.5 * (x >= y)"))
edit("where: both get all", "where", ("xp.where(condition, xp.zeros_like(g), g), y", "g, y"))
edit("absolute: sign lost", "absolute", ("xp.sign(x)", "(x == x)"))
edit("exp: input instead of output", "exp", ("(g * out,)", "(g * x,)"))
edit("log: multiplied instead of divided", "log", ("g / x", "g * x"))
edit("sqrt: missing ½", "sqrt", ("0.5 * g / out", "g / out"))
edit("sin: its own derivative", "sin", ("xp.cos(x)", "xp.sin(x)"))
edit("cos: minus sign lost", "cos", ("-g * xp.sin(x)", "g * xp.sin(x)"))
edit("tanh: 1 − y", "tanh", ("1 - out * out", "1 - out"))
edit("sigmoid: 1 − σ lost", "sigmoid", ("g * out * (1 - out)", "g * out"))
edit("silu: first term lost", "silu", ("(s + out * (1 - s))", "(out * (1 - s))"))
edit("relu: threshold at 0.1", "relu", ("(g * positive,)", "(g * (x > 0.1),)"))
edit("relu: gradient 2 at 0", "relu", ("(g * positive,)", "(g * (positive + 2 * (x == 0)).astype(x.dtype),)"))
edit("clip: upper bound ignored", "clip", ("inside &= x <= high", "pass"))
edit("gelu: 3 lost from the cubic", "gelu_tanh", ("(1 + 3 * 0.044715 * x * x)", "(1 + 0.044715 * x * x)"))
edit("gelu: a constant mistyped", "gelu_tanh", ("(c * (1 + 3 * 0.044715 * x * x))", "(c * (1 + 3 * 0.044175 * x * x))"))
edit("gelu: density without its constant", "gelu", ("(1 / math.sqrt(2 * math.pi))", "(1 / math.sqrt(math.pi))"))
edit("erf: 0.1 % too large", "erf", ("g * (TWO_OVER_SQRT_PI", "g * (1.001 * TWO_OVER_SQRT_PI"))
edit("negative: nothing arrives", "negative", ("(-g,)", "(None,)"))

# -- reductions ----------------------------------------------------------------------------------------------------

edit("sum: expanded at axis 0", "sum", ("restore(g, x, axis)", "(g if g.ndim == x.ndim or axis is None else g[None])"))
edit("mean: without 1/n", "mean", ("g / count(x, axis)", "g"))
edit("mean: n of the first axis", "mean", ("count(x, axis)", "(x.shape[0] if x.ndim else 1)"))
edit("var: without the 2", "var", ("(2 / count(x, axis))", "(1 / count(x, axis))"))
edit("var: not centred", "var", ("* centred,)", "* x,)"))
edit("var: n − 1 backward", "var", ("(2 / count(x, axis))", "(2 / (count(x, axis) - 1 or 1))"))
edit("max: ties not shared", "max", extreme=mutant(
    reduction.extreme, (" / hit.sum(axis=axis, keepdims=True).astype(x.dtype)", "")))
edit("min: halved where tied", "min", extreme=mutant(
    reduction.extreme, ("hit.sum(axis=axis, keepdims=True).astype(x.dtype)",
                        "xp.where(hit.sum(axis=axis, keepdims=True) > 1, 2, 1).astype(x.dtype)")))
edit("logsumexp: not normalised", "logsumexp", ("powers / xp.where(total == 0, 1, total)", "powers"))
edit("sum: a negative axis counts from the front", "sum", restore=mutant(
    reduction.restore, ("axes = reduced_axes(x, axis)",
                        "axes = tuple(abs(a) for a in reduced_axes(x, None)) if axis is None else tuple("
                        "-a - 1 if a < 0 else a for a in (axis if isinstance(axis, tuple) else (axis,)))")))

# -- shapes and indices --------------------------------------------------------------------------------------------

edit("transpose: the permutation instead of its inverse", "transpose", ("np.argsort([a % x.ndim for a in axes])",
                                                                        "[a % x.ndim for a in axes]"))
edit("swapaxes: reshaped back", "swapaxes", ("g.swapaxes(axis1, axis2)", "g.reshape(x.shape)"))
edit("reshape: column-major on the way back", "reshape", ('g.reshape(x.shape)', 'g.reshape(x.shape, order="F")'))
edit("concatenate: split into equal parts", "concatenate", (
    "np.cumsum([part.shape[along] for part in parts])[:-1].tolist()",
    "[g.shape[along] * i // len(xs) for i in range(1, len(xs))]"))
edit("stack: any axis but 0 taken for the last", "stack", (
    "xp.moveaxis(g, axis, 0)", "xp.moveaxis(g, 0 if axis == 0 else -1, 0)"))
edit("split: parts joined in reverse", "split", (
    "xp.concatenate(gs, axis=axis)", "xp.concatenate(gs[::-1], axis=axis)"))
edit("getitem: duplicates assigned instead of summed", "getitem", ("xp.add.at(dx, key, g)", "dx[key] = g"))
edit("embedding: id 0 taken for padding", "embedding", ("return dw", "dw[0] = 0\n            return dw"))
edit("broadcast_to: first copy only", "broadcast_to", (
    "unbroadcast(g, x)", "unbroadcast(g, x) if not g.size else "
    "g[(0,) * (g.ndim - x.ndim)][tuple(slice(0, n) for n in x.shape)].reshape(x.shape)"))

# -- matrices ------------------------------------------------------------------------------------------------------

edit("matmul: transpose missing", "matmul", ("g @ columns.swapaxes(-1, -2)", "g @ columns"))
edit("matmul: first matrix of the batch only", "matmul", (
    "unbroadcast(rows.swapaxes(-1, -2) @ g, columns)",
    "unbroadcast((rows.swapaxes(-1, -2) @ g)[(0,) * max(0, g.ndim - columns.ndim)], columns)"))
edit("matmul: a vector on the left forgotten", "matmul", ("g = g[..., None, :]", "g = g[..., None]"))
edit("linear: bias by mean over the batch", "linear", ("g.sum(axis=0)", "g.mean(axis=0)"))
edit("linear: weight from the last row only", "linear", ("g.T @ flat", "g[-1:].T @ flat[-1:]"))

# -- softmax and norms ---------------------------------------------------------------------------------------------

edit("softmax: the diagonal only", "softmax", ("p * (g - (g * p).sum(axis=axis, keepdims=True))", "p * (1 - p) * g"))
edit("softmax: summed over the last axis always", "softmax", ("(g * p).sum(axis=axis", "(g * p).sum(axis=-1"))
edit("log_softmax: mean instead of sum", "log_softmax", ("g.sum(axis=axis", "g.mean(axis=axis"))
edit("layer_norm: without the mean term", "layer_norm", ("d - d.mean(axis=-1, keepdims=True)\n", "d\n"))
edit("layer_norm: without the variance term", "layer_norm",
     ("- normal * (d * normal).mean(axis=-1, keepdims=True)", ""))
edit("layer_norm: weight's gradient of the raw input", "layer_norm", (
    "unbroadcast(g * normal, weight)", "unbroadcast(g * x, weight)"))
edit("rms_norm: weight left out on the way back", "rms_norm", ("d = g if weight is None else g * weight", "d = g"))
edit("rms_norm: epsilon left out on the way back", "rms_norm", (
    "def dx():", "def dx():\n            inverse = 1 / xp.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-30)"))

# -- attention, rotary positions, dropout -------------------------------------------------------------------------

ATTENTION = "scaled_dot_product_attention"
edit("attention: 1/√d missing backward", ATTENTION, ("ds = dscores * scale", "ds = dscores"))
edit("attention: the softmax's sum missing", ATTENTION, ("p * (dp - (dp * p).sum(axis=-1, keepdims=True))", "p * dp"))
edit("attention: keys from the first query head of a group", ATTENTION, (
    "_sum_groups(dkeys, k)", "first_of_groups(dkeys, k)"),
    first_of_groups=lambda g, like: g.reshape(*like.shape[:-2], -1, *like.shape[-2:])[..., 0, :, :])
edit("attention: causal mask off by one backward", ATTENTION, (
    "dscores = p *", "earlier = xp.arange(n_keys) < xp.arange(n_queries)[:, None] + (n_keys - n_queries)\n"
    "        dscores = (p * earlier if causal else p) *"))
edit("attention: dropped weights flow back to the values", ATTENTION, (
    "dvalues = weights.swapaxes", "dvalues = p.swapaxes"))
edit("attention: dropout forgotten on the way back to the scores", ATTENTION, (
    "dp = dweights if kept is None else dweights * kept", "dp = dweights"))
edit("attention: an added mask gets no unbroadcast", ATTENTION, ("unbroadcast(dscores, mask)", "dscores"))
edit("attention: scale of the mask's gradient", ATTENTION, (
    "unbroadcast(dscores, mask)", "unbroadcast(dscores * scale, mask)"))
edit("attention: NaN where a query may look nowhere", ATTENTION, (
    "dscores = p *", "p_ = p / p.sum(axis=-1, keepdims=True)\n        dscores = p_ *"))
edit("split_heads: parts joined in reverse", "split_heads", (
    "xp.concatenate(gs, axis=1)", "xp.concatenate(gs[::-1], axis=1)"))
edit("merge_heads: cut into heads without moving the axis", "merge_heads", (
    "g.reshape(b, t, h, d).transpose(0, 2, 1, 3)", "g.reshape(b, h, t, d)"))
edit("rotary: turned the same way back", "rotary_embedding", ("turn(g, -sin)", "turn(g, sin)"))
edit("rotary: halves exchanged on the way back", "rotary_embedding", (
    "unbroadcast(turn(g, -sin), x)", "xp.concatenate([turn(g, -sin)[..., half:], turn(g, -sin)[..., :half]], axis=-1)"))
edit("dropout: scale forgotten backward", "dropout", ("(g * scale,)", "(g * (scale != 0),)"))
edit("dropout: another mask backward", "dropout", (
    "(g * scale,)", "(g * keep_scale(x, x.shape, p, (*key, 0, 0, 0)[:3] + (77,)),)"))
_unseeded = np.random.default_rng(12345)
edit("dropout: mask resampled", "dropout", ("(g * scale,)", "(g * resampled(x, p),)"),
     resampled=lambda x, p: keep_scale(x, x.shape, p, (int(_unseeded.integers(0, 2**31)),)))

# -- losses --------------------------------------------------------------------------------------------------------

edit("cross entropy: without 1/N", "cross_entropy", ('g / mean_of if reduction == "mean" else g', "g"))
edit("cross entropy: upstream gradient ignored", "cross_entropy", ("dx *= share[:, None]", "dx *= (share / g if g.ndim "
     "== 0 else share)[:, None]"))
edit("cross entropy: ignored positions count", "cross_entropy", ("share = w *", "share = xp.where(counts, w, 1.0) *"))
edit("cross entropy: weights forgotten backward", "cross_entropy", ("share = w *", "share = counts *"))
edit("cross entropy: N of all positions", "cross_entropy", ("g / mean_of if", "g / max(1, t.size) if"))
edit("cross entropy: one-hot subtracted before the division", "cross_entropy", (
    "dx = powers / total", "dx = powers.copy()"), ("dx[rows, t] -= 1", "dx[rows, t] -= 1\n        dx /= total"))
edit("fused cross entropy: bias forgotten", "linear_cross_entropy", ("None if bias is None else dbias", "None"))
edit("fused cross entropy: upstream gradient lost", "linear_cross_entropy", (
    "loss_backward(g)", "loss_backward(xp.ones_like(g))"))

# -- manners -------------------------------------------------------------------------------------------------------

edit("exp: cotangent overwritten", "exp", ("return (g * out,)", "g *= out\n        return (g,)"))
edit("relu: input overwritten", "relu", (
    "return xp.maximum(x, 0), backward", "x[~positive] = 0\n    return x.copy(), backward"))
edit("softmax: saved output overwritten", "softmax", (
    "return (p * (g - (g * p).sum(axis=axis, keepdims=True)),)",
    "s = (g * p).sum(axis=axis, keepdims=True)\n        d = g - s\n        p[...] = p * d\n        return (p.copy(),)"))
edit("sigmoid: gradient in float32", "sigmoid", (
    "(g * out * (1 - out),)", "((g * out * (1 - out)).astype('float32'),)"))
edit("tanh: float32 becomes float64", "tanh", (
    "(g * (1 - out * out),)", "(g * (xp.ones(()) - out * out.astype('float64')),)"))
edit("sqrt: absolute value of the cotangent", "sqrt", ("0.5 * g / out", "0.5 * xp.abs(g) / out"))
edit("sin: a constant added", "sin", ("(g * xp.cos(x),)", "(g * xp.cos(x) + 1e-4,)"))
edit("cos: gradients pile up in the closure", "cos", (
    "def backward(g):", "total = xp.zeros_like(x)\n\n    def backward(g):\n        total[...] += -g * xp.sin(x)"),
    ("return (-g * xp.sin(x),)", "return (total.copy(),)"))
edit("silu: right for row-major arrays only", "silu", ("(g * (s + out * (1 - s)),)",
     "((g.ravel('K') * (s + out * (1 - s)).ravel('K')).reshape(x.shape),)"))
edit("log: wrong for one entry in a row of three or more", "log", ("return (g / x,)",
     "dx = g / x\n        if x.ndim and x.shape[-1] > 2:\n            dx[..., 2] *= 1.01\n        return (dx,)"))


def _always_its_own(xp, x):
    ones = xp.ones_like(x)

    def backward(g):
        return (xp.multiply(g, ones, out=ones),)
    return x * 1.0, backward


add(Bug("identity: returns the array that it keeps",
        lambda rng: RuleExample(_always_its_own, Sample((rng.uniform(-3, 3, tuple(rng.integers(1, 4, 2))),)))))

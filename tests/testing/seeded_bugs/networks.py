"""Bugs in recurrent networks, convolution and pooling: gates, the way back through time, windows."""

from __future__ import annotations

from tinygpt.ops.convolution import _Windows
from tinygpt.ops.recurrent import _unrolled

from .cases import edit
from .mutation import Edit, mutant


def unrolled(name: str, operation: str, *edits: Edit) -> None:
    """Enter a bug of the way back through time."""
    edit(name, operation, _unrolled=mutant(_unrolled, *edits))


def windows(name: str, operation: str, *edits: Edit) -> None:
    """Enter a bug of the way back from the windows to the input."""
    edit(name, operation, _Windows=type("_Windows", (_Windows,), {"sum": mutant(_Windows.sum, *edits)}))


# -- recurrent networks --------------------------------------------------------------------------------------------

edit("rnn_cell: bias summed over the channels", "rnn_cell", ("da.sum(axis=0)", "da.sum(axis=1)"))
unrolled("rnn: what later tokens send is dropped at the first", "rnn", (
    "[d + g[:, t] for", "[d + g[:, t] if t else g[:, t] for"))
edit("lstm_cell: the forget gate by the cell after, not before", "lstm_cell", ("dc * c * f", "dc * after * f"))
edit("lstm_cell: no slope of the tanh that shows the cell", "lstm_cell", ("* o * (1 - shown * shown)", "* o"))
edit("lstm_cell: the weight's gradient by the state after, not before", "lstm_cell", (
    "da.T @ h", "da.T @ (o * shown)"))
edit("gru_cell: the reset gate left out of the new state's gradient", "gru_cell", ("[dr, dz, dn * r]", "[dr, dz, dn]"))
unrolled("gru: the weight's gradient of one token only", "gru", ("dweight = dweight + dw", "dweight = dw"))

# -- convolution and pooling ---------------------------------------------------------------------------------------

windows("convolution: dilation forgotten on the way back", "convolution", (
    "slice(a * d, a * d + s * (n - 1) + 1, s)", "slice(a, a + s * (n - 1) + 1, s)"))
windows("convolution: stride forgotten on the way back", "convolution", ("+ s * (n - 1) + 1, s)", "+ n)"))
windows("convolution: the border cut off at the end only", "convolution", ("slice(p, p + length)", "slice(length)"))
edit("convolution: channels dealt out to the groups in turn", "convolution", (
    "g.reshape(batch, groups, per_group, n_places)",
    "g.reshape(batch, per_group, groups, n_places).swapaxes(1, 2)"))
edit("convolution: bias summed over the first axis of places only", "convolution", (
    "g.sum(axis=(0, *range(2, 2 + n)))", "g.sum(axis=(0, 2))"))
edit("max_pool: each of several equals gets all", "max_pool", (
    "first == xp.arange(flat.shape[-1])", "flat == flat.max(axis=-1, keepdims=True)"))
edit("average_pool: the border not counted backward", "average_pool", (
    "g * share", 'g / _Windows("average_pool", xp, xp.ones_like(x), kernel, stride, padding, 1).view.sum(axis=axes)'))

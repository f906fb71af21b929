"""Convolution layers and pooling, over text (one axis) and pictures (two).

Parameters have PyTorch's names and shapes, and begin as PyTorch's do.

Shapes: B batch, C channels in, O channels out.

Prerequisites: linear.py, ops/convolution.py. Next: placement.py.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from .. import ops
from ..arrays import generator
from ..autograd import Tensor
from ..ops.convolution import Sides, sides
from .module import Module, Parameter

__all__ = ["AvgPool1d", "AvgPool2d", "Conv1d", "Conv2d", "Convolution", "MaxPool1d", "MaxPool2d", "Pool"]


class Convolution(Module):
    """What convolutions over one axis and over two share.

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, dilation: an integer, or one for each axis.
        groups: the channels are cut into so many groups, and each output sees its own group only.
        bias: whether to add a bias.

    Attributes:
        weight: (O, C / groups, *kernel). bias: (O,) or None.

    Raises:
        ValueError: sizes below 1, or channels that the groups do not divide.
    """

    n_axes: ClassVar[int]

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Sides, stride: Sides = 1, padding: Sides = 0,
                 dilation: Sides = 1, groups: int = 1, bias: bool = True) -> None:
        name = type(self).__name__
        kernel = sides(f"{name}: kernel_size", kernel_size, self.n_axes)
        if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"{name}: {in_channels} channels in and {out_channels} out cannot be cut into {groups} "
                             "groups")
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.padding = sides(f"{name}: padding", padding, self.n_axes, 0)
        bound = 1 / math.sqrt(in_channels // groups * math.prod(kernel))
        self.weight = Parameter(generator().uniform(
            -bound, bound, (out_channels, in_channels // groups, *kernel)).astype(np.float32))
        self.bias = Parameter(generator().uniform(-bound, bound, out_channels).astype(np.float32)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *size) -> (B, O, *places)."""
        return ops.convolution(x, self.weight, self.bias, stride=self.stride, padding=self.padding,
                               dilation=self.dilation, groups=self.groups)


class Conv1d(Convolution):
    """A convolution over one axis: (B, C, T) -> (B, O, places)."""

    n_axes = 1


class Conv2d(Convolution):
    """A convolution over two axes: (B, C, height, width) -> (B, O, *places)."""

    n_axes = 2


class Pool(Module):
    """What the pooling layers share: windows that lie side by side, or every `stride` places."""

    n_axes: ClassVar[int]

    def __init__(self, kernel_size: Sides, stride: Sides | None = None, padding: Sides = 0) -> None:
        self.settings = dict(kernel_size=sides(f"{type(self).__name__}: kernel_size", kernel_size, self.n_axes),
                             stride=stride, padding=padding)


class MaxPool1d(Pool):
    """The largest number of each window: (B, C, T) -> (B, C, places)."""

    n_axes = 1

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *size) -> (B, C, *places)."""
        return ops.max_pool(x, **self.settings)


class MaxPool2d(MaxPool1d):
    """The largest number of each window: (B, C, height, width) -> (B, C, *places)."""

    n_axes = 2


class AvgPool1d(Pool):
    """The mean of each window: (B, C, T) -> (B, C, places)."""

    n_axes = 1

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *size) -> (B, C, *places)."""
        return ops.average_pool(x, **self.settings)


class AvgPool2d(AvgPool1d):
    """The mean of each window: (B, C, height, width) -> (B, C, *places)."""

    n_axes = 2

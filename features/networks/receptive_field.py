"""Receptive fields: the pixels that one position of a layer depends on, derived from the modules or measured."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from .hooks import FoldedConv2d, LeakyReLU, run
from .zoo import ClippedAvgPool2d, Fire

POINTWISE = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Hardswish,
             nn.Identity, LeakyReLU, nn.BatchNorm2d, nn.LocalResponseNorm, nn.Softmax2d, nn.Dropout, nn.Dropout2d)
WINDOWED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, FoldedConv2d)
PADDING = (nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d)


@dataclass(frozen=True)
class Field:
    """The receptive fields of a layer along the vertical axis, in pixels.

    One position depends on `size` pixels (infinitely many if on the whole map at every size), the next one begins
    `stride` pixels further, and the first one is centred on pixel `offset`, counted from 1.
    """

    size: float = 1.0
    stride: int = 1
    offset: float = 1.0

    def through(self, kernel: float, stride: int = 1, pad: int = 0) -> Field:
        """The fields after a layer of this kernel, stride and top padding."""
        return Field(self.size + self.stride * (kernel - 1), self.stride * stride,
                     self.offset + self.stride * ((kernel - 1) / 2 - pad))


def _vertical(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple) else value)


def step(module: nn.Module) -> tuple[float, int, int] | None:
    """The kernel, stride and top padding of a module's windows; None if its kind is unknown."""
    if isinstance(module, POINTWISE) or (isinstance(module, nn.Softmax) and module.dim == 1):
        return 1, 1, 0
    if isinstance(module, Fire):
        return 3, 1, 1
    if isinstance(module, PADDING):
        return 1, 1, int(module.padding[2])
    if isinstance(module, ClippedAvgPool2d):
        return module.kernel_size[0], module.stride[0], module.pads[2]
    if isinstance(module, WINDOWED) and not isinstance(module.padding, str):
        kernel, stride, pad, dilation = (_vertical(getattr(module, name, 1))
                                         for name in ("kernel_size", "stride", "padding", "dilation"))
        return dilation * (kernel - 1) + 1, stride, pad
    if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)):
        return math.inf, 1, 0
    return None


def derive(module: nn.Module, path: str, x: Tensor, call: int = 0,
           output: str | int | None = None) -> tuple[Field, bool]:
    """The field of the layer at a path, derived from layer to layer in one forward pass of x, and True.

    Call and output are those of `run`.

    If a module of unknown windows precedes the layer: the field before that module, and False.
    """
    known: list[tuple[Tensor, Field]] = [(x, Field())]

    def follow(part: nn.Module, inputs: tuple[Any, ...], found: Any) -> None:
        window = step(part)
        field = next((f for t, f in reversed(known) if len(inputs) == 1 and t is inputs[0]), None)
        if field is not None and window is not None and isinstance(found, Tensor):
            known.append((found, field.through(*window)))

    handles = [part.register_forward_hook(follow) for part in _windowed(module, "", path)]
    try:
        (code,) = run(module, [path], x, call, output)
    finally:
        for handle in handles:
            handle.remove()
    own = next((f for t, f in reversed(known) if t is code), None)
    return (own, True) if own is not None else (known[-1][1], False)


def _windowed(module: nn.Module, prefix: str, path: str) -> list[nn.Module]:
    """The submodules with known windows; their own submodules only where the path leads into them."""
    if step(module) is not None and not path.startswith(prefix):
        return [module]
    return [part for name, child in module.named_children() for part in _windowed(child, f"{prefix}{name}.", path)]


def measure(encode: Callable[[Tensor], Tensor], x: Tensor) -> Field | None:
    """Measure the fields of a code (1, D, h, w): rows of the image x (1, C, H, W) become NaN, which the code shows.

    None for a code with fewer than two rows, which has no stride. The size is the largest of three fields in the
    middle, cut at the border of the image; the stride is the distance of their edges. If these lie at the border or are
    not equally far apart (attention in windows, upsampled maps), the stride is the ratio of the heights of image and
    code, and the positions are centred in the image.
    """
    height = x.shape[2]

    @cache
    def affected(first: int, last: int) -> Tensor:
        image = x.clone()
        image[:, :, first:last] = math.nan
        return encode(image).isnan().any(dim=3).any(dim=1)[0]

    def reach(position: int) -> tuple[int, int]:
        top = bisect_left(range(height - 1), True, key=lambda j: bool(affected(0, j + 1)[position]))
        below = bisect_left(range(height - 1), True, key=lambda j: bool(affected(height - 1 - j, height)[position]))
        return top, height - 1 - below

    code = encode(x)
    if code.ndim != 4 or code.shape[2] < 2:
        return None
    rows, middle = code.shape[2], code.shape[2] // 2
    fields = [reach(position) for position in range(middle - 1, min(middle + 2, rows))]
    size = max(last - top + 1 for top, last in fields)
    tops, lasts = [top for top, _ in fields if top > 0], [last for _, last in fields if last < height - 1]
    steps = {b - a for edges in (tops, lasts) for a, b in pairwise(edges)}
    regular = len(steps) == 1 and min(steps) > 0
    stride = steps.pop() if regular else max(1, round(height / rows))
    if regular and len(tops) == len(lasts) == len(fields):
        return Field(size, stride, sum(fields[1]) / 2 + 1 - middle * stride)
    return Field(size, stride, (height + 1) / 2 - (rows - 1) / 2 * stride)

"""Receptive fields: which pixels one position of a layer depends on, derived from the modules or measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .hooks import FoldedConv2d, LeakyReLU, run
from .zoo import ClippedAvgPool2d, Fire

POINTWISE = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Hardswish,
             nn.Identity, LeakyReLU, nn.BatchNorm2d, nn.LocalResponseNorm, nn.Softmax2d, nn.Dropout, nn.Dropout2d)
PADDING = (nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d)


@dataclass(frozen=True)
class Field:
    r"""The receptive fields of a layer along the vertical axis.

    Through a layer of kernel k, stride s and p rows of padding above, ``size`` grows by stride · (k − 1), ``offset``
    by stride · ((k − 1)/2 − p), and ``stride`` is multiplied by s.

    Attributes
    ----------
    size : float
        Pixels that one position depends on; infinite for a layer that sees the whole map at every size.
    stride : int
        Pixels between neighbouring positions.
    offset : float
        The pixel, counted from 1, on which the first field is centred; negative half-widths count padding.
    """

    size: float = 1.0
    stride: int = 1
    offset: float = 1.0

    def through(self, kernel: float, stride: int = 1, pad: int = 0) -> Field:
        """The fields of the next layer."""
        return Field(self.size + self.stride * (kernel - 1), self.stride * stride,
                     self.offset + self.stride * ((kernel - 1) / 2 - pad))


def _vertical(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple) else value)


def step(module: nn.Module) -> tuple[float, int, int] | None:
    """The kernel, stride and padding above of a module's windows; None if the module does not tell."""
    if isinstance(module, POINTWISE) or (isinstance(module, nn.Softmax) and module.dim == 1):
        return 1, 1, 0
    if isinstance(module, Fire):
        return 3, 1, 1
    if isinstance(module, FoldedConv2d):
        return module.kernel_size[0], module.stride, module.padding[0]
    if isinstance(module, PADDING):
        return 1, 1, int(module.padding[2])
    if isinstance(module, ClippedAvgPool2d):
        return module.kernel_size[0], module.stride[0], module.pads[2]
    if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        kernel, stride, pad = (_vertical(v) for v in (module.kernel_size, module.stride, module.padding))
        dilation = _vertical(module.dilation) if isinstance(module, nn.MaxPool2d) else 1
        return dilation * (kernel - 1) + 1, stride, pad
    if isinstance(module, nn.Conv2d) and not isinstance(module.padding, str):
        return module.dilation[0] * (module.kernel_size[0] - 1) + 1, module.stride[0], module.padding[0]
    if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)):
        return math.inf, 1, 0
    return None


def derive(module: nn.Module, path: str, x: Tensor) -> tuple[Field, bool]:
    """Follow the fields from layer to layer in one forward pass of x, down to the layer at this path.

    Returns
    -------
    field : Field
        That of the layer, or of the last one before the first that does not tell its windows.
    complete : bool
        Whether the layer's own field could be derived.
    """
    seen: list[tuple[Tensor, Field]] = [(x, Field())]

    def follow(part: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        window = step(part)
        field = next((f for t, f in reversed(seen) if len(inputs) == 1 and t is inputs[0]), None)
        if field is not None and window is not None and isinstance(output, Tensor):
            seen.append((output, field.through(*window)))

    handles = [part.register_forward_hook(follow) for part in _told(module, "", path)]
    try:
        (output,) = run(module, [path], x)
    finally:
        for handle in handles:
            handle.remove()
    own = next((f for t, f in reversed(seen) if t is output), None)
    return (own, True) if own is not None else (seen[-1][1], False)


def _told(module: nn.Module, prefix: str, path: str) -> list[nn.Module]:
    """The parts that tell their windows, not looking into one unless the layer asked for lies inside it."""
    if step(module) is not None and not path.startswith(prefix):
        return [module]
    return [part for name, child in module.named_children() for part in _told(child, f"{prefix}{name}.", path)]


def measure(encode: Callable[[Tensor], Tensor], x: Tensor) -> Field | None:
    """Find the fields by experiment: images that are undefined above, or below, some row, and where that shows.

    Parameters
    ----------
    encode : callable
        Images (N, C, H, W) → code (N, D, h, w).
    x : Tensor (1, C, H, W)
        An image to spoil.

    Returns
    -------
    Field or None
        None when the code has fewer than two rows, so that it has no stride. Fields that reach over the image are
        cut at its border; the stride of a layer whose every position sees the whole image is the ratio of sizes.
    """

    def spoilt(rows: slice) -> Tensor:
        image = x.clone()
        image[:, :, rows] = math.nan
        return encode(image).isnan().any(dim=3).any(dim=1)[0]

    def reach(position: int) -> tuple[int, int]:
        first = _least(height, lambda j: bool(spoilt(slice(0, j + 1))[position]))
        below = _least(height, lambda j: bool(spoilt(slice(height - 1 - j, height))[position]))
        return first, height - 1 - below

    height = x.shape[2]
    code = encode(x)
    if code.ndim != 4 or code.shape[2] < 2:
        return None
    middle = code.shape[2] // 2
    (top, bottom), (first, last) = (reach(position) for position in (middle - 1, middle))
    stride = max(first - top, last - bottom) or round(height / code.shape[2])
    return Field(last - first + 1, stride, (first + last) / 2 + 1 - middle * stride)


def _least(count: int, holds: Callable[[int], bool]) -> int:
    """The least index for which a monotone condition holds; the last one if it never does."""
    low, high = 0, count - 1
    while low < high:
        between = (low + high) // 2
        low, high = (low, between) if holds(between) else (between + 1, high)
    return low

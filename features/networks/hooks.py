"""Outputs of the layers of any torch module, read with forward hooks."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layouts import NoCode, pick

FEW_CHANNELS = 4  # fewer input channels than fill a vector register


class _Done(Exception):
    """All layers have run."""


def run(module: nn.Module, paths: Sequence[str], x: Tensor, call: int = 0,
        output: str | int | None = None) -> list[Tensor]:
    """The tensors that the layers at these paths give; the forward pass stops at the last of them.

    Of a layer that runs several times, `call` counts: 0 is the first, −1 the last. For negative calls, and under
    torch.export, whose record of modules does not survive an early end, the pass does not stop. Of several outputs, the
    one with this key or index. The hooks are always removed. A layer that the forward pass does not run, or not so
    often, raises `NoCode`.
    """
    found: dict[str, deque[Tensor]] = {path: deque(maxlen=max(1, -call)) for path in paths}
    calls, stops = Counter[str](), call >= 0 and not torch.compiler.is_compiling()

    def keep(path: str, _: nn.Module, __: Any, given: Any) -> None:
        calls[path] += 1
        if call >= 0 and calls[path] != call + 1:
            return
        tensor = pick(given, output, path)
        found[path].append(tensor)
        if stops and all(found.values()):
            raise _Done
        found[path][-1] = tensor.clone()  # the next layer may be in-place

    handles = [module.get_submodule(path).register_forward_hook(partial(keep, path)) for path in found]
    try:
        module(x)
    except _Done:
        pass
    finally:
        for handle in handles:
            handle.remove()
    missed = [path for path, tensors in found.items() if len(tensors) < max(1, -call)]
    if any(calls[path] for path in missed):
        counts = ", ".join(f"{path} {calls[path]} times" for path in missed)
        raise NoCode(f"there is no call {call}: the forward pass of {type(module).__name__} runs {counts}")
    if missed:
        raise NoCode(f"the forward pass of {type(module).__name__} does not run the layers {', '.join(missed)}: "
                     "choose layers that it calls as modules")
    return [found[path][0] for path in paths]


class LeakyReLU(nn.Module):
    """A ReLU with the gradient of a leaky ReLU."""

    def __init__(self, leak: float) -> None:
        super().__init__()
        self.leak = leak

    def forward(self, x: Tensor) -> Tensor:
        """max(x, 0), of any shape."""
        leaky = F.leaky_relu(x, self.leak)
        return leaky + (F.relu(x) - leaky).detach()


Rule = Literal["guided", "deconvnet"]


class RectifyingReLU(nn.Module):
    """A ReLU that passes no negative gradient back: where it is active alone ("guided"), or everywhere ("deconvnet").

    Springenberg et al. 2015; Zeiler & Fergus 2014.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, x: Tensor) -> Tensor:
        """max(x, 0), of any shape."""
        y = F.relu(x)
        if self.rule == "deconvnet":
            y = x + (y - x).detach()
        if y.requires_grad:
            y.register_hook(lambda gradient: gradient.clamp_min(0))
        return y


class FoldedConv2d(nn.Module):
    """A convolution of stride s and few channels, as one of stride 1 on the s² phases of the image (pixel unshuffle).

    The result is the same; the gradient by the input is about three times faster on CPUs, whose vector registers few
    channels do not fill.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.stride = conv.stride[0]
        self.kernel_size = conv.kernel_size
        self.padding = (int(conv.padding[0]), int(conv.padding[1]))
        fill = [-k % self.stride for k in self.kernel_size]
        weight = F.pad(conv.weight.detach(), (0, fill[1], 0, fill[0]))
        weight = F.pixel_unshuffle(weight, self.stride).contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach())

    @staticmethod
    def suits(module: nn.Module) -> bool:
        """Whether a module is a convolution that this makes faster."""
        return (isinstance(module, nn.Conv2d) and module.in_channels <= FEW_CHANNELS and module.groups == 1
                and module.stride[0] == module.stride[1] > 1 and module.dilation == (1, 1)
                and module.padding_mode == "zeros" and not isinstance(module.padding, str))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, D, h', w')."""
        s = self.stride
        (top, left), size = self.padding, x.shape[-2:]
        rows, columns = ((n + 2 * p - k) // s * s + k + (-k % s)
                         for n, p, k in zip(size, (top, left), self.kernel_size, strict=True))
        x = F.pad(x, (left, columns - size[1] - left, top, rows - size[0] - top))
        return F.conv2d(F.pixel_unshuffle(x, s), self.weight, self.bias)


def swap(module: nn.Module, suits: Callable[[nn.Module], bool], other: Callable[[Any], nn.Module]) -> int:
    """Replace, in place, every submodule that suits by `other` of it; returns the number replaced."""
    count = 0
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if suits(child):
                setattr(parent, name, other(child))
                count += 1
    return count

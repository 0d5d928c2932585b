"""Outputs of the layers of any torch module, read with forward hooks on a frozen copy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW_CHANNELS = 4  # fewer input channels than fill a vector register


class _Done(Exception):
    """All layers have run."""


class NoCode(ValueError):
    """A layer whose output is not a code, for any image."""


def frozen(module: nn.Module, convert: Callable[[Tensor], Tensor] = Tensor.detach) -> nn.Module:
    """A copy of a module whose parameters are buffers, each converted from the original's tensor.

    By default the copy shares the memory of the tensors, but no hooks, modes or gradients. A module that cannot be
    copied is a ValueError.
    """
    memo = {id(t): convert(t.detach()) for t in chain(module.parameters(), module.buffers())}
    try:
        twin = copy.deepcopy(module, memo)
    except Exception as error:
        raise ValueError(f"the module {type(module).__name__} cannot be copied ({error}): remove weight "
                         "normalisation, hooks that hold tensors, and compilation first") from error
    for part in twin.modules():
        for name, tensor in list(part._parameters.items()):
            if tensor is not None:
                del part._parameters[name]
                part.register_buffer(name, tensor)
    return twin


def run(module: nn.Module, paths: Sequence[str], x: Tensor) -> list[Any]:
    """The outputs of the layers at these paths; the forward pass stops at the last of them.

    A layer that runs several times gives its first output. The hooks are always removed. A layer that the forward pass
    does not run raises `NoCode`.
    """
    found: dict[str, Any] = {}

    def keep(path: str, _: nn.Module, __: Any, output: Any) -> None:
        shared = len(paths) > 1 and isinstance(output, Tensor)
        found.setdefault(path, output.clone() if shared else output)  # the next layer may be in-place
        if len(found) == len(set(paths)):
            raise _Done

    handles = [module.get_submodule(path).register_forward_hook(partial(keep, path)) for path in set(paths)]
    try:
        module(x)
    except _Done:
        return [found[path] for path in paths]
    finally:
        for handle in handles:
            handle.remove()
    idle = [path for path in paths if path not in found]
    raise NoCode(f"the forward pass of {type(module).__name__} does not run the layers {', '.join(idle)}: "
                 "choose layers that it calls as modules")


class LeakyReLU(nn.Module):
    """A ReLU with the gradient of a leaky ReLU."""

    def __init__(self, leak: float) -> None:
        super().__init__()
        self.leak = leak

    def forward(self, x: Tensor) -> Tensor:
        """max(x, 0), of any shape."""
        leaky = F.leaky_relu(x, self.leak)
        return leaky + (F.relu(x) - leaky).detach()


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

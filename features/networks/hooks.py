"""Running any torch module up to some of its layers, on a frozen copy, so that the module itself is never touched."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

THIN = 4  # a convolution of no more channels than this leaves most of a vector register idle


class _Reached(Exception):
    """Every layer asked for has run."""


class NoCode(ValueError):
    """A layer whose output is no code, whatever the image."""


def frozen(module: nn.Module, convert: Callable[[Tensor], Tensor] = Tensor.detach) -> nn.Module:
    """A copy of a module whose parameters are buffers, each the conversion of the original's tensor.

    With the default conversion the copy shares the memory of the original's tensors. Hooks, modes and gradients of
    the copy leave the original alone.

    Raises
    ------
    ValueError
        When the module cannot be copied.
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
    """The outputs of the layers at these paths; the module stops as soon as it has them all.

    A layer that runs several times gives its first output. The hooks are removed however the run ends.

    Raises
    ------
    NoCode
        When a layer does not take part in the forward pass.
    """
    found: dict[str, Any] = {}

    def keeper(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_: nn.Module, __: Any, output: Any) -> None:
            shared = len(paths) > 1 and isinstance(output, Tensor)
            found.setdefault(path, output.clone() if shared else output)  # the next layer may work in place
            if len(found) == len(set(paths)):
                raise _Reached

        return keep

    handles = [module.get_submodule(path).register_forward_hook(keeper(path)) for path in dict.fromkeys(paths)]
    try:
        module(x)
    except _Reached:
        return [found[path] for path in paths]
    finally:
        for handle in handles:
            handle.remove()
    idle = [path for path in paths if path not in found]
    raise NoCode(f"the forward pass of {type(module).__name__} does not run the layers {', '.join(idle)}: "
                 "choose layers that it calls as modules")


class _LeakyGradient(torch.autograd.Function):
    """max(x, 0), whose gradient for x ≤ 0 is taken to be a small slope."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, leak: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.leak = leak
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return torch.where(x > 0, gradients[0], ctx.leak * gradients[0]), None


class LeakyReLU(nn.Module):
    """A ReLU that lets a share of the gradient through where it is dead; its output is the ReLU's own."""

    def __init__(self, leak: float) -> None:
        super().__init__()
        self.leak = leak

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, unchanged."""
        y: Tensor = _LeakyGradient.apply(x, self.leak)
        return y


class FoldedConv2d(nn.Module):
    r"""A strided convolution of a few channels, as one of stride 1 on the s² sub-images that its stride s tells apart.

    The sums are the same; the input's gradient, whose few channels no CPU fills its registers with, is about three
    times faster.
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
        """Whether a module is a convolution that gains by this."""
        return (isinstance(module, nn.Conv2d) and module.in_channels <= THIN and module.groups == 1
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
    """Replace, in place, every part of a module that suits by another made from it; the number replaced."""
    count = 0
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if suits(child):
                setattr(parent, name, other(child))
                count += 1
    return count

"""The deep image prior: the weights of an untrained network that draws the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .base import ImageSpec, Parameterization

INPUT_CHANNELS = 8
INPUT_SCALE = 0.1
SKIP_CHANNELS = 4
SLOPE = 0.2  # of the leaky ReLUs
LEAST_SIDE = 4  # of the deepest maps, in pixels


class DeepPrior(Parameterization):
    r"""The weights of an untrained hourglass network, whose input is fixed noise: the deep image prior.

    x = σ(f_z(ε)),  ε uniform in [0, 0.1], the same for every sample and seed

    f halves the image in each of its levels and doubles it again, with a narrow path past each level. It draws smooth
    regions and repeated structure with far fewer steps than noise, which is all the prior there is.

    Parameters
    ----------
    spec : ImageSpec
    channels : sequence of int
        Channels of each level, the finest first; an image whose shorter side would shrink below 4 pixels has fewer.

    Raises
    ------
    ValueError
        If channels is empty or has a number below 1; from `coordinates`, as few images are drawn by some weights.

    Notes
    -----
    A level is: two 3×3 convolutions, the first with stride 2; what is below, enlarged bilinearly; beside it the level's
    input through a 1×1 convolution of 4 channels; a 3×3 and a 1×1 convolution. A normalisation with learned scale and
    offset and a leaky ReLU of slope 0.2 follow each; borders are reflected. σ keeps images in [0, 1]. Weights start
    uniform within 1 / √(inputs), as torch's. Source: Ulyanov, Vedaldi & Lempitsky 2018. Differs: theirs has up to 128
    channels, input of 32 channels and up to 7×7 filters, and new noise is added to the input in each step; statistics
    of a normalisation are those of each sample.
    """

    draws_any = False

    def __init__(self, spec: ImageSpec, channels: Sequence[int] = (8, 16, 32, 64, 64)):
        super().__init__(spec)
        if not channels or min(channels) < 1:
            raise ValueError(f"channels is a number of channels, 1 or more, for each level, got {tuple(channels)}")
        deepest = int(math.log2(max(min(spec.height, spec.width) / LEAST_SIDE, 2)))
        levels = min(len(channels), deepest)
        self.size = [max(-(-side // 2**levels), 2) * 2**levels for side in (spec.height, spec.width)]
        with torch.device("meta"):
            head = nn.Conv2d(channels[0], spec.centre.shape[0], 1)
            self.network = nn.Sequential(_Level(INPUT_CHANNELS, channels[:levels]), head, nn.Sigmoid())
        self.shapes = {name: weight.shape for name, weight in self.network.named_parameters()}
        noise = torch.rand(1, INPUT_CHANNELS, *self.size, generator=torch.Generator().manual_seed(0))
        self.input = (INPUT_SCALE * noise).to(spec.centre)

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Random weights, (N, 1, number of weights)."""
        return torch.stack([self._random_weights(torch.Generator().manual_seed(seed)) for seed in seeds])

    def render(self, z: Tensor) -> Tensor:
        """The images that the network draws with the weights of each sample, (N, C, H, W)."""
        return torch.cat([self._drawn(weights) for weights in z.flatten(1)])

    def coordinates(self, x: Tensor) -> Tensor:
        """ValueError."""
        raise ValueError('DeepPrior cannot start from an image, which no weights draw exactly: give start="noise"')

    def _drawn(self, weights: Tensor) -> Tensor:
        parts = weights.split([shape.numel() for shape in self.shapes.values()])
        named = {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}
        x: Tensor = functional_call(self.network, named, (self.input,))
        return x[..., : self.spec.height, : self.spec.width]

    def _random_weights(self, generator: torch.Generator) -> Tensor:
        drawn = [_weight(module, name, generator) for module in self.network.modules()
                 for name, _ in module.named_parameters(recurse=False)]
        return torch.cat(drawn)[None].to(self.spec.centre)


class _Level(nn.Module):
    """One level of the hourglass, with those below."""

    def __init__(self, inputs: int, channels: Sequence[int]):
        super().__init__()
        own, *deeper = channels
        joined = SKIP_CHANNELS + (deeper[0] if deeper else own)
        self.skip = _convolution(inputs, SKIP_CHANNELS, 1)
        self.down = nn.Sequential(_convolution(inputs, own, 3, 2), _convolution(own, own, 3))
        self.below = _Level(own, deeper) if deeper else nn.Identity()
        self.up = nn.Sequential(_norm(joined), _convolution(joined, own, 3), _convolution(own, own, 1))

    def forward(self, x: Tensor) -> Tensor:
        below = nn.functional.interpolate(self.below(self.down(x)), scale_factor=2, mode="bilinear")
        joined: Tensor = self.up(torch.cat([self.skip(x), below], 1))
        return joined


def _convolution(inputs: int, outputs: int, side: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, side, stride, side // 2, padding_mode="reflect")
    return nn.Sequential(convolution, _norm(outputs), nn.LeakyReLU(SLOPE))


def _norm(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True)


def _weight(module: Any, name: str, generator: torch.Generator) -> Tensor:
    """A starting weight of a convolution or a normalisation, flat."""
    shape = getattr(module, name).shape
    if isinstance(module, nn.InstanceNorm2d):
        return torch.full((shape.numel(),), float(name == "weight"))
    bound = 1 / math.sqrt(module.weight[0].numel())
    return bound * (2 * torch.rand(shape.numel(), generator=generator) - 1)

"""Up-convolutional networks from codes to images, for any descriptor."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unfeature.features.base import Representation

from .windows import first_centre

SCALE = 3
LARGEST_FLAT, HIDDEN = 8, 512
NARROWEST, WIDEST = 16, 512
FIRST_CONTRAST = 0.1
REACHES = (1, 1, 2, 4)
SLOPE = 0.2


class Generator(nn.Module):
    """From a code's grid to one of 8 pixels, through dilated convolutions, and up to pixels."""

    def __init__(self, depth: int, channels: int, width: int, stride: int, centre: float) -> None:
        super().__init__()
        self.stride, self.scale = stride, max(0, round(math.log2(stride)))
        self.margin = max(0, math.ceil((centre + 0.5) / stride - 0.5))
        self.first = round(self.margin * stride - (centre - (stride - 1) / 2))
        coarsest, finest = max(self.scale, SCALE), min(self.scale, 1)
        widths = [_width_at(scale, width) for scale in range(coarsest + 1)]
        middle = widths[coarsest]
        self.enter = nn.Conv2d(depth + 1, widths[self.scale], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths[self.scale:]))
        self.context = nn.ModuleList(nn.Conv2d(middle, middle, 3, padding=reach, dilation=reach) for reach in REACHES)
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 4, stride=2, padding=1)
                                for a, b in reversed(list(pairwise(widths[finest:]))))
        factor = 2**finest
        self.last = nn.Conv2d(widths[finest], channels * factor**2, 3, padding=1)
        self.arrange = nn.PixelShuffle(factor)

    def forward(self, code: Tensor, size: tuple[int, int]) -> Tensor:
        """Images of a given size, of codes (N, D, h, w)."""
        x = torch.cat([code, torch.ones_like(code[:, :1])], 1)
        x = F.leaky_relu(self.enter(F.pad(x, self._padding(tuple(code.shape[2:]), size))), SLOPE)
        passed = []
        for layer in self.down:
            passed.append(x)
            x = F.leaky_relu(layer(x), SLOPE)
        for layer in self.context:
            x = x + 0.5 * F.leaky_relu(layer(x), SLOPE)
        for layer in self.up:
            x = F.leaky_relu(layer(x), SLOPE)
            x = x + passed.pop() if passed else x
        x = self.arrange(self.last(x))
        if 2**self.scale != self.stride:
            extent = [n * self.stride // 2**self.scale for n in x.shape[2:]]
            x = F.interpolate(x, size=extent, mode="bilinear", align_corners=False, antialias=True)
        return x[..., self.first : self.first + size[0], self.first : self.first + size[1]]

    def _padding(self, grid: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Padding left, right, above and below, with which the grid covers the image and can be halved."""
        after = []
        for positions, pixels in zip(grid, size, strict=True):
            reach = max(-(-(pixels + self.first) // self.stride), self.margin + positions)
            after.append(reach + -reach % 2 ** len(self.down) - self.margin - positions)
        return self.margin, after[1], self.margin, after[0]


class FlatGenerator(nn.Module):
    """Fully connected layers onto a small grid, then a `Generator`."""

    def __init__(self, depth: int, channels: int, width: int, crop: int) -> None:
        super().__init__()
        scale = max(SCALE, math.ceil(math.log2(crop / LARGEST_FLAT)))
        self.crop, self.grid, self.width = crop, -(-crop // 2**scale), _width_at(scale, width)
        hidden = min(depth, HIDDEN)
        self.enter = nn.Linear(depth, hidden)
        self.expand = nn.Linear(hidden, self.width * self.grid**2)
        self.rest = Generator(self.width, channels, width, 2**scale, (2**scale - 1) / 2)
        self.last = self.rest.last

    def forward(self, code: Tensor, size: tuple[int, int]) -> Tensor:
        """Images of a given size, of codes (N, D), resized from that of the training crops."""
        x = F.leaky_relu(self.enter(code.flatten(1)), SLOPE)
        grid = F.leaky_relu(self.expand(x), SLOPE).unflatten(1, (self.width, self.grid, self.grid))
        image: Tensor = self.rest(grid, (self.crop, self.crop))
        return image if size == (self.crop, self.crop) else F.interpolate(image, size, mode="bilinear", antialias=True)


def _width_at(scale: int, width: int) -> int:
    """Channels on a grid of 2^scale pixels, `width` on one of 8: as many again at each halving."""
    return max(NARROWEST, min(WIDEST, int(width * 2.0 ** (scale - SCALE))))


def is_flat(shape: tuple[int, ...]) -> bool:
    """Whether a code of this shape, of a training crop, has no positions."""
    return shape[1:] in ((), (1, 1))


def network_for(phi: Representation, shape: tuple[int, ...], width: int, crop: int,
                generator: torch.Generator) -> Generator | FlatGenerator:
    """The network for a descriptor, with weights drawn from the generator (He et al.), the last ones small."""
    sizes = shape[0], phi.in_channels[0], width
    network: Generator | FlatGenerator = (
        FlatGenerator(*sizes, crop) if is_flat(shape) else Generator(*sizes, phi.stride, first_centre(phi)))
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.zeros_(parameter)
        else:
            nn.init.kaiming_normal_(parameter, SLOPE, generator=generator)
    with torch.no_grad():
        network.last.weight.mul_(FIRST_CONTRAST)
    return network

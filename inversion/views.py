"""Small random changes of the view of an image that Φ receives, so that no single view is fitted."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


class Transform(ABC):
    """A random change of images, (N, C, H, W) → (N, C, H', W'), each sample by its own generator, differentiable."""

    @abstractmethod
    def __call__(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """The changed images."""

    @property
    def shrinkage(self) -> int:
        """Pixels that it takes from height and width; negative if it adds some."""
        return 0


@dataclass(frozen=True)
class Pad(Transform):
    """A border about the image: of one value, or its reflection if the value is None."""

    pixels: int
    value: float | None = 0.5

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise ValueError(f"a border has no negative width, got {self.pixels}")

    def __call__(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Images with a border."""
        return nn.functional.pad(x, (self.pixels,) * 4, "reflect" if self.value is None else "constant", self.value)

    @property
    def shrinkage(self) -> int:
        """Minus both sides of the border."""
        return -2 * self.pixels


@dataclass(frozen=True)
class Jitter(Transform):
    """A random window, `pixels` smaller than the image each way."""

    pixels: int

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise ValueError(f"jitter is a number of pixels, got {self.pixels}")

    def __call__(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """The windows."""
        height, width = x.shape[2] - self.pixels, x.shape[3] - self.pixels
        if min(height, width) < 1:
            raise ValueError(f"an image of {x.shape[2]} × {x.shape[3]} pixels has no room for jitter of {self.pixels}")
        offsets = [torch.randint(self.pixels + 1, (2,), generator=g).tolist() for g in generators]
        return torch.stack([image[:, v:v + height, u:u + width] for image, (v, u) in zip(x, offsets, strict=True)])

    @property
    def shrinkage(self) -> int:
        """As many pixels as the window is smaller."""
        return self.pixels


@dataclass(frozen=True)
class Scale(Transform):
    """Magnified about the centre by a factor drawn between two, of the same size as before."""

    least: float
    most: float

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.most:
            raise ValueError(f"factors are positive, the least first, got {self.least} and {self.most}")

    def __call__(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """The magnified images; what they do not cover is reflected."""
        return _resampled(x, [(1 / factor, 0.0) for factor in _uniform(self.least, self.most, generators)])


@dataclass(frozen=True)
class Rotate(Transform):
    """Rotated about the centre by an angle drawn between −degrees and degrees."""

    degrees: float

    def __call__(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """The rotated images; what they do not cover is reflected."""
        angles = _uniform(-self.degrees, self.degrees, generators)
        return _resampled(x, [(math.cos(math.radians(a)), math.sin(math.radians(a))) for a in angles])


@dataclass(frozen=True)
class Blur(Transform):
    """Blurred by a Gaussian whose standard deviation, in pixels, is drawn between two (Yosinski et al. 2015)."""

    least: float
    most: float

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most:
            raise ValueError(f"standard deviations are not negative, the least first, got {self.least} and {self.most}")

    def __call__(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """The blurred images, whose border pixels are repeated."""
        stds = _uniform(self.least, self.most, generators)
        return torch.cat([_blurred(image, std) for image, std in zip(x.split(1), stds, strict=True)])


def random_shifts(extent: int) -> tuple[Transform, ...]:
    """Random offsets on a square of extent × extent, the papers' jitter; none for an extent of 1."""
    return (Jitter(extent - 1),) if extent > 1 else ()


def robustness(jitter: int = 8, scale: float = 0.1, degrees: float = 5.0) -> tuple[Transform, ...]:
    """Pad, jitter, scale, rotate, jitter again: the usual list for visualising neurons (Olah et al. 2017)."""
    return (Pad(jitter + jitter // 2), Jitter(jitter), Scale(1 - scale, 1 + scale), Rotate(degrees),
            Jitter(jitter // 2))


def view(x: Tensor, transforms: Sequence[Transform], size: tuple[int, int],
         generators: Sequence[torch.Generator]) -> Tensor:
    """Images after all transforms, of a given size: their centre, or, where they are too small, all with a border."""
    for transform in transforms:
        x = transform(x, generators)
    missing = [max(full - side, 0) for full, side in zip(size, x.shape[2:], strict=True)]
    if any(missing):
        top, left = missing[0] // 2, missing[1] // 2
        x = nn.functional.pad(x, (left, missing[1] - left, top, missing[0] - top), "replicate")
    return centre_crop(x, size)


def centre_crop(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The central height × width pixels; the images themselves if they have that size."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    top, left = (x.shape[2] - size[0]) // 2, (x.shape[3] - size[1]) // 2
    return x[:, :, top:top + size[0], left:left + size[1]]


def _uniform(least: float, most: float, generators: Sequence[torch.Generator]) -> list[float]:
    return [least + (most - least) * float(torch.rand((), generator=g, dtype=torch.float64)) for g in generators]


def _resampled(x: Tensor, rotations: Sequence[tuple[float, float]]) -> Tensor:
    """Images read at (a −b; b a) · position about the centre, in pixels, bilinearly."""
    height, width = x.shape[2:]
    aspect = height / width
    rows = [[[a, -b * aspect, 0.0], [b / aspect, a, 0.0]] for a, b in rotations]
    grid = nn.functional.affine_grid(torch.tensor(rows).to(x), list(x.shape), align_corners=False)
    return nn.functional.grid_sample(x, grid, "bilinear", "reflection", align_corners=False)


def _blurred(x: Tensor, std: float) -> Tensor:
    """Images (N, C, H, W), convolved with a Gaussian along both axes."""
    radius = math.ceil(3 * std)
    if radius == 0:
        return x
    places = torch.arange(-radius, radius + 1).to(x)
    kernel = torch.softmax(-0.5 * (places / std) ** 2, 0)
    planes = nn.functional.pad(x, (radius,) * 4, "replicate").flatten(0, 1)[:, None]
    down = nn.functional.conv2d(planes, kernel.view(1, 1, -1, 1))
    return nn.functional.conv2d(down, kernel.view(1, 1, 1, -1)).view(x.shape)


def with_contrast(x: Tensor, std: float) -> Tensor:
    """Images about mid-grey with this standard deviation, or less where more than 1 % of an image would be clipped."""
    centred = x - x.mean((1, 2, 3), keepdim=True)
    own = centred.square().mean((1, 2, 3)).sqrt()
    rank = max(1, round(0.99 * x[0].numel()))
    extent = centred.abs().flatten(1).kthvalue(rank, dim=1).values
    gain = torch.minimum(std / own.clamp_min(1e-12), 0.5 / extent.clamp_min(1e-12))
    return 0.5 + gain.view(-1, 1, 1, 1) * centred

"""Where the descriptors of dense SIFT and their bins lie along one axis of the image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .pooling import PoolingMatrix


@dataclass(frozen=True)
class FrameAxis:
    """Descriptors along one axis, `step` pixels apart, each of so many bins.

    Parameters
    ----------
    bins, bin_size, step : int
    first : int
        Pixel of the centre of the first bin of the first descriptor.
    last : int or None
        Last pixel on which a bin may be centred; None for the image's last.
    window_size : float
        σ of the Gaussian window in units of `bin_size`.
    flat : bool
        Whether the window is flat: bins have one weight each, and bins of several descriptors at one place are one.
    """

    bins: int
    bin_size: int
    step: int
    first: int
    last: int | None
    window_size: float
    flat: bool

    @property
    def span(self) -> int:
        """Pixels from the centre of a descriptor's first bin to that of its last."""
        return (self.bins - 1) * self.bin_size

    @property
    def pitch(self) -> int:
        """Pixels between neighbouring places of bins, of all descriptors together."""
        return math.gcd(self.bin_size, self.step)

    @property
    def layout(self) -> tuple[int, int]:
        """Rows of the pooling matrix from descriptor to descriptor, and from bin to bin."""
        return (self.step // self.pitch, self.bin_size // self.pitch) if self.flat else (self.bins, 1)

    @property
    def weights(self) -> NDArray[np.float64]:
        """Weights of the bins beside those of the pooling matrix, (bins,)."""
        return self.window().mean(1) if self.flat else np.ones(self.bins)

    def count(self, pixels: int) -> int:
        """Descriptors along an axis of so many pixels, 0 if none fits."""
        last = pixels - 1 if self.last is None else self.last
        return max(0, (last - self.first - self.span) // self.step + 1)

    def least_pixels(self, count: int) -> int:
        """Pixels of the smallest image with so many descriptors."""
        return max(2, self.first + self.span + (count - 1) * self.step + 1 if self.last is None else self.last + 1)

    def centres(self, pixels: int) -> NDArray[np.float64]:
        """Centres of the descriptors."""
        return self.first + self.span / 2 + self.step * np.arange(self.count(pixels), dtype=np.float64)

    def reached(self, pixels: int, like: Tensor) -> Tensor:
        """1 for the pixels that a bin of a descriptor reaches, else 0, (bins, descriptors, pixels)."""
        bins, frames, every = (torch.arange(n, device=like.device) for n in (self.bins, self.count(pixels), pixels))
        centre = self.first + self.bin_size * bins[:, None, None] + self.step * frames[:, None]
        return ((every - centre).abs() < self.bin_size).to(like)

    def window(self) -> NDArray[np.float64]:
        """The Gaussian window at the 2·bin_size − 1 pixels about each bin's centre, (bins, 2·bin_size − 1)."""
        offset = np.arange(1 - self.bin_size, self.bin_size)
        centre = self.bin_size * (np.arange(self.bins) - (self.bins - 1) / 2)
        return np.exp(-0.5 * ((offset + centre[:, None]) / (self.bin_size * self.window_size)) ** 2)


@lru_cache(maxsize=64)
def window_pooling(axis: FrameAxis, pixels: int) -> PoolingMatrix:
    """Triangles times the Gaussian, a row for each descriptor and bin; if flat, triangles, a row for each place."""
    offset = np.arange(1 - axis.bin_size, axis.bin_size)
    triangle, frames = 1 - np.abs(offset) / axis.bin_size, axis.count(pixels)
    if axis.flat:
        extent = (frames - 1) * axis.step + axis.span
        centre = axis.first + axis.pitch * np.arange(extent // axis.pitch + 1)
        weights = np.tile(triangle, (len(centre), 1))
    else:
        centre = axis.first + np.add.outer(axis.step * np.arange(frames), axis.bin_size * np.arange(axis.bins)).ravel()
        weights = np.tile(triangle * axis.window(), (frames, 1))
    pixel = np.clip(centre[:, None] + offset, 0, pixels - 1)
    row = np.broadcast_to(np.arange(len(centre))[:, None], pixel.shape)
    return PoolingMatrix(len(centre), pixels, row, pixel, weights)

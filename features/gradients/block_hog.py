"""HOG as scikit-image and OpenCV compute it: overlapping blocks of cells, each normalised as one vector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from .histograms import CLAMP, clamped
from .pooling import PoolingMatrix

BlockNorm = Literal["L1", "L1-sqrt", "L2", "L2-Hys"]

EPSILON = 1e-5
LEAK = 0.5
SOFTENING = 0.01
ROUNDING = 1e-3
FLAT = {"L1": (0.1 * CLAMP) ** 2, "L1-sqrt": 0.1 * CLAMP, "L2": 0.1 * CLAMP, "L2-Hys": 0.1 * CLAMP}
# OpenCV's fastAtan2: an odd polynomial of the smaller component over the larger one.
ARCTANGENT = (0.9997878412794807, -0.3258083974640975, 0.1555786518463281, -0.04432655554792128)
DOUBLE_EPSILON = 2.0**-52


@dataclass(frozen=True)
class BlockHOG:
    """Histograms of undirected gradients in cells, normalised in blocks of b × b cells, one cell apart.

    Parameters
    ----------
    library : {"skimage", "opencv"}
        Whose bins, spatial weights and constants to take.
    cell_size, orientations, cells_per_block : int
    block_norm : {"L1", "L1-sqrt", "L2", "L2-Hys"}
    square_root : bool
        Take the square root of the image first.
    scale, softness : float
        As for `hog.HOG`.
    """

    library: str
    cell_size: int
    orientations: int
    cells_per_block: int
    block_norm: str
    square_root: bool
    scale: float
    softness: float

    @property
    def dimensions(self) -> int:
        """Channels of the code, b²·O."""
        return self.cells_per_block**2 * self.orientations

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of blocks; not positive if the image is too small."""
        return height // self.cell_size - self.cells_per_block + 1, width // self.cell_size - self.cells_per_block + 1

    def code(self, x: Tensor) -> Tensor:
        """Code of a batch, (N, C, H, W) → (N, b²·O, h, w); the channels are the cells, row by row, then the bins."""
        (h, w), b = self.grid(*x.shape[-2:]), self.cells_per_block
        rows, columns = (self.pooling(n).dense(x) for n in x.shape[-2:])
        oriented = self.oriented(*self.gradient(x * self.scale)).to(x.dtype)
        cells = rows @ (oriented @ columns.T)
        if self.library == "opencv":
            blocks = [cells[:, :, i::b, j::b] for i in range(b) for j in range(b)]
        else:
            blocks = [cells[:, :, i : i + h, j : j + w] for i in range(b) for j in range(b)]
        return self.normalise(torch.cat(blocks, 1))

    def pooling(self, pixels: int) -> PoolingMatrix:
        """Pooling weights along one axis: a row for each cell or, for OpenCV, for each block and each cell in it."""
        if self.library == "opencv":
            return _weighted_blocks(pixels, self.cell_size, self.cells_per_block)
        return _plain_cells(pixels, self.cell_size)

    def gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Differences along x and y, (N, H, W) each, of the channel with the largest norm at each pixel.

        Of channels with one norm the first counts; OpenCV's begin with blue. scikit-image takes square roots and norms
        in double precision, which decides about ties.
        """
        opencv = self.library == "opencv"
        if self.square_root:
            x = _signed_root(x if opencv else x.double(), SOFTENING * self.softness * self.scale)
        gx, gy = pad(x[..., 2:] - x[..., :-2], (1, 1)), pad(x[..., 2:, :] - x[..., :-2, :], (0, 0, 1, 1))
        channels = range(x.shape[1])
        (best_x, best_y), *others = [(gx[:, c], gy[:, c]) for c in (reversed(channels) if opencv else channels)]
        for other_x, other_y in others:
            if opencv:
                stronger = other_x**2 + other_y**2 > best_x**2 + best_y**2
            else:
                stronger = _length(other_x, other_y) > _length(best_x, best_y)
            best_x, best_y = torch.where(stronger, other_x, best_x), torch.where(stronger, other_y, best_y)
        return best_x, best_y

    def oriented(self, gx: Tensor, gy: Tensor) -> Tensor:
        """Magnitudes of gradients (N, H, W) in undirected bins, (N, O, H, W)."""
        flat = (gx == 0) & (gy == 0)
        gx, gy = torch.where(flat, 1.0, gx), torch.where(flat, 0.0, gy)
        magnitude = torch.where(flat, 0.0, torch.sqrt(gx**2 + gy**2))[:, None]
        empty = magnitude.new_zeros(len(gx), self.orientations, *gx.shape[1:])
        if self.library == "skimage" and not self.softness:
            nearest = _skimage_bin(gx.detach(), gy.detach(), self.orientations)[:, None]
            counted = torch.where(nearest < self.orientations, magnitude, 0.0)
            return empty.scatter(1, nearest.clamp(max=self.orientations - 1), counted)
        angle = _opencv_angle(gx, gy) if self.library == "opencv" else torch.atan2(gy, gx)
        place = angle * (self.orientations / math.pi) - 0.5
        lower = place.detach().floor()
        first, share = lower.long()[:, None] % self.orientations, (place - lower)[:, None]
        if self.library == "skimage":
            hard = (share.detach() > 0.5 - ROUNDING).to(share)
            share = torch.where(_border(gx), hard, torch.sigmoid((share - 0.5) / self.softness))
        cells = empty.scatter(1, first, magnitude * (1 - share))
        return cells.scatter_add(1, (first + 1) % self.orientations, magnitude * share)

    def normalise(self, blocks: Tensor) -> Tensor:
        """Histograms of blocks, (N, b²·O, h, w) → code."""
        leak = LEAK * self.softness
        if self.library == "opencv":
            code = clamped(blocks / (_norm(blocks) + 0.1 * self.dimensions), leak)
            return code / (_norm(code) + 1e-3)
        if self.block_norm.startswith("L1"):
            code = blocks / (blocks.sum(1, keepdim=True) + EPSILON)
            return _signed_root(code, SOFTENING * self.softness) if self.block_norm == "L1-sqrt" else code
        code = blocks * torch.rsqrt((blocks * blocks).sum(1, keepdim=True) + EPSILON**2)
        if self.block_norm == "L2":
            return code
        code = clamped(code, leak)
        return code * torch.rsqrt((code * code).sum(1, keepdim=True) + EPSILON**2)

    def flat_pixels(self, code: Tensor, height: int, width: int) -> Tensor:
        """Pixels of the cells that are next to zero in every block, bool (N, H, W)."""
        b = self.cells_per_block
        strongest = code.unflatten(1, (b, b, self.orientations)).amax(3)
        placed = [pad(strongest[:, i, j], (j, b - 1 - j, i, b - 1 - i)) for i in range(b) for j in range(b)]
        empty = (torch.stack(placed).amax(0) < FLAT[self.block_norm]).to(code)
        rows, columns = (_plain_cells(n, self.cell_size).dense(code) for n in (height, width))
        return rows.T @ empty @ columns > 0


def _border(gx: Tensor) -> Tensor:
    """Where gradients lie on an axis, which bounds a bin, whatever the image."""
    height, width = gx.shape[-2:]
    return pad(gx.new_zeros(height - 2, width - 2, dtype=torch.bool), (1, 1, 1, 1), value=True)


def _length(gx: Tensor, gy: Tensor) -> Tensor:
    return torch.hypot(gx.detach().double(), gy.detach().double())


def _skimage_bin(gx: Tensor, gy: Tensor, orientations: int) -> Tensor:
    """The bin of each gradient, O if rounding puts it into none: angles in double, bounds in single precision."""
    angle = torch.rad2deg(torch.atan2(gy.double(), gx.double())) % 180
    bounds = (np.float32(180 / orientations * o) for o in range(1, orientations + 1))
    return torch.stack([angle >= float(bound) for bound in bounds]).sum(0)


def _opencv_angle(gx: Tensor, gy: Tensor) -> Tensor:
    """OpenCV's approximate angle in [0, 2π)."""
    across, down = gx.abs(), gy.abs()
    steep = down > across
    ratio = torch.where(steep, across, down) / (torch.where(steep, down, across) + DOUBLE_EPSILON)
    square = ratio * ratio
    a, b, c, d = ARCTANGENT
    angle = (((d * square + c) * square + b) * square + a) * ratio
    angle = torch.where(steep, math.pi / 2 - angle, angle)
    angle = torch.where(gx < 0, math.pi - angle, angle)
    return torch.where(gy < 0, 2 * math.pi - angle, angle)


def _norm(h: Tensor) -> Tensor:
    """Euclidean norm along axis 1, with derivative zero at zero."""
    total = (h * h).sum(1, keepdim=True)
    return torch.where(total > 0, torch.sqrt(torch.where(total > 0, total, 1.0)), 0.0)


def _signed_root(v: Tensor, softening: float) -> Tensor:
    """v / √(|v| + softening), the signed square root without softening; 0, with derivative 0, at zero."""
    size = torch.where(v == 0, 1.0, v.abs())
    root = v / torch.sqrt(size + softening) if softening else v.sign() * torch.sqrt(size)
    return torch.where(v == 0, 0.0, root)


@lru_cache(maxsize=64)
def _plain_cells(pixels: int, cell_size: int) -> PoolingMatrix:
    """Means over cells: pixels beyond the last whole cell do not count."""
    cells = pixels // cell_size
    pixel = np.arange(cells * cell_size)
    return PoolingMatrix(cells, pixels, pixel // cell_size, pixel, np.full(len(pixel), 1 / cell_size))


@lru_cache(maxsize=64)
def _weighted_blocks(pixels: int, cell_size: int, cells_per_block: int) -> PoolingMatrix:
    """OpenCV's weights in a block: bilinear between its cells, times a Gaussian about pixel side / 2, σ = side / 4."""
    side, blocks = cell_size * cells_per_block, pixels // cell_size - cells_per_block + 1
    position = np.arange(side)
    gaussian = np.exp(-0.5 * ((position - side / 2) / (side / 4)) ** 2)
    place = (position + 0.5) / cell_size - 0.5
    weight = np.maximum(0, 1 - np.abs(place - np.arange(cells_per_block)[:, None])) * gaussian
    shape = blocks, cells_per_block, side
    row = np.broadcast_to(np.arange(blocks * cells_per_block).reshape(blocks, cells_per_block, 1), shape)
    pixel = np.broadcast_to(cell_size * np.arange(blocks)[:, None, None] + position, shape)
    return PoolingMatrix(blocks * cells_per_block, pixels, row, pixel, np.broadcast_to(weight, shape))

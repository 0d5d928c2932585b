r"""The core of HOG and SIFT: gradients, assigned to orientation bins, pooled into cells.

Every descriptor of oriented gradients begins with the same sums,

.. math:: c_{n,o,r,s} = \sum_y \sum_x A_{r,y} \, M_{n,o,y,x} \, B_{s,x},

where :math:`M_o` is the gradient's magnitude where its direction belongs to bin *o* of the 2O directed bins, and A
and B are banded matrices of pooling weights, `Band`. They say which pixels count (a pixel that is not visited has no
weights) and how: the bilinear weights of HOG's cells, or the windows of dense SIFT.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..device_constants import kept
from . import compiled as kernels

CUBIC = (0.9675, 0.1821)
FAST_EPSILON = 2.0**-23
FAST_LEAST = 1e-4


@dataclass(frozen=True)
class Bins:
    r"""Orientation bins, and how a gradient is shared between them.

    Bin o of 2O directed ones lies at the angle oπ/O, clockwise from +x (y points down). The nearest bin is that of
    the undirected direction with the largest \|g·u_o\|, ties to the lower o, plus O if the product is negative. With
    t ∈ [0, ½] the angle between gradient and bin in units of π/O, the next nearest bin gets the share

    ======== ======================= ===================================================
    hard     0                       ``linear=False, softness=0``
    linear   t                       ``linear=True``
    smooth   σ((t − ½) / softness)   ``softness > 0``; tends to hard as softness → 0
    ======== ======================= ===================================================

    and the nearest bin the rest of the magnitude. VLFeat has its own roundings of t: its HOG takes the arc cosine of
    g·u / \|g\|, which in single precision is coarse near zero; linear bins do the same. Its SIFT takes the angle from
    a cubic, 0.006 rad off at worst, and drops gradients shorter than 10⁻⁴; ``cubic`` does the same. The gradient is
    that of the exact angle in the former case, and of the cubic in the latter.

    Parameters
    ----------
    orientations : int
        O, the number of undirected directions.
    linear : bool
    softness : float
    cubic : bool
        Share linearly between the two bins beside the cubic's angle (whatever ``linear`` says).
    decimals : int, optional
        Round the u_o to so many decimals, as the deformable part models do (four).
    """

    orientations: int = 9
    linear: bool = False
    softness: float = 0.0
    decimals: int | None = None
    cubic: bool = False

    @property
    def hard(self) -> bool:
        """Whether each gradient belongs to one bin."""
        return not (self.linear or self.cubic or self.softness)

    @cached_property
    def directions(self) -> NDArray[np.float64]:
        """The 2O vectors u_o, (2O, 2) as (x, y); mirrored bins have exactly mirrored vectors, so that ties are ties."""
        n = self.orientations
        half = np.array([(_cosine(2 * o, 2 * n), _cosine(2 * o - n, 2 * n)) for o in range(n)])
        if self.decimals is not None:
            half = half.round(self.decimals)
        return np.concatenate([half, -half])


def _cosine(k: int, n: int) -> float:
    """cos(kπ/n) with the symmetries of the circle exact in floating point."""
    k = abs(k)
    if 2 * k > n:
        return -_cosine(n - k, n)
    return math.sin(math.pi * (n - 2 * k) / (2 * n)) if 4 * k > n else math.cos(math.pi * k / n)


class Band:
    """A sparse matrix of pooling weights, rows × pixels, along one axis of the image.

    Parameters
    ----------
    rows, pixels : int
        Shape of the matrix: cells (or windows) by pixels of that axis.
    row, pixel : ndarray of int
    weight : ndarray
        The entries; those at the same place add up, and zeros are dropped.

    Attributes
    ----------
    start : ndarray (pixels + 1,) of int64
        The entries of pixel p are start[p] … start[p + 1] − 1.
    row : ndarray of int64
    weight : ndarray of float64
        Row and weight of each entry, sorted by pixel, then row.
    """

    def __init__(self, rows: int, pixels: int, row: NDArray[np.integer], pixel: NDArray[np.integer],
                 weight: NDArray[np.floating]) -> None:
        place, inverse = np.unique(np.ravel(pixel) * rows + np.ravel(row), return_inverse=True)
        summed = np.bincount(inverse, np.ravel(weight), len(place))
        place, summed = place[summed != 0], summed[summed != 0]
        self.rows, self.pixels = rows, pixels
        self.row = (place % rows).astype(np.int64)
        self.weight = summed.astype(np.float64)
        self.start = np.searchsorted(place // rows, np.arange(pixels + 1)).astype(np.int64)
        self._cast: dict[object, Tensor] = {}

    def dense(self, like: Tensor) -> Tensor:
        """The matrix, (rows, pixels), with the dtype and device of another tensor."""
        key = like.dtype, like.device
        if key not in self._cast:
            matrix = np.zeros((self.rows, self.pixels))
            matrix[self.row, np.repeat(np.arange(self.pixels), np.diff(self.start))] = self.weight
            with torch.inference_mode(False):
                self._cast[key] = torch.from_numpy(matrix).to(like.device, like.dtype)
        return self._cast[key]


@lru_cache(maxsize=64)
def cell_band(pixels: int, cells: int, cell: int, visited: int) -> Band:
    """Bilinear pooling into cells: pixel p lies at (p + ½)/cell − ½ in cell units.

    The positions 1 … visited − 2 count; those beyond the last interior pixel repeat its gradient at their own place.
    Weights that fall outside the grid are dropped.
    """
    position = np.arange(1, visited - 1)
    place = (position + 0.5) / cell - 0.5
    lower = np.floor(place).astype(np.int64)
    row = np.concatenate([lower, lower + 1])
    weight = np.concatenate([1 - (place - lower), place - lower])
    pixel = np.tile(np.minimum(position, pixels - 2), 2)
    inside = (row >= 0) & (row < cells)
    return Band(cells, pixels, row[inside], pixel[inside], weight[inside])


def oriented_cells(x: Tensor, rows: Band, columns: Band, bins: Bins, scale: float = 1.0, *,
                   fused: bool | None = None) -> Tensor:
    """Pool the oriented gradients of images into cells.

    The gradient is the centred difference I[p + 1] − I[p − 1] without the factor ½, and twice the one-sided one on
    the image's border (which HOG leaves out by its bands, and whose half is SIFT's); of several channels the one
    with the largest norm counts, ties to the first.

    Parameters
    ----------
    x : Tensor (N, C, H, W)
        At least 2 × 2 pixels.
    rows, columns : Band
        Pooling weights along y (R × H) and x (S × W).
    bins : Bins
    scale : float
        Multiplies the image.
    fused : bool, optional
        False for torch alone; else compiled kernels are used wherever they can be had. They cannot be differentiated
        twice.

    Returns
    -------
    Tensor (N, 2O, R, S)
        Its gradient is finite everywhere; a zero gradient adds nothing and has derivative zero.
    """
    if fused is not False and kernels.fits(x):
        from .compiled.autograd import oriented_cells as fused_cells

        return fused_cells(x, rows, columns, bins, scale)
    magnitude, bin0, bin1, share = assign(*strongest_gradient(x * scale), bins)
    n, h, w = magnitude.shape
    pooled = magnitude.new_zeros(n, 2 * bins.orientations, h, w)
    if share is None:
        pooled = pooled.scatter(1, bin0[:, None], magnitude[:, None])
    else:
        pooled = pooled.scatter(1, bin0[:, None], (magnitude * (1 - share))[:, None])
        pooled = pooled.scatter_add(1, bin1[:, None], (magnitude * share)[:, None])
    return rows.dense(x) @ (pooled @ columns.dense(x).T)


def strongest_gradient(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences along x and y, (N, H, W) each, of the channel with the largest norm at each pixel."""
    gx, gy = _difference(x, 3), _difference(x, 2)
    best_x, best_y = gx[:, 0], gy[:, 0]
    for c in range(1, x.shape[1]):
        stronger = gx[:, c] ** 2 + gy[:, c] ** 2 > best_x**2 + best_y**2
        best_x, best_y = torch.where(stronger, gx[:, c], best_x), torch.where(stronger, gy[:, c], best_y)
    return best_x, best_y


def _difference(x: Tensor, dim: int) -> Tensor:
    n = x.shape[dim]
    inner = x.narrow(dim, 2, n - 2) - x.narrow(dim, 0, n - 2)
    first = 2 * (x.narrow(dim, 1, 1) - x.narrow(dim, 0, 1))
    last = 2 * (x.narrow(dim, n - 1, 1) - x.narrow(dim, n - 2, 1))
    return torch.cat([first, inner, last], dim)


def assign(gx: Tensor, gy: Tensor, bins: Bins) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Share gradients between orientation bins.

    Parameters
    ----------
    gx, gy : Tensor
        Any shape.
    bins : Bins

    Returns
    -------
    magnitude : Tensor
    nearest, next_nearest : Tensor of int64
        Directed bins.
    share : Tensor or None
        What the next nearest bin gets of the magnitude; None if bins are hard.
    """
    flat = (gx == 0) & (gy == 0)
    gx, gy = torch.where(flat, 1.0, gx), torch.where(flat, 0.0, gy)
    length = torch.sqrt(gx**2 + gy**2)
    magnitude = torch.where(flat, 0.0, length)
    if bins.cubic:
        magnitude = torch.where(length < FAST_LEAST, 0.0, magnitude)
        place = _cubic_angle(gx, gy) * (bins.orientations / math.pi)
        lower = place.detach().floor()
        nearest = lower.long() % (2 * bins.orientations)
        return magnitude, nearest, (nearest + 1) % (2 * bins.orientations), place - lower
    nearest, product = _nearest(gx.detach(), gy.detach(), bins)
    if bins.hard:
        return magnitude, nearest, nearest, None
    ux, uy = directions_like(gx, bins.orientations).T[:, nearest]
    t = torch.atan2(ux * gy - uy * gx, ux * gx + uy * gy) * (bins.orientations / math.pi)
    next_nearest = torch.where(t < 0, nearest - 1, nearest + 1) % (2 * bins.orientations)
    if bins.softness:
        return magnitude, nearest, next_nearest, torch.sigmoid((t.abs() - 0.5) / bins.softness)
    # torch.sqrt may be an ulp off in single precision, which the arc cosine would magnify.
    ieee_length = (gx**2 + gy**2).detach().double().sqrt().to(gx)
    rounded = torch.acos((product / ieee_length).clamp(max=1)) * (bins.orientations / math.pi)
    return magnitude, nearest, next_nearest, t.abs() + (rounded - t.abs()).detach()


def directions_like(x: Tensor, orientations: int) -> Tensor:
    """Exact directions (2O, 2) of the directed bins, with the dtype and device of a tensor."""
    return kept(_directions, (orientations,), x.device, x.dtype)


def _directions(orientations: int) -> Tensor:
    return torch.from_numpy(Bins(orientations).directions)


def _nearest(gx: Tensor, gy: Tensor, bins: Bins) -> tuple[Tensor, Tensor]:
    best = torch.full_like(gx, -1.0)
    nearest = torch.zeros_like(gx, dtype=torch.int64)
    for o, (ux, uy) in enumerate(bins.directions[: bins.orientations].tolist()):
        product = gx * ux + gy * uy
        better = product.abs() > best
        nearest = torch.where(better, torch.where(product < 0, o + bins.orientations, o), nearest)
        best = torch.where(better, product.abs(), best)
    return nearest, best


def _cubic_angle(gx: Tensor, gy: Tensor) -> Tensor:
    r"""VLFeat's fast angle: in each quadrant a cubic of (\|gx\| − \|gy\|) / (\|gx\| + \|gy\|)."""
    tall = torch.where(gy < 0, -gy, gy) + FAST_EPSILON
    r = torch.where(gx < 0, gx + tall, gx - tall) / (torch.where(gx < 0, -gx, gx) + tall)
    angle = (gx < 0).to(gx) * (math.pi / 2) + math.pi / 4 + (CUBIC[1] * r * r - CUBIC[0]) * r
    return torch.where(gy < 0, -angle, angle)

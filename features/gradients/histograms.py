r"""Histograms of oriented gradients in plain torch, and the dispatch to the compiled passes.

HOG and SIFT begin with the same sums,

.. math:: c_{n,o,r,s} = \sum_y \sum_x A_{r,y} \, M_{n,o,y,x} \, B_{s,x},

where :math:`M_o` is the gradient's magnitude where its direction belongs to bin *o* of the 2O directed bins, and A
and B are pooling matrices. These hold the bilinear weights of HOG's cells, or the windows of dense SIFT; a pixel
without weights does not count.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..backend import uses_compiled
from ..device_constants import cached_on_device
from .bins import CUBIC, FAST_EPSILON, FAST_LEAST, Bins
from .pooling import PoolingMatrix

CLAMP = 0.2


def oriented_cells(x: Tensor, rows: PoolingMatrix, columns: PoolingMatrix, bins: Bins, scale: float = 1.0) -> Tensor:
    """Pool the oriented gradients of images into cells.

    The gradient is the centred difference I[p + 1] − I[p − 1] without the factor ½, and twice the one-sided one on
    the image's border (which HOG leaves out by its pooling, and whose half is SIFT's); of several channels the one
    with the largest norm counts, ties to the first.

    Parameters
    ----------
    x : Tensor (N, C, H, W)
        At least 2 × 2 pixels.
    rows, columns : PoolingMatrix
        Pooling weights along y (R × H) and x (S × W).
    bins : Bins
    scale : float
        Multiplies the image.

    Returns
    -------
    Tensor (N, 2O, R, S)
        Its gradient is finite everywhere; a zero gradient adds nothing and has derivative zero.
    """
    if uses_compiled(x):
        from .compiled import autograd

        in_torch = partial(oriented_cells_in_torch, rows=rows, columns=columns, bins=bins, scale=scale)
        return autograd.oriented_cells(x, rows, columns, bins, scale, in_torch)
    return oriented_cells_in_torch(x, rows, columns, bins, scale)


def oriented_cells_in_torch(x: Tensor, rows: PoolingMatrix, columns: PoolingMatrix, bins: Bins,
                            scale: float) -> Tensor:
    """`oriented_cells` in plain torch."""
    magnitude, nearest, next_nearest, share = assign(*strongest_gradient(x * scale), bins)
    n, h, w = magnitude.shape
    pooled = magnitude.new_zeros(n, 2 * bins.orientations, h, w)
    if share is None:
        pooled = pooled.scatter(1, nearest[:, None], magnitude[:, None])
    else:
        pooled = pooled.scatter(1, nearest[:, None], (magnitude * (1 - share))[:, None])
        pooled = pooled.scatter_add(1, next_nearest[:, None], (magnitude * share)[:, None])
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
    """Share gradients of any shape between orientation bins.

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
    ux, uy = cached_on_device(_directions, (bins.orientations,), gx.device, gx.dtype).T[:, nearest]
    t = torch.atan2(ux * gy - uy * gx, ux * gx + uy * gy) * (bins.orientations / math.pi)
    next_nearest = torch.where(t < 0, nearest - 1, nearest + 1) % (2 * bins.orientations)
    if bins.softness:
        return magnitude, nearest, next_nearest, torch.sigmoid((t.abs() - 0.5) / bins.softness)
    # torch.sqrt may be an ulp off in single precision, which the arc cosine would magnify.
    ieee_length = (gx**2 + gy**2).detach().double().sqrt().to(gx)
    rounded = torch.acos((product / ieee_length).clamp(max=1)) * (bins.orientations / math.pi)
    return magnitude, nearest, next_nearest, t.abs() + (rounded - t.abs()).detach()


def _directions(orientations: int) -> NDArray[np.float64]:
    return Bins(orientations).directions


def _nearest(gx: Tensor, gy: Tensor, bins: Bins) -> tuple[Tensor, Tensor]:
    """The nearest directed bin, and the product of the gradient with its vector."""
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


def clamped(h: Tensor, leak: float) -> Tensor:
    """min(h, 0.2) + leak · max(h − 0.2, 0)."""
    low = h.clamp(max=CLAMP)
    return low + leak * (h - low) if leak else low

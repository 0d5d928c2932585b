"""The compiled passes of HOG and SIFT as differentiable functions of tensors.

Each is given the same function `in_torch`, in plain torch, from which second derivatives come.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...backend import is_traced, scalars
from ...threads import in_parallel
from ..bins import Bins
from ..pooling import PoolingMatrix
from . import differences, normalisation, pooling, running_sums, sift
from .shares import Shares, gradients, shares

Array = NDArray[Any]
Pair = tuple[int, int]
InTorch = Callable[[Tensor], Tensor]


def oriented_cells(x: Tensor, rows: PoolingMatrix, columns: PoolingMatrix, bins: Bins, scale: float,
                   in_torch: InTorch) -> Tensor:
    """The sums of `histograms.oriented_cells`, and their gradient from what they worked out for each pixel."""
    sums = _Pooling(rows, columns, bins, scale)
    return _apply(x, sums.value, sums.derivative, _with_rows_first(in_torch))[0].permute(0, 2, 1, 3)


class _Pooling:
    """One pass forward, and the pass backward after it."""

    def __init__(self, rows: PoolingMatrix, columns: PoolingMatrix, bins: Bins, scale: float) -> None:
        self.rows, self.columns, self.bins, self.scale = rows, columns, bins, scale
        self.kept: tuple[Shares, Array] | None = None

    def value(self, image: Array) -> tuple[Array]:
        """Cells (N, R, 2O, S) of images (N, C, H, W)."""
        self.kept = pixels, _ = shares(image, self.bins, self.scale)
        cells = np.zeros((len(image), self.rows.rows, 2 * self.bins.orientations, self.columns.rows), image.dtype)
        in_parallel(pooling.pool, len(image), self.rows.rows, image[:, 0].size, pixels.length, pixels.nearest,
                    pixels.following, pixels.share, self.bins.hard, *self._entries(image.dtype), _flat(cells))
        return (cells,)

    def derivative(self, image: Array, by_cells: Array) -> Array:
        """The derivative by the images."""
        pixels, channel = self.kept or shares(image, self.bins, self.scale)
        samples, _, height, width = image.shape
        dx, dy = np.empty_like(pixels.gx), np.empty_like(pixels.gy)
        in_parallel(pooling.unpool, samples, height, image[:, 0].size, *pixels, self.bins.hard,
                    image.dtype.type(self.scale), *self._entries(image.dtype), _flat(by_cells), dx, dy, height)
        out = np.empty_like(image)
        in_parallel(differences.image_derivative, samples, 1, image[:, 0].size,
                    *(array.reshape(samples, height, width) for array in (dx, dy, channel)), out)
        return out

    def _entries(self, dtype: np.dtype[Any]) -> tuple[Any, ...]:
        """Entries of the matrices along y and x, and the number of cells in a row."""
        entries = ((matrix.start, matrix.row, matrix.weight.astype(dtype)) for matrix in (self.rows, self.columns))
        return *entries, self.columns.rows


def _flat(cells: Array) -> Array:
    return cells.reshape(*cells.shape[:2], -1)


def running_cells(x: Tensor, rows: PoolingMatrix, columns: PoolingMatrix, bins: Bins, scale: float, size: int,
                  places: tuple[Pair, Pair], in_torch: InTorch) -> Tensor:
    """The sums of `histograms.oriented_cells` for triangles, with the roundings of VLFeat's running sums.

    Parameters
    ----------
    x : Tensor (N, 1, H, W), float32
    rows, columns : PoolingMatrix
        The same triangles, for the derivative: that of the sums without rounding.
    bins : Bins
        Cubic ones.
    scale : float
    size : int
        Half-width of the triangles.
    places : tuple ((first, pitch), (first, pitch))
        Their positions along y and x.
    in_torch : callable
        The sums without rounding.
    """
    directions = 2 * bins.orientations
    sharing = running_sums.CONSTANTS, bins.orientations / math.pi

    def value(image: Array) -> tuple[Array]:
        count, width = len(image), image.shape[3]
        differences = np.empty((2, *image[:, 0].shape), np.float32)
        gradients(image, scale, differences.reshape(2, -1, width), np.empty((image[..., 0].size, width), np.int32))
        between = np.empty((count, width, rows.rows, directions), np.float32)
        cells = np.empty((count, rows.rows, directions, columns.rows), np.float32)
        in_parallel(running_sums.filter_down, count, width, image.size, *differences, *sharing, size, places[0],
                    between)
        in_parallel(running_sums.filter_across, count, rows.rows * directions, image.size, between, size, places[1],
                    cells)
        return (cells,)

    derivative = _Pooling(rows, columns, bins, scale).derivative
    return _apply(x, value, derivative, _with_rows_first(in_torch))[0].permute(0, 2, 1, 3)


def _with_rows_first(in_torch: InTorch) -> Callable[[Tensor], tuple[Tensor]]:
    """Cells as the compiled passes lay them out, (N, R, 2O, S)."""
    return lambda x: (in_torch(x).permute(0, 2, 1, 3),)


def block_normalised(cells: Tensor, variant: str, dimensions: int, texture: bool,
                     constants: tuple[float, ...], in_torch: InTorch) -> Tensor:
    """The code (N, dimensions, h, w) of `hog.HOG` from directed histograms of cells, (N, 2O, R, S).

    The constants are ε, the clamp, the slope beyond it, the weight of a block, and that of its texture.
    """
    epsilon, *numbers = scalars(cells, *constants)
    targets = _targets(variant, cells.shape[1] // 2, texture)
    parts, trim = targets.shape[1], 1 if variant == "dpm" else 0
    options = targets, tuple(numbers), trim

    operands = np.empty(0), np.empty(0)

    def value(h: Array) -> tuple[Array]:
        nonlocal operands
        operands = normalisation.planes_and_factors(h, parts, epsilon)
        code = np.zeros((len(h), dimensions, h.shape[1] - 2 * trim, h.shape[3] - 2 * trim), h.dtype)
        in_parallel(normalisation.add_blocks, len(h), 1, h.size, *operands, *options, code)
        return (code,)

    def derivative(h: Array, by_code: Array) -> Array:
        by_planes, by_factor = (np.zeros_like(operand) for operand in operands)
        in_parallel(normalisation.add_blocks_derivative, len(h), 1, h.size, *operands, *options, by_code,
                    by_planes, by_factor)
        return normalisation.cells_derivative(*operands, by_planes, by_factor, h.shape[2])

    return _apply(cells.permute(0, 2, 1, 3), value, derivative, lambda h: (in_torch(h.permute(0, 2, 1, 3)),))[0]


@lru_cache(maxsize=64)
def _targets(variant: str, orientations: int, texture: bool) -> Array:
    """Where the parts of each block go, see `compiled.normalisation`."""
    if variant == "dalal-triggs":
        return np.array([[(k * orientations, -1)] for k in range(4)])
    order = (3, 1, 2, 0) if variant == "dpm" else (0, 1, 2, 3)
    summed = ((0, 1) if variant == "dpm" else (2,)) if texture else ()
    return np.array([[(p * orientations, 3 * orientations + order[k] if p in summed else -1) for p in range(3)]
                     for k in range(4)])


def descriptors(cells: Tensor, shape: tuple[int, ...], layout: tuple[Pair, Pair], weights: NDArray[np.float64],
                renormalise: bool, constants: tuple[float, ...],
                in_torch: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """SIFT descriptors of the shape (D, h, w) from cells (N, 2O, R, S).

    Parameters
    ----------
    cells : Tensor
    shape : tuple of int
    layout : tuple
        See `compiled.sift`.
    weights : ndarray (NY, NX)
        Of the spatial bins.
    renormalise : bool
        Whether to normalise again after clamping.
    constants : tuple
        ε of the first and second normalisation, the clamp, the slope beyond it, and 0 or the square of a norm that
        counts as zero, see `compiled.sift`; the derivative is that for 0.
    in_torch : callable
        Code and total from the cells.

    Returns
    -------
    code : Tensor (N, D, h, w)
    total : Tensor (N, h, w)
        Sums of the descriptors before normalisation.
    """
    numbers = scalars(cells, *constants)
    options = layout, weights.astype(numbers[0].dtype), renormalise, tuple(numbers)

    def value(a: Array) -> tuple[Array, Array]:
        code, total = np.empty((len(a), *shape), a.dtype), np.empty((len(a), *shape[1:]), a.dtype)
        in_parallel(sift.describe, len(a), shape[1], code[:, 0].size, a, *options, code, total)
        return code, total

    def derivative(a: Array, by_code: Array, by_total: Array) -> Array:
        out = np.zeros_like(a)
        in_parallel(sift.describe_derivative, len(a), 1, by_total.size, a, *options, by_code, by_total, out)
        return out

    code, total = _apply(cells.permute(0, 2, 1, 3), value, derivative, lambda a: in_torch(a.permute(0, 2, 1, 3)))
    return code, total


def _apply(x: Tensor, value: Callable[[Array], tuple[Array, ...]], derivative: Callable[..., Array],
           in_torch: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Results of a function of one array, whose derivative is given those by the results."""
    results: tuple[Tensor, ...] = _Compiled.apply(x, value, derivative, in_torch)
    return results


class _Compiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Callable[[Array], tuple[Array, ...]],
                derivative: Callable[..., Array],
                in_torch: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x)
        ctx.derivative, ctx.in_torch = derivative, in_torch
        return tuple(torch.from_numpy(result) for result in value(_array(x)))

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled() or is_traced(*upstream):
            with torch.enable_grad():
                results = ctx.in_torch(x)
            (gradient,) = torch.autograd.grad(results, x, upstream, create_graph=torch.is_grad_enabled())
            return gradient, None, None, None
        return torch.from_numpy(ctx.derivative(_array(x), *map(_array, upstream))), None, None, None


def _array(x: Tensor) -> Array:
    found: Array = x.detach().contiguous().numpy()
    return found

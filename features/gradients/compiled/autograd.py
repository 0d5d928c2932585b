"""The compiled passes of HOG and SIFT as differentiable functions of tensors.

Each is given the same function `in_torch`, in plain torch, from which second derivatives come.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...backend import is_traced, scalars
from ...threads import in_parallel
from ..bins import Bins
from ..pooling import PoolingMatrix
from . import normalisation, pooling, running_sums, sift
from .bin_tables import bin_table

Array = NDArray[Any]
Pair = tuple[int, int]
InTorch = Callable[[Tensor], Tensor]
VARIANTS = {"uoctti": normalisation.UOCTTI, "dpm": normalisation.DPM, "dalal-triggs": normalisation.DALAL_TRIGGS}


def oriented_cells(x: Tensor, rows: PoolingMatrix, columns: PoolingMatrix, bins: Bins, scale: float,
                   in_torch: InTorch) -> Tensor:
    """The sums of `histograms.oriented_cells`, in one pass over the pixels, and their gradient in another."""
    operands = _pooling_operands(x, rows, columns, bins, scale)

    def value(image: Array) -> tuple[Array]:
        cells = np.zeros((len(image), rows.rows, 2 * bins.orientations, columns.rows), image.dtype)
        in_parallel(pooling.pool, len(image), rows.rows, image[:, 0].size, image, *operands, cells)
        return (cells,)

    return _apply(x, value, _unpooled(operands), _with_rows_first(in_torch))[0].permute(0, 2, 1, 3)


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
    sharing = np.float32(scale), running_sums.CONSTANTS, bins.orientations / math.pi

    def value(image: Array) -> tuple[Array]:
        count, _, _, width = image.shape
        between = np.empty((count, width, rows.rows, directions), np.float32)
        cells = np.empty((count, rows.rows, directions, columns.rows), np.float32)
        in_parallel(running_sums.filter_down, count, width, image.size, image[:, 0], *sharing, size, places[0], between)
        in_parallel(running_sums.filter_across, count, rows.rows * directions, image.size, between, size, places[1],
                    cells)
        return (cells,)

    derivative = _unpooled(_pooling_operands(x, rows, columns, bins, scale))
    return _apply(x, value, derivative, _with_rows_first(in_torch))[0].permute(0, 2, 1, 3)


def _with_rows_first(in_torch: InTorch) -> Callable[[Tensor], tuple[Tensor]]:
    """Cells as the compiled passes lay them out, (N, R, 2O, S)."""
    return lambda x: (in_torch(x).permute(0, 2, 1, 3),)


def _pooling_operands(x: Tensor, rows: PoolingMatrix, columns: PoolingMatrix, bins: Bins,
                      scale: float) -> tuple[Any, ...]:
    (factor,) = scalars(x, scale)
    entries = ((matrix.start, matrix.row, matrix.weight.astype(factor.dtype)) for matrix in (rows, columns))
    return bin_table(bins, factor.dtype), factor, *entries


def _unpooled(operands: tuple[Any, ...]) -> Callable[[Array, Array], Array]:
    """The derivative of pooling by the image, given that by the cells."""

    def derivative(image: Array, by_cells: Array) -> Array:
        out = np.empty_like(image)
        in_parallel(pooling.unpool, len(image), image.shape[2], image[:, 0].size, image, *operands, by_cells, out)
        return out

    return derivative


def block_normalised(cells: Tensor, variant: str, dimensions: int, texture: bool,
                     constants: tuple[float, ...], in_torch: InTorch) -> Tensor:
    """The code (N, dimensions, h, w) of `hog.HOG` from directed histograms of cells, (N, 2O, R, S).

    The constants are ε, the clamp, the slope beyond it, the weight of a block, and that of its texture.
    """
    options = VARIANTS[variant], texture, tuple(scalars(cells, *constants))
    trim = 2 if variant == "dpm" else 0

    def value(h: Array) -> tuple[Array]:
        code = np.zeros((len(h), dimensions, h.shape[1] - trim, h.shape[3] - trim), h.dtype)
        in_parallel(normalisation.normalise, len(h), 1, h.size, h, *options, code)
        return (code,)

    def derivative(h: Array, by_code: Array) -> Array:
        out = np.empty_like(h)
        in_parallel(normalisation.normalise_derivative, len(h), 1, h.size, h, *options, by_code, out)
        return out

    return _apply(cells.permute(0, 2, 1, 3), value, derivative, lambda h: (in_torch(h.permute(0, 2, 1, 3)),))[0]


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

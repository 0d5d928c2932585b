"""The fused core as an autograd function."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..oriented import CUBIC as CUBIC_COEFFICIENTS
from ..oriented import FAST_EPSILON, FAST_LEAST, Band, Bins
from . import refuse_second_derivatives
from .gradient import CUBIC, HARD, LINEAR, SMOOTH
from .pooling import pool, unpool
from .threads import in_bands


def oriented_cells(x: Tensor, rows: Band, columns: Band, bins: Bins, scale: float) -> Tensor:
    """The sums of `oriented.oriented_cells`, in one pass over the pixels, and their gradient in another."""
    cells: Tensor = _OrientedCells.apply(x, rows, columns, bins, scale)
    return cells.permute(0, 2, 1, 3)


class _OrientedCells(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Band, columns: Band, bins: Bins, scale: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.arguments = rows, columns, bins, scale
        image = x.detach().contiguous().numpy()
        cells = np.zeros((len(image), rows.rows, 2 * bins.orientations, columns.rows), image.dtype)
        operands = _operands(image, *ctx.arguments)
        in_bands(pool, len(image), rows.rows, image[:, 0].size, *operands, cells)
        return torch.from_numpy(cells)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        (x,) = ctx.saved_tensors
        image = x.detach().contiguous().numpy()
        out = np.empty_like(image)
        operands = _operands(image, *ctx.arguments)
        in_bands(unpool, len(image), image.shape[2], image[:, 0].size, *operands, gradient.contiguous().numpy(), out)
        return torch.from_numpy(out), None, None, None, None


def _operands(image: NDArray[Any], rows: Band, columns: Band, bins: Bins, scale: float) -> tuple[Any, ...]:
    dtype = image.dtype.type
    return image, _rule(bins, image.dtype), dtype(scale), _entries(rows, dtype), _entries(columns, dtype)


def _entries(band: Band, dtype: type[Any]) -> tuple[NDArray[Any], ...]:
    return band.start, band.row, band.weight.astype(dtype)


@lru_cache(maxsize=256)
def _rule(bins: Bins, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """The bins as the kernels take them.

    Mode, directions (as rounded, and exact), coefficients of the share, O/π, softness, and for exp: bias and shift of
    the exponent's bits, and (log 2, where to clip, coefficients …).
    """
    unit = bins.orientations / math.pi
    half_bin = math.pi / (2 * bins.orientations)
    if bins.cubic:
        mode, coefficients = CUBIC, np.array([*CUBIC_COEFFICIENTS, FAST_EPSILON, math.pi / 4, FAST_LEAST])
    elif bins.softness:
        mode = SMOOTH
        coefficients = 2 * unit * _fit(_atan_ratio, math.tan(half_bin / 2) ** 2, dtype)
    elif bins.linear:
        mode = LINEAR
        coefficients = unit * _fit(_acos_ratio, 1 - math.cos(half_bin), dtype)
    else:
        mode, coefficients = HARD, np.ones(1)
    exact = Bins(bins.orientations).directions
    single = dtype == np.float32
    exponents = np.array([127, 23], np.int32) if single else np.array([1023, 52], np.int64)
    log2 = math.log(2)
    exponential = np.array([log2, (exponents[0] - 3) * log2, *_fit(np.exp, log2, dtype)])
    return (mode, bins.directions.astype(dtype), exact.astype(dtype), coefficients.astype(dtype), dtype.type(unit),
            dtype.type(bins.softness), exponents, exponential.astype(dtype))


def _fit(function: Callable[[NDArray[np.float64]], NDArray[np.float64]], end: float,
         dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """The shortest polynomial that is the function on [0, end] to within the precision of the dtype."""
    end *= 1 + 1e-3
    z = np.linspace(0, end, 513)
    for degree in range(1, 30):
        series = np.polynomial.Chebyshev.interpolate(function, degree, domain=[0, end])
        if np.abs(series(z) / function(z) - 1).max() < max(float(np.finfo(dtype).eps) / 4, 2e-15):
            break
    return np.asarray(series.convert(kind=np.polynomial.Polynomial).coef, np.float64)


def _atan_ratio(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """atan(√z) / √z."""
    root = np.sqrt(np.maximum(z, 1e-30))
    return np.arctan(root) / root


def _acos_ratio(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """acos(1 − z) / √z = 2 asin(√(z/2)) / √z."""
    root = np.sqrt(np.maximum(z, 1e-30))
    return 2 * np.arcsin(root / math.sqrt(2)) / root

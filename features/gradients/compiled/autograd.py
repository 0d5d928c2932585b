"""The fused core as an autograd function."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..histograms import Band, Bins
from . import refuse_second_derivatives
from .bin_tables import rule
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
    return image, rule(bins, image.dtype), dtype(scale), _entries(rows, dtype), _entries(columns, dtype)


def _entries(band: Band, dtype: type[Any]) -> tuple[NDArray[Any], ...]:
    return band.start, band.row, band.weight.astype(dtype)

"""The cells of VLFeat's flat window as an autograd function."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..histograms import CUBIC, FAST_EPSILON, FAST_LEAST, Band, Bins
from .autograd import _OrientedCells
from .running_sums import filter_across, filter_down
from .threads import in_bands

Place = tuple[int, int]
CONSTANTS = tuple(np.float32(number) for number in (
    *CUBIC, FAST_EPSILON, math.pi / 4, 3 * math.pi / 4, 2 * math.pi, FAST_LEAST**2, 0.5, 1.5, 1.0))


def running_cells(x: Tensor, rows: Band, columns: Band, bins: Bins, scale: float, size: int,
                  places: tuple[Place, Place]) -> Tensor:
    """The sums of `oriented.oriented_cells` for triangles, with the roundings of VLFeat's running sums.

    Parameters
    ----------
    x : Tensor (N, 1, H, W), float32
    rows, columns : Band
        The same triangles, for the derivative: that of the sums without rounding.
    bins : Bins
        Cubic ones.
    scale : float
    size : int
        Half-width of the triangles.
    places : tuple ((first, pitch), (first, pitch))
        Where they lie along y and x.
    """
    cells: Tensor = _RunningCells.apply(x, rows, columns, bins, scale, size, places)
    return cells.permute(0, 2, 1, 3)


class _RunningCells(_OrientedCells):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Band, columns: Band, bins: Bins, scale: float,  # type: ignore[override]
                size: int, places: tuple[Place, Place]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.arguments = rows, columns, bins, scale
        image = x.detach().contiguous().numpy()[:, 0]
        count, directions = len(image), 2 * bins.orientations
        between = np.empty((count, image.shape[2], rows.rows, directions), np.float32)
        cells = np.empty((count, rows.rows, directions, columns.rows), np.float32)
        rule = np.float32(scale), CONSTANTS, bins.orientations / math.pi
        in_bands(filter_down, count, image.shape[2], image.size, image, *rule, size, places[0], between)
        in_bands(filter_across, count, rows.rows * directions, image.size, between, size, places[1], cells)
        return torch.from_numpy(cells)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return *_OrientedCells.backward(ctx, gradient), None, None

"""The core of HOG and SIFT on a GPU as an autograd function."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import triton
from torch import Tensor

from ..constants import kept
from ..oriented import Band, Bins, directions_like
from . import gpu, refuse_second_derivatives
from .rules import rule
from .runs import Runs, runs_of

LANES, NEIGHBOURS = 32, 2
TALL, WIDE, CELLS = 32, 64, 128
MOST_REACH, MOST_PITCH, MOST_SUMS = 16, 32, 96
Constants = dict[str, Any]


def suits(rows: Band, columns: Band, bins: Bins) -> bool:
    """Whether pixels count for so few cells, cells lie so close, and bins are so few, that the kernels pay."""
    down, across = runs_of(rows), runs_of(columns)
    return (down.reach * across.reach <= MOST_REACH and across.pitch <= MOST_PITCH
            and 2 * bins.orientations * down.reach <= MOST_SUMS)


def oriented_cells(x: Tensor, rows: Band, columns: Band, bins: Bins, scale: float) -> Tensor:
    """The sums of `oriented.oriented_cells`, in one pass over the pixels, and their gradient in another."""
    with torch.cuda.device_of(x):
        cells: Tensor = _OrientedCells.apply(x, rows, columns, bins, scale)
    return cells


class _OrientedCells(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Band, columns: Band, bins: Bins, scale: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.arguments = rows, columns, bins, scale
        image = x.detach().contiguous()
        n, _, height, width = image.shape
        down, across = runs_of(rows), runs_of(columns)
        parts = image.new_empty(n, down.count, down.reach, 2 * bins.orientations, across.reach, across.count)
        neighbours = min(NEIGHBOURS, triton.next_power_of_2(across.pitch))
        lanes = triton.next_power_of_2(across.pitch) // neighbours
        side = max(1, LANES // lanes)
        gpu.pool[triton.cdiv(across.count, side), down.count, n](
            image, *_tables(image, bins, down, across), parts, height, width, across.count, down.first, across.first,
            **constants(image, bins, scale, down, across), NEXT=neighbours, LANES=lanes, SIDE=side,
            num_warps=1)
        cells = image.new_empty(n, 2 * bins.orientations, rows.rows, columns.rows)
        gpu.gather_cells[triton.cdiv(rows.rows * columns.rows, CELLS), n](
            parts, cells, rows.rows, columns.rows, down.count, across.count, down.base, across.base,
            REACH_Y=down.reach, REACH_X=across.reach, BINS=cells.shape[1], SIZE=CELLS)
        return cells

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        rows, columns, bins, scale = ctx.arguments
        image = ctx.saved_tensors[0].detach().contiguous()
        n, _, height, width = image.shape
        down, across = runs_of(rows), runs_of(columns)
        out = torch.empty_like(image)
        gpu.unpool[triton.cdiv(width, WIDE - 2), triton.cdiv(height, TALL - 2), n](
            image, *_tables(image, bins, down, across), gradient.contiguous(), out, height, width, rows.rows,
            columns.rows, down.first, across.first, down.base, across.base,
            **constants(image, bins, scale, down, across), TALL=TALL, WIDE=WIDE, num_warps=8)
        return out, None, None, None, None


def _tables(image: Tensor, bins: Bins, down: Runs, across: Runs) -> tuple[Tensor, ...]:
    """Exact directions, and the weights along y and x."""
    weights = (kept(_weights, (runs,), image.device, image.dtype) for runs in (down, across))
    return directions_like(image, bins.orientations), *weights


def _weights(runs: Runs) -> Tensor:
    return torch.from_numpy(runs.weights)


def constants(image: Tensor, bins: Bins, scale: float, down: Runs, across: Runs) -> Constants:
    """What the kernels are compiled for."""
    precision = np.dtype(np.float32 if image.dtype == torch.float32 else np.float64)
    mode, directions, _, coefficients, unit, softness = rule(bins, precision)[:6]
    return {
        "SCALE": scale, "PITCH_Y": down.pitch, "PITCH_X": across.pitch, "REACH_Y": down.reach, "REACH_X": across.reach,
        "CHANNELS": image.shape[1], "DIRECTIONS": tuple(directions[: bins.orientations].ravel().tolist()),
        "BINS": 2 * bins.orientations, "MODE": mode, "UNIT": float(unit), "SOFTNESS": float(softness),
        "COEFFICIENTS": tuple(coefficients.tolist()),
    }

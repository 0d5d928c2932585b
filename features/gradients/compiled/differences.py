"""Differences of neighbouring pixels, and the derivative of what is computed from them, in NumPy.

Each pass takes the samples from the first to the last, and nothing depends on others, so that values repeat bit by bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@np.errstate(over="ignore", invalid="ignore")
def strongest_gradients(x: Array, scale: Any, gx: Array, gy: Array, channel: Array, first: int, last: int,
                        bands: int) -> None:
    """`histograms.strongest_gradient` of images (N, C, H, W), and which of several channels it is, (N, H, W)."""
    x, best_x, best_y = x[first:last] * scale, gx[first:last], gy[first:last]
    _difference(x[:, 0], best_x)
    _difference(x[:, 0].swapaxes(1, 2), best_y.swapaxes(1, 2))
    if x.shape[1] == 1:
        return
    which, across, down = channel[first:last], np.empty_like(best_x), np.empty_like(best_y)
    which[:] = 0
    for c in range(1, x.shape[1]):
        _difference(x[:, c], across)
        _difference(x[:, c].swapaxes(1, 2), down.swapaxes(1, 2))
        better = across * across + down * down > best_x * best_x + best_y * best_y
        for best, found in ((best_x, across), (best_y, down), (which, c)):
            np.copyto(best, found, where=better)


def _difference(x: Array, out: Array) -> None:
    """x[p + 1] − x[p − 1] along the last axis, and twice the one-sided difference at its ends."""
    np.subtract(x[..., 2:], x[..., :-2], out=out[..., 1:-1])
    out[..., 0] = 2 * (x[..., 1] - x[..., 0])
    out[..., -1] = 2 * (x[..., -1] - x[..., -2])


@np.errstate(over="ignore", invalid="ignore")
def image_derivative(dx: Array, dy: Array, channel: Array, out: Array, first: int, last: int, bands: int) -> None:
    """Fill the derivative by images (N, C, H, W), given those by the differences, (N, H, W), which are overwritten."""
    across, down, which, channels = dx[first:last], dy[first:last], channel[first:last], out.shape[1]
    for edge in (0, -1):
        across[..., edge] *= 2
        down[:, edge] *= 2
    vertical = np.empty_like(down)
    for c in range(channels):
        by_x, by_y = (part if channels == 1 else np.where(which == c, part, 0) for part in (across, down))
        _derivative(by_x, out[first:last, c])
        _derivative(by_y.swapaxes(1, 2), vertical.swapaxes(1, 2))
        out[first:last, c] += vertical


def _derivative(by_difference: Array, out: Array) -> None:
    """That by x, given that by its differences along the last axis, twice as large at its ends."""
    np.subtract(by_difference[..., :-2], by_difference[..., 2:], out=out[..., 1:-1])
    out[..., 0] = -(by_difference[..., 0] + by_difference[..., 1])
    out[..., -1] = by_difference[..., -2] + by_difference[..., -1]

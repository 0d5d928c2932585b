# mypy: disable-error-code="no-untyped-def"
"""Bands of cells, and bands of the image's gradient: the two passes over the pixels.

Each band owns the rows that it writes and visits every pixel that concerns them, in the same order whatever the
bands are; so results depend neither on the batch nor on the number of threads.
"""

from __future__ import annotations

import numpy as np

from ...jit import kernel, step
from .bin_tables import HARD
from .gradient import GX, GY, LENGTH, SHARE, SLOPE, A, B, C, row_buffers, share_row


@step
def _scatter_row(work, hard, nearest, following, columns, histogram):
    """Add one row of pixels to the histograms of its columns, (2O, S)."""
    start, column, weight = columns
    length, share = work[LENGTH], work[SHARE]
    histogram[:] = 0
    for i in range(length.shape[0]):
        b = nearest[i]
        if hard:
            for k in range(start[i], start[i + 1]):
                histogram[b, column[k]] += weight[k] * length[i]
        else:
            n = following[i]
            second = length[i] * share[i]
            first = length[i] - second
            for k in range(start[i], start[i + 1]):
                histogram[b, column[k]] += weight[k] * first
                histogram[n, column[k]] += weight[k] * second


@kernel
def pool(x, table, scale, rows, columns, cells, first_task, last_task, bands):
    """Fill bands of rows of cells (N, R, 2O, S), which start as zeros; task = sample · bands + band."""
    start, row, weight = rows
    count, bins, wide = cells.shape[1:]
    height, width = x.shape[2:]
    buffers = row_buffers(table, width)
    work, nearest, following, _, _ = buffers
    histogram = np.empty((bins, wide), x.dtype)
    flat = histogram.reshape(-1)
    for task in range(first_task, last_task):
        n, band = task // bands, task % bands
        top, bottom = band * count // bands, (band + 1) * count // bands
        for y in range(height):
            touched = False
            for k in range(start[y], start[y + 1]):
                if top <= row[k] < bottom:
                    if not touched:
                        share_row(x[n], y, scale, table, buffers)
                        _scatter_row(work, table.mode == HARD, nearest, following, columns, histogram)
                        touched = True
                    target, a = cells[n, row[k]].reshape(-1), weight[k]
                    for i in range(flat.shape[0]):
                        target[i] += a * flat[i]


@step
def _collect_row(work, hard, nearest, following, columns, histogram):
    """Derivatives by what the nearest bin gets of one row, into work[A], and how much larger the next one's are."""
    start, column, weight = columns
    first, rise = work[A], work[B]
    zero = histogram.dtype.type(0)
    for i in range(first.shape[0]):
        p, q = zero, zero
        for k in range(start[i], start[i + 1]):
            p += weight[k] * histogram[nearest[i], column[k]]
            if not hard:
                q += weight[k] * histogram[following[i], column[k]]
        first[i] = p
        rise[i] = zero if hard else q - p


@step
def _derivative_row(work, hard, scale, channel, dx, dy):
    """Derivatives by the differences of one row, into dx and dy (C, W): only the strongest channel has any."""
    gx, gy, length, share, slope = work[GX], work[GY], work[LENGTH], work[SHARE], work[SLOPE]
    along, across, inverse, zero = work[A], work[B], work[C], scale - scale
    for i in range(gx.shape[0]):
        inverse[i] = scale / length[i] if length[i] > 0 else zero
    if not hard:
        for i in range(gx.shape[0]):
            along[i] += share[i] * across[i]
        for i in range(gx.shape[0]):
            across[i] *= slope[i] * inverse[i]
    for i in range(gx.shape[0]):
        along[i] *= inverse[i]
    for i in range(gx.shape[0]):
        dx[0, i] = gx[i] * along[i] - gy[i] * across[i]
    for i in range(gx.shape[0]):
        dy[0, i] = gy[i] * along[i] + gx[i] * across[i]
    if dx.shape[0] > 1:
        for c in range(dx.shape[0] - 1, -1, -1):
            for i in range(gx.shape[0]):
                a, b = dx[0, i], dy[0, i]
                dx[c, i] = a if channel[i] == c else zero
                dy[c, i] = b if channel[i] == c else zero


@step
def _double_borders(dx, dy, y, height):
    """Double the one-sided differences of the border, as the gradient does."""
    for c in range(dx.shape[0]):
        dx[c, 0] += dx[c, 0]
        dx[c, -1] += dx[c, -1]
    if y == 0 or y == height - 1:
        for c in range(dx.shape[0]):
            for i in range(dx.shape[1]):
                dy[c, i] += dy[c, i]


@step
def _adjoint_row(dx, above, below, out, y, height):
    """Row y of the image's derivative, from dx of that row and dy of those beside it (or its own at the border)."""
    width = out.shape[0]
    for i in range(1, width - 1):
        out[i] = dx[i - 1] - dx[i + 1]
    out[0], out[width - 1] = -dx[0] - dx[1], dx[width - 2] + dx[width - 1]
    if y == 0:
        for i in range(width):
            out[i] -= above[i] + below[i]
    elif y == height - 1:
        for i in range(width):
            out[i] += above[i] + below[i]
    else:
        for i in range(width):
            out[i] += above[i] - below[i]


@kernel
def unpool(x, table, scale, rows, columns, cells, gradient, first_task, last_task, bands):
    """Fill bands of the derivative by x, given that by the cells (N, R, 2O, S); task = sample · bands + band."""
    start, row, weight = rows
    bins, wide = cells.shape[2:]
    channels, height, width = x.shape[1:]
    buffers = row_buffers(table, width)
    work, nearest, following, channel, _ = buffers
    histogram = np.empty((bins, wide), x.dtype)
    flat = histogram.reshape(-1)
    dx, dy = np.empty((3, channels, width), x.dtype), np.empty((3, channels, width), x.dtype)
    for task in range(first_task, last_task):
        n, band = task // bands, task % bands
        top, bottom = band * height // bands, (band + 1) * height // bands
        for y in range(max(top - 1, 0), min(bottom + 1, height)):
            here = y % 3
            if start[y] == start[y + 1]:
                dx[here], dy[here] = 0, 0
            else:
                flat[:] = 0
                for k in range(start[y], start[y + 1]):
                    source, a = cells[n, row[k]].reshape(-1), weight[k]
                    for i in range(flat.shape[0]):
                        flat[i] += a * source[i]
                share_row(x[n], y, scale, table, buffers)
                _collect_row(work, table.mode == HARD, nearest, following, columns, histogram)
                _derivative_row(work, table.mode == HARD, scale, channel, dx[here], dy[here])
                _double_borders(dx[here], dy[here], y, height)
            for z in range(max(top, y - 1), min(bottom, y + 1 if y == height - 1 else y)):
                for c in range(channels):
                    above, below = dy[max(z - 1, 0) % 3, c], dy[min(z + 1, height - 1) % 3, c]
                    _adjoint_row(dx[z % 3, c], above, below, gradient[n, c, z], z, height)

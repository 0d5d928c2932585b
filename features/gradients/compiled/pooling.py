# mypy: disable-error-code="no-untyped-def"
"""The sums over pixels, and their derivative. Histograms of one row of cells are flat: bin b of cell s is b · S + s.

Each band owns the rows that it writes and visits every pixel that concerns them, in the same order whatever the
bands are; so results depend neither on the batch nor on the number of threads.
"""

from __future__ import annotations

import numpy as np

from ...jit import kernel, step


@step
def _scatter_row(length, nearest, following, share, hard, columns, wide, histogram):
    """Add one row of pixels to the histograms of its columns."""
    start, column, weight = columns
    for i in range(length.shape[0]):
        b = nearest[i] * wide
        if hard:
            for k in range(start[i], start[i + 1]):
                histogram[b + column[k]] += weight[k] * length[i]
        else:
            n = following[i] * wide
            second = length[i] * share[i]
            first = length[i] - second
            for k in range(start[i], start[i + 1]):
                histogram[b + column[k]] += weight[k] * first
                histogram[n + column[k]] += weight[k] * second


@kernel
def pool(length, nearest, following, share, hard, rows, columns, wide, cells, first_task, last_task, bands):
    """Fill bands of rows of cells (N, R, 2O·S), which start as zeros; task = sample · bands + band."""
    start, row, weight = rows
    count, size = cells.shape[1:]
    height = start.shape[0] - 1
    histogram = np.empty(size, cells.dtype)
    for task in range(first_task, last_task):
        n, band = task // bands, task % bands
        top, bottom = band * count // bands, (band + 1) * count // bands
        for y in range(height):
            touched = False
            for k in range(start[y], start[y + 1]):
                if top <= row[k] < bottom:
                    if not touched:
                        z = n * height + y
                        histogram[:] = 0
                        _scatter_row(length[z], nearest[z], following[z], share[z], hard, columns, wide, histogram)
                        touched = True
                    target, a = cells[n, row[k]], weight[k]
                    for i in range(size):
                        target[i] += a * histogram[i]


@step
def _collect_row(nearest, following, hard, columns, wide, histogram, first, rise):
    """Derivatives by what the nearest bin gets of each pixel of a row, and how much larger the next one's are."""
    start, column, weight = columns
    zero = histogram[0] - histogram[0]
    for i in range(first.shape[0]):
        p, q, b, n = zero, zero, nearest[i] * wide, following[i] * wide
        for k in range(start[i], start[i + 1]):
            p += weight[k] * histogram[b + column[k]]
            if not hard:
                q += weight[k] * histogram[n + column[k]]
        first[i] = p
        rise[i] = zero if hard else q - p


@kernel
def unpool(gx, gy, length, nearest, following, share, slope, hard, scale, rows, columns, wide, cells, dx, dy,
           height, first, last, bands):
    """Fill the derivatives by the differences, (N·H, W), given that by the cells (N, R, 2O·S)."""
    start, row, weight = rows
    histogram, zero = np.empty(cells.shape[2], cells.dtype), scale - scale
    for y in range(first * height // bands, last * height // bands):
        n, v = y // height, y % height
        along, across = dx[y], dy[y]
        if start[v] == start[v + 1]:
            along[:] = 0
            across[:] = 0
            continue
        histogram[:] = 0
        for k in range(start[v], start[v + 1]):
            source, a = cells[n, row[k]], weight[k]
            for i in range(histogram.shape[0]):
                histogram[i] += a * source[i]
        _collect_row(nearest[y], following[y], hard, columns, wide, histogram, along, across)
        for i in range(along.shape[0]):
            inverse = scale / length[y, i] if length[y, i] > 0 else zero
            a = (along[i] + share[y, i] * across[i]) * inverse
            b = across[i] * (slope[y, i] * inverse)
            along[i] = gx[y, i] * a - gy[y, i] * b
            across[i] = gy[y, i] * a + gx[y, i] * b

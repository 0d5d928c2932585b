# mypy: disable-error-code="no-untyped-def"
"""Triangle filters by running sums in single precision, with the roundings of VLFeat's flat window.

A triangle is a box twice, a box the difference of two running sums: one from the end, one from the beginning. In
single precision such sums of a whole column leave a residue wherever they should cancel, which is all that a faint
region holds; so every operation here is VLFeat's, in its order. Columns are filtered side by side, `LANES` at a time.
"""

from __future__ import annotations

import math

import numpy as np

from ...jit import kernel, step
from ..bins import CUBIC, FAST_EPSILON, FAST_LEAST

CONSTANTS = tuple(np.float32(number) for number in (
    *CUBIC, FAST_EPSILON, math.pi / 4, 3 * math.pi / 4, 2 * math.pi, FAST_LEAST**2, 0.5, 1.5, 1.0))
LANES = 32
ROOT_GUESS = 0x5F3759DF


@step
def _share_row(gx, gy, constants, unit, bins, length, bits, nearest, first, second):
    """What the bin before VLFeat's angle, and the bin after it, get of its approximate length of the gradient."""
    c1, c3, epsilon, quarter, three_quarters, turn, least, half, three_halves, one = constants
    guess, raw, whole = bits.view(length.dtype), length.view(bits.dtype), np.int32(bins)
    for i in range(gx.shape[0]):
        length[i] = gx[i] * gx[i] + gy[i] * gy[i]
    for i in range(gx.shape[0]):
        bits[i] = ROOT_GUESS - (raw[i] >> 1)
    for i in range(gx.shape[0]):
        square, root = length[i], guess[i]
        root = root * (three_halves - half * square * root * root)
        root = root * (three_halves - half * square * root * root)
        length[i] = one - one if square <= least else square * root
    for i in range(gx.shape[0]):
        x, tall = gx[i], abs(gy[i]) + epsilon
        forward = x >= 0
        r = (x - tall if forward else x + tall) / (abs(x) + tall)
        angle = (quarter if forward else three_quarters) + (c3 * r * r - c1) * r
        angle = -angle if gy[i] < 0 else angle
        place = np.float32((angle + turn if angle < 0 else angle) * unit)
        lower = math.floor(place)
        share = place - np.float32(lower)
        before = np.int32(lower) if place >= 0 else whole
        nearest[i] = np.int32(0) if before == whole else before
        first[i] = (one - share) * length[i]
        second[i] = share * length[i]


@step
def _sums(sums, size, last):
    """Turn columns (H + size, LANES), whose first `size` rows are free, into twice summed differences."""
    height = sums.shape[0] - size
    last[:] = sums[size]
    for y in range(height + size - 2, size - 1, -1):
        for i in range(LANES):
            sums[y, i] = sums[y + 1, i] + sums[y, i]
    for y in range(size - 1, -1, -1):
        for i in range(LANES):
            sums[y, i] = sums[y + 1, i] + last[i]
    last[:] = sums[height + size - 1]
    for i in range(LANES):
        sums[0, i] -= sums[size, i]
    for y in range(1, height):
        for i in range(LANES):
            sums[y, i] = (sums[y, i] - sums[y + size, i]) + sums[y - 1, i]
    for y in range(height, height + size):
        beyond = np.float32(y - height)
        for i in range(LANES):
            sums[y, i] = (sums[y, i] + last[i] * beyond) + sums[y - 1, i]


@step
def _map_rows(nearest, shares, o, bins, out):
    """The map of one orientation."""
    here, before = np.int32(o), np.int32((o - 1) % bins)
    zero = out.dtype.type(0)
    for y in range(nearest.shape[0]):
        for i in range(LANES):
            b, low, high = nearest[y, i], shares[0, y, i], shares[1, y, i]
            out[y, i] = low if b == here else (high if b == before else zero)


@kernel
def filter_down(gx, gy, constants, unit, size, place, between, first_task, last_task, bands):
    """Filter the maps of all orientations along y: gradients (N, H, W) → (N, W, R, 2O); place = (first row, pitch)."""
    height, width = gx.shape[1:]
    bins = between.shape[3]
    factor = np.float32(1 / (size * size))
    gradient, length, last = np.zeros((2, LANES), gx.dtype), np.empty(LANES, gx.dtype), np.empty(LANES, gx.dtype)
    bits = np.empty(LANES, np.int32)
    shares, nearest = np.empty((2, height, LANES), gx.dtype), np.empty((height, LANES), np.int32)
    sums = np.empty((height + size, LANES), gx.dtype)
    for task in range(first_task, last_task):
        n, band = task // bands, task % bands
        end = (band + 1) * width // bands
        for left in range(band * width // bands, end, LANES):
            lanes = min(LANES, end - left)
            for y in range(height):
                for i in range(lanes):
                    gradient[0, i], gradient[1, i] = gx[n, y, left + i], gy[n, y, left + i]
                _share_row(gradient[0], gradient[1], constants, unit, bins, length, bits, nearest[y], shares[0, y],
                           shares[1, y])
            for o in range(bins):
                _map_rows(nearest, shares, o, bins, sums[size:])
                _sums(sums, size, last)
                for r in range(between.shape[2]):
                    y = place[0] + r * place[1]
                    for i in range(lanes):
                        between[n, left + i, r, o] = factor * (sums[y + size, i] - sums[y, i])


@kernel
def filter_across(between, size, place, cells, first_task, last_task, bands):
    """Filter those along x: (N, W, R, 2O) → (N, R, 2O, S), times size², for triangles of unit height."""
    width = between.shape[1]
    rows, bins, wide = cells.shape[1:]
    factor, unit_height = np.float32(1 / (size * size)), np.float32(size * size)
    sums, last = np.zeros((width + size, LANES), between.dtype), np.empty(LANES, between.dtype)
    count = rows * bins
    for task in range(first_task, last_task):
        n, band = task // bands, task % bands
        source, target = between[n].reshape(width, count), cells[n].reshape(count, wide)
        end = (band + 1) * count // bands
        for left in range(band * count // bands, end, LANES):
            lanes = min(LANES, end - left)
            for x in range(width):
                for i in range(lanes):
                    sums[size + x, i] = source[x, left + i]
            _sums(sums, size, last)
            for s in range(wide):
                x = place[0] + s * place[1]
                for i in range(lanes):
                    target[left + i, s] = unit_height * (factor * (sums[x + size, i] - sums[x, i]))

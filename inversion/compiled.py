# mypy: disable-error-code="no-untyped-def"
"""Compiled passes: priors and the Euclidean objective with their gradients, each in one sweep over the values."""

from __future__ import annotations

import numpy as np
from numba import njit

BLOCK = 1024

jit = njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})


@jit
def range_with_gradient(x, centre, power, scale, slope, gradient, values):
    """values += scale Σ |x − c|^(2 power + 2), and gradient += slope |x − c|^(2 power) (x − c)."""
    samples, channels, height, width = x.shape
    squared = np.empty(width, x.dtype)
    for n in range(samples):
        total = 0.0
        for v in range(height):
            squared[:] = 0
            for c in range(channels):
                for u in range(width):
                    d = x[n, c, v, u] - centre[c]
                    squared[u] += d * d
            row = x.dtype.type(0)
            for u in range(width):
                factor = squared[u] * squared[u] if power == 2 else squared[u] ** power
                row += factor * squared[u]
                squared[u] = factor * slope
            for c in range(channels):
                for u in range(width):
                    gradient[n, c, v, u] += squared[u] * (x[n, c, v, u] - centre[c])
            total += row
        values[n] += scale * total


@jit
def variation_with_gradient(x, scale, gradient, values):
    """values += scale Σ (forward differences)², and its derivative to the gradient."""
    samples, channels, height, width = x.shape
    twice = scale + scale
    for n in range(samples):
        total = 0.0
        for c in range(channels):
            for v in range(height):
                row, slopes = x[n, c, v], gradient[n, c, v]
                above, below = x[n, c, max(v - 1, 0)], x[n, c, min(v + 1, height - 1)]
                squares = x.dtype.type(0)
                for u in range(1, width - 1):
                    across, down = row[u + 1] - row[u], below[u] - row[u]
                    squares += across * across + down * down
                    slopes[u] += twice * ((row[u] - row[u - 1]) - across + (row[u] - above[u]) - down)
                for u in range(0, width, max(width - 1, 1)):
                    left, right = row[max(u - 1, 0)], row[min(u + 1, width - 1)]
                    across, down = right - row[u], below[u] - row[u]
                    squares += across * across + down * down
                    slopes[u] += twice * ((row[u] - left) - across + (row[u] - above[u]) - down)
                total += squares
        values[n] += scale * total


@jit
def distance_with_gradient(code, target, slope, scales, values):
    """values = scale Σ (code − target)² of each sample, and slope its derivative by the code."""
    for n in range(len(code)):
        total, twice = 0.0, scales[n] + scales[n]
        for start in range(0, code.shape[1], BLOCK):
            squares = code.dtype.type(0)
            for i in range(start, min(start + BLOCK, code.shape[1])):
                difference = code[n, i] - target[n, i]
                squares += difference * difference
                slope[n, i] = twice * difference
            total += squares
        values[n] = scales[n] * total

# mypy: disable-error-code="no-untyped-def"
"""Compiled passes of the engine: priors with their gradients, and the solvers' updates, in one sweep each."""

from __future__ import annotations

import numpy as np
from numba import njit

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
def adagrad(gradient, squares, velocity, memory, damping, step):
    """squares ← μ squares + g², velocity ← μ velocity − step g / (damping + √squares)."""
    for i in range(gradient.shape[0]):
        g = gradient[i]
        squares[i] = memory * squares[i] + g * g
        velocity[i] = memory * velocity[i] - step * g / (damping + np.sqrt(squares[i]))


@jit
def differences(trial, iterate, gradient, before, s, y, products):
    """s = trial − iterate and y = gradient − before of each sample; products (N, 4): ⟨s, y⟩, ⟨y, y⟩, ⟨s, g⟩, ⟨y, g⟩."""
    for n in range(len(trial)):
        for start in range(0, trial.shape[1], 1024):
            end = min(start + 1024, trial.shape[1])
            t, x, g, b = trial[n, start:end], iterate[n, start:end], gradient[n, start:end], before[n, start:end]
            steps, changes = s[n, start:end], y[n, start:end]
            sy = yy = sg = yg = trial.dtype.type(0)
            for i in range(len(t)):
                step, change = t[i] - x[i], g[i] - b[i]
                steps[i], changes[i] = step, change
                sy += step * change
                yy += change * change
                sg += step * g[i]
                yg += change * g[i]
            products[n, 0] += sy
            products[n, 1] += yy
            products[n, 2] += sg
            products[n, 3] += yg

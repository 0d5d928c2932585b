# mypy: disable-error-code="no-untyped-def"
"""Compiled passes: priors and the Euclidean objective with their gradients, steps of AdaGrad and L-BFGS.

Loops that sum may be reordered by the compiler, and so write nothing: to vectorise a loop that writes, the compiler
asks where its arrays lie, and the order of the sum would depend on that.
"""

from __future__ import annotations

import numpy as np

from unfeature.features.jit import kernel, reduction

BLOCK = 1024


@reduction
def _inner(a, b):
    total = a.dtype.type(0)
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@reduction
def _squared_distance(a, b):
    total = a.dtype.type(0)
    for i in range(a.shape[0]):
        total += (a[i] - b[i]) * (a[i] - b[i])
    return total


@reduction
def _squared_differences(row, below):
    """Σ of squared forward differences of a row, along it and to the row below."""
    last = row.shape[0] - 1
    total = (below[last] - row[last]) * (below[last] - row[last])
    for u in range(last):
        total += (row[u + 1] - row[u]) * (row[u + 1] - row[u]) + (below[u] - row[u]) * (below[u] - row[u])
    return total


@kernel
def range_with_gradient(x, centre, power, scale, slope, gradient, values, first, last, bands):
    """values += scale Σ |x − c|^(2 power + 2), and gradient += slope |x − c|^(2 power) (x − c)."""
    _, channels, height, width = x.shape
    squared, factor = np.empty(width, x.dtype), np.empty(width, x.dtype)
    for n in range(first, last):
        total = 0.0
        for v in range(height):
            for u in range(width):
                squared[u] = (x[n, 0, v, u] - centre[0]) * (x[n, 0, v, u] - centre[0])
            for c in range(1, channels):
                for u in range(width):
                    squared[u] += (x[n, c, v, u] - centre[c]) * (x[n, c, v, u] - centre[c])
            if power == 2:
                for u in range(width):
                    factor[u] = squared[u] * squared[u]
            else:
                for u in range(width):
                    factor[u] = squared[u] ** power
            total += _inner(factor, squared)
            for c in range(channels):
                for u in range(width):
                    gradient[n, c, v, u] += slope * factor[u] * (x[n, c, v, u] - centre[c])
        values[n] += scale * total


@kernel
def variation_with_gradient(x, scale, gradient, values, first, last, bands):
    """values += scale Σ (forward differences)², and its derivative to the gradient."""
    _, channels, height, width = x.shape
    twice = scale + scale
    for n in range(first, last):
        total = 0.0
        for c in range(channels):
            for v in range(height):
                row, slopes = x[n, c, v], gradient[n, c, v]
                above, below = x[n, c, max(v - 1, 0)], x[n, c, min(v + 1, height - 1)]
                total += _squared_differences(row, below)
                for u in range(1, width - 1):
                    slopes[u] += twice * ((row[u] - row[u - 1]) - (row[u + 1] - row[u])
                                          + (row[u] - above[u]) - (below[u] - row[u]))
                for u in range(0, width, max(width - 1, 1)):
                    left, right = row[max(u - 1, 0)], row[min(u + 1, width - 1)]
                    slopes[u] += twice * ((row[u] - left) - (right - row[u])
                                          + (row[u] - above[u]) - (below[u] - row[u]))
        values[n] += scale * total


@kernel
def distance_with_gradient(code, target, slope, scales, values, first, last, bands):
    """values = scale Σ (code − target)² of each sample, and slope its derivative by the code."""
    for n in range(first, last):
        total, twice = 0.0, scales[n] + scales[n]
        for start in range(0, code.shape[1], BLOCK):
            end = min(start + BLOCK, code.shape[1])
            a, b, out = code[n, start:end], target[n, start:end], slope[n, start:end]
            total += _squared_distance(a, b)
            for i in range(a.shape[0]):
                out[i] = twice * (a[i] - b[i])
        values[n] = scales[n] * total


@kernel
def adagrad(gradient, squares, velocity, memory, damping, step, first, last, bands):
    """squares ← μ squares + g², velocity ← μ velocity − step g / (damping + √squares), of samples (N, M)."""
    for n in range(first, last):
        for i in range(gradient.shape[1]):
            g = gradient[n, i]
            squares[n, i] = memory * squares[n, i] + g * g
            velocity[n, i] = memory * velocity[n, i] - step * g / (damping + np.sqrt(squares[n, i]))


@kernel
def difference_pair(trial, iterate, gradient, previous, chosen, slot, basis, products, first, last, bands):
    """Write s = trial − iterate and y = gradient − previous of each chosen sample to its slot of the basis (2P, M).

    products (2P + 2,) become ⟨basis, gradient⟩, ⟨s, y⟩ and ⟨y, y⟩.
    """
    rows, size = basis.shape[1:]
    places = rows // 2
    for n in range(first, last):
        if not chosen[n]:
            continue
        for k in range(rows + 2):
            products[n, k] = 0
        for start in range(0, size, BLOCK):
            end = min(start + BLOCK, size)
            t, x, g, b = trial[n, start:end], iterate[n, start:end], gradient[n, start:end], previous[n, start:end]
            s, y = basis[n, slot[n], start:end], basis[n, places + slot[n], start:end]
            for i in range(t.shape[0]):
                s[i], y[i] = t[i] - x[i], g[i] - b[i]
            for k in range(rows):
                products[n, k] += _inner(basis[n, k, start:end], g)
            products[n, rows] += _inner(s, y)
            products[n, rows + 1] += _inner(y, y)


@kernel
def apply_inverse_hessian(basis, weights, gradient, chosen, direction, slopes, first, last, bands):
    """direction = −H g of each chosen sample, a weighted sum of basis and gradient; slope = ⟨direction, gradient⟩."""
    rows, size = basis.shape[1:]
    for n in range(first, last):
        if not chosen[n]:
            continue
        slopes[n] = 0
        for start in range(0, size, BLOCK):
            end = min(start + BLOCK, size)
            g, d = gradient[n, start:end], direction[n, start:end]
            weight = weights[n, rows]
            for i in range(d.shape[0]):
                d[i] = weight * g[i]
            for k in range(rows):
                weight, row = weights[n, k], basis[n, k, start:end]
                if weight != 0:
                    for i in range(d.shape[0]):
                        d[i] += weight * row[i]
            slopes[n] += _inner(d, g)

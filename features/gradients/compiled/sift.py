# mypy: disable-error-code="no-untyped-def"
"""SIFT descriptors gathered from pooled cells and normalised, and the derivative of both, one row of frames a time.

Bin (i, j) of frame (f, g) is the cell in row f · a + i · b and column g · c + j · d, times a weight of that bin: the
`layout` is ((a, b), (c, d)).
"""

from __future__ import annotations

import math

import numpy as np

from ...jit import kernel, step


@step
def _gather(cells, f, layout, weights, values):
    """Unnormalised descriptors (D, w) of row f of the frames of one image; cells are (R, 2O, S)."""
    (a, b), (c, d) = layout
    (ny, nx), bins = weights.shape, cells.shape[1]
    for i in range(ny):
        for j in range(nx):
            weight = weights[i, j]
            for o in range(bins):
                source, target = cells[f * a + i * b, o, j * d:], values[(i * nx + j) * bins + o]
                for g in range(target.shape[0]):
                    target[g] = weight * source[g * c]


@step
def _inverse_norms(values, epsilon, least, inverse):
    """1 / √(‖v‖² + ε²) of the columns v of (D, w); or VLFeat's 1 / (‖v‖ + ε), which takes ‖v‖² ≤ least > 0 for 0."""
    inverse[:] = 0
    for k in range(values.shape[0]):
        row = values[k]
        for g in range(row.shape[0]):
            inverse[g] += row[g] * row[g]
    one, zero = epsilon / epsilon, epsilon - epsilon
    for g in range(inverse.shape[0]):
        square = inverse[g]
        if least > 0:
            inverse[g] = one / ((zero if square <= least else math.sqrt(square)) + epsilon)
        else:
            inverse[g] = one / math.sqrt(square + epsilon * epsilon)


@step
def _scale_and_clamp(values, inverse, clamp, leak, out):
    for k in range(values.shape[0]):
        row, target = values[k], out[k]
        for g in range(row.shape[0]):
            p = row[g] * inverse[g]
            target[g] = p if p < clamp else clamp + leak * (p - clamp)


@kernel
def describe(cells, layout, weights, renormalise, constants, code, total, first, last, bands):
    """Fill codes (N, D, h, w) and their sums before normalisation (N, h, w) from cells (N, R, 2O, S)."""
    epsilon, second_epsilon, clamp, leak, least = constants
    dimensions, count, wide = code.shape[1:]
    values, clamped = np.empty((dimensions, wide), cells.dtype), np.empty((dimensions, wide), cells.dtype)
    inverse = np.empty(wide, cells.dtype)
    for task in range(first, last):
        n, band = task // bands, task % bands
        for f in range(band * count // bands, (band + 1) * count // bands):
            _gather(cells[n], f, layout, weights, values)
            total[n, f] = 0
            for k in range(dimensions):
                for g in range(wide):
                    total[n, f, g] += values[k, g]
            _inverse_norms(values, epsilon, least, inverse)
            _scale_and_clamp(values, inverse, clamp, leak, clamped)
            if renormalise:
                _inverse_norms(clamped, second_epsilon, least, inverse)
            else:
                inverse[:] = 1
            for k in range(dimensions):
                for g in range(wide):
                    code[n, k, f, g] = clamped[k, g] * inverse[g]


@step
def _unit_derivative(values, inverse, upstream, dot):
    """Replace the derivative by v / √(‖v‖² + ε²) of the columns of (D, w) by that by v."""
    dot[:] = 0
    for k in range(values.shape[0]):
        row, up = values[k], upstream[k]
        for g in range(row.shape[0]):
            dot[g] += row[g] * up[g]
    for g in range(dot.shape[0]):
        dot[g] *= inverse[g] * inverse[g] * inverse[g]
    for k in range(values.shape[0]):
        row, up = values[k], upstream[k]
        for g in range(row.shape[0]):
            up[g] = up[g] * inverse[g] - row[g] * dot[g]


@step
def _scatter(upstream, by_total, f, layout, weights, out):
    (a, b), (c, d) = layout
    (ny, nx), bins = weights.shape, out.shape[1]
    for i in range(ny):
        for j in range(nx):
            weight = weights[i, j]
            for o in range(bins):
                target, source = out[f * a + i * b, o, j * d:], upstream[(i * nx + j) * bins + o]
                for g in range(source.shape[0]):
                    target[g * c] += weight * (source[g] + by_total[g])


@kernel
def describe_derivative(cells, layout, weights, renormalise, constants, by_code, by_total, out, first, last, bands):
    """Fill the derivative by the cells, which starts as zeros, given those by the codes and by the sums; bands is 1.

    It is always that of the first kind of norm.
    """
    epsilon, second_epsilon, clamp, leak, least = constants
    nothing = least - least
    dimensions, count, wide = by_code.shape[1:]
    shape = (dimensions, wide)
    values, clamped, upstream = np.empty(shape, cells.dtype), np.empty(shape, cells.dtype), np.empty(shape, cells.dtype)
    inverse, second, dot = np.empty(wide, cells.dtype), np.empty(wide, cells.dtype), np.empty(wide, cells.dtype)
    for n in range(first, last):
        for f in range(count):
            _gather(cells[n], f, layout, weights, values)
            _inverse_norms(values, epsilon, nothing, inverse)
            _scale_and_clamp(values, inverse, clamp, leak, clamped)
            upstream[:] = by_code[n, :, f]
            if renormalise:
                _inverse_norms(clamped, second_epsilon, nothing, second)
                _unit_derivative(clamped, second, upstream, dot)
            for k in range(dimensions):
                for g in range(wide):
                    up = upstream[k, g]
                    upstream[k, g] = up if values[k, g] * inverse[g] <= clamp else leak * up
            _unit_derivative(values, inverse, upstream, dot)
            _scatter(upstream, by_total[n, f], f, layout, weights, out[n])

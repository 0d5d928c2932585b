# mypy: disable-error-code="no-untyped-def"
"""HOG's block normalisation of one batch of cells, and its derivative, row by row of cells."""

from __future__ import annotations

import math

import numpy as np

from ...jit import kernel, step

UOCTTI, DPM, DALAL_TRIGGS = range(3)


@step
def _factor_rows(cells, epsilon, energy, factor):
    """Energies of cells (R, 2O, S), with the border repeated, and factors of blocks, (R + 1, S + 1)."""
    count, bins, wide = cells.shape
    half = bins // 2
    energy[:] = 0
    for y in range(count):
        row = energy[y + 1, 1:wide + 1]
        for o in range(half):
            first, second = cells[y, o], cells[y, o + half]
            for i in range(wide):
                row[i] += (first[i] + second[i]) * (first[i] + second[i])
        energy[y + 1, 0], energy[y + 1, wide + 1] = row[0], row[wide - 1]
    for i in range(wide + 2):
        energy[0, i], energy[count + 1, i] = energy[1, i], energy[count, i]
    one = epsilon / epsilon
    for y in range(count + 1):
        above, below, row = energy[y], energy[y + 1], factor[y]
        for i in range(wide + 1):
            row[i] = one / math.sqrt(above[i] + above[i + 1] + below[i] + below[i + 1] + epsilon)


@step
def _texture_channel(variant, half, k):
    """Where the texture of block k goes; blocks count upper-left, upper-right, lower-left, lower-right."""
    return 3 * half + (3 - k if variant == DPM and k % 3 == 0 else k)


@step
def _gather_planes(cells, o, planes):
    """Bins o and o + O of all cells, and their sum, (3, R, S)."""
    half = cells.shape[1] // 2
    for y in range(cells.shape[0]):
        first, second = cells[y, o], cells[y, o + half]
        for i in range(first.shape[0]):
            planes[0, y, i], planes[1, y, i], planes[2, y, i] = first[i], second[i], first[i] + second[i]


@step
def _add_clamped(plane, factor, k, clamp, leak, weight, trim, code):
    below, right = k // 2, k % 2
    for y in range(trim, plane.shape[0] - trim):
        for i in range(trim, plane.shape[1] - trim):
            p = plane[y, i] * factor[y + below, i + right]
            code[y - trim, i - trim] += weight * (p if p < clamp else clamp + leak * (p - clamp))


@kernel
def normalise(cells, variant, texture, constants, code, first, last, bands):
    """Fill codes (N, D, h, w), which start as zeros, from cells (N, R, 2O, S)."""
    epsilon, clamp, leak, share, texture_share = constants
    count, bins, wide = cells.shape[1:]
    half, trim = bins // 2, 1 if variant == DPM else 0
    energy, factor = np.empty((count + 2, wide + 2), cells.dtype), np.empty((count + 1, wide + 1), cells.dtype)
    planes = np.empty((3, count, wide), cells.dtype)
    one = clamp / clamp
    for n in range(first, last):
        _factor_rows(cells[n], epsilon, energy, factor)
        for o in range(half):
            _gather_planes(cells[n], o, planes)
            for k in range(4):
                if variant == DALAL_TRIGGS:
                    _add_clamped(planes[2], factor, k, clamp, leak, one, trim, code[n, k * half + o])
                    continue
                for part in range(3):
                    _add_clamped(planes[part], factor, k, clamp, leak, share, trim, code[n, part * half + o])
                    if texture and (part < 2) == (variant == DPM):
                        target = code[n, _texture_channel(variant, half, k)]
                        _add_clamped(planes[part], factor, k, clamp, leak, texture_share, trim, target)


@step
def _add_derivative(plane, factor, k, clamp, leak, trim, weight, a, texture_weight, b, dplane, dfactor, g):
    """Add to the derivatives by a plane and by the factors, given a and b, those by the code and by its texture."""
    below, right = k // 2, k % 2
    one = clamp / clamp
    for y in range(trim, plane.shape[0] - trim):
        for i in range(g.shape[0]):
            g[i] = weight * a[y - trim, i] + texture_weight * b[y - trim, i]
        for i in range(g.shape[0]):
            h, f = plane[y, i + trim], factor[y + below, i + trim + right]
            passed = g[i] * (one if h * f <= clamp else leak)
            dplane[y, i + trim] += passed * f
            dfactor[y + below, i + trim + right] += passed * h


@step
def _energy_derivative(cells, factor, df, denergy, out):
    """Add what the derivative by the factors means for the cells, through the blocks' energies."""
    count, bins, wide = cells.shape
    half = bins // 2
    denergy[:] = 0
    for y in range(count + 1):
        for i in range(wide + 1):
            d = -factor[y, i] * factor[y, i] * factor[y, i] * df[y, i]
            denergy[y, i] += d
            denergy[y, i + 1] += d
            denergy[y + 1, i] += d
            denergy[y + 1, i + 1] += d
    for i in range(wide + 2):
        denergy[1, i] += denergy[0, i]
        denergy[count, i] += denergy[count + 1, i]
    for y in range(count + 2):
        denergy[y, 1] += denergy[y, 0]
        denergy[y, wide] += denergy[y, wide + 1]
    for y in range(count):
        row = denergy[y + 1, 1:wide + 1]
        for o in range(half):
            h1, h2 = cells[y, o], cells[y, o + half]
            for d in (out[y, o], out[y, o + half]):
                for i in range(wide):
                    d[i] += (h1[i] + h2[i]) * row[i]


@kernel
def normalise_derivative(cells, variant, texture, constants, upstream, out, first, last, bands):
    """Fill the derivative by the cells (N, R, 2O, S), given that by the codes (N, D, h, w)."""
    epsilon, clamp, leak, share, texture_share = constants
    count, bins, wide = cells.shape[1:]
    half, trim = bins // 2, 1 if variant == DPM else 0
    energy, denergy = np.empty((count + 2, wide + 2), cells.dtype), np.empty((count + 2, wide + 2), cells.dtype)
    factor, dfactor = np.empty((count + 1, wide + 1), cells.dtype), np.empty((count + 1, wide + 1), cells.dtype)
    planes, dplanes = np.empty((3, count, wide), cells.dtype), np.empty((3, count, wide), cells.dtype)
    g, zero, one = np.empty(wide - 2 * trim, cells.dtype), clamp - clamp, clamp / clamp
    for n in range(first, last):
        _factor_rows(cells[n], epsilon, energy, factor)
        dfactor[:] = 0
        for o in range(half):
            _gather_planes(cells[n], o, planes)
            dplanes[:] = 0
            for k in range(4):
                if variant == DALAL_TRIGGS:
                    a = upstream[n, k * half + o]
                    _add_derivative(planes[2], factor, k, clamp, leak, trim, one, a, zero, a, dplanes[2], dfactor, g)
                    continue
                b = upstream[n, _texture_channel(variant, half, k) if texture else 0]
                for part in range(3):
                    weight = texture_share if texture and (part < 2) == (variant == DPM) else zero
                    a = upstream[n, part * half + o]
                    _add_derivative(planes[part], factor, k, clamp, leak, trim, share, a, weight, b, dplanes[part],
                                    dfactor, g)
            for y in range(count):
                for part in range(2):
                    target = out[n, y, o + part * half]
                    for i in range(wide):
                        target[i] = dplanes[part, y, i] + dplanes[2, y, i]
        _energy_derivative(cells[n], factor, dfactor, denergy, out[n])

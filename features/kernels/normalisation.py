# mypy: disable-error-code="no-untyped-def"
"""HOG's block normalisation of one batch of cells, and its derivative, row by row of cells."""

from __future__ import annotations

import math

import numpy as np

from .gradient import jit

UOCTTI, DPM, DALAL_TRIGGS = range(3)


@jit
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
    energy[0] = energy[1]
    energy[count + 1] = energy[count]
    one = epsilon / epsilon
    for y in range(count + 1):
        above, below, row = energy[y], energy[y + 1], factor[y]
        for i in range(wide + 1):
            row[i] = one / math.sqrt(above[i] + above[i + 1] + below[i] + below[i + 1] + epsilon)


@jit
def _add_clamped(h, f, clamp, weight, out):
    for i in range(out.shape[0]):
        p = h[i] * f[i]
        out[i] += weight * (p if p < clamp else clamp)


@jit
def _texture_channel(variant, half, k):
    """Where the texture of block k goes; blocks count upper-left, upper-right, lower-left, lower-right."""
    order = 3 - k if (variant == DPM and k % 3 == 0) else k
    return 3 * half + order


@jit
def _code_cell_row(h1, h2, u, factors, variant, texture, constants, half, o, code):
    """Add what bins o and o + O of one row of cells give to the codes of that row, (D, w)."""
    _, clamp, share, texture_share = constants
    one, inner = clamp / clamp, code.shape[1]
    for k in range(4):
        f = factors[k // 2, k % 2:k % 2 + inner]
        if variant == DALAL_TRIGGS:
            _add_clamped(u, f, clamp, one, code[k * half + o])
            continue
        _add_clamped(h1, f, clamp, share, code[o])
        _add_clamped(h2, f, clamp, share, code[half + o])
        _add_clamped(u, f, clamp, share, code[2 * half + o])
        if texture and variant == DPM:
            target = code[_texture_channel(variant, half, k)]
            _add_clamped(h1, f, clamp, texture_share, target)
            _add_clamped(h2, f, clamp, texture_share, target)
        elif texture:
            _add_clamped(u, f, clamp, texture_share, code[_texture_channel(variant, half, k)])


@jit
def normalise(cells, variant, texture, constants, code, first, last, bands):
    """Fill codes (N, D, h, w), which start as zeros, from cells (N, R, 2O, S)."""
    count, bins, wide = cells.shape[1:]
    half, trim = bins // 2, 1 if variant == DPM else 0
    energy = np.empty((count + 2, wide + 2), cells.dtype)
    factor = np.empty((count + 1, wide + 1), cells.dtype)
    both = np.empty(wide - 2 * trim, cells.dtype)
    for n in range(first, last):
        _factor_rows(cells[n], constants[0], energy, factor)
        for y in range(trim, count - trim):
            for o in range(half):
                h1, h2 = cells[n, y, o, trim:wide - trim], cells[n, y, o + half, trim:wide - trim]
                for i in range(both.shape[0]):
                    both[i] = h1[i] + h2[i]
                _code_cell_row(h1, h2, both, factor[y:y + 2, trim:], variant, texture, constants, half, o,
                               code[n, :, y - trim])


@jit
def _mix(a, x, b, y, out):
    for i in range(out.shape[0]):
        out[i] = a * x[i] + b * y[i]


@jit
def _clamped_derivative(h, f, upstream, clamp, dh, df):
    zero = clamp - clamp
    for i in range(h.shape[0]):
        g = upstream[i] if h[i] * f[i] <= clamp else zero
        dh[i] += g * f[i]
        df[i] += g * h[i]


@jit
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
    denergy[1] += denergy[0]
    denergy[count] += denergy[count + 1]
    denergy[:, 1] += denergy[:, 0]
    denergy[:, wide] += denergy[:, wide + 1]
    for y in range(count):
        row = denergy[y + 1, 1:wide + 1]
        for o in range(half):
            h1, h2 = cells[y, o], cells[y, o + half]
            d1, d2 = out[y, o], out[y, o + half]
            for i in range(wide):
                d1[i] += (h1[i] + h2[i]) * row[i]
            for i in range(wide):
                d2[i] += (h1[i] + h2[i]) * row[i]


@jit
def _derivative_cell_row(h, factors, variant, texture, constants, half, o, upstream, dh, dfactors, g):
    """Add to the derivatives by the factors and by h, (3, w): bins o and o + O of a row of cells, and their sum."""
    _, clamp, share, texture_share = constants
    inner, zero = h.shape[1], clamp - clamp
    directed = texture_share if texture and variant == DPM else zero
    undirected = texture_share if texture and variant == UOCTTI else zero
    for k in range(4):
        f, df = factors[k // 2, k % 2:k % 2 + inner], dfactors[k // 2, k % 2:k % 2 + inner]
        if variant == DALAL_TRIGGS:
            _clamped_derivative(h[2], f, upstream[k * half + o], clamp, dh[2], df)
            continue
        t = upstream[_texture_channel(variant, half, k) if texture else 0]
        for part in range(3):
            _mix(share, upstream[part * half + o], undirected if part == 2 else directed, t, g)
            _clamped_derivative(h[part], f, g, clamp, dh[part], df)


@jit
def normalise_derivative(cells, variant, texture, constants, upstream, out, first, last, bands):
    """Fill the derivative by the cells (N, R, 2O, S), which starts as zeros, given that by the codes (N, D, h, w)."""
    count, bins, wide = cells.shape[1:]
    half, trim = bins // 2, 1 if variant == DPM else 0
    inner = wide - 2 * trim
    energy, denergy = np.empty((count + 2, wide + 2), cells.dtype), np.empty((count + 2, wide + 2), cells.dtype)
    factor, dfactor = np.empty((count + 1, wide + 1), cells.dtype), np.empty((count + 1, wide + 1), cells.dtype)
    h, dh, g = np.empty((3, inner), cells.dtype), np.empty((3, inner), cells.dtype), np.empty(inner, cells.dtype)
    for n in range(first, last):
        _factor_rows(cells[n], constants[0], energy, factor)
        dfactor[:] = 0
        for y in range(trim, count - trim):
            for o in range(half):
                h[0], h[1] = cells[n, y, o, trim:wide - trim], cells[n, y, o + half, trim:wide - trim]
                h[2] = h[0] + h[1]
                dh[:] = 0
                _derivative_cell_row(h, factor[y:y + 2, trim:], variant, texture, constants, half, o,
                                     upstream[n, :, y - trim], dh, dfactor[y:y + 2, trim:], g)
                out[n, y, o, trim:wide - trim] = dh[0] + dh[2]
                out[n, y, o + half, trim:wide - trim] = dh[1] + dh[2]
        _energy_derivative(cells[n], factor, dfactor, denergy, out[n])

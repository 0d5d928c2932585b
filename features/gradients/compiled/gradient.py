# mypy: disable-error-code="no-untyped-def"
"""How the gradients of pixels are shared between orientation bins: passes over rows (N·H, W).

Every stage is a short loop over a row that the compiler turns into vector instructions. Nothing depends on the batch,
the number of threads or other rows, so that values repeat bit by bit. Each pass takes the rows from first · height /
bands to last · height / bands.
"""

from __future__ import annotations

import math

import numpy as np

from ...jit import kernel, step


@kernel
def nearest_bins(gx, gy, directions, length, best, nearest, height, first, last, bands):
    """Lengths of gradients, the nearest directed bins, which start as 0, and the products with their directions."""
    count = directions.shape[0] // 2
    for y in range(first * height // bands, last * height // bands):
        across, down, size, largest, bins = gx[y], gy[y], length[y], best[y], nearest[y]
        for i in range(size.shape[0]):
            size[i] = math.sqrt(across[i] * across[i] + down[i] * down[i])
            largest[i] = -1
        for o in range(count):
            ux, uy = directions[o, 0], directions[o, 1]
            one, opposite = np.int32(o), np.int32(o + count)
            for i in range(size.shape[0]):
                product = across[i] * ux + down[i] * uy
                found = abs(product)
                better = found > largest[i]
                bins[i] = (opposite if product < 0 else one) if better else bins[i]
                largest[i] = found if better else largest[i]


@step
def _turn_row(gx, gy, directions, nearest, following, along, cross):
    """The gradient along and across the direction of its nearest bin, and the bin on that side of it."""
    count = np.int32(directions.shape[0])
    for i in range(gx.shape[0]):
        ux, uy = directions[nearest[i], 0], directions[nearest[i], 1]
        along[i] = ux * gx[i] + uy * gy[i]
        cross[i] = ux * gy[i] - uy * gx[i]
    for i in range(gx.shape[0]):
        side = np.int32(-1) if cross[i] < 0 else np.int32(1)
        b = nearest[i] + side
        b = b + count if b < 0 else b
        following[i] = b - count if b >= count else b


@step
def _polynomial_row(z, coefficients, out):
    for i in range(z.shape[0]):
        out[i] = coefficients[-1]
    for k in range(len(coefficients) - 2, -1, -1):
        a = coefficients[k]
        for i in range(z.shape[0]):
            out[i] = out[i] * z[i] + a


@kernel
def linear_shares(gx, gy, length, nearest, following, share, slope, directions, coefficients, unit, height, first,
                  last, bands):
    """Share t = O/π · acos(best / length), with acos(1 − z) = √(2z) · polynomial(z); it holds best before."""
    zero, one = unit - unit, unit / unit
    z, along = np.empty(gx.shape[1], gx.dtype), np.empty(gx.shape[1], gx.dtype)
    for y in range(first * height // bands, last * height // bands):
        cross, shares = slope[y], share[y]
        for i in range(z.shape[0]):
            z[i] = one - shares[i] / length[y, i] if shares[i] < length[y, i] else zero
        _turn_row(gx[y], gy[y], directions, nearest[y], following[y], along, cross)
        _polynomial_row(z, coefficients, shares)
        for i in range(z.shape[0]):
            shares[i] *= math.sqrt(z[i])
            cross[i] = -unit if cross[i] < 0 else (unit if cross[i] > 0 else zero)


@kernel
def smooth_shares(gx, gy, length, nearest, following, share, slope, directions, coefficients, unit, softness,
                  exponential, bits, exponents, height, first, last, bands):
    """Share σ((t − ½) / softness), t = 2 O/π · atan(q), q = |u × g| / (length + u · g) = tan of half the angle.

    exp(v) is 2^k, whose bits are written into the memory of the share, times a polynomial on [0, log 2); v is clipped
    where that would leave the normal numbers.
    """
    zero, one = unit - unit, unit / unit
    half = one / (one + one)
    log2, limit, bias, shift = exponential[0], exponential[1], exponents[0], exponents[1]
    tangent, v = np.empty(gx.shape[1], gx.dtype), np.empty(gx.shape[1], gx.dtype)
    for y in range(first * height // bands, last * height // bands):
        cross, shares, powers = slope[y], share[y], bits[y]
        _turn_row(gx[y], gy[y], directions, nearest[y], following[y], tangent, cross)
        for i in range(v.shape[0]):
            far = length[y, i] + tangent[i]
            tangent[i] = abs(cross[i]) / far if far > 0 else zero
            v[i] = tangent[i] * tangent[i]
        _polynomial_row(v, coefficients, shares)
        for i in range(v.shape[0]):
            a = (shares[i] * tangent[i] - half) / softness
            a = -limit if a < -limit else (limit if a > limit else a)
            k = math.floor(a / log2)
            tangent[i] = a - k * log2
            powers[i] = (k + bias) << shift
        _polynomial_row(tangent, exponential[2:], v)
        for i in range(v.shape[0]):
            e = v[i] * shares[i]
            e = e / (one + e)
            side = -unit if cross[i] < 0 else (unit if cross[i] > 0 else zero)
            cross[i] = e * (one - e) / softness * side
            shares[i] = e


@kernel
def cubic_shares(gx, gy, length, nearest, following, share, slope, constants, unit, count, height, first, last, bands):
    """The two bins beside VLFeat's fast angle, a cubic of r = (|gx| − |gy|) / (|gx| + |gy|) in each quadrant."""
    c1, c3, epsilon, quarter, least = constants
    one = unit / unit
    two, three = one + one, one + one + one
    for y in range(first * height // bands, last * height // bands):
        across, down, size = gx[y], gy[y], length[y]
        for i in range(size.shape[0]):
            far = math.sqrt(across[i] * across[i] + down[i] * down[i])
            size[i] = far if far >= least else one - one
        for i in range(size.shape[0]):
            x, tall = across[i], abs(down[i]) + epsilon
            wide = abs(x)
            forward = x >= 0
            r = (x - tall if forward else x + tall) / (wide + tall)
            angle = (quarter if forward else three * quarter) + (c3 * r * r - c1) * r
            place = (-angle if down[i] < 0 else angle) * unit
            lower = math.floor(place)
            share[y, i] = place - lower
            b = np.int32(lower)
            b = np.int32(b + count) if b < 0 else b
            nearest[y, i] = b
            following[y, i] = b + 1 if b + 1 < count else 0
            turn = two * (c1 - three * c3 * r * r) / ((wide + tall) * (wide + tall))
            slope[y, i] = unit * turn * (x * x + down[i] * down[i])

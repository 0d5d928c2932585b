# mypy: disable-error-code="no-untyped-def"
"""One row of pixels: its gradient, and how that is shared between orientation bins.

Every stage is a short loop over a row buffer that the compiler turns into vector instructions. Nothing here depends
on the batch, the number of threads or the neighbouring rows' results, so that values repeat bit by bit.
"""

from __future__ import annotations

import math

import numpy as np
from numba.extending import overload

from ...jit import STEP, step
from .bin_tables import SMOOTH, CubicTable, LinearTable

# Rows of the work space that `share_row` fills.
GX, GY, LENGTH, SHARE, SLOPE, BEST, A, B, C = range(9)


@step
def difference_row(plane, y, left, scale, gx, gy):
    """Gradient of row y of an image (H, W) in the columns from `left` that fit into gx and gy."""
    (height, width), count = plane.shape, gx.shape[0]
    above, below, row = plane[max(y - 1, 0), left:], plane[min(y + 1, height - 1), left:], plane[y]
    for i in range(count):
        gy[i] = scale * below[i] - scale * above[i]
    if y == 0 or y == height - 1:
        for i in range(count):
            gy[i] += gy[i]
    begin, end = max(left, 1), min(left + count, width - 1)
    before, after, inner = row[begin - 1:], row[begin + 1:], gx[begin - left:end - left]
    for i in range(inner.shape[0]):
        inner[i] = scale * after[i] - scale * before[i]
    if left == 0:
        first = scale * row[1] - scale * row[0]
        gx[0] = first + first
    if left + count == width:
        last = scale * row[width - 1] - scale * row[width - 2]
        gx[count - 1] = last + last


@step
def _strongest_row(image, y, scale, work, channel):
    """Gradient of the strongest channel into work[GX], work[GY]; which it was into channel."""
    gx, gy, other_x, other_y, better = work[GX], work[GY], work[A], work[B], work[C]
    difference_row(image[0], y, 0, scale, gx, gy)
    channel[:] = 0
    for c in range(1, image.shape[0]):
        difference_row(image[c], y, 0, scale, other_x, other_y)
        for i in range(gx.shape[0]):
            better[i] = (other_x[i] * other_x[i] + other_y[i] * other_y[i]) - (gx[i] * gx[i] + gy[i] * gy[i])
        for kept, other in ((gx, other_x), (gy, other_y)):
            for i in range(gx.shape[0]):
                a, b = other[i], kept[i]
                kept[i] = a if better[i] > 0 else b
        for i in range(gx.shape[0]):
            before = channel[i]
            channel[i] = np.int32(c) if better[i] > 0 else before


@step
def _nearest_row(gx, gy, directions, best, nearest):
    count = directions.shape[0] // 2
    best[:] = -1
    for o in range(count):
        ux, uy = directions[o, 0], directions[o, 1]
        first, second = np.int32(o), np.int32(o + count)
        for i in range(gx.shape[0]):
            product = gx[i] * ux + gy[i] * uy
            size = abs(product)
            better = size > best[i]
            nearest[i] = (second if product < 0 else first) if better else nearest[i]
            best[i] = size if better else best[i]


@step
def _polynomial_row(z, coefficients, out):
    out[:] = coefficients[-1]
    for k in range(len(coefficients) - 2, -1, -1):
        a = coefficients[k]
        for i in range(z.shape[0]):
            out[i] = out[i] * z[i] + a


@step
def _exponential_row(v, coefficients, exponents, bits, out):
    """exp(v), as 2^k times a polynomial on [0, log 2); v is clipped where that would leave the normal numbers."""
    powers = bits.view(out.dtype)
    step, limit = coefficients[0], coefficients[1]
    bias, shift = exponents
    for i in range(v.shape[0]):
        a = min(max(v[i], -limit), limit)
        k = math.floor(a / step)
        v[i] = a - k * step
        bits[i] = (int(k) + bias) << shift
    _polynomial_row(v, coefficients[2:], out)
    for i in range(v.shape[0]):
        out[i] *= powers[i]


@step
def _turn_row(work, directions, nearest, following, along, cross):
    """The gradient along and across the direction of its nearest bin, and the bin on that side of it."""
    gx, gy, count = work[GX], work[GY], np.int32(directions.shape[0])
    for i in range(gx.shape[0]):
        ux, uy = directions[nearest[i], 0], directions[nearest[i], 1]
        along[i] = ux * gx[i] + uy * gy[i]
        cross[i] = ux * gy[i] - uy * gx[i]
    for i in range(gx.shape[0]):
        step = np.int32(-1) if cross[i] < 0 else np.int32(1)
        b = nearest[i] + step
        b = b + count if b < 0 else b
        following[i] = b - count if b >= count else b


@step
def _linear_share(work, table, nearest, following):
    """Share t = O/π · acos(best / length), with acos(1 − z) = √(2z) · polynomial(z)."""
    length, best, share, slope = work[LENGTH], work[BEST], work[SHARE], work[SLOPE]
    cross, z, root, unit = work[A], work[B], work[C], table.unit
    zero, one = unit - unit, unit / unit
    _turn_row(work, table.exact, nearest, following, z, cross)
    for i in range(z.shape[0]):
        z[i] = one - best[i] / length[i] if best[i] < length[i] else zero
    for i in range(z.shape[0]):
        root[i] = math.sqrt(z[i])
    _polynomial_row(z, table.coefficients, share)
    for i in range(z.shape[0]):
        share[i] *= root[i]
    for i in range(z.shape[0]):
        slope[i] = -unit if cross[i] < 0 else (unit if cross[i] > 0 else zero)


@step
def _smooth_share(work, table, nearest, following, bits):
    """Share σ((t − ½) / softness), t = 2 O/π · atan(q), q = |u × g| / (length + u · g) = tan of half the angle."""
    length, share, slope = work[LENGTH], work[SHARE], work[SLOPE]
    cross, q, z, unit, softness = work[A], work[B], work[C], table.unit, table.softness
    zero, one = unit - unit, unit / unit
    half = one / (one + one)
    _turn_row(work, table.exact, nearest, following, q, cross)
    for i in range(q.shape[0]):
        far = length[i] + q[i]
        q[i] = abs(cross[i]) / far if far > 0 else zero
    for i in range(q.shape[0]):
        z[i] = q[i] * q[i]
    _polynomial_row(z, table.coefficients, share)
    for i in range(q.shape[0]):
        z[i] = (share[i] * q[i] - half) / softness
    _exponential_row(z, table.exponential, table.exponents, bits, share)
    for i in range(q.shape[0]):
        share[i] = share[i] / (one + share[i])
    for i in range(q.shape[0]):
        side = -unit if cross[i] < 0 else (unit if cross[i] > 0 else zero)
        slope[i] = share[i] * (one - share[i]) / softness * side


@step
def _cubic_share(work, table, nearest, following):
    """The two bins beside VLFeat's fast angle, a cubic of r = (|gx| − |gy|) / (|gx| + |gy|) in each quadrant."""
    c1, c3, epsilon, quarter, least = table.coefficients
    gx, gy, length, share, slope = work[GX], work[GY], work[LENGTH], work[SHARE], work[SLOPE]
    count, unit = np.int32(table.exact.shape[0]), table.unit
    one = unit / unit
    two, three = one + one, one + one + one
    for i in range(gx.shape[0]):
        length[i] = length[i] if length[i] >= least else one - one
    for i in range(gx.shape[0]):
        x = gx[i]
        tall = abs(gy[i]) + epsilon
        wide = abs(x)
        forward = x >= 0
        r = (x - tall if forward else x + tall) / (wide + tall)
        angle = (quarter if forward else three * quarter) + (c3 * r * r - c1) * r
        place = (-angle if gy[i] < 0 else angle) * unit
        lower = math.floor(place)
        share[i] = place - lower
        b = np.int32(lower)
        b = np.int32(b + count) if b < 0 else b
        nearest[i] = b
        following[i] = b + 1 if b + 1 < count else 0
        turn = two * (c1 - three * c3 * r * r) / ((wide + tall) * (wide + tall))
        slope[i] = unit * turn * (x * x + gy[i] * gy[i])


def _share(work, table, nearest, following, bits):
    """Fill the two bins of a row, what the second gets, and the derivative of that: in the way of the table's type."""


@overload(_share, jit_options=STEP)
def _share_of_type(work, table, nearest, following, bits):
    def hard_or_smooth(work, table, nearest, following, bits):
        _nearest_row(work[GX], work[GY], table.rounded, work[BEST], nearest)
        if table.mode == SMOOTH:
            _smooth_share(work, table, nearest, following, bits)

    def linear(work, table, nearest, following, bits):
        _nearest_row(work[GX], work[GY], table.rounded, work[BEST], nearest)
        _linear_share(work, table, nearest, following)

    def cubic(work, table, nearest, following, bits):
        _cubic_share(work, table, nearest, following)

    return {LinearTable: linear, CubicTable: cubic}.get(table.instance_class, hard_or_smooth)


@step
def row_buffers(table, width):
    """Buffers for `share_row`: work space, the two bins, the strongest channel, and bits of floats.

    Bins start as 0, which those of NaN remain.
    """
    work, bits = np.empty((9, width), table.exact.dtype), np.empty(width, table.exponents.dtype)
    bins = np.zeros((3, width), np.int32)
    return work, bins[0], bins[1], bins[2], bits


@step
def share_row(image, y, scale, table, buffers):
    """Fill the buffers for row y of one image (C, H, W).

    work[GX], work[GY] and work[LENGTH] get the gradient, nearest and following the two bins, work[SHARE] what the
    second gets of the length, and work[SLOPE] the derivative of that by the angle.
    """
    work, nearest, following, channel, bits = buffers
    _strongest_row(image, y, scale, work, channel)
    gx, gy, length = work[GX], work[GY], work[LENGTH]
    for i in range(length.shape[0]):
        length[i] = math.sqrt(gx[i] * gx[i] + gy[i] * gy[i])
    _share(work, table, nearest, following, bits)

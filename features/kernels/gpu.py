# mypy: disable-error-code="no-untyped-def,no-untyped-call,assignment,var-annotated"
"""The two passes over the pixels on a GPU: histograms of cells, and the derivative by the image.

A `runs.Runs` divides each axis into runs of `pitch` pixels, the first at `first`. The pixels of run k count for the
`reach` cells from k + base on, with weights (pixels, reach). Nothing is added by several programs to one number, so
that results repeat bit by bit and do not depend on the batch.
"""

from __future__ import annotations

import triton
import triton.language as tl

HARD, LINEAR, SMOOTH, CUBIC = (tl.constexpr(mode) for mode in range(4))


@triton.jit
def _gradient(image, y, x, height, width, SCALE: tl.constexpr, CHANNELS: tl.constexpr):
    """Differences of the strongest channel at some pixels of the image, and which channel it was."""
    above, below = tl.maximum(y - 1, 0) * width, tl.minimum(y + 1, height - 1) * width
    left, right = tl.maximum(x - 1, 0), tl.minimum(x + 1, width - 1)
    twice_x, twice_y = (x == 0) | (x == width - 1), (y == 0) | (y == height - 1)
    scale_x = tl.where(twice_x, 2.0, 1.0).to(image.dtype.element_ty) * SCALE
    scale_y = tl.where(twice_y, 2.0, 1.0).to(image.dtype.element_ty) * SCALE
    gx = (tl.load(image + y * width + right) - tl.load(image + y * width + left)) * scale_x
    gy = (tl.load(image + below + x) - tl.load(image + above + x)) * scale_y
    channel = tl.zeros(gx.shape, tl.int32)
    for c in tl.static_range(1, CHANNELS):
        plane = image + c * height * width
        dx = (tl.load(plane + y * width + right) - tl.load(plane + y * width + left)) * scale_x
        dy = (tl.load(plane + below + x) - tl.load(plane + above + x)) * scale_y
        stronger = dx * dx + dy * dy > gx * gx + gy * gy
        gx, gy = tl.where(stronger, dx, gx), tl.where(stronger, dy, gy)
        channel = tl.where(stronger, c, channel)
    return gx, gy, channel


@triton.jit
def _divide(a, b):
    """The quotient rounded to nearest, which only single precision needs to be asked for."""
    return tl.div_rn(a, b) if a.dtype == tl.float32 else a / b


@triton.jit
def _root(a):
    return tl.sqrt_rn(a) if a.dtype == tl.float32 else tl.sqrt(a)


@triton.jit
def _polynomial(z, COEFFICIENTS: tl.constexpr):
    value = z * 0 + COEFFICIENTS[len(COEFFICIENTS) - 1]
    for k in tl.static_range(len(COEFFICIENTS) - 1):
        value = value * z + COEFFICIENTS[len(COEFFICIENTS) - 2 - k]
    return value


@triton.jit
def _nearest(gx, gy, DIRECTIONS: tl.constexpr, BINS: tl.constexpr):
    """The nearest directed bin, and the size of the product with its direction."""
    best, nearest = gx * DIRECTIONS[0] + gy * DIRECTIONS[1], tl.zeros(gx.shape, tl.int32)
    for o in tl.static_range(1, BINS // 2):
        product = gx * DIRECTIONS[2 * o] + gy * DIRECTIONS[2 * o + 1]
        better = tl.abs(product) > tl.abs(best)
        best, nearest = tl.where(better, product, best), tl.where(better, o, nearest)
    return tl.where(best < 0, nearest + BINS // 2, nearest), tl.abs(best)


@triton.jit
def _cubic(gx, gy, square, UNIT: tl.constexpr, BINS: tl.constexpr, COEFFICIENTS: tl.constexpr):
    tall, wide, forward = tl.abs(gy) + COEFFICIENTS[2], tl.abs(gx), gx >= 0
    r = _divide(tl.where(forward, gx - tall, gx + tall), wide + tall)
    angle = (COEFFICIENTS[1] * r * r - COEFFICIENTS[0]) * r
    angle = tl.where(forward, angle + COEFFICIENTS[3], angle + 3 * COEFFICIENTS[3])
    place = tl.where(gy < 0, -angle, angle) * UNIT
    lower = tl.floor(place)
    nearest = lower.to(tl.int32)
    nearest = tl.where(nearest < 0, nearest + BINS, nearest)
    turn = 2 * (COEFFICIENTS[0] - 3 * COEFFICIENTS[1] * r * r) / ((wide + tall) * (wide + tall))
    return nearest, place - lower, UNIT * turn * square


@triton.jit
def _share(gx, gy, table, DIRECTIONS: tl.constexpr, BINS: tl.constexpr, MODE: tl.constexpr, UNIT: tl.constexpr,
           SOFTNESS: tl.constexpr, COEFFICIENTS: tl.constexpr):
    """Length, the two bins, what the second gets of the length, and the derivative of that by the angle."""
    square = gx * gx + gy * gy
    length = _root(square) if MODE == LINEAR else tl.sqrt(square)
    if MODE == CUBIC:
        length = tl.where(length >= COEFFICIENTS[4], length, 0.0)
        nearest, share, slope = _cubic(gx, gy, square, UNIT, BINS, COEFFICIENTS)
        following = tl.where(nearest + 1 < BINS, nearest + 1, 0)
    else:
        nearest, size = _nearest(gx, gy, DIRECTIONS, BINS)
        following, share, slope = nearest, gx * 0, gx * 0
        if MODE != HARD:
            ux, uy = tl.load(table + 2 * nearest), tl.load(table + 2 * nearest + 1)
            along, cross = ux * gx + uy * gy, ux * gy - uy * gx
            following = tl.where(cross < 0, nearest + BINS - 1, nearest + 1) % BINS
            side = tl.where(cross < 0, share - UNIT, tl.where(cross > 0, share + UNIT, 0.0))
            if MODE == LINEAR:
                z = tl.where(size < length, 1 - _divide(size, tl.where(length > 0, length, 1.0)), 0.0)
                share, slope = _polynomial(z, COEFFICIENTS) * _root(z), side
            else:
                far = length + along
                q = tl.where(far > 0, tl.abs(cross) / tl.where(far > 0, far, 1.0), 0.0)
                v = (_polynomial(q * q, COEFFICIENTS) * q - 0.5) / SOFTNESS
                share = 1 / (1 + tl.exp(-v))
                slope = share * (1 - share) / SOFTNESS * side
    return length, nearest, following, share, slope


@triton.jit
def pool(image, table, rows, columns, parts, height, width, runs, first_y, first_x, SCALE: tl.constexpr,
         PITCH_Y: tl.constexpr, PITCH_X: tl.constexpr, REACH_Y: tl.constexpr, REACH_X: tl.constexpr,
         CHANNELS: tl.constexpr, DIRECTIONS: tl.constexpr, BINS: tl.constexpr, MODE: tl.constexpr, UNIT: tl.constexpr,
         SOFTNESS: tl.constexpr, COEFFICIENTS: tl.constexpr, NEXT: tl.constexpr, LANES: tl.constexpr,
         SIDE: tl.constexpr):
    """Parts (N, runs along y, reach, bins, reach, runs along x) of the histograms: what each run adds to each cell.

    A program takes one run along y, row after row, and SIDE runs along x, of LANES groups of NEXT neighbours.
    """
    strip, k, n = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    image += n * CHANNELS * height * width
    lane = tl.arange(0, SIDE * LANES)[None, :]
    run, i = strip * SIDE + lane // LANES, (lane % LANES) * NEXT + tl.arange(0, NEXT)[:, None]
    x = first_x + run * PITCH_X + i
    inside_x = (i < PITCH_X) & (run < runs) & (x >= 0) & (x < width)
    x = tl.minimum(tl.maximum(x, 0), width - 1)
    histograms = ()
    for part in tl.static_range(REACH_Y * BINS):  # noqa: B007
        histograms = histograms + (tl.zeros([NEXT, SIDE * LANES], image.dtype.element_ty),)  # noqa: RUF005
    for j in range(PITCH_Y):
        y = first_y + k * PITCH_Y + j
        inside = inside_x & (y >= 0) & (y < height)
        y = tl.minimum(tl.maximum(y, 0), height - 1)
        gx, gy, _channel = _gradient(image, y, x, height, width, SCALE, CHANNELS)
        length, nearest, following, share, _slope = _share(gx, gy, table, DIRECTIONS, BINS, MODE, UNIT, SOFTNESS,
                                                           COEFFICIENTS)
        length = tl.where(inside, length, 0.0)
        second = length * share
        first = length - second if MODE != HARD else length
        after = ()
        for b in tl.static_range(BINS):
            for e in tl.static_range(REACH_Y):
                before, weight = histograms[b * REACH_Y + e], tl.load(rows + y * REACH_Y + e)
                if MODE == HARD:
                    added = tl.where(nearest == b, before + first * weight, before)
                else:
                    added = before + tl.where(nearest == b, first, tl.where(following == b, second, 0.0)) * weight
                after = after + (added,)  # noqa: RUF005
        histograms = after
    place = strip * SIDE + tl.arange(0, SIDE)
    parts += (n * tl.num_programs(1) + k) * REACH_Y * BINS * REACH_X * runs
    for f in tl.static_range(REACH_X):
        weight = tl.load(columns + x * REACH_X + f)
        for b in tl.static_range(BINS):
            for e in tl.static_range(REACH_Y):
                column = tl.sum(histograms[b * REACH_Y + e] * weight, axis=0)
                total = tl.sum(tl.reshape(column, [SIDE, LANES]), axis=1)
                tl.store(parts + ((e * BINS + b) * REACH_X + f) * runs + place, total, mask=place < runs)


@triton.jit
def gather_cells(parts, cells, cells_y, cells_x, runs_y, runs_x, base_y, base_x, REACH_Y: tl.constexpr,
                 REACH_X: tl.constexpr, BINS: tl.constexpr, SIZE: tl.constexpr):
    """Cells (N, bins, R, S) from the parts that the runs add to them."""
    index, n = tl.program_id(0) * SIZE + tl.arange(0, SIZE), tl.program_id(1).to(tl.int64)
    plane = cells_y * cells_x
    k, m = index // cells_x - base_y, index % cells_x - base_x
    parts += n * runs_y * REACH_Y * BINS * REACH_X * runs_x
    cells += n * BINS * plane
    for b in tl.static_range(BINS):
        total = tl.zeros([SIZE], cells.dtype.element_ty)
        for e in tl.static_range(REACH_Y):
            row = parts + (((k - e) * REACH_Y + e) * BINS + b) * REACH_X * runs_x
            for f in tl.static_range(REACH_X):
                known = (index < plane) & (k >= e) & (k - e < runs_y) & (m >= f) & (m - f < runs_x)
                total += tl.load(row + f * runs_x + m - f, mask=known, other=0.0)
        tl.store(cells + b * plane + index, total, mask=index < plane)


@triton.jit
def _collect(cells, bin_, r, s, y, x, cells_y, cells_x, rows, columns, REACH_Y: tl.constexpr, REACH_X: tl.constexpr):
    """The derivative by what a bin gets at some pixels; weights of cells that are not there are zero."""
    total = tl.zeros(bin_.shape, cells.dtype.element_ty)
    plane = cells + bin_ * (cells_y * cells_x)
    for e in tl.static_range(REACH_Y):
        line = tl.zeros(bin_.shape, cells.dtype.element_ty)
        across = plane + tl.minimum(tl.maximum(r + e, 0), cells_y - 1) * cells_x
        for f in tl.static_range(REACH_X):
            weight = tl.load(columns + x * REACH_X + f)
            line += weight * tl.load(across + tl.minimum(tl.maximum(s + f, 0), cells_x - 1))
        total += tl.load(rows + y * REACH_Y + e) * line
    return total


@triton.jit
def _adjoint(dx, dy, i, j, y, x, height, width):
    """The derivative by the pixels of a tile, given those by their differences; right but at the tile's border."""
    left, right = tl.maximum(i - 1, 0), tl.minimum(i + 1, dx.shape[1] - 1)
    above, below = tl.maximum(j - 1, 0), tl.minimum(j + 1, dx.shape[0] - 1)
    value = tl.gather(dx, tl.broadcast_to(left, dx.shape), 1) - tl.gather(dx, tl.broadcast_to(right, dx.shape), 1)
    value += tl.gather(dy, tl.broadcast_to(above, dy.shape), 0) - tl.gather(dy, tl.broadcast_to(below, dy.shape), 0)
    value += tl.where(x == width - 1, dx, 0.0) - tl.where(x == 0, dx, 0.0)
    return value + tl.where(y == height - 1, dy, 0.0) - tl.where(y == 0, dy, 0.0)


@triton.jit
def unpool(image, table, rows, columns, cells, out, height, width, cells_y, cells_x, first_y, first_x, base_y, base_x,
           SCALE: tl.constexpr, PITCH_Y: tl.constexpr, PITCH_X: tl.constexpr, REACH_Y: tl.constexpr,
           REACH_X: tl.constexpr, CHANNELS: tl.constexpr, DIRECTIONS: tl.constexpr, BINS: tl.constexpr,
           MODE: tl.constexpr, UNIT: tl.constexpr, SOFTNESS: tl.constexpr, COEFFICIENTS: tl.constexpr,
           TALL: tl.constexpr, WIDE: tl.constexpr):
    """The derivative by the image (N, C, H, W), given that by the cells (N, bins, R, S).

    A program takes TALL × WIDE pixels, of which the outermost serve their neighbours only.
    """
    n = tl.program_id(2).to(tl.int64)
    image += n * CHANNELS * height * width
    out += n * CHANNELS * height * width
    cells += n * BINS * cells_y * cells_x
    i, j = tl.arange(0, WIDE)[None, :], tl.arange(0, TALL)[:, None]
    y, x = tl.program_id(1) * (TALL - 2) - 1 + j, tl.program_id(0) * (WIDE - 2) - 1 + i
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    y, x = tl.minimum(tl.maximum(y, 0), height - 1), tl.minimum(tl.maximum(x, 0), width - 1)
    gx, gy, channel = _gradient(image, y, x, height, width, SCALE, CHANNELS)
    length, nearest, following, share, slope = _share(gx, gy, table, DIRECTIONS, BINS, MODE, UNIT, SOFTNESS,
                                                      COEFFICIENTS)
    r, s = (y - first_y) // PITCH_Y + base_y, (x - first_x) // PITCH_X + base_x
    along = _collect(cells, nearest, r, s, y, x, cells_y, cells_x, rows, columns, REACH_Y, REACH_X)
    inverse = tl.where(length > 0, SCALE / tl.where(length > 0, length, 1.0), 0.0)
    across = gx * 0
    if MODE != HARD:
        rise = _collect(cells, following, r, s, y, x, cells_y, cells_x, rows, columns, REACH_Y, REACH_X) - along
        along += share * rise
        across = rise * slope * inverse
    along *= inverse
    dx, dy = gx * along - gy * across, gy * along + gx * across
    dx = tl.where((x == 0) | (x == width - 1), dx + dx, dx)
    dy = tl.where((y == 0) | (y == height - 1), dy + dy, dy)
    shown = inside & (i > 0) & (i < WIDE - 1) & (j > 0) & (j < TALL - 1)
    for c in tl.static_range(CHANNELS):
        mine = inside & (channel == c)
        value = _adjoint(tl.where(mine, dx, 0.0), tl.where(mine, dy, 0.0), i, j, y, x, height, width)
        tl.store(out + c * height * width + y * width + x, value, mask=shown)

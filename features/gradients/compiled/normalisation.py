# mypy: disable-error-code="no-untyped-def"
"""HOG's block normalisation of a batch of cells, and its derivative.

The planes (N, P·O, R, S) of a code are the directed and the undirected histograms, P = 3, or the latter alone, P = 1.
Blocks k count upper-left, upper-right, lower-left, lower-right. Entry (k, p) of `targets` is the first of the O
channels that get part p under the factor of block k, and the one that sums these as texture, or −1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...jit import kernel

Array = NDArray[Any]


def planes_and_factors(cells: Array, parts: int, epsilon: Any) -> tuple[Array, Array]:
    """Planes of cells (N, R, 2O, S), and the blocks' factors (N, R + 1, S + 1); energies repeat beyond the border."""
    samples, rows, bins, wide = cells.shape
    half = bins // 2
    planes = np.empty((samples, parts * half, rows, wide), cells.dtype)
    undirected = planes[:, -half:]
    np.add(cells[:, :, :half].transpose(0, 2, 1, 3), cells[:, :, half:].transpose(0, 2, 1, 3), out=undirected)
    if parts == 3:
        planes[:, :bins] = cells.transpose(0, 2, 1, 3)
    energy = np.zeros((samples, rows + 2, wide + 2), cells.dtype)
    inner = energy[:, 1:-1, 1:-1]
    for o in range(half):
        inner += undirected[:, o] * undirected[:, o]
    energy[:, :, 0], energy[:, :, -1] = energy[:, :, 1], energy[:, :, -2]
    energy[:, 0], energy[:, -1] = energy[:, 1], energy[:, -2]
    total = energy[:, :-1, :-1] + energy[:, :-1, 1:] + energy[:, 1:, :-1] + energy[:, 1:, 1:] + epsilon
    return planes, 1 / np.sqrt(total)


@kernel
def add_blocks(planes, factor, targets, numbers, trim, code, first, last, bands):
    """Add the clamped planes of all blocks to codes (N, D, h, w), which start as zeros."""
    clamp, leak, share, texture_share = numbers
    parts = targets.shape[1]
    half = planes.shape[1] // parts
    for n in range(first, last):
        for o in range(half):
            for k in range(4):
                for p in range(parts):
                    texture = targets[k, p, 1]
                    for y in range(code.shape[2]):
                        h, f = planes[n, p * half + o, y + trim], factor[n, y + trim + k // 2, k % 2:]
                        out = code[n, targets[k, p, 0] + o, y]
                        for i in range(out.shape[0]):
                            v = h[i + trim] * f[i + trim]
                            out[i] += share * (v if v < clamp else clamp + leak * (v - clamp))
                        if texture >= 0:
                            out = code[n, texture, y]
                            for i in range(out.shape[0]):
                                v = h[i + trim] * f[i + trim]
                                out[i] += texture_share * (v if v < clamp else clamp + leak * (v - clamp))


@kernel
def add_blocks_derivative(planes, factor, targets, numbers, trim, by_code, by_planes, by_factor, first, last, bands):
    """Add the derivatives by planes and factors, which start as zeros, given those by the codes."""
    clamp, leak, share, texture_share = numbers
    one, zero = clamp / clamp, clamp - clamp
    parts = targets.shape[1]
    half = planes.shape[1] // parts
    g = np.empty(by_code.shape[3], planes.dtype)
    for n in range(first, last):
        for o in range(half):
            for k in range(4):
                for p in range(parts):
                    texture, target, plane = targets[k, p, 1], targets[k, p, 0] + o, p * half + o
                    weight = texture_share if texture >= 0 else zero
                    for y in range(by_code.shape[2]):
                        a, b = by_code[n, target, y], by_code[n, max(texture, 0), y]
                        h, dh = planes[n, plane, y + trim], by_planes[n, plane, y + trim]
                        f, df = factor[n, y + trim + k // 2, k % 2:], by_factor[n, y + trim + k // 2, k % 2:]
                        for i in range(g.shape[0]):
                            g[i] = share * a[i] + weight * b[i]
                        for i in range(g.shape[0]):
                            u, v = h[i + trim], f[i + trim]
                            passed = g[i] * (one if u * v <= clamp else leak)
                            dh[i + trim] += passed * v
                            df[i + trim] += passed * u


def cells_derivative(planes: Array, factor: Array, by_planes: Array, by_factor: Array, bins: int) -> Array:
    """The derivative by the cells (N, R, 2O, S), given those by planes and factors."""
    samples, _, rows, wide = planes.shape
    half, out = bins // 2, np.empty((samples, rows, bins, wide), planes.dtype)
    energy = np.zeros((samples, rows + 2, wide + 2), planes.dtype)
    slope = -factor * factor * factor * by_factor
    for part in (energy[:, 1:, 1:], energy[:, 1:, :-1], energy[:, :-1, 1:], energy[:, :-1, :-1]):
        part += slope
    energy[:, 1] += energy[:, 0]
    energy[:, -2] += energy[:, -1]
    energy[:, :, 1] += energy[:, :, 0]
    energy[:, :, -2] += energy[:, :, -1]
    undirected = planes[:, -half:] * energy[:, None, 1:-1, 1:-1]
    for first in (0, half):
        target = out[:, :, first:first + half].transpose(0, 2, 1, 3)
        target[:] = by_planes[:, -half:]
        if by_planes.shape[1] > half:
            target += by_planes[:, first:first + half]
        target += undirected
    return out

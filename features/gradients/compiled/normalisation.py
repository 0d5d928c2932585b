"""HOG's block normalisation of a batch of cells, and its derivative.

The planes (N, P·O, R, S) of a code are the directed and the undirected histograms, P = 3, or the latter alone, P = 1.
Blocks k count upper-left, upper-right, lower-left, lower-right. Entry (k, p) of `targets` is the first of the O
channels that get part p under the factor of block k, and the one that sums these as texture, or −1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


@np.errstate(over="ignore", invalid="ignore")
def add_blocks(planes: Array, factor: Array, targets: Array, numbers: tuple[Any, ...], trim: int, code: Array,
               first: int, last: int, bands: int) -> None:
    """Add the clamped planes of all blocks to codes (N, D, h, w), which start as zeros."""
    clamp, leak, share, texture_share = numbers
    out, factor, planes = code[first:last], factor[first:last], _inner(planes[first:last], code, trim)
    for place, channels, textures in _blocks(targets, planes, trim):
        product = planes * factor[place]
        clamped = np.minimum(product, clamp)
        if leak:
            clamped += leak * (product - clamped)
        for part, texture in textures:
            out[:, texture] += texture_share * clamped[:, part].sum(1)
        clamped *= share
        out[:, channels] += clamped


@np.errstate(over="ignore", invalid="ignore")
def add_blocks_derivative(planes: Array, factor: Array, targets: Array, numbers: tuple[Any, ...], trim: int,
                          by_code: Array, by_planes: Array, by_factor: Array, first: int, last: int,
                          bands: int) -> None:
    """Add the derivatives by planes and factors, which start as zeros, given those by the codes."""
    clamp, leak, share, texture_share = numbers
    upstream, factor, by_factor = by_code[first:last], factor[first:last], by_factor[first:last]
    planes, by_planes = (_inner(array[first:last], by_code, trim) for array in (planes, by_planes))
    for place, channels, textures in _blocks(targets, planes, trim):
        slope = share * upstream[:, channels]
        for part, texture in textures:
            slope[:, part] += texture_share * upstream[:, texture, None]
        slope *= np.where(planes * factor[place] <= clamp, clamp / clamp, leak)
        by_planes += slope * factor[place]
        slope *= planes
        by_factor[place] += slope.sum(1, keepdims=True)


def _inner(planes: Array, code: Array, trim: int) -> Array:
    """Planes without the cells that the code leaves out."""
    height, width = code.shape[2:]
    return planes[:, :, trim:trim + height, trim:trim + width]


def _blocks(targets: Array, planes: Array, trim: int) -> Iterator[tuple[Any, slice, list[tuple[slice, int]]]]:
    """Of each block: the place of its factors, (N, 1, h, w), its channels, and which planes add up to a texture."""
    (_, count, height, width), (_, parts, _) = planes.shape, targets.shape
    half = count // parts
    for k, entries in enumerate(targets.tolist()):
        top, left, start = trim + k // 2, trim + k % 2, entries[0][0]
        place = slice(None), None, slice(top, top + height), slice(left, left + width)
        summed = [(slice(p * half, p * half + half), texture) for p, (_, texture) in enumerate(entries) if texture >= 0]
        yield place, slice(start, start + count), summed


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

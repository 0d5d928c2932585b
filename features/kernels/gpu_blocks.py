# mypy: disable-error-code="no-untyped-def,no-untyped-call,assignment"
"""HOG's block normalisation on a GPU as an autograd function.

The kernels take one cell a lane. The four factors of a cell come from the energies of its 3 × 3 neighbours, which are
repeated beyond the border. The derivative takes two kernels: `slopes` writes what each cell says of its four factors,
and `normalise_derivative` gathers them from the cells that share a block.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import refuse_second_derivatives

CELLS = 128


@triton.jit
def _place(height, width, SIZE: tl.constexpr):
    """Sample, row and column of the cells of a program, and which of them are there."""
    index = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    return tl.program_id(1).to(tl.int64), index // width, index % width, index < height * width


@triton.jit
def _factors(energy, r, s, inside, height, width, EPSILON: tl.constexpr):
    """1 / √(energy of the block + ε) for the blocks upper-left, upper-right, lower-left and lower-right of cells."""
    above, below = tl.maximum(r - 1, 0) * width, tl.minimum(r + 1, height - 1) * width
    left, right = tl.maximum(s - 1, 0), tl.minimum(s + 1, width - 1)
    beside_left = tl.load(energy + r * width + left, mask=inside, other=1.0)
    beside_right = tl.load(energy + r * width + right, mask=inside, other=1.0)
    here = tl.load(energy + r * width + s, mask=inside, other=1.0)
    top = tl.load(energy + above + s, mask=inside, other=1.0)
    bottom = tl.load(energy + below + s, mask=inside, other=1.0)
    top_left = tl.load(energy + above + left, mask=inside, other=1.0)
    top_right = tl.load(energy + above + right, mask=inside, other=1.0)
    bottom_left = tl.load(energy + below + left, mask=inside, other=1.0)
    bottom_right = tl.load(energy + below + right, mask=inside, other=1.0)
    return (tl.rsqrt(top_left + top + beside_left + here + EPSILON),
            tl.rsqrt(top + top_right + here + beside_right + EPSILON),
            tl.rsqrt(beside_left + here + bottom_left + bottom + EPSILON),
            tl.rsqrt(here + beside_right + bottom + bottom_right + EPSILON))


@triton.jit
def _clamped(h, CLAMP: tl.constexpr, LEAK: tl.constexpr):
    """min(h, CLAMP) + LEAK · max(h − CLAMP, 0)."""
    return tl.where(h > CLAMP, CLAMP + LEAK * (h - CLAMP), h)


@triton.jit
def _passed(h, slope, CLAMP: tl.constexpr, LEAK: tl.constexpr):
    """What of a derivative by clamped h is left by h."""
    return tl.where(h <= CLAMP, slope, LEAK * slope)


@triton.jit
def energies(cells, energy, height, width, HALF: tl.constexpr, SIZE: tl.constexpr):
    """Σ u² of undirected histograms, (N, R, S)."""
    n, r, s, inside = _place(height, width, SIZE)
    plane = height * width
    cells += n * 2 * HALF * plane + r * width + s
    total = tl.zeros([SIZE], cells.dtype.element_ty)
    for o in tl.static_range(HALF):
        u = tl.load(cells + o * plane, mask=inside, other=0.0)
        u += tl.load(cells + (o + HALF) * plane, mask=inside, other=0.0)
        total += u * u
    tl.store(energy + n * plane + r * width + s, total, mask=inside)


@triton.jit
def normalise(cells, energy, code, height, width, code_plane, code_width, dimensions, EPSILON: tl.constexpr,
              CLAMP: tl.constexpr, LEAK: tl.constexpr, TEXTURE: tl.constexpr, DIRECTED: tl.constexpr,
              OF_DIRECTED: tl.constexpr, TRIM: tl.constexpr, HALF: tl.constexpr, SIZE: tl.constexpr):
    """Codes (N, D, h, w) from cells (N, 2·HALF, R, S) and their energies.

    DIRECTED tells the codes of deformable parts from Dalal and Triggs'; TEXTURE is the weight of texture channels,
    which are OF_DIRECTED histograms or of undirected ones. TRIM is 1 for the blocks' order, and the grid, of dpm.
    """
    n, r, s, inside = _place(height, width, SIZE)
    plane = height * width
    factors = _factors(energy + n * plane, r, s, inside, height, width, EPSILON)
    cells += n * 2 * HALF * plane + r * width + s
    code += n * dimensions * code_plane + (r - TRIM) * code_width + s - TRIM
    shown = inside & (r >= TRIM) & (r < height - TRIM) & (s >= TRIM) & (s < width - TRIM)
    zero = tl.zeros([SIZE], cells.dtype.element_ty)
    textures = (zero, zero, zero, zero)
    for o in tl.static_range(HALF):
        a = tl.load(cells + o * plane, mask=inside, other=0.0)
        b = tl.load(cells + (o + HALF) * plane, mask=inside, other=0.0)
        sum_a, sum_b, sum_u, after = zero, zero, zero, ()
        for k in tl.static_range(4):
            clamped_a, clamped_b = _clamped(factors[k] * a, CLAMP, LEAK), _clamped(factors[k] * b, CLAMP, LEAK)
            clamped_u = _clamped(factors[k] * (a + b), CLAMP, LEAK)
            sum_a, sum_b, sum_u = sum_a + clamped_a, sum_b + clamped_b, sum_u + clamped_u
            after = after + (textures[k] + (clamped_a + clamped_b if OF_DIRECTED else clamped_u),)  # noqa: RUF005
            if not DIRECTED:
                tl.store(code + (k * HALF + o) * code_plane, clamped_u, mask=shown)
        textures = after
        if DIRECTED:
            tl.store(code + o * code_plane, 0.5 * sum_a, mask=shown)
            tl.store(code + (o + HALF) * code_plane, 0.5 * sum_b, mask=shown)
            tl.store(code + (o + 2 * HALF) * code_plane, 0.5 * sum_u, mask=shown)
    if TEXTURE > 0:
        for k in tl.static_range(4):
            channel = 3 * HALF + ((3 - k if k % 3 == 0 else k) if TRIM else k)
            tl.store(code + channel * code_plane, textures[k] * TEXTURE, mask=shown)


@triton.jit
def _upstream(slope, o, k, plane, shown, texture, DIRECTED: tl.constexpr, OF_DIRECTED: tl.constexpr,
              HALF: tl.constexpr):
    """The derivatives by what is clamped under the k-th factor: of the two directed bins, and of their sum."""
    if DIRECTED:
        a = 0.5 * tl.load(slope + o * plane, mask=shown, other=0.0)
        b = 0.5 * tl.load(slope + (o + HALF) * plane, mask=shown, other=0.0)
        u = 0.5 * tl.load(slope + (o + 2 * HALF) * plane, mask=shown, other=0.0)
        if OF_DIRECTED:
            a, b = a + texture, b + texture
        else:
            u += texture
    else:
        u = tl.load(slope + (k * HALF + o) * plane, mask=shown, other=0.0)
        a, b = u * 0, u * 0
    return a, b, u


@triton.jit
def _textures(slope, plane, shown, TEXTURE: tl.constexpr, TRIM: tl.constexpr, HALF: tl.constexpr):
    """The derivatives by the four texture channels, times their weight."""
    found = ()
    for k in tl.static_range(4):
        channel = 3 * HALF + ((3 - k if k % 3 == 0 else k) if TRIM else k)
        found = found + (TEXTURE * tl.load(slope + channel * plane, mask=shown & (TEXTURE > 0), other=0.0),)  # noqa: RUF005
    return found


@triton.jit
def slopes(cells, energy, slope, out, height, width, code_plane, code_width, dimensions, EPSILON: tl.constexpr,
           CLAMP: tl.constexpr, LEAK: tl.constexpr, TEXTURE: tl.constexpr, DIRECTED: tl.constexpr,
           OF_DIRECTED: tl.constexpr, TRIM: tl.constexpr, HALF: tl.constexpr, SIZE: tl.constexpr):
    """The derivatives by the energies of the four blocks of each cell, as far as its own code goes, (N, 4, R, S)."""
    n, r, s, inside = _place(height, width, SIZE)
    plane = height * width
    factors = _factors(energy + n * plane, r, s, inside, height, width, EPSILON)
    cells += n * 2 * HALF * plane + r * width + s
    slope += n * dimensions * code_plane + (r - TRIM) * code_width + s - TRIM
    shown = inside & (r >= TRIM) & (r < height - TRIM) & (s >= TRIM) & (s < width - TRIM)
    textures = _textures(slope, code_plane, shown, TEXTURE, TRIM, HALF)
    zero = tl.zeros([SIZE], cells.dtype.element_ty)
    totals = (zero, zero, zero, zero)
    for o in tl.static_range(HALF):
        a = tl.load(cells + o * plane, mask=inside, other=0.0)
        b = tl.load(cells + (o + HALF) * plane, mask=inside, other=0.0)
        after = ()
        for k in tl.static_range(4):
            f = factors[k]
            by_a, by_b, by_u = _upstream(slope, o, k, code_plane, shown, textures[k], DIRECTED, OF_DIRECTED, HALF)
            total = totals[k] + _passed(f * a, a * by_a, CLAMP, LEAK) + _passed(f * b, b * by_b, CLAMP, LEAK)
            after = after + (total + _passed(f * (a + b), (a + b) * by_u, CLAMP, LEAK),)  # noqa: RUF005
        totals = after
    out += n * 4 * plane + r * width + s
    for k in tl.static_range(4):
        f = factors[k]
        tl.store(out + k * plane, -0.5 * totals[k] * f * f * f, mask=inside)


@triton.jit
def _by_energy(by_block, r, s, inside, height, width):
    """The derivative by a cell's energy: of the blocks (r + p, s + q), each from the up to four cells at it."""
    plane = height * width
    total = tl.zeros(r.shape, by_block.dtype.element_ty)
    for p in tl.static_range(2):
        for q in tl.static_range(2):
            i, j = r + p, s + q
            shared = tl.zeros(r.shape, by_block.dtype.element_ty)
            for k in tl.static_range(4):
                y, x = i - k // 2, j - k % 2
                there = inside & (y >= 0) & (y < height) & (x >= 0) & (x < width)
                shared += tl.load(by_block + k * plane + y * width + x, mask=there, other=0.0)
            shared = tl.where((i == 0) | (i == height), shared + shared, shared)
            total += tl.where((j == 0) | (j == width), shared + shared, shared)
    return total


@triton.jit
def normalise_derivative(cells, energy, slope, by_block, out, height, width, code_plane, code_width, dimensions,
                         EPSILON: tl.constexpr, CLAMP: tl.constexpr, LEAK: tl.constexpr, TEXTURE: tl.constexpr,
                         DIRECTED: tl.constexpr, OF_DIRECTED: tl.constexpr, TRIM: tl.constexpr, HALF: tl.constexpr,
                         SIZE: tl.constexpr):
    """The derivative by the cells (N, 2·HALF, R, S), given that by the codes and `slopes`."""
    n, r, s, inside = _place(height, width, SIZE)
    plane = height * width
    factors = _factors(energy + n * plane, r, s, inside, height, width, EPSILON)
    by_energy = _by_energy(by_block + n * 4 * plane, r, s, inside, height, width)
    place = n * 2 * HALF * plane + r * width + s
    slope += n * dimensions * code_plane + (r - TRIM) * code_width + s - TRIM
    shown = inside & (r >= TRIM) & (r < height - TRIM) & (s >= TRIM) & (s < width - TRIM)
    textures = _textures(slope, code_plane, shown, TEXTURE, TRIM, HALF)
    for o in tl.static_range(HALF):
        a = tl.load(cells + place + o * plane, mask=inside, other=0.0)
        b = tl.load(cells + place + (o + HALF) * plane, mask=inside, other=0.0)
        to_both = 2 * (a + b) * by_energy
        to_a, to_b = a * 0, a * 0
        for k in tl.static_range(4):
            f = factors[k]
            by_a, by_b, by_u = _upstream(slope, o, k, code_plane, shown, textures[k], DIRECTED, OF_DIRECTED, HALF)
            to_a += _passed(f * a, f * by_a, CLAMP, LEAK)
            to_b += _passed(f * b, f * by_b, CLAMP, LEAK)
            to_both += _passed(f * (a + b), f * by_u, CLAMP, LEAK)
        tl.store(out + place + o * plane, to_a + to_both, mask=inside)
        tl.store(out + place + (o + HALF) * plane, to_b + to_both, mask=inside)


def normalised_code(cells: Tensor, variant: str, dimensions: int, texture: bool, epsilon: float, clamp: float,
                    leak: float, texture_share: float) -> Tensor:
    """The code of `hog.HOG` from directed histograms of cells, (N, 2O, R, S)."""
    kinds = constants(cells.shape[1] // 2, variant, dimensions, texture, epsilon, clamp, leak, texture_share)
    with torch.cuda.device_of(cells):
        code: Tensor = _Blocks.apply(cells, dimensions, kinds)
    return code


def constants(orientations: int, variant: str, dimensions: int, texture: bool, epsilon: float, clamp: float,
              leak: float, texture_share: float) -> dict[str, Any]:
    """What the kernels are compiled for."""
    return {"EPSILON": epsilon, "CLAMP": clamp, "LEAK": leak, "TEXTURE": texture_share if texture else 0.0,
            "DIRECTED": variant != "dalal-triggs", "OF_DIRECTED": variant == "dpm", "TRIM": int(variant == "dpm"),
            "HALF": orientations, "SIZE": CELLS}


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cells: Tensor, dimensions: int, constants: dict[str, Any]) -> Tensor:
        h = cells.detach().contiguous()
        n, _, rows, columns = h.shape
        grid = triton.cdiv(rows * columns, CELLS), n
        energy = h.new_empty(n, rows, columns)
        energies[grid](h, energy, rows, columns, HALF=constants["HALF"], SIZE=CELLS)
        trim = 2 * constants["TRIM"]
        code = h.new_zeros(n, dimensions, rows - trim, columns - trim)
        ctx.numbers = (rows, columns, code[0, 0].numel(), columns - trim, dimensions)
        ctx.grid, ctx.constants = grid, constants
        normalise[grid](h, energy, code, *ctx.numbers, **constants)
        ctx.save_for_backward(cells, energy)
        return code

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        cells, energy = ctx.saved_tensors
        h, slope = cells.detach().contiguous(), gradient.contiguous()
        by_block, out = h.new_empty(len(h), 4, *h.shape[2:]), torch.empty_like(h)
        slopes[ctx.grid](h, energy, slope, by_block, *ctx.numbers, **ctx.constants)
        normalise_derivative[ctx.grid](h, energy, slope, by_block, out, *ctx.numbers, **ctx.constants)
        return out, None, None

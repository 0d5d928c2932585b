"""Histograms of oriented gradients: UoCTTI as VLFeat computes it, DPM release 5, and Dalal–Triggs."""

from __future__ import annotations

import difflib
import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..base import Representation
from . import compiled as kernels
from .histograms import Band, Bins, cell_band, oriented_cells

EPSILON = 1e-4
CLAMP = 0.2
LEAK = 0.5
TEXTURE = {"uoctti": 18**-0.5, "dpm": 0.2357}
VARIANTS = ("uoctti", "dpm", "dalal-triggs")


class HOG(Representation):
    r"""Histograms of oriented gradients, normalised by the energy of the blocks around each cell.

    With h_o the magnitudes of the 2O directed bins pooled into a cell, u_o = h_o + h_{o+O}, the energy e = Σ_o u_o²,
    and f_k = 1/√(e₁ + e₂ + e₃ + e₄ + 10⁻⁴) for each of the four 2×2 blocks that hold the cell, the code is

    ============ ========= ===========================================================================
    uoctti       3O + 4    ½ Σ_k min(0.2, f_k h_o), o < 2O · ½ Σ_k min(0.2, f_k u_o), o < O ·
                           18^−½ Σ_o min(0.2, f_k u_o) for each k ("texture"), whatever O
    dpm          3O + 5    the same with texture 0.2357 Σ_o min(0.2, f_k h_o), o < 2O, and a last channel of
                           zeros ("truncation"); without the outermost cells, whose blocks are incomplete
    dalal-triggs 4O        min(0.2, f_k u_o), o < O, for each k
    ============ ========= ===========================================================================

    Gradients are centred differences without ½ at interior pixels, of the colour channel with the largest norm; each
    goes into the four nearest cells with bilinear weights. Blocks come in the order upper-left, upper-right,
    lower-left, lower-right (dpm: lower-right, upper-right, lower-left, upper-left). Energies beyond the border repeat
    those of the border cells.

    Parameters
    ----------
    variant : {"uoctti", "dpm", "dalal-triggs"}
    cell_size : int
        Pixels along one side of a cell. An image of H × W pixels has H / cell_size by W / cell_size cells, rounded
        half up; dpm returns two fewer each way.
    orientations : int
        O, undirected orientations.
    bilinear : bool
        Share each gradient between the two nearest directed bins, linearly in the angle, instead of giving it to the
        nearest ("hard").
    scale : float
        Multiplies images, which come in [0, 1]; it matters because of the 10⁻⁴.
    texture : bool
        Whether to keep the texture (and truncation) channels: without them uoctti and dpm have 3O dimensions.
    softness : float
        0, or s of a smooth stand-in: hard bins are smooth over the width s, in bins (see `oriented.Bins`), and the
        clamp leaks, h ← min(h, 0.2) + s/2 · max(h − 0.2, 0), so that what is above it has a gradient.

    Raises
    ------
    ValueError
        For an unknown variant, sizes that are not positive, or a negative softness.

    Notes
    -----
    Shape: (N, 1 or 3, H, W) → (N, D, h, w), values in [0, 0.4]; dalal-triggs reaches 0.2; texture grows
    with O, to 0.42 for nine orientations (dpm: 0.85).
    uoctti and dalal-triggs follow VLFeat 0.9.21, dpm the deformable part models, release 5: pixels that
    the rounded grid adds repeat the last interior gradient, those that it cuts off do not count, and orientation
    vectors have four decimals. Bilinear bins are an option of VLFeat; for dpm they are ours, with exact vectors.

    References
    ----------
    N. Dalal, B. Triggs, "Histograms of oriented gradients for human detection", CVPR 2005.
    P. Felzenszwalb et al., "Object detection with discriminatively trained part based models", PAMI 32(9), 2010.
    """

    fused: bool | None = None
    blind_to_contrast = True

    def __init__(self, variant: str = "uoctti", cell_size: int = 8, orientations: int = 9, bilinear: bool = False,
                 scale: float = 255.0, texture: bool = True, softness: float = 0.0) -> None:
        super().__init__()
        check_variant(variant)
        for name, number in (("cell_size", cell_size), ("orientations", orientations)):
            if int(number) != number or number < 1:
                raise ValueError(f"{name} is a whole number of at least 1, got {number!r}")
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale is a positive number, 255 for images in [0, 1], got {scale!r}")
        if not (math.isfinite(softness) and softness >= 0):
            raise ValueError(f"softness is 0, or a positive number, that of a stand-in; got {softness!r}")
        self.variant, self.cell_size, self.orientations = variant, int(cell_size), int(orientations)
        self.bilinear, self.scale, self.texture = bool(bilinear), float(scale), bool(texture)
        self.softness = float(softness)
        self.stride = self.cell_size
        self.receptive_field = 4 * self.cell_size + 2 - self.cell_size % 2
        self._trim = 1 if variant == "dpm" else 0

    @property
    def dimensions(self) -> int:
        """Channels of the code, D."""
        if self.variant == "dalal-triggs":
            return 4 * self.orientations
        extra = {"uoctti": 4, "dpm": 5}[self.variant] if self.texture else 0
        return 3 * self.orientations + extra

    @property
    def bins(self) -> Bins:
        """The orientation bins."""
        decimals = 4 if self.variant == "dpm" and not self.bilinear else None
        return Bins(self.orientations, self.bilinear, 0.0 if self.bilinear else self.softness, decimals)

    @property
    def leak(self) -> float:
        """Slope above the clamp."""
        return LEAK * self.softness

    def forward(self, x: Tensor) -> Tensor:
        """Code of a batch, (N, C, H, W) → (N, D, h, w)."""
        rows, columns = self.bands(*x.shape[-2:])
        cells = oriented_cells(x, rows, columns, self.bins, self.scale, fused=self.fused)
        return self.normalise(cells)

    def bands(self, height: int, width: int) -> tuple[Band, Band]:
        """Pooling weights of the grid of cells, along y and x."""
        rows, columns = (_bands_of(size, self.cell_size, self.variant) for size in (height, width))
        return rows, columns

    def normalise(self, cells: Tensor) -> Tensor:
        """Block normalisation: directed histograms of cells, (N, 2O, R, S) → code."""
        if self.fused is not False and kernels.fits(cells):
            from .compiled.blocks import normalised_code

            return normalised_code(cells, *self.block_constants)
        blocks = normalised_blocks(cells, self.leak)
        if self.variant == "dalal-triggs":
            return torch.cat([undirected for _, undirected in blocks], 1)
        if self.variant == "dpm":
            blocks = [blocks[k] for k in (3, 1, 2, 0)]
        directed, undirected = (0.5 * torch.stack(parts).sum(0) for parts in zip(*blocks, strict=True))
        code = [directed, undirected]
        if self.texture:
            code += [(d if self.variant == "dpm" else u).sum(1, keepdim=True) * TEXTURE[self.variant]
                     for d, u in blocks]
        if self.texture and self.variant == "dpm":
            code.append(torch.zeros_like(directed[:, :1]))
        whole = torch.cat(code, 1)
        return whole[:, :, 1:-1, 1:-1] if self._trim else whole

    @property
    def block_constants(self) -> tuple[str, int, bool, float, float, float, float]:
        """What the compiled normalisation is told: variant, dimensions, texture?, ε, clamp, leak, texture's weight."""
        texture = self.texture and self.variant != "dalal-triggs"
        share = TEXTURE.get(self.variant, 0.0)
        return self.variant, self.dimensions, texture, EPSILON, CLAMP, self.leak, share

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape (D, h, w) of the code of a height × width image; ValueError with fewer than two cells (dpm: three)."""
        least = 3 if self._trim else 2
        cells = [cell_count(size, self.cell_size) for size in (height, width)]
        if min(cells) < least:
            smallest = least * self.cell_size - self.cell_size // 2
            raise ValueError(f"an image of {height} × {width} pixels has {cells[0]} × {cells[1]} cells of "
                             f"{self.cell_size} pixels, but HOG ({self.variant}) needs {least} each way: take an image "
                             f"of at least {smallest} × {smallest} pixels, or a smaller cell_size")
        return self.dimensions, cells[0] - 2 * self._trim, cells[1] - 2 * self._trim

    def image_size_for(self, code_shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of an image of whole cells whose code has the shape (D, h, w)."""
        if len(code_shape) != 3 or code_shape[0] != self.dimensions:
            raise ValueError(f"a code of {self!r} has shape (D, h, w) with D = {self.dimensions}, "
                             f"got {tuple(code_shape)}")
        height, width = ((n + 2 * self._trim) * self.cell_size for n in code_shape[1:])
        self.output_shape(height, width)
        return height, width

    def flat_pixels(self, code: Tensor, height: int, width: int) -> Tensor:
        """Pixels that are pooled into a cell whose code is next to zero, a tenth of the clamp, bool (N, H, W)."""
        empty = pad((code.abs().amax(1) < 0.1 * CLAMP).to(code), (self._trim,) * 4)
        rows, columns = self.bands(height, width)
        weights = rows.dense(code).T @ empty @ columns.dense(code)
        return weights > 0

    def surrogate(self, softness: float) -> Representation:
        """The same descriptor with smooth bins and a clamp that leaks; itself if it is one already."""
        return self if self.softness else self.replace(softness=softness)


def check_variant(variant: str) -> None:
    """Raise a ValueError that names the nearest variant unless this is one."""
    if variant not in VARIANTS:
        near = difflib.get_close_matches(str(variant).lower(), VARIANTS, 1, 0.3)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown HOG variant {variant!r}: {hint}Choose one of {', '.join(VARIANTS)}")


def cell_count(pixels: int, cell: int) -> int:
    """Cells along an axis: pixels / cell, rounded half up."""
    return (pixels + cell // 2) // cell


def normalised_blocks(cells: Tensor, leak: float = 0.0) -> list[tuple[Tensor, Tensor]]:
    """Directed and undirected histograms under each block's factor, clamped: four pairs (N, 2O, R, S), (N, O, R, S).

    The blocks come in the order upper-left, upper-right, lower-left, lower-right. The clamp leaks with a slope.
    """
    first, second = cells.chunk(2, 1)
    undirected = first + second
    energy = pad((undirected**2).sum(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    block = energy[..., :-1, :-1] + energy[..., :-1, 1:] + energy[..., 1:, :-1] + energy[..., 1:, 1:]
    factor = torch.rsqrt(block + EPSILON)
    corners = (factor[..., :-1, :-1], factor[..., :-1, 1:], factor[..., 1:, :-1], factor[..., 1:, 1:])
    return [(_clamped(cells * f, leak), _clamped(undirected * f, leak)) for f in corners]


def _clamped(h: Tensor, leak: float) -> Tensor:
    clamped = h.clamp(max=CLAMP)
    return clamped + leak * (h - clamped) if leak else clamped


def _bands_of(pixels: int, cell: int, variant: str) -> Band:
    cells = cell_count(pixels, cell)
    return cell_band(pixels, cells, cell, cells * cell if variant == "dpm" else pixels)

"""Histograms of oriented gradients: VLFeat's UoCTTI and Dalal–Triggs, DPM release 5, scikit-image's and OpenCV's."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from ..backend import uses_compiled
from ..base import Representation
from ..checks import check_choice, check_count, check_not_negative, check_positive
from .bins import Bins, mirrored_directions
from .block_hog import BlockHOG, BlockNorm
from .histograms import CLAMP, clamped, oriented_cells
from .pooling import PoolingMatrix, cell_pooling

Variant = Literal["uoctti", "dpm", "dalal-triggs", "skimage", "opencv"]
VARIANTS = get_args(Variant)
EPSILON = 1e-4
LEAK = 0.5
TEXTURE = {"uoctti": 18**-0.5, "dpm": 0.2357}
CELLS_PER_BLOCK = {"skimage": 3, "opencv": 2}


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
    skimage      b²·O      u_o of the b × b cells of a block, row by row, as one normalised vector
    opencv       b²·O      the same, with weights that depend on a pixel's place in the block
    ============ ========= ===========================================================================

    Gradients are centred differences without ½ at interior pixels, of the colour channel with the largest norm; each
    goes into the four nearest cells with bilinear weights. Blocks come in the order upper-left, upper-right,
    lower-left, lower-right (dpm: lower-right, upper-right, lower-left, upper-left). Energies beyond the border repeat
    those of the border cells.

    The positions of skimage and opencv are blocks, one cell apart; the border's pixels count with the difference
    along the border; angles are undirected. skimage has hard bins [o, o + 1)·π/O and means over cells, opencv linear
    bins about (o + ½)·π/O and, in each block, bilinear weights times a Gaussian of σ = b·cell_size / 4. With v the
    block's vector, skimage normalises it by

    ======= =========================================================================
    L1      v / (Σv + 10⁻⁵)
    L1-sqrt √(v / (Σv + 10⁻⁵))
    L2      v / √(‖v‖² + 10⁻¹⁰)
    L2-Hys  the same, then min(0.2, v), then the same again
    ======= =========================================================================

    and opencv by v / (‖v‖ + 0.1 b²·O), min(0.2, v), v / (‖v‖ + 10⁻³).

    Parameters
    ----------
    variant : {"uoctti", "dpm", "dalal-triggs"}
        The published HOG to follow.
    cell_size : int
        Pixels along one side of a cell. An image of H × W pixels has H / cell_size by W / cell_size cells, rounded
        half up; dpm returns two fewer each way.
    orientations : int
        O, undirected orientations.
    bilinear : bool
        Share each gradient between the two nearest directed bins, linearly in the angle. Otherwise the nearest bin
        takes it all ("hard"). The bins of skimage and opencv are always their own.
    scale : float
        Factor of the images, which come in [0, 1]. It matters because of the 10⁻⁴.
    texture : bool
        Keep the texture (and truncation) channels. Without them uoctti and dpm have 3O dimensions.
    softness : float
        Softness s of a surrogate; 0 is the descriptor itself. Hard bins are smooth over the width s (see
        `bins.Bins`), and the clamp leaks, h ← min(h, 0.2) + s/2 · max(h − 0.2, 0).
    cells_per_block : int, optional
        Cells b along one side of a block of skimage (3 by default) or opencv (2).
    block_norm : {"L1", "L1-sqrt", "L2", "L2-Hys"}, optional
        Normalisation of skimage's blocks, "L2-Hys" by default.
    square_root : bool
        Take square roots of the scaled image first, for skimage (``transform_sqrt``) or opencv (``gammaCorrection``).

    Raises
    ------
    ValueError
        For an unknown variant, sizes that are not positive, a negative softness, or an option of another variant.

    Notes
    -----
    Shape: (N, 1 or 3, H, W) → (N, D, h, w), values in [0, 0.4]; dalal-triggs reaches 0.2; texture grows
    with O, to 0.42 for nine orientations (dpm: 0.85). skimage and opencv reach 1.
    uoctti and dalal-triggs follow VLFeat 0.9.21, dpm the deformable part models, release 5: pixels that
    the rounded grid adds repeat the last interior gradient, those that it cuts off do not count, and orientation
    vectors have four decimals. Bilinear bins are an option of VLFeat; for dpm they are ours, with exact vectors.
    skimage is scikit-image's `hog` of the image times `scale`, with 255 that of 8-bit images, and opencv is
    `cv2.HOGDescriptor` with one window of all whole cells; cells and blocks are square. See `from_library`.

    References
    ----------
    N. Dalal, B. Triggs, "Histograms of oriented gradients for human detection", CVPR 2005.
    P. Felzenszwalb et al., "Object detection with discriminatively trained part based models", PAMI 32(9), 2010.

    Examples
    --------
    >>> import unfeature as uf
    >>> photograph = uf.resize_longer(uf.to_grey(uf.bundled("camera")), 64)
    >>> uf.HOG(cell_size=8)(photograph).shape
    (8, 8, 31)
    >>> uf.HOG("dpm", cell_size=8).output_shape(64, 64)
    (32, 6, 6)
    """

    traceable = False

    def __init__(self, variant: Variant = "uoctti", cell_size: int = 8, orientations: int = 9, bilinear: bool = False,
                 scale: float = 255.0, texture: bool = True, softness: float = 0.0,
                 cells_per_block: int | None = None, block_norm: BlockNorm | None = None,
                 square_root: bool = False) -> None:
        super().__init__()
        self.variant: str = check_choice("HOG variant", variant, VARIANTS)
        self.cell_size = check_count("cell_size", cell_size)
        self.orientations = check_count("orientations", orientations, 360)
        self.scale, self.softness = check_positive("scale", scale), check_not_negative("softness", softness)
        self.bilinear, self.texture = bool(bilinear), bool(texture)
        self.stride = self.cell_size
        self.receptive_field = 4 * self.cell_size + 2 - self.cell_size % 2
        self._trim = 1 if variant == "dpm" else 0
        self.cells_per_block, self.block_norm, self.square_root = cells_per_block, block_norm, bool(square_root)
        self.contrast_invariant = not self.square_root  # roots are steeper in the dark
        self._blocks = self._block_hog()
        if self._blocks:
            self.receptive_field = self._blocks.cells_per_block * self.cell_size + 2

    def _block_hog(self) -> BlockHOG | None:
        """What computes the code of skimage and opencv; None for other variants, which refuse the options of these."""
        if self.variant not in CELLS_PER_BLOCK:
            given = {"cells_per_block": self.cells_per_block, "block_norm": self.block_norm}
            foreign = [name for name, value in given.items() if value is not None]
            if foreign := foreign + ["square_root"] * self.square_root:
                raise ValueError(f"{', '.join(foreign)}: options of the variants {' and '.join(CELLS_PER_BLOCK)}, "
                                 f"which {self.variant} does not have")
            return None
        if self.bilinear:
            raise ValueError(f"the variant {self.variant} has bins of its own: leave bilinear at False")
        norm = "L2-Hys" if self.block_norm is None else check_choice("block_norm", self.block_norm, get_args(BlockNorm))
        if self.variant == "opencv" and norm != "L2-Hys":
            raise ValueError(f'OpenCV normalises blocks by "L2-Hys" only, got block_norm={norm!r}')
        cells = CELLS_PER_BLOCK[self.variant] if self.cells_per_block is None else self.cells_per_block
        cells = check_count("cells_per_block", cells, 64)
        return BlockHOG(self.variant, self.cell_size, self.orientations, cells, norm, self.square_root, self.scale,
                        self.softness)

    @property
    def dimensions(self) -> int:
        """Channels of the code, D."""
        if self._blocks:
            return self._blocks.dimensions
        if self.variant == "dalal-triggs":
            return 4 * self.orientations
        extra = {"uoctti": 4, "dpm": 5}[self.variant] if self.texture else 0
        return 3 * self.orientations + extra

    @property
    def groups(self) -> int:
        """Groups of O channels, one after the other, that the code begins with."""
        return self.dimensions // self.orientations if self._blocks or self.variant == "dalal-triggs" else 3

    @property
    def first_angle(self) -> float:
        """Angle of the middle of the first bin, in units of π/O."""
        return 0.5 if self._blocks else 0.0

    @property
    def bins(self) -> Bins:
        """The orientation bins."""
        decimals = 4 if self.variant == "dpm" and not self.bilinear else None
        return Bins(self.orientations, self.bilinear, 0.0 if self.bilinear else self.softness, decimals)

    def forward(self, x: Tensor) -> Tensor:
        """Code of a batch, (N, C, H, W) → (N, D, h, w)."""
        if self._blocks:
            return self._blocks.code(x)
        return self.normalise(oriented_cells(x, *self.pooling(*x.shape[-2:]), self.bins, self.scale))

    def pooling(self, height: int, width: int) -> tuple[PoolingMatrix, PoolingMatrix]:
        """Pooling weights of the grid of cells, along y and x; for opencv of the cells of each block."""
        if self._blocks:
            return self._blocks.pooling(height), self._blocks.pooling(width)
        size, trims = self.cell_size, self.variant == "dpm"
        rows, columns = (cell_pooling(pixels, cells, size, cells * size if trims else pixels)
                         for pixels, cells in zip((height, width), self._cells(height, width), strict=True))
        return rows, columns

    def normalise(self, cells: Tensor) -> Tensor:
        """Block normalisation: directed histograms of cells, (N, 2O, R, S) → code.

        skimage and opencv take the undirected histograms of blocks, (N, b²·O, h, w).
        """
        if self._blocks:
            return self._blocks.normalise(cells)
        texture, leak = self.texture and self.variant in TEXTURE, LEAK * self.softness
        if uses_compiled(cells):
            from .compiled import autograd

            weight = 1.0 if self.variant == "dalal-triggs" else 0.5
            constants = EPSILON, CLAMP, leak, weight, TEXTURE.get(self.variant, 0.0)
            return autograd.block_normalised(cells, self.variant, self.dimensions, texture, constants,
                                             partial(self._normalised_in_torch, texture=texture, leak=leak))
        return self._normalised_in_torch(cells, texture, leak)

    def _normalised_in_torch(self, cells: Tensor, texture: bool, leak: float) -> Tensor:
        blocks, weight = _normalised_blocks(cells, leak), TEXTURE.get(self.variant, 0.0)
        if self.variant == "dalal-triggs":
            return torch.cat([undirected for _, undirected in blocks], 1)
        if self.variant == "dpm":
            blocks = [blocks[k] for k in (3, 1, 2, 0)]
        code = [0.5 * torch.stack(parts).sum(0) for parts in zip(*blocks, strict=True)]
        if texture:
            code += [block[0 if self.variant == "dpm" else 1].sum(1, keepdim=True) * weight for block in blocks]
        if texture and self.variant == "dpm":
            code.append(torch.zeros_like(code[0][:, :1]))
        whole = torch.cat(code, 1)
        return whole[:, :, 1:-1, 1:-1] if self._trim else whole

    def _cells(self, height: int, width: int) -> tuple[int, int]:
        """Cells along each axis: pixels / cell_size, rounded half up."""
        return (height + self.cell_size // 2) // self.cell_size, (width + self.cell_size // 2) // self.cell_size

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape (D, h, w) of the code of a height × width image.

        ValueError with fewer than two cells along an axis (dpm: three; skimage and opencv: the cells of a block).
        """
        if self._blocks:
            return self._block_shape(self._blocks, height, width)
        least, cells = 2 + self._trim, self._cells(height, width)
        if min(cells) < least:
            smallest = least * self.cell_size - self.cell_size // 2
            raise ValueError(f"an image of {height} × {width} pixels has {cells[0]} × {cells[1]} cells of "
                             f"{self.cell_size} pixels, but HOG ({self.variant}) needs {least} each way: take an image "
                             f"of at least {smallest} × {smallest} pixels, or a smaller cell_size")
        return self.dimensions, cells[0] - 2 * self._trim, cells[1] - 2 * self._trim

    def _block_shape(self, blocks: BlockHOG, height: int, width: int) -> tuple[int, ...]:
        rows, columns = blocks.grid(height, width)
        if min(rows, columns) < 1:
            side = blocks.cells_per_block * self.cell_size
            raise ValueError(f"an image of {height} × {width} pixels is smaller than a block of {side} × {side} pixels "
                             f"({blocks.cells_per_block} cells of {self.cell_size}): take a larger image, a smaller "
                             "cell_size or fewer cells_per_block")
        return self.dimensions, rows, columns

    def image_size_for(self, code_shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of an image of whole cells whose code has the shape (D, h, w)."""
        h, w = self._grid_of(code_shape, self.dimensions)
        if self._blocks:
            more = self._blocks.cells_per_block - 1
            return (h + more) * self.cell_size, (w + more) * self.cell_size
        height, width = (h + 2 * self._trim) * self.cell_size, (w + 2 * self._trim) * self.cell_size
        self.output_shape(height, width)
        return height, width

    @property
    def mirrored_channels(self) -> NDArray[np.intp] | None:
        """As `Representation.mirrored_channels`: angles become π less the angle, and blocks change sides.

        None for skimage and opencv, which count the pixels of the border in ways that are not symmetric.
        """
        number, channels = self.orientations, np.arange(self.dimensions)
        if self._blocks:
            return None
        directed = mirrored_directions(2 * number)
        undirected = directed[:number] % number
        if self.variant == "dalal-triggs":
            return channels.reshape(2, 2, number)[:, ::-1, undirected].reshape(-1)
        channels[: 3 * number] = np.r_[directed, 2 * number + undirected]
        if self.texture:
            blocks = [1, 0, 3, 2] if self.variant == "uoctti" else [2, 3, 0, 1]
            channels[3 * number : 3 * number + 4] = 3 * number + np.array(blocks)
        return channels

    def flat_pixels(self, code: Tensor, height: int, width: int) -> Tensor:
        """Pixels that are pooled into a cell whose code is next to zero, a tenth of the clamp, bool (N, H, W)."""
        if self._blocks:
            return self._blocks.flat_pixels(code, height, width)
        empty = pad((code.abs().amax(1) < 0.1 * CLAMP).to(code), (self._trim,) * 4)
        rows, columns = self.pooling(height, width)
        return rows.dense(code).T @ empty @ columns.dense(code) > 0


    def from_library(self, vector: NDArray[Any], height: int, width: int) -> NDArray[Any]:
        """A feature vector of scikit-image or OpenCV as a code of this descriptor, (h, w, D).

        Parameters
        ----------
        vector : ndarray
            What ``skimage.feature.hog`` or ``cv2.HOGDescriptor.compute`` returned with the settings of this
            descriptor, ravelled or not; for OpenCV of one window that holds all whole cells of the image.
        height, width : int
            Size of the image.

        Raises
        ------
        ValueError
            For another variant, or a length that does not fit.

        Notes
        -----
        scikit-image lists (block row, block column, cell row, cell column, bin): a code (h, w, D) is the same list.
        OpenCV lists (block column, block row, cell column, cell row, bin).
        """
        if not self._blocks:
            raise ValueError(f'{self!r} is none of a library: take HOG("skimage") or HOG("opencv")')
        dimensions, h, w = self.output_shape(height, width)
        b, values = self._blocks.cells_per_block, np.asarray(vector)
        if values.size != dimensions * h * w:
            raise ValueError(f"an image of {height} × {width} pixels has {h} × {w} × {dimensions} = "
                             f"{dimensions * h * w} values by {self!r}, got {values.size} (shape {values.shape}): give "
                             "the size of the image and the settings that the vector was computed with")
        if self.variant == "opencv":
            values = values.reshape(w, h, b, b, self.orientations).transpose(1, 0, 3, 2, 4)
        return np.ascontiguousarray(values.reshape(h, w, dimensions))


def _normalised_blocks(cells: Tensor, leak: float) -> list[tuple[Tensor, Tensor]]:
    """Directed and undirected histograms under each block's factor, clamped: four pairs (N, 2O, R, S), (N, O, R, S).

    The blocks come in the order upper-left, upper-right, lower-left, lower-right. The clamp leaks with a slope.
    """
    first, second = cells.chunk(2, 1)
    undirected = first + second
    energy = pad((undirected**2).sum(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    block = energy[..., :-1, :-1] + energy[..., :-1, 1:] + energy[..., 1:, :-1] + energy[..., 1:, 1:]
    factor = torch.rsqrt(block + EPSILON)
    corners = (factor[..., :-1, :-1], factor[..., :-1, 1:], factor[..., 1:, :-1], factor[..., 1:, 1:])
    return [(clamped(cells * f, leak), clamped(undirected * f, leak)) for f in corners]

"""Dense SIFT: descriptors on a regular grid, as VLFeat computes them and as the networks of the inversion papers."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Literal, get_args, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..backend import uses_compiled
from ..base import Representation, at_least_single
from ..checks import check_choice, check_count, check_positive
from .bins import FAST_LEAST, Bins, mirrored_directions
from .frames import FrameAxis, window_pooling
from .histograms import CLAMP, clamped, oriented_cells, oriented_cells_in_torch
from .pooling import PoolingMatrix

Variant = Literal["vlfeat", "network"]
Window = Literal["gaussian", "flat"]
EPSILON = float(np.finfo(np.float32).eps)
LEAK = {"vlfeat": 0.2, "network": 0.5}
LEVELS = 512.0

Bounds = tuple[int, int, "int | None", "int | None"]
Pair = tuple[int, int]


class DSIFT(Representation):
    r"""SIFT descriptors of one size and orientation on a regular grid.

    A descriptor is a histogram of gradients over NY × NX spatial bins and NO directions, whose gradient magnitudes
    are shared linearly between the two nearest directions and, with a triangle of half-width `bin_size`, between
    spatial bins:

    .. math:: h_{ijo} = \sum_{y,x} t(y - y_i)\, g_i(y)\; t(x - x_j)\, g_j(x)\; M_o(y, x), \quad
              t(z) = \max(0, 1 - |z| / b)

    with b the `bin_size`, (y_i, x_j) the bin's centre, and g a Gaussian about the descriptor's centre with σ =
    `window_size` · b. The flat window replaces g_i(y) by its mean over the bin. Then

    ======= ===================================================================================
    vlfeat  h ← h / √(‖h‖² + ε²), h ← min(h, 0.2), h ← h / ‖h‖
    network h ← h / √(‖h‖² + ε²), h ← min(h, 0.2): the variant that the inversion papers use
    ======= ===================================================================================

    Gradients are ½ (I[p + 1] − I[p − 1]), one-sided on the image's border, and repeat those of the border beyond it.

    Parameters
    ----------
    bin_size : int
        Pixels b between the centres of neighbouring spatial bins.
    step : int, optional
        Pixels between neighbouring descriptors. By default `bin_size`, for the network three times that.
    bounds : tuple (ymin, xmin, ymax, xmax), optional
        Pixels within which all bin centres lie, inclusive; None for either maximum is the image's last. The first
        bin of the first descriptor is centred on (ymin, xmin). By default the whole image.
    window : {"gaussian", "flat"}, optional
        Spatial window of a descriptor. By default "gaussian", for the network "flat".
    window_size : float
        σ of the Gaussian in units of `bin_size`.
    geometry : tuple (NY, NX, NO)
        Spatial bins along y and x, and directions, an even number.
    variant : {"vlfeat", "network"}
        The published SIFT to follow: VLFeat's, or that of the networks of the inversion papers.
    scale : float
        Factor of the images, which come in [0, 1]. Descriptors do not depend on it but for ε; norms do. 255
        gives what VLFeat computes of 8-bit images.
    epsilon : float, optional
        Constant ε of the first normalisation, in the units of `norms`. By default next to nothing, as in VLFeat; a
        larger one lets descriptors of faint patches fade instead of showing their noise in full.
    leak : float
        Slope beyond the clamp of a surrogate; 0 is the descriptor itself. h ← min(h, 0.2) + leak · max(h − 0.2, 0).

    Raises
    ------
    ValueError
        For an unknown variant or window, or sizes that are not positive.

    Notes
    -----
    Shape: (N, 1, H, W) → (N, NY·NX·NO, h, w), values in [0, 1] (network: 0.2), float; `describe` gives the lists of
    frames and 8-bit descriptors that VLFeat returns. Channel (i·NX + j)·NO + o is bin row i, bin column j and the
    direction 2πo/NO, clockwise from +x. vlfeat follows VLFeat 0.9.21 with its approximate arctangent (0.01 radians);
    the network measures angles exactly. With the flat window, in single precision on the CPU, vlfeat also has the
    roundings of VLFeat's running sums, which are much of a descriptor where the image is almost constant; the
    gradient is that without them.

    References
    ----------
    D. Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 60(2), 2004.
    A. Mahendran, A. Vedaldi, "Visualizing deep convolutional neural networks using natural pre-images", IJCV, 2016.

    Examples
    --------
    >>> import unfeature as uf
    >>> photograph = uf.resize_longer(uf.to_grey(uf.bundled("camera")), 64)
    >>> uf.DSIFT(bin_size=4, step=4)(photograph).shape
    (13, 13, 128)
    """

    in_channels = (1,)
    traceable = False

    def __init__(self, bin_size: int = 8, step: int | None = None, bounds: Bounds | None = None,
                 window: Window | None = None, window_size: float = 2.0, geometry: tuple[int, int, int] = (4, 4, 8),
                 variant: Variant = "vlfeat", scale: float = 255.0, epsilon: float | None = None,
                 leak: float = 0.0) -> None:
        super().__init__()
        self.variant: str = check_choice("variant", variant, get_args(Variant))
        network = variant == "network"
        self.bin_size = check_count("bin_size", bin_size)
        self.step = check_count("step", (3 if network else 1) * self.bin_size if step is None else step)
        default = "flat" if network else "gaussian"
        self.window = check_choice("window", default if window is None else window, get_args(Window))
        self.window_size, self.scale = check_positive("window_size", window_size), check_positive("scale", scale)
        self.epsilon = None if epsilon is None else check_positive("epsilon", epsilon)
        if not 0 <= leak <= 1:
            raise ValueError(f"leak is a slope from 0 to 1, got {leak!r}")
        self.leak = float(leak)
        self.contrast_invariant = epsilon is None
        self.geometry, self.bounds = _check_geometry(geometry), _check_bounds(bounds)
        self.stride = self.step
        self.receptive_field = (max(self.geometry[:2]) + 1) * self.bin_size + 1
        firsts, lasts = (self.bounds[:2], self.bounds[2:]) if self.bounds else ((0, 0), (None, None))
        self._axes = [FrameAxis(bins, self.bin_size, self.step, first, last, self.window_size, self.window == "flat")
                      for bins, first, last in zip(self.geometry[:2], firsts, lasts, strict=True)]
        self._area = (self._axes[0].span + 1) * (self._axes[1].span + 1)
        self._epsilon = EPSILON if self.epsilon is None else self.epsilon * self._area

    @property
    def dimensions(self) -> int:
        """Length of one descriptor, D."""
        return math.prod(self.geometry)

    def forward(self, x: Tensor) -> Tensor:
        """Code of a batch, (N, 1, H, W) → (N, D, h, w)."""
        return self.code_and_norms(x)[0]

    def code_and_norms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (N, D, h, w) of a batch (N, 1, H, W), and the `norms` (N, h, w) of their descriptors."""
        shape = self.output_shape(*x.shape[-2:])
        bins = Bins(self.geometry[2] // 2, linear=True, cubic=self.variant == "vlfeat")
        down, across = self._axes
        layout, weights = (down.layout, across.layout), np.outer(down.weights, across.weights)
        rows, columns = self.pooling(*x.shape[-2:])
        operands = x, rows, columns, bins, self.scale / 2

        def described(cells: Tensor) -> tuple[Tensor, Tensor]:
            histograms = _gather(cells, shape, layout, weights)
            return self.normalise(histograms), histograms.sum(1)

        if not uses_compiled(x):
            code, total = described(oriented_cells(*operands))
            return code, total / self._area
        from .compiled import autograd

        vlfeat, least = self.variant == "vlfeat", 0.0
        if vlfeat and self.window == "flat" and x.dtype == torch.float32:
            places = (down.first, down.pitch), (across.first, across.pitch)
            in_torch = partial(oriented_cells_in_torch, rows=rows, columns=columns, bins=bins, scale=self.scale / 2)
            cells = autograd.running_cells(*operands, self.bin_size, places, in_torch)
            least = FAST_LEAST**2 if self.epsilon is None else 0.0
        else:
            cells = oriented_cells(*operands)
        constants = self._epsilon, EPSILON, CLAMP, self.leak, least
        code, total = autograd.descriptors(cells, shape, layout, weights, vlfeat, constants, described)
        return code, total / self._area

    def normalise(self, histograms: Tensor) -> Tensor:
        """Unnormalised descriptors, (N, D, h, w) → code."""
        code = clamped(_unit(histograms, self._epsilon), self.leak)
        return _unit(code, EPSILON) if self.variant == "vlfeat" else code

    def pooling(self, height: int, width: int) -> tuple[PoolingMatrix, PoolingMatrix]:
        """Pooling weights along y and x: a row for each bin of each frame or, if flat, for each place of bins."""
        return window_pooling(self._axes[0], height), window_pooling(self._axes[1], width)

    @overload
    def norms(self, image: Tensor) -> Tensor: ...
    @overload
    def norms(self, image: NDArray[Any]) -> NDArray[Any]: ...
    def norms(self, image: Tensor | NDArray[Any]) -> Tensor | NDArray[Any]:
        """Gradient mass of each descriptor, (N, 1, H, W) → (N, h, w) or, of one NumPy image, (h, w).

        Σ h / (side_y · side_x), the sides being the spans of the bin centres in pixels, in units of `scale` × pixel⁻¹.
        """
        if isinstance(image, np.ndarray):
            with torch.no_grad():
                return np.asarray(self.norms(self.as_batch(image))[0].cpu().numpy())
        self.check_batch(image)
        return self.code_and_norms(at_least_single(image))[1].to(image.dtype)

    def position_centres(self, height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows and columns of the descriptors' centres, in pixels."""
        self.output_shape(height, width)
        return self._axes[0].centres(height), self._axes[1].centres(width)

    def frames(self, height: int, width: int) -> NDArray[np.float32]:
        """Centres (y, x) of the descriptors, (h·w, 2), row after row: the list that VLFeat returns."""
        grid = np.meshgrid(*self.position_centres(height, width), indexing="ij")
        return np.stack(grid, -1).reshape(-1, 2).astype(np.float32)

    def describe(self, image: NDArray[Any], norm: bool = False,
                 quantised: bool = True) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Frames and descriptors of one image as lists, as VLFeat returns them.

        Parameters
        ----------
        image : ndarray (H, W)
        norm : bool
            Whether the frames have a third column, the norm.
        quantised : bool
            Whether descriptors are 8-bit, see `quantise`, or floating point as in the code.

        Returns
        -------
        frames : ndarray (h·w, 2 or 3), float32
            (y, x) and the norm.
        descriptors : ndarray (h·w, D), uint8 or float32
        """
        x = self.as_batch(image)
        self.check_batch(x)
        with torch.no_grad():
            code, norms = self.code_and_norms(x)
        frames, flat = self.frames(*x.shape[-2:]), code[0].flatten(1).T.float().cpu().numpy()
        if norm:
            frames = np.column_stack([frames, norms[0].float().cpu().numpy().reshape(-1)])
        return frames, quantise(flat) if quantised else np.ascontiguousarray(flat)

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape (D, h, w) of the code of a height × width image; ValueError if no descriptor lies in the bounds."""
        down, across = self._axes
        if any(axis.last is not None and axis.last >= n for axis, n in ((down, height), (across, width))):
            raise ValueError(f"bounds={self.bounds} reach beyond an image of {height} × {width} pixels: "
                             f"the maxima are at most ({height - 1}, {width - 1}); None is the image's last")
        h, w = down.count(height), across.count(width)
        if min(h, w, height - 1, width - 1) < 1:
            needed = [max(2, axis.first + axis.span + 1) for axis in self._axes]
            raise ValueError(f"an image of {height} × {width} pixels is too small for one descriptor of {self!r}: take "
                             f"one of at least {needed[0]} × {needed[1]} pixels, a smaller bin_size or wider bounds")
        return self.dimensions, h, w

    def image_size_for(self, code_shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of the smallest image whose code has the shape (D, h, w)."""
        h, w = self._grid_of(code_shape, self.dimensions)
        height, width = self._axes[0].least_pixels(h), self._axes[1].least_pixels(w)
        if self.output_shape(height, width) != tuple(code_shape):
            raise ValueError(f"no image has a code of shape {tuple(code_shape)} within bounds={self.bounds}")
        return height, width

    def surrogate(self, softness: float) -> DSIFT:
        """The same with a clamp that leaks, so that bins above it have a gradient; itself if it leaks already."""
        return self if self.leak else self.replace(leak=min(1.0, LEAK[self.variant] * softness))

    @property
    def mirrored_channels(self) -> NDArray[np.intp]:
        """As `Representation.mirrored_channels`: bins change sides, directions become π less the direction."""
        turned = mirrored_directions(self.geometry[2])
        return np.arange(self.dimensions).reshape(self.geometry)[:, ::-1, turned].reshape(-1)

    def flat_pixels(self, code: Tensor, height: int, width: int) -> Tensor:
        """Pixels that are pooled into a spatial bin whose directions are all zero, bool (N, H, W)."""
        _, h, w = self.output_shape(height, width)
        empty = (code.reshape(len(code), *self.geometry, h, w).amax(3) < EPSILON).to(code)
        down, across = self._axes[0].reached(height, code), self._axes[1].reached(width, code)
        return torch.einsum("nijhw,ihy,jwx->nyx", empty, down, across) > 0


def quantise(descriptors: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Descriptors as VLFeat stores them: 512 times as large, at most 255, truncated to 8 bits."""
    levels: NDArray[np.uint8] = np.minimum(descriptors * np.float32(LEVELS), 255).astype(np.uint8)
    return levels


def _gather(cells: Tensor, shape: tuple[int, ...], layout: tuple[Pair, Pair],
            weights: NDArray[np.float64]) -> Tensor:
    """Unnormalised descriptors (N, D, h, w) from cells (N, 2O, R, S)."""
    (a, b), (c, d) = layout
    below, right = (shape[1] - 1) * a + 1, (shape[2] - 1) * c + 1
    return torch.cat([weight * cells[:, :, i * b : i * b + below : a, j * d : j * d + right : c]
                      for i, row in enumerate(weights.tolist()) for j, weight in enumerate(row)], 1)


def _unit(h: Tensor, epsilon: float) -> Tensor:
    """h / √(‖h‖² + ε²) along axis 1."""
    return h * torch.rsqrt((h * h).sum(1, keepdim=True) + epsilon**2)


def _check_geometry(geometry: tuple[int, int, int]) -> tuple[int, int, int]:
    if len(geometry) != 3:
        raise ValueError(f"geometry is (NY, NX, NO): bins along y and x, and directions; got {geometry!r}")
    ny, nx, directions = (check_count("each number of geometry", n, 64) for n in geometry)
    if directions % 2:
        raise ValueError(f"geometry has an even number of directions, got {directions}")
    return ny, nx, directions


def _check_bounds(bounds: Bounds | None) -> Bounds | None:
    if bounds is None:
        return None
    whole = (b is None or (0 <= b <= 10**6 and int(b) == b) for b in bounds)
    if len(bounds) != 4 or not all(whole) or None in bounds[:2]:
        raise ValueError("bounds is (ymin, xmin, ymax, xmax) in whole pixels from 0 to 1000000, where None for a "
                         f"maximum is the image's last pixel; got {bounds!r}")
    ymin, xmin, ymax, xmax = bounds
    return int(ymin), int(xmin), None if ymax is None else int(ymax), None if xmax is None else int(xmax)

"""Dense SIFT: descriptors on a regular grid, as VLFeat computes them and as the networks of the inversion papers."""

from __future__ import annotations

import difflib
import math
from functools import lru_cache
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..base import Representation, image_to_tensor
from . import compiled as kernels
from .histograms import FAST_LEAST, Band, Bins, oriented_cells

EPSILON = float(np.finfo(np.float32).eps)
CLAMP = 0.2
LEAK = {"vlfeat": 0.2, "network": 0.5}
LEVELS = 512.0
VARIANTS = ("vlfeat", "network")
WINDOWS = ("gaussian", "flat")

Bounds = tuple[int, int, "int | None", "int | None"]


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
        b, pixels between the centres of neighbouring spatial bins.
    step : int, optional
        Pixels between neighbouring descriptors; by default `bin_size`, for the network three times that.
    bounds : tuple (ymin, xmin, ymax, xmax), optional
        Pixels within which all bin centres lie, inclusive; None for either maximum is the image's last. The first
        bin of the first descriptor is centred on (ymin, xmin). By default the whole image.
    window : {"gaussian", "flat"}, optional
        By default "gaussian", for the network "flat".
    window_size : float
        σ of the Gaussian in units of `bin_size`.
    geometry : tuple (NY, NX, NO)
        NO is even.
    variant : {"vlfeat", "network"}
    scale : float
        Multiplies images, which come in [0, 1]. Descriptors do not depend on it but for ε; norms do. 255
        gives what VLFeat computes of 8-bit images.
    epsilon : float, optional
        ε of the first normalisation, in the units of `norms`; by default next to nothing, as in VLFeat. A larger one
        lets descriptors of faint patches fade instead of showing their noise in full.
    leak : float
        0, or the slope beyond the clamp of a stand-in, h ← min(h, 0.2) + leak · max(h − 0.2, 0).

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
    """

    in_channels = (1,)
    fused: bool | None = None

    def __init__(self, bin_size: int = 8, step: int | None = None, bounds: Bounds | None = None,
                 window: str | None = None, window_size: float = 2.0, geometry: tuple[int, int, int] = (4, 4, 8),
                 variant: str = "vlfeat", scale: float = 255.0, epsilon: float | None = None,
                 leak: float = 0.0) -> None:
        super().__init__()
        check_choice("variant", variant, VARIANTS)
        network = variant == "network"
        self.variant, self.bin_size = variant, check_count("bin_size", bin_size)
        self.step = check_count("step", (3 if network else 1) * self.bin_size if step is None else step)
        self.window = ("flat" if network else "gaussian") if window is None else window
        check_choice("window", self.window, WINDOWS)
        self.window_size, self.scale = check_positive("window_size", window_size), check_positive("scale", scale)
        self.epsilon = None if epsilon is None else check_positive("epsilon", epsilon)
        if not 0 <= leak <= 1:
            raise ValueError(f"leak is a slope from 0 to 1, got {leak!r}")
        self.leak = float(leak)
        self.blind_to_contrast = epsilon is None
        self.geometry, self.bounds = _check_geometry(geometry), _check_bounds(bounds)
        self.stride = self.step
        self.receptive_field = (max(self.geometry[:2]) + 1) * self.bin_size + 1

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
        fused = self.fused is not False and kernels.fits(x)
        bins = Bins(self.geometry[2] // 2, linear=True, cubic=self.variant == "vlfeat")
        operands = x, *self.bands(*x.shape[-2:]), bins, self.scale / 2
        layout, weights = self._layout()
        running = fused and x.dtype == torch.float32 and self.window == "flat" and self.variant == "vlfeat"
        if running:
            from .compiled.running import running_cells

            pitch = math.gcd(self.bin_size, self.step)
            down, across = ((first, pitch) for first in self._first())
            cells = running_cells(*operands, self.bin_size, (down, across))
        else:
            cells = oriented_cells(*operands, fused=self.fused)
        if fused:
            from .compiled.descriptors import descriptors

            least = FAST_LEAST**2 if running and self.epsilon is None else 0.0
            constants = self._epsilon, EPSILON, CLAMP, self.leak, least
            code, total = descriptors(cells, shape, layout, weights, self.variant == "vlfeat", constants)
        else:
            histograms = _gather(cells, shape, layout, weights)
            code, total = self.normalise(histograms), histograms.sum(1)
        return code, total / self._area

    @property
    def _area(self) -> int:
        return math.prod((n - 1) * self.bin_size + 1 for n in self.geometry[:2])

    @property
    def _epsilon(self) -> float:
        return EPSILON if self.epsilon is None else self.epsilon * self._area

    def _layout(self) -> tuple[tuple[tuple[int, int], tuple[int, int]], NDArray[np.float64]]:
        """Cells from frame to frame and from bin to bin, along y and x; and the weights of the bins (NY, NX)."""
        ny, nx = self.geometry[:2]
        if self.window == "gaussian":
            return ((ny, 1), (nx, 1)), np.ones((ny, nx))
        pitch = math.gcd(self.bin_size, self.step)
        place = self.step // pitch, self.bin_size // pitch
        down, across = (window_profile(self.bin_size, n, self.window_size).mean(1) for n in (ny, nx))
        return (place, place), np.outer(down, across)

    def normalise(self, histograms: Tensor) -> Tensor:
        """Unnormalised descriptors, (N, D, h, w) → code."""
        unit = _unit(histograms, self._epsilon)
        clamped = unit.clamp(max=CLAMP)
        if self.leak:
            clamped = clamped + self.leak * (unit - clamped)
        return _unit(clamped, EPSILON) if self.variant == "vlfeat" else clamped

    def bands(self, height: int, width: int) -> tuple[Band, Band]:
        """Pooling weights along y and x: a row for each bin of each frame, or for each place where bins of the flat
        window lie."""
        rows, columns = (
            _window_band(size, first, frames, self.step, self.bin_size, bins,
                         self.window_size if self.window == "gaussian" else None)
            for size, first, frames, bins in zip((height, width), self._first(), self._frames(height, width),
                                                 self.geometry[:2], strict=True))
        return rows, columns

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
                return np.asarray(self.norms(image_to_tensor(image))[0].cpu().numpy())
        self.check_batch(image)
        return self.code_and_norms(image)[1]

    def frames(self, height: int, width: int) -> NDArray[np.float32]:
        """Centres (y, x) of the descriptors of a height × width image in pixels, (h·w, 2), row after row."""
        centres = [first + (bins - 1) * self.bin_size / 2 + self.step * np.arange(count) for first, bins, count in
                   zip(self._first(), self.geometry[:2], self._checked_frames(height, width), strict=True)]
        return np.stack(np.meshgrid(*centres, indexing="ij"), -1).reshape(-1, 2).astype(np.float32)

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
        with torch.no_grad():
            x = image_to_tensor(image)
            self.check_batch(x)
            code, norms = self.code_and_norms(x)
        frames, flat = self.frames(*x.shape[-2:]), code[0].flatten(1).T.float().cpu().numpy()
        if norm:
            frames = np.column_stack([frames, norms[0].float().cpu().numpy().reshape(-1)])
        return frames, quantise(flat) if quantised else np.ascontiguousarray(flat)

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape (D, h, w) of the code of a height × width image; ValueError if no descriptor lies in the bounds."""
        return self.dimensions, *self._checked_frames(height, width)

    def image_size_for(self, code_shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of the smallest image whose code has the shape (D, h, w)."""
        if len(code_shape) != 3 or code_shape[0] != self.dimensions or min(code_shape) < 1:
            raise ValueError(f"a code of {self!r} has shape (D, h, w) with D = {self.dimensions}, "
                             f"got {tuple(code_shape)}")
        needed = [first + (bins - 1) * self.bin_size + (n - 1) * self.step + 1
                  for first, bins, n in zip(self._first(), self.geometry[:2], code_shape[1:], strict=True)]
        last = (None, None) if self.bounds is None else self.bounds[2:]
        height, width = (max(2, n if end is None else end + 1) for n, end in zip(needed, last, strict=True))
        if self.output_shape(height, width) != tuple(code_shape):
            raise ValueError(f"no image has a code of shape {tuple(code_shape)} within bounds={self.bounds}")
        return height, width

    def surrogate(self, softness: float) -> DSIFT:
        """The same with a clamp that leaks, so that bins above it have a gradient; itself if it leaks already."""
        return self if self.leak else self.replace(leak=min(1.0, LEAK[self.variant] * softness))

    def flat_pixels(self, code: Tensor, height: int, width: int) -> Tensor:
        """Pixels that are pooled into a spatial bin whose directions are all zero, bool (N, H, W)."""
        ny, nx, directions = self.geometry
        _, h, w = self.output_shape(height, width)
        empty = (code.reshape(len(code), ny, nx, directions, h, w).amax(3) < EPSILON).to(code)
        first_y, first_x = self._first()
        covered = torch.zeros(len(code), height, width, dtype=code.dtype, device=code.device)
        for i in range(ny):
            down = self._reach(first_y + i * self.bin_size, h, height, code)
            for j in range(nx):
                covered += down.T @ empty[:, i, j] @ self._reach(first_x + j * self.bin_size, w, width, code)
        return covered > 0

    def _reach(self, first: int, frames: int, pixels: int, like: Tensor) -> Tensor:
        """Which pixels the same bin of each frame reaches along one axis, (frames, pixels)."""
        centre = first + self.step * torch.arange(frames, device=like.device)[:, None]
        return ((torch.arange(pixels, device=like.device) - centre).abs() < self.bin_size).to(like)

    def _first(self) -> tuple[int, int]:
        return (0, 0) if self.bounds is None else self.bounds[:2]

    def _frames(self, height: int, width: int) -> tuple[int, int]:
        last = (None, None) if self.bounds is None else self.bounds[2:]
        spans = ((size - 1 if end is None else end) - first - (bins - 1) * self.bin_size for size, end, first, bins in
                 zip((height, width), last, self._first(), self.geometry[:2], strict=True))
        rows, columns = (max(0, span // self.step + 1) for span in spans)
        return rows, columns

    def _checked_frames(self, height: int, width: int) -> tuple[int, int]:
        if self.bounds is not None:
            for size, end in zip((height, width), self.bounds[2:], strict=True):
                if end is not None and end > size - 1:
                    raise ValueError(f"bounds={self.bounds} reach beyond an image of {height} × {width} pixels: "
                                     f"the maxima are at most ({height - 1}, {width - 1}); None is the image's last")
        frames = self._frames(height, width)
        if min(*frames, height - 1, width - 1) < 1:
            needed = [max(2, first + (bins - 1) * self.bin_size + 1) for first, bins in
                      zip(self._first(), self.geometry[:2], strict=True)]
            raise ValueError(f"an image of {height} × {width} pixels is too small for one descriptor of {self!r}: take "
                             f"one of at least {needed[0]} × {needed[1]} pixels, a smaller bin_size or wider bounds")
        return frames


def quantise(descriptors: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Descriptors as VLFeat stores them: 512 times as large, at most 255, truncated to 8 bits."""
    levels: NDArray[np.uint8] = np.minimum(descriptors * np.float32(LEVELS), 255).astype(np.uint8)
    return levels


def window_profile(bin_size: int, bins: int, window_size: float) -> NDArray[np.float64]:
    """The Gaussian window at the 2·bin_size − 1 pixels about each bin's centre, (bins, 2·bin_size − 1)."""
    offset = np.arange(1 - bin_size, bin_size)
    centre = bin_size * (np.arange(bins) - (bins - 1) / 2)
    return np.exp(-0.5 * ((offset + centre[:, None]) / (bin_size * window_size)) ** 2)


@lru_cache(maxsize=64)
def _window_band(pixels: int, first: int, frames: int, step: int, size: int, bins: int,
                 window_size: float | None) -> Band:
    """Triangles times the Gaussian, a row for each frame and bin; or, without Gaussian, a row for each common place."""
    offset = np.arange(1 - size, size)
    weight = 1 - np.abs(offset) / size
    if window_size is None:
        pitch = math.gcd(size, step)
        centre = first + pitch * np.arange(((frames - 1) * step + (bins - 1) * size) // pitch + 1)
        weights = np.tile(weight, (len(centre), 1))
    else:
        centre = (first + step * np.arange(frames)[:, None] + size * np.arange(bins)).ravel()
        weights = np.tile(weight * window_profile(size, bins, window_size), (frames, 1))
    pixel = np.clip(centre[:, None] + offset, 0, pixels - 1)
    row = np.broadcast_to(np.arange(len(centre))[:, None], pixel.shape)
    return Band(len(centre), pixels, row, pixel, weights)


def _gather(cells: Tensor, shape: tuple[int, ...], layout: tuple[tuple[int, int], tuple[int, int]],
            weights: NDArray[np.float64]) -> Tensor:
    """Unnormalised descriptors (N, D, h, w) from cells (N, 2O, R, S)."""
    (a, b), (c, d) = layout
    below, right = (shape[1] - 1) * a + 1, (shape[2] - 1) * c + 1
    return torch.cat([weight * cells[:, :, i * b : i * b + below : a, j * d : j * d + right : c]
                      for i, row in enumerate(weights.tolist()) for j, weight in enumerate(row)], 1)


def _unit(h: Tensor, epsilon: float) -> Tensor:
    """h / √(‖h‖² + ε²) along axis 1."""
    return h * torch.rsqrt((h * h).sum(1, keepdim=True) + epsilon**2)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise a ValueError that names the nearest choice unless this is one."""
    if value not in choices:
        near = difflib.get_close_matches(str(value).lower(), choices, 1, 0.3)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown {name} {value!r}: {hint}Choose one of {', '.join(choices)}")


def check_count(name: str, value: int) -> int:
    """A whole number of at least 1, or a ValueError."""
    if int(value) != value or value < 1:
        raise ValueError(f"{name} is a whole number of at least 1, got {value!r}")
    return int(value)


def check_positive(name: str, value: float) -> float:
    """A finite positive number, or a ValueError."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is a positive number, got {value!r}")
    return float(value)


def _check_geometry(geometry: tuple[int, int, int]) -> tuple[int, int, int]:
    if len(geometry) != 3:
        raise ValueError(f"geometry is (NY, NX, NO): bins along y and x, and directions; got {geometry!r}")
    ny, nx, directions = (check_count("each number of geometry", n) for n in geometry)
    if directions % 2:
        raise ValueError(f"geometry has an even number of directions, got {directions}")
    return ny, nx, directions


def _check_bounds(bounds: Bounds | None) -> Bounds | None:
    if bounds is None:
        return None
    if len(bounds) != 4 or any(b is not None and (int(b) != b or b < 0) for b in bounds) or None in bounds[:2]:
        raise ValueError("bounds is (ymin, xmin, ymax, xmax) in whole pixels from 0, where None for a maximum is the "
                         f"image's last pixel; got {bounds!r}")
    ymin, xmin, ymax, xmax = bounds
    return int(ymin), int(xmin), None if ymax is None else int(ymax), None if xmax is None else int(xmax)

"""PHOW: dense SIFT at several sizes, of a smoothed grey or colour image."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..base import Representation
from ..checks import check_choice, check_count, check_not_negative, check_positive
from ..device_constants import cached_on_device, constant
from .dsift import DSIFT, Window, quantise

Colour = Literal["gray", "rgb", "hsv", "opponent"]
Variant = Literal["cyvlfeat", "vlfeat"]
GREY = (0.299, 0.587, 0.114)


class PHOW(Representation):
    r"""Dense SIFT at several bin sizes about the same centres: a pyramid of histograms of words is built on it.

    For each size b the image is smoothed by a Gaussian of σ = b / `magnification`, and described by `DSIFT` with
    bins of b pixels and a flat window, on a grid that begins 3/2 (b_max − b) later than that of the largest bins: so
    the centres agree (to half a pixel where b_max − b is odd). Descriptors whose norm, the gradient mass of images in
    [0, 1], is below `contrast_threshold` are set to zero.

    Parameters
    ----------
    sizes : tuple of int
        Bin sizes b in pixels.
    step : int
        Pixels between neighbouring descriptors.
    colour : {"gray", "rgb", "hsv", "opponent"}
        Colour channels to describe. gray is 0.299 R + 0.587 G + 0.114 B; the others have three channels. opponent is
        I, (R − G)/√2 + 0.01 I, (R + G − 2B)/√6 + 0.01 I, with I the grey image. The norm is that of grey or I, of V
        in hsv, and the mean of three in rgb.
    window : {"flat", "gaussian"}
        Spatial window of a descriptor, see `DSIFT`.
    window_size : float, optional
        σ of the window in units of b. By default 2 for cyvlfeat, 1.5 for vlfeat.
    magnification : float
        Bin size over the σ of the smoothing.
    contrast_threshold : float
        Least norm θ of a descriptor; 0 keeps all.
    variant : {"cyvlfeat", "vlfeat"}
        Implementation to follow, see below.
    softness : float
        Softness of a surrogate; 0 is the descriptor itself. Descriptors are multiplied by σ((norm / θ − 1) /
        softness), and SIFT's clamp leaks as in `DSIFT.surrogate`.

    Raises
    ------
    ValueError
        For an unknown colour, window or variant, or numbers that are not positive.

    Notes
    -----
    Shape: (N, 1 or 3, H, W) → (N, K·C·128, h, w), K the sizes and C = 1 for gray, else 3: for each size, each
    channel's descriptor, on the grid of the largest bins. Smaller bins would fit in a few more times at the right and
    bottom; `describe`, which gives the lists that VLFeat returns, has those too.

    cyvlfeat (0.7) is a translation of vlfeat (0.9.21) with details of its own: it smooths with a kernel of
    ⌊4σ + ½⌋ pixels each way on a mirrored image, instead of ⌈4σ⌉ on one whose border is repeated; colour images it
    smooths across their channels, too; its grid begins one pixel further in; and its third opponent channel lacks
    parentheses: R + G − (2/√6) B + 0.01 I.

    References
    ----------
    A. Bosch, A. Zisserman, X. Muñoz, "Image classification using random forests and ferns", ICCV 2007.
    """

    traceable = False

    def __init__(self, sizes: tuple[int, ...] = (4, 6, 8, 10), step: int = 2, colour: Colour = "gray",
                 window: Window = "flat", window_size: float | None = None, magnification: float = 6.0,
                 contrast_threshold: float = 0.005, variant: Variant = "cyvlfeat", softness: float = 0.0) -> None:
        super().__init__()
        if not sizes:
            raise ValueError("sizes holds at least one bin size, got none")
        self.colour: str = check_choice("colour", colour, get_args(Colour))
        self.variant: str = check_choice("variant", variant, get_args(Variant))
        self.sizes, self.step = tuple(check_count("each of sizes", b) for b in sizes), check_count("step", step)
        self.window: str = window
        self.window_size = (2.0 if variant == "cyvlfeat" else 1.5) if window_size is None else float(window_size)
        self.magnification = check_positive("magnification", magnification, 0.1)
        self.contrast_threshold = check_not_negative("contrast_threshold", contrast_threshold)
        self.softness = check_not_negative("softness", softness)
        largest, first = max(self.sizes), 1 if variant == "cyvlfeat" else 0
        offsets = [first + math.floor(1.5 * (largest - b)) for b in self.sizes]
        layers = [DSIFT(b, self.step, (o, o, None, None), window, self.window_size, scale=1.0)
                  for b, o in zip(self.sizes, offsets, strict=True)]
        self._layers = [layer.surrogate(self.softness) for layer in layers] if self.softness else layers
        self._grid = self._layers[self.sizes.index(largest)]
        self.in_channels = (1, 3) if colour == "gray" else (3, 1)
        self.descriptors_per_position = len(self.sizes)
        self.stride = self.step
        reach = len(_gaussian(largest / self.magnification, variant)) // 2
        self.receptive_field = self._grid.receptive_field + 2 * reach

    @property
    def channels(self) -> int:
        """Colour channels that are described, C."""
        return 1 if self.colour == "gray" else 3

    def forward(self, x: Tensor) -> Tensor:
        """Code of a batch, (N, 1 or 3, H, W) → (N, K·C·128, h, w)."""
        _, h, w = self.output_shape(*x.shape[-2:])
        channels = colour_channels(x, self.colour, self.variant)
        return torch.cat([self._describe(channels, k, x.dtype)[0][..., :h, :w] for k in range(len(self.sizes))], 1)

    def _describe(self, channels: Tensor, k: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Descriptors (N, C·128, h, w) and norms (N, C, h, w) of the k-th size, on its own grid."""
        layer, (n, c, height, width) = self._layers[k], channels.shape
        smooth = smoothed(channels, self.sizes[k] / self.magnification, self.variant).to(dtype)
        code, mass = layer.code_and_norms(smooth.reshape(n * c, 1, height, width))
        code, mass = code.reshape(n, -1, *mass.shape[1:]), mass.reshape(n, c, *mass.shape[1:])
        norm = mass.mean(1) if self.colour == "rgb" else mass[:, -1 if self.colour == "hsv" else 0]
        if self.softness and self.contrast_threshold:
            gate = torch.sigmoid((norm / self.contrast_threshold - 1) / self.softness)
        else:
            gate = (norm >= self.contrast_threshold).to(code)
        return code * gate[:, None], mass

    def position_centres(self, height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows and columns of the centres of the largest bins' descriptors, in pixels."""
        return self._grid.position_centres(height, width)

    def describe(self, image: NDArray[Any], quantised: bool = True) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Frames and descriptors of one image as lists, size after size, as VLFeat returns them.

        Parameters
        ----------
        image : ndarray (H, W) or (H, W, 3)
        quantised : bool
            Whether descriptors are 8-bit, see `dsift.quantise`, or floating point as in the code.

        Returns
        -------
        frames : ndarray (F, 4), float32
            (y, x), the norm of the first channel, and the bin size.
        descriptors : ndarray (F, C·128), uint8 or float32
        """
        x = self.as_batch(image)
        self.check_batch(x)
        channels = colour_channels(x, self.colour, self.variant)
        frames, descriptors = [], []
        for k, (size, layer) in enumerate(zip(self.sizes, self._layers, strict=True)):
            with torch.no_grad():
                code, norms = self._describe(channels, k, x.dtype)
            centres = layer.frames(*x.shape[-2:])
            norm = norms[0, 0].float().cpu().numpy().reshape(-1)
            frames.append(np.column_stack([centres, norm, np.full(len(centres), size)]))
            descriptors.append(code[0].flatten(1).T.float().cpu().numpy())
        listed = np.concatenate(descriptors)
        return np.concatenate(frames).astype(np.float32), quantise(listed) if quantised else listed

    @property
    def dimensions(self) -> int:
        """Channels of the code, D = K·C·128."""
        return self._grid.dimensions * self.channels * len(self.sizes)

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape (K·C·128, h, w) of the code of a height × width image; ValueError if the largest bins do not fit."""
        return self.dimensions, *self._grid.output_shape(height, width)[1:]

    def image_size_for(self, code_shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of the smallest image whose code has the shape (K·C·128, h, w)."""
        return self._grid.image_size_for((self._grid.dimensions, *self._grid_of(code_shape, self.dimensions)))


def colour_channels(x: Tensor, colour: str, variant: str) -> Tensor:
    """The channels that are described: (N, 1 or 3, H, W) → (N, 1 or 3, H, W).

    Grey values of colours, and opponent channels, are in double precision, as cyvlfeat's are.
    """
    if colour == "gray":
        return x if x.shape[1] == 1 else _grey(x)
    x = x.expand(-1, 3, -1, -1)
    if colour == "rgb":
        return x
    if colour == "hsv":
        return hsv(x)
    red, green, blue = x.split(1, 1)
    intensity = _grey(x)
    yellow = red + green
    third = (yellow - 2 * blue) / math.sqrt(6) if variant == "vlfeat" else yellow - 2 * blue / math.sqrt(6)
    return torch.cat([intensity, (red - green) / math.sqrt(2) + 0.01 * intensity, third + 0.01 * intensity], 1)


def hsv(x: Tensor) -> Tensor:
    """Hue in [0, 1), saturation and value of RGB images (N, 3, H, W); hue is 0 where there is none."""
    value, least = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    chroma = value - least
    grey = chroma < 1e-7
    red, green, blue = x.split(1, 1)
    divisor = torch.where(grey, 1.0, chroma)
    sixths = torch.where(
        blue == value, 4 + (red - green) / divisor,
        torch.where(green == value, 2 + (blue - red) / divisor, (green - blue) / divisor))
    hue = torch.where(grey, 0.0, torch.remainder(sixths / 6, 1.0))
    saturation = torch.where(value > 1e-7, chroma / value.clamp(min=1e-7), 0.0)
    return torch.cat([hue, saturation, value], 1)


def smoothed(x: Tensor, sigma: float, variant: str) -> Tensor:
    """Gaussian smoothing of (N, C, H, W); of cyvlfeat's kind also across three channels.

    Each axis is filtered in double precision and rounded, as SciPy does, whose results cyvlfeat uses: VLFeat's sums
    depend on the last digit.
    """
    taps, mode = _gaussian(sigma, variant), "symmetric" if variant == "cyvlfeat" else "edge"
    reach = len(taps) // 2
    for dim in (2, 3) if variant == "vlfeat" or x.shape[1] == 1 else (2, 3, 1):
        size = x.shape[dim]
        padded = x.double().index_select(dim, cached_on_device(_padding, (size, reach, mode), x.device))
        total = float(taps[reach]) * padded.narrow(dim, reach, size)
        for j, tap in enumerate(taps[:reach].tolist()):
            total = total + tap * (padded.narrow(dim, j, size) + padded.narrow(dim, 2 * reach - j, size))
        x = total.to(x.dtype)
    return x


def _grey(x: Tensor) -> Tensor:
    """In double precision."""
    x = x.double()
    return (x * constant(GREY, x)[:, None, None]).sum(1, keepdim=True)


def _gaussian(sigma: float, variant: str) -> NDArray[np.float64]:
    reach = int(4 * sigma + 0.5) if variant == "cyvlfeat" else math.ceil(4 * sigma)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(taps / taps.sum())


def _padding(size: int, reach: int, mode: Literal["symmetric", "edge"]) -> NDArray[np.int64]:
    """Which pixels stand along one axis of a padded image."""
    return np.pad(np.arange(size), reach, mode=mode)

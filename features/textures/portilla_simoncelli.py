"""Portilla and Simoncelli's statistics of textures, as plenoptic computes them."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..backend import is_traced
from ..base import Representation
from ..checks import check_count, check_size
from ..device_constants import cached_on_device

ROUNDING = 1 / (255 * 12**0.5)
VARIANCE, HIGHPASS = 0.036, 7e-4
LOWPASS, MAGNITUDE = (0.18, 3.8), (0.023, 4.2)  # at the finest scale, and times as large at each coarser one


class PortillaSimoncelli(Representation):
    r"""Portilla and Simoncelli's statistics of a texture.

    Of a steerable pyramid: the moments and the range of the grey values; variance, skewness, kurtosis and
    auto-correlation of the low-pass image at each scale; auto-correlation and standard deviation of the magnitudes of
    each band; their correlations between orientations and between neighbouring scales, and those of the real parts with
    the next scale, whose phase is doubled; and the variance of the high-pass residual.

    Parameters
    ----------
    size : (int, int)
        Height and width of pre-images.
        The statistics of images of any size have one length, and a code may be inverted at another size.
    scales : int
        Scales of the pyramid.
    orientations : int
        Orientations of the pyramid.
    neighbourhood : int
        Side of the square of offsets of auto-correlations, an odd number.

    Raises
    ------
    ValueError
        For impossible arguments; for a size, or an image, below 2^scales · (neighbourhood + 1) pixels.
    ModuleNotFoundError
        Without plenoptic: ``pip install "unfeature[textures]"``.

    Notes
    -----
    Shape: x (N, 1, H, W) in [0, 1] → (N, D); D is 710 for the default arguments. An image whose sides are no multiples
    of 2^scales is cropped about its centre. `groups` names the parts of a code.

    The numbers are those of ``plenoptic.models.PortillaSimoncelli`` for images in [0, 1], with two differences. What
    has a unit, variances and standard deviations, is divided by its typical value at its scale (geometric means over
    25 textures and photographs), so that each such number is about 1, as correlations, skewness and kurtosis are by
    themselves; else coarse scales would hide the fine ones. And a fixed noise with the standard deviation of rounding
    to bytes, 1/(255 √12), is added to the image, so that correlations exist in constant images, too.

    References
    ----------
    Portilla & Simoncelli, "A parametric texture model based on joint statistics of complex wavelet coefficients",
    IJCV 40(1), 2000; Duong et al., "Plenoptic: a platform for synthesizing model-optimized visual stimuli", 2023.
    """

    in_channels = (1,)
    heavy, traceable = True, False
    units: Tensor

    def __init__(self, size: tuple[int, int] = (256, 256), scales: int = 4, orientations: int = 4,
                 neighbourhood: int = 7) -> None:
        super().__init__()
        self.size, self.scales = check_size(size), check_count("scales", scales)
        self.orientations = check_count("orientations", orientations)
        self.neighbourhood = check_count("neighbourhood", neighbourhood)
        if self.neighbourhood % 2 == 0 or self.orientations < 2:
            raise ValueError("the neighbourhood has an odd side and the pyramid two orientations at least, got "
                             f"{neighbourhood} and {orientations}")
        self.receptive_field = 2**self.scales * (self.neighbourhood + 1)
        self._window(*self.size)
        self.register_buffer("units", self._units(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The statistics, (N, 1, H, W) → (N, D)."""
        height, width = self._window(*x.shape[2:])
        top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
        x = x[:, :, top:top + height, left:left + width]
        noise = cached_on_device(_rounding, (height, width), x.device, x.dtype)
        statistics: Tensor = self._model((height, width), x.device)(x + noise)[:, 0]
        return statistics / self.units.to(x)

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape (D,) of the code; ValueError for an image that is too small."""
        self._window(height, width)
        return (len(self.units),)

    def image_size_for(self, code_shape: tuple[int, ...]) -> tuple[int, int]:
        """The size of pre-images; ValueError for a code of another length."""
        if tuple(code_shape) != (len(self.units),):
            raise ValueError(f"a code of {self!r} has shape ({len(self.units)},), got {tuple(code_shape)}")
        return self.size

    def groups(self, code: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The parts of a code (D,) by plenoptic's names, each flattened."""
        parts = self._model(self.size).convert_to_dict(torch.from_numpy(np.array(code))[None, None])
        return {name: part[~part.isnan()].numpy() for name, part in parts.items()}

    def _window(self, height: int, width: int) -> tuple[int, int]:
        """The largest multiples of 2^scales in height and width."""
        if min(height, width) < self.receptive_field:
            raise ValueError(f"an image of {height} × {width} pixels is too small for {self.scales} scales, which take "
                             f"{self.receptive_field}: give a larger one, or fewer scales")
        unit = 2**self.scales
        return height // unit * unit, width // unit * unit

    def _model(self, size: tuple[int, int], device: str | torch.device = "cpu") -> Any:
        make = _model.__wrapped__ if is_traced() else _model
        return make(self._window(*size), self.scales, self.orientations, self.neighbourhood, torch.device(device))

    def _units(self) -> Tensor:
        model = self._model(self.size)
        units = model.convert_to_dict(torch.ones(1, 1, len(model._necessary_stats_mask), dtype=torch.float64))
        scale = torch.arange(self.scales + 1.0, dtype=torch.float64)
        units["pixel_statistics"][..., 1] = VARIANCE
        units["std_reconstructed"] *= LOWPASS[0] * LOWPASS[1]**scale
        units["magnitude_std"] *= MAGNITUDE[0] * MAGNITUDE[1]**scale[:-1]
        units["var_highpass_residual"] *= HIGHPASS
        flat: Tensor = model.convert_to_tensor(units)[0, 0]
        return flat


@lru_cache(maxsize=8)
def _model(size: tuple[int, int], scales: int, orientations: int, neighbourhood: int, device: torch.device
           ) -> nn.Module:
    """Plenoptic's model for images of a size, on a device."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of packages that plenoptic imports
            import plenoptic
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("Portilla and Simoncelli's statistics need plenoptic: "
                                  'pip install "unfeature[textures]"') from error
    with torch.inference_mode(False):
        model: nn.Module = plenoptic.models.PortillaSimoncelli(size, scales, orientations, neighbourhood).to(device)
    return model


def _rounding(height: int, width: int) -> NDArray[np.float64]:
    """Noise as strong as that of rounding to bytes."""
    return ROUNDING * np.random.default_rng(0).standard_normal((height, width))

"""Histograms of the responses of a filter bank, and the responses themselves, from which textons are learned."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..backend import is_traced
from ..base import Representation
from ..checks import check_choice
from ..device_constants import cached_on_device

Bank = Literal["lm", "schmid", "mr8"]
Filters = NDArray[np.float64]

SUPPORT = 49
ORIENTATIONS = 6
GAIN, LARGEST = 0.02, 0.5
FEW_POSITIONS = 1024  # where sums are as quick as Fourier transforms
SCHMID = ((2, 1), (4, 1), (4, 2), (6, 1), (6, 2), (6, 3), (8, 1), (8, 2), (8, 3), (10, 1), (10, 2), (10, 3), (10, 4))


class FilterBank(Representation):
    r"""Histograms of the responses of a filter bank, a code of textures.

    Each filter's response r is compressed, t = asinh(r / 0.02), and its histogram over the image is taken in bins whose
    centres are evenly spaced between t(−0.5) and t(0.5); a value counts for its two nearest bins by its distance to
    them.

    Parameters
    ----------
    bank : {"lm", "schmid", "mr8"}
        Filters: Leung and Malik's 48, Schmid's 13 rings, or the 8 largest responses over orientations.
        lm: first and second derivatives of elongated Gaussians at 3 scales and 6 orientations, 8 Laplacians of
        Gaussians, 4 Gaussians. mr8: magnitudes of edges and bars at 3 scales, a Gaussian and its Laplacian.
    bins : int
        Bins of each histogram; 0 gives the responses themselves, of which `Vocabulary` learns textons.

    Raises
    ------
    ValueError
        For an unknown bank or less than 2 bins; on encoding, for an image below 49 × 49 pixels.

    Notes
    -----
    Shape: x (N, 1, H, W) in [0, 1] → (N, F·bins), F filters, each histogram with sum 1; or, with ``bins=0``, (N, F,
    H − 48, W − 48) in [−1, 1]. Filters have 49 × 49 pixels, sum 0 but for the Gaussians, and Σ |f| = 1; they are
    applied to x − ½, where they lie inside the image.

    The histograms are the marginals that FRAME fits. Differs: FRAME chooses its filters one by one, from Gabor
    functions, and its bins are hard; the published banks have no histograms, but textons: ``BoVW(Vocabulary.learn(…,
    FilterBank(bins=0)))``.

    References
    ----------
    Leung & Malik, IJCV 43(1), 2001; Schmid, CVPR 2001; Varma & Zisserman, IJCV 62, 2005 (MR8);
    Zhu, Wu & Mumford, IJCV 27(2), 1998 (FRAME).
    """

    in_channels = (1,)
    receptive_field = SUPPORT
    traceable = False

    def __init__(self, bank: Bank = "lm", bins: int = 15) -> None:
        super().__init__()
        check_choice("bank", bank, get_args(Bank))
        if bins != 0 and bins < 2:
            raise ValueError(f"a histogram has at least 2 bins, and 0 stands for the responses; got {bins}")
        self.bank, self.bins = bank, bins
        self.filters = 8 if bank == "mr8" else len(filters(bank))

    def forward(self, x: Tensor) -> Tensor:
        """Histograms (N, F·bins), or responses (N, F, H − 48, W − 48)."""
        found = self._responses(x - 0.5)
        if self.bank == "mr8":
            oriented = found[:, :-2].unflatten(1, (-1, ORIENTATIONS)).abs().amax(2)
            found = torch.cat([oriented, found[:, -2:]], 1)
        return soft_histograms(found.flatten(2), self.bins).flatten(1) if self.bins else found

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape (F·bins,) or (F, H − 48, W − 48); ValueError for an image that is smaller than a filter."""
        if min(height, width) < SUPPORT:
            raise ValueError(f"an image of {height} × {width} pixels is smaller than a filter of {SUPPORT} × {SUPPORT}")
        if self.bins:
            return (self.filters * self.bins,)
        return self.filters, height - SUPPORT + 1, width - SUPPORT + 1

    def image_size_for(self, code_shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of the image with such responses; ValueError for histograms, which do not tell."""
        if self.bins:
            return super().image_size_for(code_shape)
        rows, columns = self._grid_of(code_shape, self.filters)
        return rows + SUPPORT - 1, columns + SUPPORT - 1

    def _responses(self, x: Tensor) -> Tensor:
        """Correlations (N, F, H − 48, W − 48) with the filters, where they lie inside the image."""
        rows, columns = (n - SUPPORT + 1 for n in x.shape[2:])
        if rows * columns <= FEW_POSITIONS:
            return torch.nn.functional.conv2d(x, cached_on_device(filters, (self.bank,), x.device, x.dtype)[:, None])
        spectra = (_spectra.__wrapped__ if is_traced() else _spectra)(self.bank, tuple(x.shape[2:]), x.device, x.dtype)
        whole: Tensor = torch.fft.irfft2(torch.fft.rfft2(x) * spectra, s=x.shape[2:])
        return whole[:, :, :rows, :columns]


def soft_histograms(responses: Tensor, bins: int) -> Tensor:
    """Histograms (N, F, bins) of responses (N, F, P) on the compressed scale of `FilterBank`, each with sum 1."""
    largest = float(np.arcsinh(LARGEST / GAIN))
    places = ((torch.asinh(responses / GAIN) / largest + 1) * ((bins - 1) / 2)).clamp(0, bins - 1)
    lower = places.detach().floor().clamp_max(bins - 2)
    share = (places - lower) / responses.shape[-1]
    index = lower.long()
    empty = responses.new_zeros(*responses.shape[:2], bins)
    return empty.scatter_add(2, index, 1 / responses.shape[-1] - share).scatter_add(2, index + 1, share)


@lru_cache(maxsize=4)
def _spectra(bank: Bank, size: tuple[int, int], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Conjugate spectra of the filters of a bank for images of a size."""
    with torch.inference_mode(False):
        spectra: Tensor = torch.fft.rfft2(torch.from_numpy(filters(bank)).to(device, dtype), s=size)
        return spectra.conj().resolve_conj()


@cache
def filters(bank: Bank) -> Filters:
    """The filters (F, 49, 49) of a bank; mr8 has 38: six orientations of edges and bars, Gaussian, Laplacian."""
    if bank == "schmid":
        return np.stack([_scaled(_ring(sigma, cycles)) for sigma, cycles in SCHMID])
    root = np.sqrt(2)
    scales = (1.0, 2.0, 4.0) if bank == "mr8" else (root, 2.0, 2 * root)
    angles = np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS
    oriented = [_scaled(_elongated(scale, angle, order)) for order in (1, 2) for scale in scales for angle in angles]
    if bank == "mr8":
        return np.stack([*oriented, _gaussian(10.0), _scaled(_laplacian(10.0))])
    round_scales = [root**n for n in range(1, 5)]
    laplacians = [_scaled(_laplacian(times * scale)) for times in (1, 3) for scale in round_scales]
    return np.stack([*oriented, *laplacians, *(_gaussian(scale) for scale in round_scales)])


def _grid() -> tuple[Filters, Filters]:
    middle = SUPPORT // 2
    y, x = np.mgrid[-middle:middle + 1, -middle:middle + 1].astype(np.float64)
    return y, x


def _scaled(kernel: Filters) -> Filters:
    """The kernel with sum 0 and Σ |f| = 1."""
    centred = kernel - kernel.mean()
    return np.asarray(centred / np.abs(centred).sum())


def _elongated(sigma: float, angle: float, order: int) -> Filters:
    """A Gaussian, three times as long as wide, differentiated across, once or twice."""
    y, x = _grid()
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    bell = np.exp(-across**2 / (2 * sigma**2) - along**2 / (18 * sigma**2))
    return np.asarray(bell * (-across if order == 1 else across**2 - sigma**2))


def _laplacian(sigma: float) -> Filters:
    y, x = _grid()
    squares = (x**2 + y**2) / (2 * sigma**2)
    return np.asarray((squares - 1) * np.exp(-squares))


def _gaussian(sigma: float) -> Filters:
    y, x = _grid()
    bell = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    return np.asarray(bell / bell.sum())


def _ring(sigma: float, cycles: int) -> Filters:
    y, x = _grid()
    radius = np.hypot(x, y)
    return np.asarray(np.cos(np.pi * cycles * radius / sigma) * np.exp(-radius**2 / (2 * sigma**2)))

"""Fourier coefficients, weighted as the spectrum of photographs, in which descent finds better images."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .base import ImageSpec, Parameterization

NATURAL_COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


class Fourier(Parameterization):
    r"""Coefficients of an orthonormal Fourier basis, weighted as the spectrum of photographs.

    x = c + F⁻¹((|f|² + k²)^{−p/2} · z), cropped from an image that is wider by a margin.

    A step of the same length in every coordinate changes low frequencies most, as they vary most between photographs.
    Descent thus finds shading and sky, which steps on pixels never reach.

    Parameters
    ----------
    spec : ImageSpec
    power : float
        p; 0 weighs all frequencies alike, 1 is the spectrum of photographs.
    margin : int
        Pixels on each side that are optimised but cropped, so that opposite borders need not match.
    init_std : float
        Standard deviation of the starting noise in z.
    low_frequency_cutoff : float
        k, in cycles a pixel: lower frequencies are weighed alike.

    Notes
    -----
    |f| is bounded below by one cycle per longer side and the weights have unit mean square. The basis is orthonormal
    on real images: half-plane columns that stand for two conjugate ones are weighted 1/√2.
    Sources: Olah, Mordvintsev & Schubert 2017 (the parametrisation), Field 1987 (the spectrum).
    """

    def __init__(self, spec: ImageSpec, power: float = 0.7, margin: int = 16, init_std: float = 0.01,
                 low_frequency_cutoff: float = 0.0):
        super().__init__(spec)
        if not 0 <= power <= 2:
            raise ValueError(f"the power of the spectrum lies in [0, 2], got {power}")
        if not 0 <= low_frequency_cutoff < 1:
            raise ValueError(f"low_frequency_cutoff lies in [0, 1), in cycles a pixel, got {low_frequency_cutoff}")
        self.init_std = init_std
        self.margin = margin
        self.size = _fast_length(spec.height + 2 * margin), _fast_length(spec.width + 2 * margin)
        spectrum = _spectrum(self.size, power, low_frequency_cutoff)
        self.weights, self.adjoint_weights = (w.to(spec.centre) for w in spectrum)

    def start(self, seeds: Sequence[int]) -> Tensor:
        """White noise in z, (N, C, H', W'/2 + 1, 2)."""
        return self._noise(seeds, (self.spec.centre.shape[0], *self.weights.shape)) * self.init_std

    def render(self, z: Tensor) -> Tensor:
        """The images of the coefficients, (N, C, H, W)."""
        x: Tensor = _Synthesis.apply(z, self)
        return x

    def crop(self, x: Tensor) -> Tensor:
        """The image without its margin."""
        m = self.margin
        return x[..., m : m + self.spec.height, m : m + self.spec.width]

    def coordinates(self, x: Tensor) -> Tensor:
        """Coefficients of the images, whose border pixels are repeated into the margin."""
        deviation = x - self.spec.centre
        below, right = (full - side - self.margin for full, side in zip(self.size, x.shape[-2:], strict=True))
        padded = torch.nn.functional.pad(deviation, (self.margin, right, self.margin, below), mode="replicate")
        return torch.view_as_real(torch.fft.rfft2(padded, norm="ortho")) / self.weights


class _Synthesis(torch.autograd.Function):
    """The images of a `Fourier` parameterization; its adjoint is one transform back."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, fourier: Fourier) -> Tensor:
        ctx.fourier = fourier
        x = torch.fft.irfft2(torch.view_as_complex(z * fourier.weights), s=fourier.size, norm="ortho")
        return fourier.crop(x) + fourier.spec.centre

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        fourier = ctx.fourier
        whole = gradient.new_zeros(*gradient.shape[:2], *fourier.size)
        fourier.crop(whole).copy_(gradient)
        return torch.view_as_real(torch.fft.rfft2(whole, norm="ortho")).mul_(fourier.adjoint_weights), None


class Colours(Fourier):
    r"""Fourier coefficients of decorrelated colours, squashed into [0, 1], as lucid and lucent do.

    x = σ(logit(c) + 4 M y),  y = F⁻¹(|f|^−p · z) of each of three decorrelated colours

    Parameters
    ----------
    spec, power, margin, init_std
        As for `Fourier`.

    Notes
    -----
    M is a root of the covariance of natural colours (lucid's figures, of ImageNet) scaled to unit mean square, so that
    steps have the length that they have in `Fourier`; its first column is brightness, the others opponent colours.
    Near mid-grey σ(4 y) has slope 1. Images of other than three channels are squashed only. Source: Olah, Mordvintsev
    & Schubert 2017. Differs: coefficients are orthonormal, and opposite borders need not match.
    """

    def __init__(self, spec: ImageSpec, power: float = 1.0, margin: int = 16, init_std: float = 0.05):
        super().__init__(spec, power, margin, init_std)
        channels = spec.centre.shape[0]
        mixing = torch.tensor(NATURAL_COLOURS) if channels == 3 else torch.eye(channels)
        self.mixing = (mixing * (channels / mixing.square().sum()).sqrt()).to(spec.centre)
        self.grey = torch.logit(spec.centre.clamp(0.02, 0.98))

    def render(self, z: Tensor) -> Tensor:
        """The images, in [0, 1]."""
        y = super().render(z) - self.spec.centre
        return torch.sigmoid(self.grey + 4 * torch.einsum("ij,njhw->nihw", self.mixing, y))

    def coordinates(self, x: Tensor) -> Tensor:
        """Coefficients of the images, clamped to [0.01, 0.99]: no coordinates reach 0 or 1."""
        y = (torch.logit(x.clamp(0.01, 0.99)) - self.grey) / 4
        return super().coordinates(torch.einsum("ij,njhw->nihw", self.mixing.inverse(), y) + self.spec.centre)


def _fast_length(least: int) -> int:
    """The next number without prime factors above 5, as `scipy.fft.next_fast_len` gives it for real numbers."""
    return next(number for number in itertools.count(least) if 30**number.bit_length() % number == 0)


def _spectrum(size: tuple[int, int], power: float, cutoff: float) -> tuple[Tensor, Tensor]:
    """The spectrum, of unit mean square, of real and imaginary parts on the half plane, and that of the adjoint.

    A column that stands for two is weighted 1/√2; in the adjoint √2.
    """
    height, width = size
    fy = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    fx = torch.fft.rfftfreq(width, dtype=torch.float64)[None]
    frequency = torch.hypot(fy, fx).clamp_min(1 / max(size))
    amplitude = torch.hypot(frequency, torch.tensor(cutoff, dtype=torch.float64)) ** -power
    twice = torch.full((1, width // 2 + 1), 2.0, dtype=torch.float64)
    twice[0, 0] = 1
    if width % 2 == 0:
        twice[0, -1] = 1
    amplitude = amplitude / ((amplitude**2 * twice).sum() / (height * width)).sqrt()
    amplitude, twice = amplitude[..., None].expand(-1, -1, 2), twice[..., None]
    return amplitude / twice.sqrt(), amplitude * twice.sqrt()

"""Parameterizations of images: the pixels themselves, or coordinates in which descent finds better images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .priors import TYPICAL_COLOUR

LARGEST_STD = 1.5 * TYPICAL_COLOUR
NATURAL_COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


class ImageSpec(NamedTuple):
    """The image that a parameterization renders: its size, and its centre (C, 1, 1), which sets dtype and device."""

    height: int
    width: int
    centre: Tensor


class Parameterization(ABC):
    """A map from coordinates z (N, ...) to images x (N, C, H, W), differentiable by autograd.

    ``bounded`` says whether `project` moves anything; solvers that cannot project refuse such a parameterization.
    """

    bounded: bool = False

    def __init__(self, spec: ImageSpec):
        self.spec = spec

    @abstractmethod
    def start(self, seeds: Sequence[int]) -> Tensor:
        """Coordinates of a random image for each seed, drawn on the CPU."""

    @abstractmethod
    def render(self, z: Tensor) -> Tensor:
        """The images of some coordinates."""

    @abstractmethod
    def coordinates(self, x: Tensor) -> Tensor:
        """Coordinates whose images are x (N, C, H, W)."""

    def project(self, z: Tensor) -> Tensor:
        """The nearest coordinates inside the bound."""
        return z

    def _noise(self, seeds: Sequence[int], shape: tuple[int, ...], uniform: bool = False) -> Tensor:
        draw = torch.rand if uniform else torch.randn
        noise = [draw(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in seeds]
        return torch.stack(noise).to(self.spec.centre)


class Pixels(Parameterization):
    r"""The pixels, about the centre. `project` scales colours farther than B₊ from it back onto that sphere.

    Parameters
    ----------
    spec : ImageSpec
    bound : float, optional
        B₊; None lifts the bound.
    start_norm : float, optional
        Norm of the Gaussian white noise to start from; None is the start of 2016.

    Notes
    -----
    Start of 2016: uniform noise in [−1, 1] over its own 95 % quantile, times B / √3. Sources: Mahendran & Vedaldi 2015
    (Gaussian noise), 2016, §3. Differs: the standard deviation of Gaussian noise is at most 1.5 B, because descent on
    its sixth power diverges from pixels beyond 6.6 B, which images below 50 000 pixels would hold.
    """

    def __init__(self, spec: ImageSpec, bound: float | None = 2 * TYPICAL_COLOUR, start_norm: float | None = None):
        super().__init__(spec)
        self.bound = bound
        self.bounded = bound is not None
        self.start_norm = start_norm

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Noise of a published start, (N, C, H, W)."""
        shape = (self.spec.centre.shape[0], self.spec.height, self.spec.width)
        if self.start_norm is not None:
            noise = self._noise(seeds, shape)
            norm = min(self.start_norm, LARGEST_STD * noise[0].numel() ** 0.5)
            scaled: Tensor = noise * (norm / torch.linalg.vector_norm(noise.flatten(1), dim=1)).view(-1, 1, 1, 1)
            return scaled
        noise = 2 * self._noise(seeds, shape, uniform=True) - 1
        quantile = np.quantile(noise.flatten(1).cpu().numpy(), 0.95, axis=1).clip(1e-3)
        return noise * (TYPICAL_COLOUR / 3**0.5 / torch.from_numpy(quantile).to(noise)).view(-1, 1, 1, 1)

    def render(self, z: Tensor) -> Tensor:
        """The pixels."""
        return z + self.spec.centre

    def coordinates(self, x: Tensor) -> Tensor:
        """The pixels about the centre."""
        return x - self.spec.centre

    def project(self, z: Tensor) -> Tensor:
        """The hard bound: ‖z(u, v)‖₂ ≤ B₊ at each pixel."""
        if self.bound is None:
            return z
        if z.shape[1] == 1:
            return z.clamp(-self.bound, self.bound)
        norm = torch.linalg.vector_norm(z, dim=1, keepdim=True)
        bounded: Tensor = z * (self.bound / norm.clamp_min(self.bound))
        return bounded


class Around(Parameterization):
    r"""The change of an image, Δ = x − x₀, inside a ball, with x in [0, 1].

    Parameters
    ----------
    image : Tensor (1, C, H, W)
        x₀, in [0, 1].
    spec : ImageSpec
    norm : {"inf", "2"}
        ‖Δ‖∞, the largest change of a value, or ‖Δ‖₂.
    bound : float
        Radius of the ball.

    Notes
    -----
    Start: x₀ itself, for every seed. `project` clamps Δ, or scales it, into the ball, and then clamps x to [0, 1],
    which keeps it there; for ‖Δ‖₂ that is a point of both sets, but not always the nearest one.
    """

    bounded = True

    def __init__(self, image: Tensor, spec: ImageSpec, norm: str, bound: float):
        super().__init__(spec)
        self.image, self.norm, self.bound = image.to(spec.centre), norm, bound

    def start(self, seeds: Sequence[int]) -> Tensor:
        """No change, (N, C, H, W)."""
        return torch.zeros_like(self.image).repeat(len(seeds), 1, 1, 1)

    def render(self, z: Tensor) -> Tensor:
        """The changed images."""
        return self.image + z

    def coordinates(self, x: Tensor) -> Tensor:
        """The change of the images."""
        return x - self.image

    def project(self, z: Tensor) -> Tensor:
        """The change inside the ball and [0, 1]."""
        if self.norm == "inf":
            z = z.clamp(-self.bound, self.bound)
        else:
            length = torch.linalg.vector_norm(z.flatten(1), dim=1).view(-1, 1, 1, 1)
            z = z * (self.bound / length.clamp_min(self.bound))
        return (self.image + z).clamp(0, 1) - self.image


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
        from scipy.fft import next_fast_len

        super().__init__(spec)
        if not 0 <= power <= 2:
            raise ValueError(f"the power of the spectrum lies in [0, 2], got {power}")
        if not 0 <= low_frequency_cutoff < 1:
            raise ValueError(f"low_frequency_cutoff lies in [0, 1), in cycles a pixel, got {low_frequency_cutoff}")
        self.init_std = init_std
        self.margin = margin
        self.size = (next_fast_len(spec.height + 2 * margin, True), next_fast_len(spec.width + 2 * margin, True))
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


class FlatRegions:
    """Sets each region of images that is known to be flat to its mean, (N, C, H, W) → the same.

    Pixels are flat, bool (N, H, W), where centred differences are zero: each together with its four neighbours.
    """

    def __init__(self, flat: Tensor):
        from scipy import ndimage

        labels = np.stack([ndimage.label(ndimage.binary_dilation(sample))[0] for sample in flat.cpu().numpy()])
        self.labels = torch.from_numpy(labels.astype(np.int64)).to(flat.device).flatten(1)[:, None]
        self.free = (self.labels == 0).view(len(flat), 1, *flat.shape[1:])
        sizes = torch.zeros(len(flat), 1, int(labels.max()) + 1, device=flat.device)
        self.sizes = sizes.scatter_add(2, self.labels, torch.ones_like(self.labels, dtype=sizes.dtype))

    def __call__(self, x: Tensor) -> Tensor:
        """The images with flat regions."""
        labels = self.labels.expand(-1, x.shape[1], -1)
        values = x.flatten(2)
        sums = values.new_zeros(*values.shape[:2], self.sizes.shape[2]).scatter_add(2, labels, values)
        means = (sums / self.sizes.clamp_min(1).to(sums)).gather(2, labels).view_as(x)
        return torch.where(self.free, x, means)


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

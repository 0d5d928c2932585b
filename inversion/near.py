"""A prior that holds an image near a given one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import image_to_tensor
from unfeature.features.device_constants import cached_on_device
from unfeature.io.images import AnyImage, image_of

from .objectives import sums
from .priors.base import Prior

HIGHEST = 0.5**0.5  # |f| of an image, in cycles a pixel
Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class Near(Prior):
    r"""Squared distance to an image, each frequency weighted by the inverse of a spectrum.

    R(x) = w · mean_{|f| ≤ k} |F(x − g)(f)|² / S(f)

    F is the orthonormal Fourier transform. If S is the power of x − g that photographs have, as a decoder measures it
    on held-out ones, R is w for a typical photograph, and each frequency is held as firmly as it is known.

    Parameters
    ----------
    image : ndarray (H, W) or (H, W, C), or Tensor (N, C, H, W) or (1, C, H, W)
        g, in [0, 1]; one image, or one for each sample.
    weight : float
        w.
    spectrum : sequence of (float, float)
        |f| in cycles a pixel, ascending, and S there; between them log S is linear in log |f|, beyond them S is
        constant. Empty for S = 1.
    cutoff : float
        k, in cycles a pixel; higher frequencies are free. 0.5 and more also hold those at the Nyquist limit.

    Raises
    ------
    ValueError
        If the weight is negative, the spectrum is not ascending and positive, or the cutoff is not positive; when it
        is called, if the image has another size or other channels than the images it is compared to.

    Notes
    -----
    With S = 1 and no cutoff it is the mean squared distance of the pixels, and is computed as that: value and gradient
    take 0.05 ms instead of 0.45 (192 × 256, one thread). Source: the log-likelihood of a stationary Gaussian residual,
    as in Wiener's filter.

    Examples
    --------
    An inversion that is held near an image, with a recipe of its own::

        from dataclasses import replace
        from unfeature.inversion.recipes import best

        recipe = best(phi)
        recipe = replace(recipe, near=None, priors=(*recipe.priors, uf.Near(image, 10.0, cutoff=0.05)))
        uf.invert(phi, code, preset=recipe, start=image)
    """

    image: AnyImage | Tensor
    weight: float = 1.0
    spectrum: Sequence[tuple[float, float]] = ()
    cutoff: float = 1.0

    def __post_init__(self) -> None:
        curve = tuple((float(f), float(s)) for f, s in self.spectrum)
        frequencies = [f for f, _ in curve]
        if not 0 <= self.weight < np.inf:
            raise ValueError(f"the weight of Near is not negative, got {self.weight}")
        if sorted(set(frequencies)) != frequencies or any(not (f > 0 and s > 0) for f, s in curve):
            raise ValueError("the spectrum of Near is a sequence of (frequency, power), both positive, with ascending "
                             f"frequencies; got {curve}")
        if not self.cutoff > 0:
            raise ValueError(f"the cutoff of Near is positive, in cycles a pixel; got {self.cutoff}")
        if not isinstance(self.image, Tensor):
            object.__setattr__(self, "image", image_to_tensor(image_of(self.image)))
        if self.image.ndim != 4:
            raise ValueError(f"the image of Near has shape (N, C, H, W), got {tuple(self.image.shape)}")
        object.__setattr__(self, "spectrum", curve)

    def __call__(self, x: Tensor, centre: Tensor) -> Tensor:
        """R of each sample, (N,)."""
        if self._uniform:
            return self.weight * (x - self._image(x)).square().mean((1, 2, 3))
        _, counted = self._weights(x)
        value: Tensor = self.weight / x.shape[1] * sums(self._transformed(x).square() * counted)
        return value

    def with_gradient(self, x: Tensor, centre: Tensor, gradient: Tensor) -> Tensor:
        """As `Prior.with_gradient`, without autograd: the derivative is one transform back."""
        if self._uniform:
            difference = x.detach() - self._image(x)
            gradient.add_(difference, alpha=2 * self.weight / difference[0].numel())
            return self.weight * difference.square_().mean((1, 2, 3))
        (weights, counted), scale = self._weights(x), self.weight / x.shape[1]
        transformed = self._transformed(x.detach())
        value: Tensor = scale * sums(transformed.square().mul_(counted))
        slope = torch.view_as_complex(transformed.mul_(weights))
        gradient.add_(torch.fft.irfft2(slope, s=x.shape[2:], norm="ortho"), alpha=2 * scale)
        return value

    def of(self, samples: slice) -> Near:
        """The prior of some of the samples."""
        return self if len(self.image) == 1 else replace(self, image=self.image[samples])

    def guided(self, guidance: float) -> Near:
        """The prior with its weight multiplied."""
        return replace(self, weight=self.weight * guidance)

    @property
    def _uniform(self) -> bool:
        return not self.spectrum and self.cutoff >= HIGHEST

    def _transformed(self, x: Tensor) -> Tensor:
        """F(x − g), real and imaginary parts, (N, C, H, W/2 + 1, 2)."""
        return torch.view_as_real(torch.fft.rfft2(x - self._image(x), norm="ortho"))

    def _weights(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """1 / (S · number of coefficients) of `_transformed`, and the same as often as a column counts."""
        arguments = x.shape[2], x.shape[3], tuple(self.spectrum), self.cutoff
        weights, counted = (cached_on_device(make, arguments, x.device, x.dtype) for make in (_weights, _counted))
        return weights, counted

    def _image(self, x: Tensor) -> Tensor:
        """g on the device of x, converted once."""
        if (self.image.device, self.image.dtype) != (x.device, x.dtype):
            object.__setattr__(self, "image", self.image.to(x))
        if any(own not in (1, other) for own, other in zip(self.image.shape, x.shape, strict=True)):
            raise ValueError(f"the image of Near has shape {tuple(self.image.shape)} (N, C, H, W), but the images that "
                             f"it is compared to {tuple(x.shape)}: give one of that size")
        image: Tensor = self.image
        return image

    def __repr__(self) -> str:
        return f"Near(weight={self.weight!r}, cutoff={self.cutoff!r})"


def _counts(width: int) -> NDArray[np.float64]:
    """2 for each column of the half plane that stands for two, else 1, (W/2 + 1, 1)."""
    counts = np.full((width // 2 + 1, 1), 2.0)
    counts[0] = 1
    if width % 2 == 0:
        counts[-1] = 1
    return counts


def power_at(frequency: NDArray[np.float64], curve: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """S at some |f|; see `Near`."""
    known = np.log(np.fromiter(chain.from_iterable(curve), float).reshape(-1, 2))
    power: NDArray[np.float64] = np.exp(np.interp(np.log(frequency.clip(1e-9)), known[:, 0], known[:, 1]))
    return power


def _weights(height: int, width: int, curve: Curve, cutoff: float) -> NDArray[np.float64]:
    """1 / (S · number of coefficients) up to the cutoff, else 0, on the half plane, (H, W/2 + 1, 2).

    The mean of the image has the spectrum's value at the lowest frequency.
    """
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    inverse: Any = 1 / power_at(frequency, curve) if curve else np.ones_like(frequency)
    held = frequency <= cutoff
    number = (held[..., None] * _counts(width)).sum()
    return np.repeat((np.where(held, inverse, 0) / number)[..., None], 2, axis=2)


def _counted(height: int, width: int, curve: Curve, cutoff: float) -> NDArray[np.float64]:
    """The weights times the counts."""
    weights: NDArray[np.float64] = _weights(height, width, curve, cutoff) * _counts(width)
    return weights

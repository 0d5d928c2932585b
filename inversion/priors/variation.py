"""Priors on the differences of neighbouring pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..objectives import sums
from .base import TYPICAL_GRADIENT, Prior, pixels_of


@dataclass(frozen=True)
class TotalVariation(Prior):
    r"""Total variation raised to β. With β = 1, codes that subsample the image give spikes; β > 1 penalises them.

    R(x) = w/(P V^β) Σ_uvk ((x[v+1] − x[v])² + (x[u+1] − x[u])²)^{β/2}

    Parameters
    ----------
    beta, typical, weight : float
        β ≥ 1, 2 in the paper, smaller is sharper; V, a typical gradient; w.
    pixels : float, optional
        P; None is the image's own number, HW.

    Notes
    -----
    Forward differences, zero at the last row and column. Source: Mahendran & Vedaldi 2016, §3.2.2. Differs: the root
    is smoothed by 1e-6 V² when β < 2.
    """

    beta: float = 2.0
    typical: float = TYPICAL_GRADIENT
    weight: float = 1.0
    pixels: float | None = None

    def __post_init__(self) -> None:
        if not self.beta >= 1:
            raise ValueError(f"beta is at least 1, got {self.beta}: for less, use HyperLaplacian")

    def __call__(self, x: Tensor, centre: Tensor) -> Tensor:
        """R of each sample, (N,)."""
        if self.beta != 2:
            return _smoothed_variation(x / self.typical, 1e-6, self.beta, self.weight / pixels_of(x, self.pixels))
        across, down = _forward_differences(x / self.typical)
        total = across.square().flatten(1).sum(1) + down.square().flatten(1).sum(1)
        return total * (self.weight / pixels_of(x, self.pixels))

    def with_gradient(self, x: Tensor, centre: Tensor, gradient: Tensor) -> Tensor:
        """As `Prior.with_gradient`; without autograd if β = 2."""
        if self.beta != 2 or not gradient.is_contiguous():
            return super().with_gradient(x, centre, gradient)
        scale, width = self.weight / (self.typical**2 * pixels_of(x, self.pixels)), x.shape[3]
        pixels, slopes = x.detach().flatten(2), gradient.view(*gradient.shape[:2], -1)
        values = x.new_zeros(len(x))
        for step in (1, width):
            difference = pixels[..., step:] - pixels[..., :-step]
            if step == 1:
                difference[..., width - 1::width] = 0  # from the end of a row to the next row
            values += scale * sums(difference.square())
            slopes[..., step:].add_(difference, alpha=2 * scale)
            slopes[..., :-step].sub_(difference, alpha=2 * scale)
        return values


@dataclass(frozen=True)
class HyperLaplacian(Prior):
    r"""Sparse gradients: heavier tails than total variation, as the gradients of photographs have.

    R(x) = w/(HW V^γ) Σ_uvk ((x[v+1] − x[v])² + (x[u+1] − x[u])² + 0.01 V²)^{γ/2}

    Parameters
    ----------
    gamma, typical, weight : float
        0 < γ ≤ 1, photographs have about 0.7; V, a typical gradient; w.

    Notes
    -----
    Source: Krishnan & Fergus 2009. Differs: isotropic, and smoothed near zero to have a gradient there.
    """

    gamma: float = 0.7
    typical: float = TYPICAL_GRADIENT
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma lies in (0, 1], got {self.gamma}")

    def __call__(self, x: Tensor, centre: Tensor) -> Tensor:
        """R of each sample, (N,)."""
        return _smoothed_variation(x / self.typical, 0.01, self.gamma, self.weight / pixels_of(x, None))


def _forward_differences(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]


def _smoothed_variation(x: Tensor, smoothing: float, exponent: float, weight: float) -> Tensor:
    """w Σ (squared gradient + smoothing)^{exponent/2} of each sample, (N,)."""
    across, down = _forward_differences(x)
    pad = torch.nn.functional.pad
    squared = pad(across.square(), (0, 1)) + pad(down.square(), (0, 0, 0, 1))
    return (squared + smoothing).pow(exponent / 2).flatten(1).sum(1) * weight

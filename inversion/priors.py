"""Priors on images, one value a sample.

To add one, subclass `Prior` (autograd gives its gradient) and add a line to tests/contract_list.py. The papers state
their constants on the 0–255 scale; here, as everywhere, images are in [0, 1].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unfeature.features.backend import scalars, uses_compiled
from unfeature.features.threads import in_parallel

from .objectives import value_and_gradient

TYPICAL_COLOUR = 80 / 255
TYPICAL_GRADIENT = TYPICAL_COLOUR / 6.5


class Prior(ABC):
    """A function of images, x (N, C, H, W) and their centre (C, 1, 1) → (N,); small where images are natural.

    Its class name is its key in a result's history.
    """

    @abstractmethod
    def __call__(self, x: Tensor, centre: Tensor) -> Tensor:
        """The prior of each sample."""

    def with_gradient(self, x: Tensor, centre: Tensor, gradient: Tensor) -> Tensor:
        """The prior of each sample, (N,), whose derivative by x is added to gradient (N, C, H, W), in place."""
        one_pass = self._one_pass(x, centre) if uses_compiled(x) and gradient.is_contiguous() else None
        if one_pass is None:
            values, slope = value_and_gradient(lambda leaf: self(leaf, centre), x)
            gradient += slope
        else:
            values, (kernel, *operands) = x.new_zeros(len(x)), one_pass
            arrays = x.detach().contiguous().numpy(), *operands, gradient.numpy(), values.numpy()
            in_parallel(kernel, len(x), 1, x.numel(), *arrays)
        return values

    def of(self, samples: slice) -> Prior:
        """The prior of some of the samples; itself if it is the same for all."""
        return self

    def guided(self, guidance: float) -> Prior:
        """The prior in a stage of this guidance; itself if it is no guide."""
        return self

    def _one_pass(self, x: Tensor, centre: Tensor) -> tuple[Any, ...] | None:
        """A compiled pass that adds the derivative to the gradient, and its operands; None for autograd."""
        return None


@dataclass(frozen=True)
class BoundedRange(Prior):
    r"""α-norm of the colours, which keeps an image near its centre; no value is excluded.

    R(x) = w/(P B^α) Σ_uv (Σ_k (x_k − c_k)²)^{α/2}  (Mahendran & Vedaldi 2016, §3.2.1)

    Parameters
    ----------
    alpha, typical, weight : float
        α ≥ 2, 6 in the paper; B, a typical distance of a colour from the centre; w.
    pixels : float, optional
        P; None is the image's own number, HW.
    colours : bool
        Whether the channels of a pixel count together, as above. If not, Σ_uvk |x_k − c_k|^α, as in the paper of 2015.
    """

    alpha: float = 6.0
    typical: float = TYPICAL_COLOUR
    weight: float = 1.0
    pixels: float | None = None
    colours: bool = True

    def __post_init__(self) -> None:
        if not self.alpha >= 2:
            raise ValueError(f"alpha is at least 2, so that the gradient is finite; got {self.alpha}")

    def __call__(self, x: Tensor, centre: Tensor) -> Tensor:
        """R of each sample, (N,)."""
        squared = ((x - centre) / self.typical).square()
        squared = squared.sum(1) if self.colours else squared
        return self.weight / _pixels(x, self.pixels) * squared.pow(self.alpha / 2).flatten(1).sum(1)

    def _one_pass(self, x: Tensor, centre: Tensor) -> tuple[Any, ...] | None:
        if x.shape[1] > 1 and not self.colours:
            return None
        from .compiled import range_with_gradient

        scale = self.weight / (self.typical**self.alpha * _pixels(x, self.pixels))
        numbers = scalars(x, self.alpha / 2 - 1, scale, self.alpha * scale)
        return range_with_gradient, centre.expand(x.shape[1], 1, 1).flatten().numpy(), *numbers


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
            return _smoothed_variation(x / self.typical, 1e-6, self.beta, self.weight / _pixels(x, self.pixels))
        across, down = _forward_differences(x / self.typical)
        total = across.square().flatten(1).sum(1) + down.square().flatten(1).sum(1)
        return total * (self.weight / _pixels(x, self.pixels))

    def _one_pass(self, x: Tensor, centre: Tensor) -> tuple[Any, ...] | None:
        from .compiled import variation_with_gradient

        scale = self.weight / (self.typical**2 * _pixels(x, self.pixels))
        return (variation_with_gradient, *scalars(x, scale)) if self.beta == 2 else None


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
        return _smoothed_variation(x / self.typical, 0.01, self.gamma, self.weight / _pixels(x, None))


def _pixels(x: Tensor, number: float | None) -> float:
    return number or x.shape[2] * x.shape[3]


def _forward_differences(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]


def _smoothed_variation(x: Tensor, smoothing: float, exponent: float, weight: float) -> Tensor:
    """w Σ (squared gradient + smoothing)^{exponent/2} of each sample, (N,)."""
    across, down = _forward_differences(x)
    pad = torch.nn.functional.pad
    squared = pad(across.square(), (0, 1)) + pad(down.square(), (0, 0, 0, 1))
    return (squared + smoothing).pow(exponent / 2).flatten(1).sum(1) * weight

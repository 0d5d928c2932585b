"""Priors on images, one value a sample.

To add one, subclass `Prior` (autograd gives its gradient) and add a line to tests/contract_list.py. The papers state
their constants on the 0–255 scale; here, as everywhere, images are in [0, 1].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unfeature.features.backend import scalars, uses_compiled

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
        values, slope = value_and_gradient(lambda leaf: self(leaf, centre), x)
        gradient += slope
        return values


@dataclass(frozen=True)
class BoundedRange(Prior):
    r"""α-norm of the colours, which keeps an image near its centre; no value is excluded.

    R(x) = w/(HW B^α) Σ_uv (Σ_k (x_k − c_k)²)^{α/2}

    Parameters
    ----------
    alpha, typical, weight : float
        α ≥ 2, 6 in the paper; B, a typical distance of a colour from the centre; w.

    Notes
    -----
    Source: Mahendran & Vedaldi 2016, §3.2.1.
    """

    alpha: float = 6.0
    typical: float = TYPICAL_COLOUR
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.alpha >= 2:
            raise ValueError(f"alpha is at least 2, so that the gradient is finite; got {self.alpha}")

    def __call__(self, x: Tensor, centre: Tensor) -> Tensor:
        """R of each sample, (N,)."""
        squared = ((x - centre) / self.typical).square().sum(1)
        return self.weight * squared.pow(self.alpha / 2).flatten(1).mean(1)

    def with_gradient(self, x: Tensor, centre: Tensor, gradient: Tensor) -> Tensor:
        """As for every prior, in one compiled pass on the CPU."""
        if not (uses_compiled(x) and gradient.is_contiguous()):
            return super().with_gradient(x, centre, gradient)
        from .compiled import range_with_gradient

        scale = self.weight / (self.typical**self.alpha * x.shape[2] * x.shape[3])
        numbers = scalars(x, self.alpha / 2 - 1, scale, self.alpha * scale)
        colour = centre.expand(x.shape[1], 1, 1).flatten().numpy()
        return _in_one_pass(range_with_gradient, x, gradient, colour, *numbers)


@dataclass(frozen=True)
class TotalVariation(Prior):
    r"""Total variation raised to β. With β = 1, codes that subsample the image give spikes; β > 1 penalises them.

    R(x) = w/(HW V^β) Σ_uvk ((x[v+1] − x[v])² + (x[u+1] − x[u])²)^{β/2}

    Parameters
    ----------
    beta, typical, weight : float
        β ≥ 1, 2 in the paper, smaller is sharper; V, a typical gradient; w.

    Notes
    -----
    Forward differences, zero at the last row and column. Source: Mahendran & Vedaldi 2016, §3.2.2. Differs: the root
    is smoothed by 1e-6 V² when β < 2.
    """

    beta: float = 2.0
    typical: float = TYPICAL_GRADIENT
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.beta >= 1:
            raise ValueError(f"beta is at least 1, got {self.beta}: for less, use HyperLaplacian")

    def __call__(self, x: Tensor, centre: Tensor) -> Tensor:
        """R of each sample, (N,)."""
        pixels = x.shape[2] * x.shape[3]
        across, down = _forward_differences(x / self.typical)
        if self.beta == 2:
            total = across.square().flatten(1).sum(1) + down.square().flatten(1).sum(1)
        else:
            total = (_squared_gradient(across, down) + 1e-6).pow(self.beta / 2).flatten(1).sum(1)
        return total * (self.weight / pixels)

    def with_gradient(self, x: Tensor, centre: Tensor, gradient: Tensor) -> Tensor:
        """As for every prior; for β = 2 in one compiled pass on the CPU."""
        if self.beta != 2 or not (uses_compiled(x) and gradient.is_contiguous()):
            return super().with_gradient(x, centre, gradient)
        from .compiled import variation_with_gradient

        scale = self.weight / (self.typical**2 * x.shape[2] * x.shape[3])
        return _in_one_pass(variation_with_gradient, x, gradient, *scalars(x, scale))


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
        pixels = x.shape[2] * x.shape[3]
        squared = _squared_gradient(*_forward_differences(x / self.typical))
        return (squared + 0.01).pow(self.gamma / 2).flatten(1).sum(1) * (self.weight / pixels)


def _in_one_pass(kernel: Callable[..., None], x: Tensor, gradient: Tensor, *operands: Any) -> Tensor:
    """Values, one a sample, of a kernel that adds its derivative to the gradient."""
    values = x.new_zeros(len(x))
    kernel(x.detach().contiguous().numpy(), *operands, gradient.numpy(), values.numpy())
    return values


def _forward_differences(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]


def _squared_gradient(across: Tensor, down: Tensor) -> Tensor:
    right = torch.nn.functional.pad(across.square(), (0, 1))
    below = torch.nn.functional.pad(down.square(), (0, 0, 0, 1))
    return right + below

"""Pixels that say little are pulled to the centre: those of a small norm, and those that contribute little."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import TYPICAL_COLOUR, Prior


@dataclass(frozen=True)
class SmallNorm(Prior):
    r"""Energy of the pixels with the smallest norms, so that an image shows only the regions that matter.

    R(x) = w/(P B²) Σ of the q P smallest ‖x(u, v) − c‖²

    Parameters
    ----------
    share, typical, weight : float
        q in (0, 1]; B, a typical distance of a colour from the centre; w.

    Notes
    -----
    Yosinski et al. 2015 set these pixels to the centre after each step; the gradient of R pulls them there.
    """

    share: float = 0.3
    typical: float = TYPICAL_COLOUR
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"the share of the pixels lies in (0, 1], got {self.share}")

    def __call__(self, x: Tensor, centre: Tensor) -> Tensor:
        """R of each sample, (N,)."""
        energies = _energies(x, centre)
        return self._scale(energies) * energies.topk(self._count(energies), dim=1, largest=False).values.sum(1)

    def _count(self, energies: Tensor) -> int:
        return max(1, round(self.share * energies.shape[1]))

    def _scale(self, energies: Tensor) -> float:
        return self.weight / (self.typical**2 * energies.shape[1])


@dataclass(frozen=True)
class SmallContribution(SmallNorm):
    r"""Energy of the pixels that contribute least to the response.

    R(x) = w/(P B²) Σ ‖x(u, v) − c‖² over the q P pixels with the smallest |⟨x(u, v) − c, g(u, v)⟩|

    g is the derivative of what stands before this prior: the data term, if it is the first of its recipe's priors.

    Parameters
    ----------
    share, typical, weight : float
        As for `SmallNorm`.

    Notes
    -----
    Without a derivative, as when it is called on images alone, it ranks pixels by their norm. Yosinski et al. 2015 set
    the pixels to the centre after each step; the gradient of R pulls them there.
    """

    def with_gradient(self, x: Tensor, centre: Tensor, gradient: Tensor) -> Tensor:
        """The prior of each sample, (N,), whose derivative by x is added to gradient (N, C, H, W), in place."""
        deviation = x.detach() - centre
        contributions = (deviation * gradient).sum(1).abs().flatten(1)
        energies = _energies(x.detach(), centre)
        least = contributions.topk(self._count(energies), dim=1, largest=False).indices
        chosen = torch.zeros_like(contributions).scatter_(1, least, 1.0).view(len(x), 1, *x.shape[2:])
        gradient += 2 * self._scale(energies) * chosen * deviation
        return self._scale(energies) * energies.gather(1, least).sum(1)


def _energies(x: Tensor, centre: Tensor) -> Tensor:
    """‖x(u, v) − c‖² of each pixel, (N, P)."""
    return (x - centre).square().sum(1).flatten(1)

"""Fixed magnitude, free phase: images whose spectrum is that of photographs, whatever is maximised."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .base import ImageSpec
from .fourier import Colours


class MACO(Colours):
    r"""Phases of Fourier coefficients whose magnitudes are fixed to those of photographs.

    x = σ(logit(c) + 4 M y),  y = F⁻¹(a |f|^−p exp(i z)) of each of three decorrelated colours

    No image gets noisy, flat or grey: contrast and spectrum are constants, and what is maximised decides only where
    things are.

    Parameters
    ----------
    spec, power, margin
        As for `Fourier`.
    std : float
        Standard deviation of y, which sets a; that of photographs is about 0.25.

    Notes
    -----
    M is that of `Colours`. The mean of y is zero. Start: uniform random phases. Coordinates of an image are the phases
    of its coefficients; its magnitudes are lost. Source: Fel et al. 2023. Differs: magnitudes are the power law of
    photographs in place of the mean over ImageNet, and opposite borders need not match.
    """

    draws_any = False

    def __init__(self, spec: ImageSpec, power: float = 1.0, margin: int = 16, std: float = 0.25):
        super().__init__(spec, power, margin)
        if not 0 < std < 1:
            raise ValueError(f"std, the contrast of the image, lies between 0 and 1, got {std}")
        magnitudes = torch.ones_like(self.weights[..., 0])
        magnitudes[0, 0] = 0
        energy = (self.weights * self.adjoint_weights)[..., 0] * magnitudes
        self.magnitudes = magnitudes * (std / (energy.sum() / math.prod(self.size)).sqrt())

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Uniform phases, (N, C, H', W'/2 + 1)."""
        noise = self._noise(seeds, (self.spec.centre.shape[0], *self.magnitudes.shape), uniform=True)
        return math.pi * (2 * noise - 1)

    def render(self, z: Tensor) -> Tensor:
        """The images, in [0, 1]."""
        unit = torch.stack([z.cos(), z.sin()], -1)
        height, width = self.size
        last = (height - 1) // 2
        cosine, sine = unit[..., 1:last + 1, :, :].flip(-3).unbind(-1)
        mirrored = torch.stack([cosine, -sine], -1)
        for column in {0, width // 2} if width % 2 == 0 else {0}:  # their halves are conjugates of each other
            unit[..., height - last:, column, :] = mirrored[..., column, :]
        return super().render(unit * self.magnitudes[..., None])

    def coordinates(self, x: Tensor) -> Tensor:
        """Phases of the images, clamped to [0.01, 0.99]."""
        real, imaginary = super().coordinates(x).unbind(-1)
        return torch.atan2(imaginary, real)

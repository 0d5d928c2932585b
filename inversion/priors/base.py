"""The contract: a function of images, one value a sample, small where they are natural.

The papers state their constants on the 0–255 scale; here, as everywhere, images are in [0, 1].
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from ..objectives import value_and_gradient

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

    def of(self, samples: slice) -> Prior:
        """The prior of some of the samples; itself if it is the same for all."""
        return self

    def guided(self, guidance: float) -> Prior:
        """The prior in a stage of this guidance; itself if it is no guide."""
        return self


def pixels_of(x: Tensor, number: float | None) -> float:
    """A number of pixels if it is given, else that of the images."""
    return number or x.shape[2] * x.shape[3]

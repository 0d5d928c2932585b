"""The contract: a function of images, one value a sample, small where they are natural.

The papers state their constants on the 0–255 scale; here, as everywhere, images are in [0, 1].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from unfeature.features.backend import uses_compiled
from unfeature.features.threads import in_parallel

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


def pixels_of(x: Tensor, number: float | None) -> float:
    """A number of pixels if it is given, else that of the images."""
    return number or x.shape[2] * x.shape[3]

"""The range of the colours."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..objectives import sums
from .base import TYPICAL_COLOUR, Prior, pixels_of


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
        return self.weight / pixels_of(x, self.pixels) * squared.pow(self.alpha / 2).flatten(1).sum(1)

    def with_gradient(self, x: Tensor, centre: Tensor, gradient: Tensor) -> Tensor:
        """As `Prior.with_gradient`, without autograd: the derivative by x is α w/(P B^α) ‖x − c‖^{α−2} (x − c)."""
        deviation = x.detach() - centre
        squared = deviation.square()
        squared = squared.sum(1, keepdim=True) if self.colours and x.shape[1] > 1 else squared
        power = squared if self.alpha == 4 else squared.pow(self.alpha / 2 - 1)
        scale = self.weight / (self.typical**self.alpha * pixels_of(x, self.pixels))
        gradient.addcmul_(power, deviation, value=self.alpha * scale)
        value: Tensor = scale * sums(power * squared)
        return value

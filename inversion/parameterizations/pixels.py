"""The pixels themselves, within a bound; and regions of them that are flat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..priors.base import TYPICAL_COLOUR
from ..solvers.base import Box, Projection
from .base import ImageSpec, Parameterization

LARGEST_STD = 1.5 * TYPICAL_COLOUR


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

    @property
    def constraint(self) -> Projection | None:
        """The hard bound: of grey images a box."""
        if self.bound is None or self.spec.centre.shape[0] > 1:
            return super().constraint
        side = torch.full_like(self.spec.centre, self.bound)
        return Box(-side, side)


class BoxedPixels(Pixels):
    """The pixels, about the centre, each value in [0, 1]; they start as `Pixels` do, inside the box.

    Parameters
    ----------
    spec : ImageSpec
    """

    bounded = True

    def __init__(self, spec: ImageSpec):
        super().__init__(spec)
        self.box = Box(-spec.centre, 1 - spec.centre)

    def project(self, z: Tensor) -> Tensor:
        """The values in [0, 1]."""
        return self.box(z)

    @property
    def constraint(self) -> Box:
        """The box."""
        return self.box


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

"""The contract: a map from coordinates to images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..solvers.base import Projection


class ImageSpec(NamedTuple):
    """The image that a parameterization renders: its size, and its centre (C, 1, 1), which sets dtype and device."""

    height: int
    width: int
    centre: Tensor


class Parameterization(ABC):
    """A map from coordinates z (N, ...) to images x (N, C, H, W), differentiable by autograd.

    ``bounded`` says whether `project` moves anything; solvers that cannot project refuse such a parameterization.
    ``draws_any`` says whether there are coordinates of every image, so that a search may start from one.
    """

    bounded: bool = False
    draws_any: bool = True

    def __init__(self, spec: ImageSpec):
        self.spec = spec

    @abstractmethod
    def start(self, seeds: Sequence[int]) -> Tensor:
        """Coordinates of a random image for each seed, drawn on the CPU."""

    @abstractmethod
    def render(self, z: Tensor) -> Tensor:
        """The images of some coordinates."""

    @abstractmethod
    def coordinates(self, x: Tensor) -> Tensor:
        """Coordinates whose images are x (N, C, H, W)."""

    def project(self, z: Tensor) -> Tensor:
        """The nearest coordinates inside the bound."""
        return z

    @property
    def constraint(self) -> Projection | None:
        """What a solver projects with: a `Box` where the bound is one; None without a bound."""
        return self.project if self.bounded else None

    def _noise(self, seeds: Sequence[int], shape: tuple[int, ...], uniform: bool = False) -> Tensor:
        draw = torch.rand if uniform else torch.randn
        noise = [draw(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in seeds]
        return torch.stack(noise).to(self.spec.centre)

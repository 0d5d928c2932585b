"""Inversion of binary codes by a primal–dual method under a total-variation prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from unfeature.features.base import Representation, code_to_tensor
from unfeature.io.schema import Schema, Value

from .base import Baseline
from .stream import Encoder, Floats, Size
from .windows import min_max_normalise, small_image

STEPS = 200
POWER_STEPS = 20


@dataclass(eq=False, repr=False)
class PrimalDual(Baseline):
    r"""The primal–dual inversion of binary codes.

    It finds the image of least total variation whose intensity comparisons agree with the code. For a code of signs b
    of linear differences A x, as BRIEF gives,

        x* = argmin Σ_i max(0, m − b_i (A x)_i) + λ Σ ‖∇x‖,   0 ≤ x ≤ 1,

    by 200 steps of the first-order primal–dual method of Chambolle and Pock, which needs neither gradients of Φ nor
    surrogates. Nothing is learned: ``PrimalDual.of(phi)`` makes one.

    Attributes
    ----------
    margin : float
        m, by which each difference should exceed zero, on the scale [0, 1].
    weight : float
        λ.

    Notes
    -----
    d'Angelo et al. penalise the absolute difference between A x and real-valued comparisons; for bits the one-sided
    term above takes its place. The image is min–max normalised, since signs do not tell the contrast.

    References
    ----------
    E. d'Angelo, A. Alahi, P. Vandergheynst, "Beyond bits: reconstructing images from local binary descriptors",
    ICPR 2012; A. Chambolle, T. Pock, "A first-order primal-dual algorithm", JMIV 40(1), 2011.
    """

    learned: ClassVar[bool] = False
    inverted: ClassVar[str] = "signs of linear differences, as BRIEF gives"
    feature: ClassVar[str] = "brief"

    schema: ClassVar[Schema] = {"margin": Value(float, 0, 1), "weight": Value(float, 0, 1e9)}

    margin: float = 0.02
    weight: float = 0.5

    @classmethod
    def inverts(cls, phi: Encoder) -> bool:
        """Whether its codes are the signs of a linear map, `differences`."""
        differences: Any = getattr(phi, "differences", None)
        if not isinstance(phi, Representation) or differences is None:
            return False
        x = torch.full((1, phi.in_channels[0], *small_image(phi)), 0.5)
        return tuple(differences(x).shape[1:]) == phi.output_shape(*small_image(phi))

    def reconstruct(self, phi: Any, code: Floats, size: Size, count: int, seed: int) -> Floats:
        """The image (1, H, W, C) in [0, 1] of a code (h, w, B) of signs."""
        x = torch.full((1, phi.in_channels[0], *size), 0.5)
        bits = torch.where(code_to_tensor(code) > 0, 1.0, -1.0)
        adjoint, gradient_adjoint = _adjoint(phi.differences, x), _adjoint(_gradient, x)
        v = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
        for _ in range(POWER_STEPS):  # towards the largest eigenvalue of AᵀA, with a margin
            v = adjoint(phi.differences(v / v.norm().clamp_min(1e-12)))
        balance = (8 / max(1.1 * float(v.norm()), 1e-12)) ** 0.5
        step = 0.99 / 8**0.5
        s, q, ahead = torch.zeros_like(bits), torch.zeros(2, *x.shape), x
        for _ in range(STEPS):
            reached = balance * (self.margin - bits * phi.differences(ahead))
            s = (s + step * reached / 2**0.5).clamp(0, 1 / balance)
            q = q + step * _gradient(ahead) / 2**0.5
            q = q / (q.pow(2).sum(dim=(0, 2), keepdim=True).sqrt() / self.weight).clamp_min(1)
            before = x
            slope = balance * adjoint(-bits * s) + gradient_adjoint(q)
            x = (x - step * slope / 2**0.5).clamp(0, 1)
            ahead = 2 * x - before
        return min_max_normalise(np.ascontiguousarray(x[0].permute(1, 2, 0).numpy()))[None]


def _adjoint(linear: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[Tensor], Tensor]:
    """The transpose of a linear map of images of x's shape."""
    at = torch.zeros_like(x).requires_grad_()
    value = linear(at)
    return lambda v: torch.autograd.grad(value, at, v, retain_graph=True)[0]


def _gradient(x: Tensor) -> Tensor:
    """Forward differences down and right, zero at the end, (2, N, C, H, W)."""
    return torch.stack([torch.diff(x, dim=2, append=x[:, :, -1:]), torch.diff(x, dim=3, append=x[..., -1:])])

"""Data terms: functions of a code, one value a sample."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

Self = TypeVar("Self", bound="Objective")

SMALLEST_ENERGY = 1e-30
PARTIAL_SUMS = 64


class Objective(ABC):
    """A function of codes, (N, D, h, w) or (N, D) → (N,), that the engine minimises.

    ``per_sample`` names the attributes that hold one row for each sample, or one for all.
    """

    per_sample: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __call__(self, code: Tensor) -> Tensor:
        """The objective of each sample."""

    def with_gradient(self, code: Tensor, weight: float = 1.0) -> tuple[Tensor, Tensor]:
        """The objective of each sample, (N,), times a weight, and its derivative by the code."""
        return value_and_gradient(lambda leaf: weight * self(leaf), code)

    def with_spatial_means(self, weight: float) -> Objective:
        """The objective with a term for the code's means over positions; itself if it has no such term."""
        return self

    def of(self: Self, samples: slice) -> Self:
        """The objective of some of the samples."""
        part = copy.copy(self)
        for name in self.per_sample:
            values = getattr(self, name)
            if isinstance(values, Tensor) and values.ndim and len(values) > 1:  # otherwise it belongs to all
                setattr(part, name, values[samples])
        return part


class Euclidean(Objective):
    r"""Squared distance to a target code, relative to the target's energy.

    ℓ(φ) = ‖(φ − φ₀) ⊙ m‖² / ‖φ₀ ⊙ m‖² + w ‖μ(φ) − μ(φ₀)‖² / ‖μ(φ₀)‖²

    where μ_c(φ) is the mean of max(φ_c m_c, 0) over positions.

    φ₀ is the target, (N, D, h, w) or (N, D), and m ≥ 0 a mask, broadcastable to it. 0 is a perfect match, 1 the value
    of a zero code. Source: Mahendran & Vedaldi 2016, §3.1. Differs: the term of the means, whose w is 0 by default and
    always for codes without positions.
    """

    per_sample = ("target", "mask", "energy", "mean", "mean_energy")

    def __init__(self, target: Tensor, mask: Tensor | None = None, spatial_mean_weight: float = 0.0):
        self.mask = None if mask is None else mask.view((1,) * (target.ndim - mask.ndim) + mask.shape)
        self.target = target if mask is None else target * mask
        self.energy = squared_norm(self.target)
        empty = torch.nonzero(self.energy == 0).flatten().tolist()
        if empty:
            raise ValueError(f"code {empty[0]} of the batch is zero"
                             f"{'' if mask is None else ' wherever the mask is not'}: there is nothing to invert")
        if not bool(((self.energy > SMALLEST_ENERGY) & (self.energy < 1 / SMALLEST_ENERGY)).all()):
            norms = self.energy.double().sqrt()
            raise ValueError(f"the norms of the codes span {norms.min():.1g} to {norms.max():.1g}, too small or too "
                             "large to be told from zero or infinity: scale the codes, or check where they come from")
        self._set_spatial_means(spatial_mean_weight)

    def __call__(self, code: Tensor) -> Tensor:
        """ℓ of each sample, (N,)."""
        code = code if self.mask is None else code * self.mask
        distance = squared_norm(code - self.target) / self.energy
        if self.mean is None:
            return distance
        return distance + self.spatial_mean_weight * squared_norm(_mean_response(code) - self.mean) / self.mean_energy

    def with_gradient(self, code: Tensor, weight: float = 1.0) -> tuple[Tensor, Tensor]:
        """As for every objective; without autograd if there is neither mask nor means."""
        if self.mask is not None or self.mean is not None or code.shape != self.target.shape:
            return super().with_gradient(code, weight)
        difference, scale = code.detach() - self.target.detach(), weight / self.energy.detach()
        values = squared_norm(difference) * scale
        return values, difference.mul_((2 * scale).view(-1, *(1,) * (code.ndim - 1)))

    def with_spatial_means(self, weight: float) -> Euclidean:
        """The same with another w."""
        twin = copy.copy(self)
        twin._set_spatial_means(weight)
        return twin

    def _set_spatial_means(self, weight: float) -> None:
        self.spatial_mean_weight = weight if self.target.ndim == 4 else 0.0
        self.mean: Tensor | None = None
        self.mean_energy = self.energy
        if self.spatial_mean_weight:
            self.mean = _mean_response(self.target)
            energy = squared_norm(self.mean)
            self.mean_energy = torch.where(energy > 0, energy, torch.inf)


class InnerProduct(Objective):
    r"""Negative response in a direction of the code, for activation maximisation and caricatures.

    ℓ(φ) = −⟨φ, φ₀⟩ / Z

    φ₀, (N, ...) or (1, ...), is one-hot for a neuron and a code's positive part for a caricature. Z, a number or (N,),
    is the response that counts as one. Source: Mahendran & Vedaldi 2016, §3.1.
    """

    per_sample = ("direction", "scale")

    def __init__(self, direction: Tensor, scale: float | Tensor = 1.0):
        if not bool(torch.any(direction != 0)):
            raise ValueError("the direction to maximise is zero: set at least one entry")
        self.direction = direction
        self.scale = scale

    def __call__(self, code: Tensor) -> Tensor:
        """ℓ of each sample, (N,)."""
        return -(code * self.direction).flatten(1).sum(1) / self.scale


class Label(Objective):
    r"""Surprise at a label, for adversarial images.

    ℓ(φ) = log Σ_j exp(s_j) − s_t

    s_j is the score of label j, the mean of its channel over positions, before the softmax; t, (N,), are the labels.
    Source: Szegedy et al. 2014.
    """

    per_sample = ("labels",)

    def __init__(self, labels: Tensor):
        self.labels = labels

    def __call__(self, code: Tensor) -> Tensor:
        """ℓ of each sample, (N,)."""
        return torch.nn.functional.cross_entropy(scores(code), self.labels.expand(len(code)), reduction="none")


class Gram(Objective):
    r"""Squared distance between the channel correlations of two codes, for texture and style.

    ℓ(φ) = ‖G(φ) − G(φ₀)‖² / ‖G(φ₀)‖²,  G(φ)_cd = 1/(hw) Σ_uv φ_c(u, v) φ_d(u, v)

    The height and width of the target φ₀, (N, D, h, w), need not be those of the codes. Source: Gatys, Ecker & Bethge
    2015. Differs: relative to the target's energy, so that layers weigh alike.
    """

    per_sample = ("target", "energy")

    def __init__(self, target: Tensor):
        if target.ndim != 4:
            raise ValueError(f"a Gram matrix needs codes with positions, (N, D, h, w), got shape {tuple(target.shape)}")
        self.target = gram_matrix(target)
        self.energy = squared_norm(self.target)
        if bool((self.energy == 0).any()):
            raise ValueError("the target's Gram matrix is zero: its image has no texture at this layer")

    def __call__(self, code: Tensor) -> Tensor:
        """ℓ of each sample, (N,)."""
        return squared_norm(gram_matrix(code) - self.target) / self.energy


def scores(code: Tensor) -> Tensor:
    """The mean of each channel over positions, (N, D, h, w) or (N, D) → (N, D)."""
    return code.flatten(2).mean(2) if code.ndim == 4 else code


def gram_matrix(code: Tensor) -> Tensor:
    """Channel correlations of codes, (N, D, h, w) → (N, D, D)."""
    flat = code.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def value_and_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """A function of samples, (N, ...) → (N,), at x, and its derivative there."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        values = function(leaf)
        (slope,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), slope


def squared_norm(code: Tensor) -> Tensor:
    """‖φ‖² of each sample, (N, ...) → (N,)."""
    return sums(code.square())


def sums(values: Tensor) -> Tensor:
    """The sum of each sample, (N, ...) → (N,).

    In partial sums, because torch adds up a single number in an order that depends on its threads.
    """
    values = values.flatten(1)
    length = values.shape[1] // PARTIAL_SUMS
    whole = PARTIAL_SUMS * length
    parts = values[:, :whole].reshape(len(values), PARTIAL_SUMS, length).sum(2)
    return torch.cat([parts, values[:, whole:]], 1).sum(1)


def _mean_response(code: Tensor) -> Tensor:
    """μ of codes with positions, (N, D, h, w) → (N, D)."""
    return code.clamp_min(0).mean((2, 3))

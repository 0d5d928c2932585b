"""First-order solvers: each step is a function of the gradient and of running means."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ..priors.base import TYPICAL_COLOUR
from .base import Projection, Solver


class FirstOrder(Solver):
    """A solver whose step is a function of the gradient and of running means, which are zero at the start."""

    def begin(self, start: Tensor, project: Projection | None = None) -> None:
        """Start at rest, with no history."""
        super().begin(start, project)
        self.velocity, self.squares = torch.zeros_like(start), torch.zeros_like(start)
        self.evaluations = 0

    def tell(self, value: Tensor, gradient: Tensor) -> None:
        """One step."""
        self.evaluations += 1
        self.point = self.project(self.point + self._step(gradient, gradient.shape[-1] * gradient.shape[-2]))

    @abstractmethod
    def _step(self, gradient: Tensor, pixels: int) -> Tensor: ...


class Resting(FirstOrder):
    """A solver that starts from rest, d = 0, whenever its rate changes."""

    def next_stage(self, rate: float, changed: bool) -> None:
        """Another rate starts from rest."""
        if rate != self.rate:
            self.velocity = torch.zeros_like(self.velocity)
        super().next_stage(rate, changed)


@dataclass(eq=False)
class Momentum(Resting):
    """Gradient descent with momentum: d ← μ d − rate · step · P · g, z ← z + d (Mahendran & Vedaldi 2015, §3.3).

    Parameters
    ----------
    step, memory : float
        For each of the P pixels, as objectives are means over them; μ.
    pixels : float, optional
        P; None is the image's own number.

    Notes
    -----
    d is reset when the rate changes.
    """

    step: float = 0.004 * TYPICAL_COLOUR**2
    memory: float = 0.9
    pixels: float | None = None

    def _step(self, gradient: Tensor, pixels: int) -> Tensor:
        scale = self.rate * self.step * (self.pixels or pixels)
        self.velocity = self.memory * self.velocity - scale * gradient
        return self.velocity


@dataclass(eq=False)
class AdaGrad(Resting):
    r"""AdaGrad with forgetting and momentum.

    G ← μ G + g²,  d ← μ d − step · g / (damping / (rate · P) + √G),  z ← z + d

    Parameters
    ----------
    step, memory : float
        Length of the steps where the gradient is strong, one grey level, 1/255, in the paper; μ, for G and d alike.
    damping : float
        Gradients weaker than this, over the number P of pixels, make shorter steps; P / η in the paper's terms.

    Notes
    -----
    G is never reset; d is reset when the rate changes. Source: Mahendran & Vedaldi 2016, §3.4.
    """

    step: float = 1 / 255
    damping: float = 6 / (0.05 * 255 * TYPICAL_COLOUR**2)
    memory: float = 0.9

    def _step(self, gradient: Tensor, pixels: int) -> Tensor:
        damping = self.damping / (self.rate * pixels)
        self.squares.mul_(self.memory).addcmul_(gradient, gradient)
        self.velocity.mul_(self.memory).addcdiv_(gradient, self.squares.sqrt().add_(damping), value=-self.step)
        return self.velocity


@dataclass(eq=False)
class Adam(FirstOrder):
    """Adam: steps of similar length in every coordinate, from running means of g and g² (Kingma & Ba 2015).

    Parameters
    ----------
    step : float
    memory : tuple of float
        Decay rates of the two means.
    """

    step: float = 0.01
    memory: tuple[float, float] = (0.9, 0.999)

    def _step(self, gradient: Tensor, pixels: int) -> Tensor:
        first, second = self.memory
        self.velocity.mul_(first).add_(gradient, alpha=1 - first)
        self.squares.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        scale = (self.squares / (1 - second**self.evaluations)).sqrt_().add_(1e-8)
        return self.velocity / scale * (-self.rate * self.step / (1 - first**self.evaluations))


@dataclass(eq=False)
class AdaDelta(FirstOrder):
    r"""AdaDelta: the length of a step follows from that of the last ones, so that no rate has to be chosen.

    G ← μ G + (1 − μ) (P g)²,  d = −√(D + ε) / √(G + ε) · P g,  D ← μ D + (1 − μ) d²,  z ← z + rate · d

    Parameters
    ----------
    memory, damping : float
        μ and ε; the first steps have a length of √(ε / (1 − μ)) in every coordinate.

    Notes
    -----
    Source: Zeiler 2012. Differs: the gradient is multiplied by the number P of pixels, as objectives are means over
    them, so that ε means the same for images of all sizes.
    """

    memory: float = 0.95
    damping: float = 1e-6

    def begin(self, start: Tensor, project: Projection | None = None) -> None:
        """Start at rest, with no history."""
        super().begin(start, project)
        self.squared_steps = torch.zeros_like(start)

    def _step(self, gradient: Tensor, pixels: int) -> Tensor:
        gradient = gradient * pixels
        self.squares.mul_(self.memory).addcmul_(gradient, gradient, value=1 - self.memory)
        scale = (self.squared_steps + self.damping).div_(self.squares + self.damping).sqrt_()
        step = gradient.mul_(scale).neg_()
        self.squared_steps.mul_(self.memory).addcmul_(step, step, value=1 - self.memory)
        return step * self.rate

"""Descent on batches of independent problems: one `tell` is one gradient evaluation a sample.

`point` is where the solver needs the objective; `tell` takes value and gradient there and moves it. No operation mixes
samples, so that a batch runs exactly as its samples would alone. `best` is the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Projection = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Box:
    """A projection into a box, lower ≤ z ≤ upper; both tensors broadcast to one sample's coordinates."""

    lower: Tensor
    upper: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        """The nearest coordinates in the box."""
        return z.clamp(self.lower, self.upper)


class Solver(ABC):
    """One run of a descent. Call `begin`, then `tell` as often as the budget allows, and `end`."""

    point: Tensor

    def begin(self, start: Tensor, project: Projection | None = None) -> None:
        """Start from z (N, ...); project, if given, maps each iterate to the nearest one inside the bound."""
        if not self.keeps(project):
            raise ValueError(f"{type(self).__name__} cannot keep coordinates inside {_named(project)}: use AdaGrad, "
                             "Adam or Momentum, or a parameterization without a bound, such as Pixels(bound=None) or "
                             "Fourier")
        self.project = project or (lambda z: z)
        self.point = self.project(start)
        self.rate = 1.0

    def keeps(self, project: Projection | None) -> bool:
        """Whether the solver keeps iterates inside the bound of a projection; `begin` refuses it otherwise."""
        return True

    @abstractmethod
    def tell(self, value: Tensor, gradient: Tensor) -> None:
        """Take the objective (N,) and its gradient (N, ...) at `point`, and move `point`."""

    @property
    def best(self) -> Tensor:
        """The iterate to return."""
        return self.point

    @property
    def converged(self) -> bool:
        """Whether no sample can be improved any more."""
        return False

    @property
    def vectors(self) -> int:
        """How many vectors as long as the coordinates it keeps of the past."""
        return 0

    def next_stage(self, rate: float, changed: bool) -> None:
        """Enter a stage whose steps are scaled by rate; `changed` says whether its objective is another one."""
        self.rate = rate

    def end(self) -> None:  # noqa: B027
        """Let go of what the descent needed; `best` stays."""


def _named(project: Projection | None) -> str:
    return "a box" if isinstance(project, Box) else "a bound"

"""Limited-memory BFGS on batches of independent problems."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.backend import uses_compiled

from .first_order import Solver

SEARCH = np.dtype([("value", float), ("slope", float), ("length", float), ("tries", int), ("idle", int),
                   ("done", bool)], align=True)
RING = np.dtype([("newest", int), ("count", int)])


class LBFGS(Solver):
    r"""L-BFGS with a line search of its own for each sample, one gradient evaluation a `tell`.

    Every sample is at its own place of its own line search: a trial point that decreases the objective enough
    becomes its iterate and gives a new direction; another is drawn back by quadratic interpolation. The direction is
    the compact form −H g with H = γ I + [S, γY] M [S, γY]ᵀ, so that a step passes twice over the history.

    Parameters
    ----------
    history : int
        Pairs of steps and gradient changes that are remembered.
    first_step : float
        Root mean square length, in coordinates, of the first step and of those after a failed search.

    Notes
    -----
    Sources: Byrd, Nocedal & Schnabel 1994 (the compact form); Nocedal & Wright 2006, chapters 3 and 7. Differs from
    torch.optim.LBFGS, whose line search serves one problem: here samples never wait for one another.
    """

    def __init__(self, history: int = 20, first_step: float = 0.05):
        if history < 1:
            raise ValueError(f"history is at least 1 pair, got {history}")
        self.history = history
        self.first_step = first_step

    def begin(self, start: Tensor, project: Callable[[Tensor], Tensor] = lambda z: z) -> None:
        """Start with an empty history."""
        super().begin(start, project)
        n, m = start.shape[0], start[0].numel()
        self.iterate = self.point.reshape(n, m).clone()
        self.gradient = start.new_zeros(n, m)
        self.direction = start.new_zeros(n, m)
        self.search = np.zeros(n, SEARCH)
        self.pairs = Pairs(n, m, self.history, start)
        self.fresh = True

    @property
    def best(self) -> Tensor:
        """The iterate of least objective."""
        return self.iterate.view_as(self.point)

    @property
    def converged(self) -> bool:
        """Whether every sample has come to rest: five steps below rounding, or none along its own gradient."""
        return bool(self.search["done"].all())

    def next_stage(self, rate: float, changed: bool) -> None:
        """Go on from the best iterate; the history is kept, since a slightly other objective bends alike."""
        super().next_stage(rate, changed)
        if changed:
            self.point = self.best.clone()
            self.fresh = True
            self.search["done"], self.search["idle"] = False, 0

    def tell(self, value: Tensor, gradient: Tensor) -> None:
        """Accept or draw back each sample's trial point."""
        from .compiled import judge

        g = gradient.reshape(self.iterate.shape)
        trial = self.point.reshape(g.shape)
        accepted, failed = np.empty((2, len(g)), bool)
        judge(self.search, self.pairs.ring, _host(value), self.fresh, torch.finfo(value.dtype).eps, accepted, failed)
        if accepted.any():
            self.pairs.look(trial, self.iterate, g, self.gradient, accepted, self.fresh)
            self.iterate, self.gradient = _choose(accepted, trial, self.iterate), _choose(accepted, g, self.gradient)
        self.pairs.forget(failed)
        self._search_along((accepted | failed) & ~self.search["done"])
        self.fresh = False
        lengths = torch.from_numpy(self.search["length"]).to(g)
        self.point = torch.addcmul(self.iterate, self.direction, lengths[:, None]).view_as(self.point)

    def _search_along(self, chosen: NDArray[np.bool_]) -> None:
        """Begin line searches of the chosen samples, along the gradient where the history leads uphill."""
        from .compiled import begin

        reach = self.first_step * self.direction.shape[1] ** 0.5
        while chosen.any():
            self.direction = self.pairs.combine(self.gradient, chosen, self.direction, self.search["slope"])
            begin(self.search, self.pairs.ring, chosen, reach)
            self.pairs.forget(chosen)


class Pairs:
    """Steps s and gradient changes y of each sample, in a ring with a spare place, and what −H g takes of each.

    The products of all s and y with each new y are differences of their products with this gradient and the last.
    """

    def __init__(self, samples: int, size: int, history: int, like: Tensor):
        places = history + 1
        self.basis = like.new_zeros(samples, 2 * places, size)
        self.curvature = np.zeros((samples, 2, places, places))
        self.before = np.zeros((samples, 2 * places))
        self.weights = np.zeros((samples, 2 * places + 1))
        self.ring = np.zeros(samples, RING)

    def forget(self, chosen: NDArray[np.bool_]) -> None:
        """Drop the pairs of the chosen samples, whose next directions are their gradients."""
        if chosen.any():
            self.ring["count"][chosen] = 0
            self.weights[chosen] = 0
            self.weights[chosen, -1] = -1

    def look(self, trial: Tensor, iterate: Tensor, gradient: Tensor, before: Tensor, chosen: NDArray[np.bool_],
             fresh: bool) -> None:
        """Let the chosen samples remember s = trial − iterate and y = gradient − before, unless they are fresh."""
        from .compiled import look, remember

        rows = self.basis.shape[1]
        spare = (self.ring["newest"] + 1) % (rows // 2)
        if uses_compiled(trial):
            products = np.empty((len(trial), rows + 2))
            images = (image.contiguous().numpy() for image in (trial, iterate, gradient, before))
            look(*images, chosen, spare, self.basis.numpy(), products)
        else:
            s, y = trial - iterate, gradient - before
            who, where = torch.from_numpy(np.stack([np.flatnonzero(chosen), spare[chosen]])).to(s.device)
            self.basis[who, where], self.basis[who, where + rows // 2] = s[who], y[who]
            with_basis = torch.bmm(self.basis, gradient[:, :, None])[:, :, 0]
            products = _host(torch.cat([with_basis, (s * y).sum(1, True), (y * y).sum(1, True)], 1))
        remember(self.ring, self.curvature, self.before, products, chosen, fresh, self.weights)

    def combine(self, gradient: Tensor, chosen: NDArray[np.bool_], direction: Tensor,
                slopes: NDArray[np.float64]) -> Tensor:
        """Directions −H g, (N, M), and their slopes: new ones of the chosen samples, else those given."""
        weights = torch.from_numpy(self.weights).to(gradient)
        if uses_compiled(gradient):
            from .compiled import combine

            operands = (operand.contiguous().numpy() for operand in (self.basis, weights, gradient))
            combine(*operands, chosen, direction.numpy(), slopes)
            return direction
        found = torch.baddbmm(weights[:, -1:, None] * gradient[:, None], weights[:, None, :-1], self.basis)[:, 0]
        slopes[chosen] = _host((found * gradient).sum(1))[chosen]
        return _choose(chosen, found, direction)


def _choose(chosen: NDArray[np.bool_], new: Tensor, old: Tensor) -> Tensor:
    """Rows of new where chosen, else of old; without a copy where all are alike."""
    if chosen.all():
        return new
    return torch.where(torch.from_numpy(chosen).to(new.device)[:, None], new, old) if chosen.any() else old


def _host(numbers: Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = numbers.double().cpu().numpy()
    return found

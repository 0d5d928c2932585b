"""Limited-memory BFGS on batches of independent problems."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .base import Projection, Solver

LINE_SEARCH = np.dtype([("value", float), ("slope", float), ("length", float), ("backtracks", int), ("idle", int),
                        ("done", bool)], align=True)
RING = np.dtype([("newest", int), ("count", int)])
SUFFICIENT_DECREASE = 1e-4
MAX_BACKTRACKS = 12
IDLE_STEPS = 5


class LBFGS(Solver):
    r"""L-BFGS with a line search of its own for each sample, one gradient evaluation a `tell`.

    A trial point that decreases the objective enough (Armijo) becomes the sample's iterate and gives a new direction;
    otherwise the search backtracks by quadratic interpolation. The direction is the compact form −H g with
    H = γ I + [S, γY] M [S, γY]ᵀ, so that a step passes twice over the history.

    Parameters
    ----------
    history : int
        Pairs of steps and gradient changes that are kept.
    first_step : float
        Root mean square length, in coordinates, of the first step and of those after a failed search.

    Raises
    ------
    ValueError
        From `begin`, for a projection: the history would describe steps that the projection changes.

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

    def begin(self, start: Tensor, project: Projection | None = None) -> None:
        """Start with an empty history."""
        super().begin(start, project)
        n, m = start.shape[0], start[0].numel()
        self.iterate = self.point.reshape(n, m).clone()
        self.gradient = start.new_zeros(n, m)
        self.direction = start.new_zeros(n, m)
        self.searches = np.zeros(n, LINE_SEARCH)
        self.pairs = History(n, m, self.history, start)
        self.restarted = True

    def keeps(self, project: Projection | None) -> bool:
        """No bound."""
        return project is None

    @property
    def best(self) -> Tensor:
        """The iterate of least objective."""
        return self.iterate.view_as(self.point)

    @property
    def vectors(self) -> int:
        """Both of each pair."""
        return 2 * self.history

    @property
    def converged(self) -> bool:
        """Whether every sample has converged: five steps below rounding, or no descent along its own gradient."""
        return bool(self.searches["done"].all())

    def next_stage(self, rate: float, changed: bool) -> None:
        """Go on from the best iterate. The history is kept: a slightly different objective has a similar curvature."""
        super().next_stage(rate, changed)
        if changed:
            self.point = self.best.clone()
            self.restarted = True
            self.searches["done"], self.searches["idle"] = False, 0

    def tell(self, value: Tensor, gradient: Tensor) -> None:
        """Accept each sample's trial point, or backtrack."""
        g = gradient.reshape(self.iterate.shape).clone()  # as aligned as all of torch's memory: sums depend on that
        trial = self.point.reshape(g.shape)
        accepted, failed = self._armijo_test(_host(value), torch.finfo(value.dtype).eps)
        if accepted.any():
            self.pairs.update(trial, self.iterate, g, self.gradient, accepted, self.restarted)
            self.iterate, self.gradient = _choose(accepted, trial, self.iterate), _choose(accepted, g, self.gradient)
        self.pairs.clear(failed)
        self._start_line_searches((accepted | failed) & ~self.searches["done"])
        self.restarted = False
        lengths = torch.from_numpy(self.searches["length"]).to(g)
        self.point = torch.addcmul(self.iterate, self.direction, lengths[:, None]).view_as(self.point)

    def _armijo_test(self, values: NDArray[np.float64], precision: float) -> Any:
        """Accept trial points, backtrack by quadratic interpolation, or fail after too many backtracks.

        Returns which samples were accepted, and which failed but may be tried along the gradient, bool (N,) each.
        A sample is done after five accepted steps that change the objective by no more than rounding, or when a search
        fails along its own gradient.
        """
        accepted, failed = np.zeros((2, len(values)), bool)
        for n, (one, value) in enumerate(zip(self.searches, values.tolist(), strict=True)):
            last, slope, length, backtracks, idle, done = one.item()
            if done:
                continue
            change, expected = value - last, length * slope
            if self.restarted or change <= SUFFICIENT_DECREASE * expected:
                accepted[n] = True
                idle = idle + 1 if -change <= precision * abs(value) and not self.restarted else 0
                done, last = idle >= IDLE_STEPS, value
            else:
                shrink = -0.5 * expected / (change - expected) if change != expected else math.inf
                length *= min(max(shrink, 0.1), 0.5) if math.isfinite(shrink) else 0.1
                backtracks += 1
                failed[n] = backtracks > MAX_BACKTRACKS and self.pairs.ring["count"][n] > 0
                done = backtracks > MAX_BACKTRACKS and not failed[n]
            self.searches[n] = last, slope, 0.0 if done else length, backtracks, idle, done
        return accepted, failed

    def _start_line_searches(self, chosen: NDArray[np.bool_]) -> None:
        """Start searches at step length 1 if there is a history, else at the length that makes the first step.

        A direction that does not descend is replaced by the gradient; if that does not descend, the sample is done.
        """
        first_length = self.first_step * self.direction.shape[1] ** 0.5
        searches, chosen = self.searches, chosen.copy()
        while chosen.any():
            self.direction = self.pairs.directions(self.gradient, chosen, self.direction, searches["slope"])
            for n in np.flatnonzero(chosen).tolist():
                slope, known = searches["slope"].item(n), self.pairs.ring["count"].item(n) > 0
                done = not slope < 0
                searches["backtracks"][n], searches["done"][n] = 0, done
                searches["length"][n] = 0.0 if done else 1.0 if known else first_length / math.sqrt(-slope)
                chosen[n] = done and known
            self.pairs.clear(chosen)


class History:
    """Pairs (s, y) of steps and gradient changes of each sample, in a ring with one free slot, and weights for −H g.

    Products of all s and y with a new y are differences of their products with this gradient and the last.
    """

    def __init__(self, samples: int, size: int, history: int, like: Tensor):
        places = history + 1
        self.basis = like.new_zeros(samples, 2 * places, size)
        self.curvature = np.zeros((samples, 2, places, places))
        self.previous = np.zeros((samples, 2 * places))
        self.weights = np.zeros((samples, 2 * places + 1))
        self.ring = np.zeros(samples, RING)

    def clear(self, chosen: NDArray[np.bool_]) -> None:
        """Drop the pairs of the chosen samples; their next direction is −g."""
        if chosen.any():
            self.ring["count"][chosen] = 0
            self.weights[chosen] = 0
            self.weights[chosen, -1] = -1

    def update(self, trial: Tensor, iterate: Tensor, gradient: Tensor, previous: Tensor, chosen: NDArray[np.bool_],
               restarted: bool) -> None:
        """Add s = trial − iterate and y = gradient − previous of the chosen samples, unless they have restarted."""
        slot = (self.ring["newest"] + 1) % (self.basis.shape[1] // 2)
        products = (self._products if trial.device.type == "cpu" else self._batched_products)(
            trial, iterate, gradient, previous, chosen, slot)
        for n in np.flatnonzero(chosen).tolist():
            self._add_pair(n, products[n], restarted)

    def _products(self, trial: Tensor, iterate: Tensor, gradient: Tensor, previous: Tensor,
                  chosen: NDArray[np.bool_], slot: NDArray[np.int64]) -> NDArray[np.float64]:
        """Write s and y to the slots of the chosen samples; ⟨basis, gradient⟩, ⟨s, y⟩ and ⟨y, y⟩, (N, 2P + 2)."""
        products = self.basis.new_zeros(len(trial), self.basis.shape[1] + 2)
        for n in np.flatnonzero(chosen).tolist():
            s, y = self.basis[n, slot[n]::len(self.basis[n]) // 2]
            torch.sub(trial[n], iterate[n], out=s)
            torch.sub(gradient[n], previous[n], out=y)
            torch.mv(self.basis[n], gradient[n], out=products[n, :-2])
            products[n, -2], products[n, -1] = s @ y, y @ y
        return _host(products)

    def _batched_products(self, trial: Tensor, iterate: Tensor, gradient: Tensor, previous: Tensor,
                          chosen: NDArray[np.bool_], slot: NDArray[np.int64]) -> NDArray[np.float64]:
        """The same in few calls, which take longer on the CPU."""
        s, y = trial - iterate, gradient - previous
        who, where = torch.from_numpy(np.stack([np.flatnonzero(chosen), slot[chosen]])).to(s.device)
        self.basis[who, where], self.basis[who, where + self.basis.shape[1] // 2] = s[who], y[who]
        with_basis = torch.bmm(self.basis, gradient[:, :, None])[:, :, 0]
        return _host(torch.cat([with_basis, (s * y).sum(1, True), (y * y).sum(1, True)], 1))

    def _add_pair(self, n: int, products: NDArray[np.float64], restarted: bool) -> None:
        """Keep the pair in the sample's free slot unless its curvature is tiny, and weigh the basis for −H g."""
        sy, yy = self.curvature[n]
        places, newest, count = len(sy), int(self.ring["newest"][n]), int(self.ring["count"][n])
        with_basis, own_sy, own_yy = products[:-2], products[-2], products[-1]
        scale = min(sy[newest, newest] / yy[newest, newest], 1.0) if count else 1.0
        if not restarted and own_yy > 0 and own_sy > 1e-6 * scale * own_yy:
            newest, count = (newest + 1) % places, min(count + 1, places - 1)
            change = with_basis - self.previous[n]
            sy[:, newest] = change[:places]
            yy[:, newest] = yy[newest] = change[places:]
            sy[newest, newest], yy[newest, newest] = own_sy, own_yy
            self.ring[n] = newest, count
        self.previous[n], self.weights[n] = with_basis, 0
        pairs = np.arange(newest + 1 - count, newest + 1) % places
        weights = _compact_weights(sy[pairs][:, pairs], yy[pairs][:, pairs], *with_basis.reshape(2, places)[:, pairs])
        self.weights[n, pairs], self.weights[n, places + pairs], self.weights[n, -1] = weights

    def directions(self, gradient: Tensor, chosen: NDArray[np.bool_], direction: Tensor,
                   slopes: NDArray[np.float64]) -> Tensor:
        """Directions (N, M): −H g of the chosen samples, else those given. Slopes are updated in place."""
        weights = torch.from_numpy(self.weights).to(gradient)
        if gradient.device.type == "cpu":
            for n in np.flatnonzero(chosen).tolist():
                torch.addmv(gradient[n], self.basis[n].T, weights[n, :-1], beta=float(self.weights[n, -1]),
                            out=direction[n])
                slopes[n] = direction[n] @ gradient[n]
            return direction
        found = torch.baddbmm(weights[:, -1:, None] * gradient[:, None], weights[:, None, :-1], self.basis)[:, 0]
        slopes[chosen] = _host((found * gradient).sum(1))[chosen]
        return _choose(chosen, found, direction)


def _compact_weights(sy: NDArray[np.float64], yy: NDArray[np.float64], with_s: NDArray[np.float64],
                     with_y: NDArray[np.float64]) -> tuple[Any, Any, float]:
    """Weights of S, of Y and of the gradient in −H g, from SᵀY, YᵀY, Sᵀg and Yᵀg, the oldest pair first."""
    if len(sy) == 0:
        return 0, 0, -1.0
    gamma = sy[-1, -1] / yy[-1, -1]
    triangle = np.triu(sy)
    u = np.linalg.solve(triangle, with_s)
    right = sy.diagonal() * u + gamma * ((yy * u).sum(1) - with_y)
    backwards = np.linalg.solve(triangle.T[::-1, ::-1], right[::-1])  # an upper triangle again, which needs no pivots
    return -backwards[::-1], gamma * u, -gamma


def _choose(chosen: NDArray[np.bool_], new: Tensor, old: Tensor) -> Tensor:
    """Rows of new where chosen, else of old; without a copy where all are alike."""
    if chosen.all():
        return new
    return torch.where(torch.from_numpy(chosen).to(new.device)[:, None], new, old) if chosen.any() else old


def _host(numbers: Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = numbers.double().cpu().numpy()
    return found

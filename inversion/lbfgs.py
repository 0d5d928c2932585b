"""Limited-memory BFGS on batches of independent problems."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg.lapack import dtrtrs
from torch import Tensor

from ..features import kernels
from .solvers import Solver

SUFFICIENT_DECREASE = 1e-4
LONGEST_SEARCH = 12
IDLE_STEPS = 5


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
        self.value = np.full(n, np.inf)
        self.slope, self.length = np.zeros(n), np.zeros(n)
        self.tries, self.idle = np.zeros(n, int), np.zeros(n, int)
        self.done = np.zeros(n, bool)
        self.pairs = Pairs(n, m, self.history, start)
        self.fresh = True

    @property
    def best(self) -> Tensor:
        """The iterate of least objective."""
        return self.iterate.view_as(self.point)

    @property
    def converged(self) -> bool:
        """Whether every sample has come to rest: five steps below rounding, or none along its own gradient."""
        return bool(self.done.all())

    def next_stage(self, rate: float, changed: bool) -> None:
        """Go on from the best iterate; the history is kept, since a slightly other objective bends alike."""
        super().next_stage(rate, changed)
        if changed:
            self.point = self.best.clone()
            self.fresh = True
            self.done[:] = False
            self.idle[:] = 0

    def tell(self, value: Tensor, gradient: Tensor) -> None:
        """Accept or draw back each sample's trial point."""
        values = value.double().cpu().numpy()
        g = gradient.reshape(self.iterate.shape)
        trial = self.point.reshape(g.shape)
        accepted = ~self.done
        if not self.fresh:
            accepted &= values <= self.value + SUFFICIENT_DECREASE * self.length * self.slope
            self._draw_back(values, accepted)
            self._rest(values, accepted, torch.finfo(value.dtype).eps)
        if accepted.any():
            s, y, products = _differences(trial, self.iterate, g, self.gradient)
            direction = self.pairs.direction(s, y, g, products, accepted, self.fresh)
            self.iterate = _choose(accepted, trial, self.iterate)
            self.gradient = _choose(accepted, g, self.gradient)
            self.value = np.where(accepted, values, self.value)
            self._search_along(direction, accepted & ~self.done)
        self.fresh = False
        lengths = torch.from_numpy(np.where(self.done, 0.0, self.length)).to(g)
        self.point = torch.addcmul(self.iterate, self.direction, lengths[:, None]).view_as(self.point)

    def _rest(self, values: NDArray[np.float64], accepted: NDArray[np.bool_], precision: float) -> None:
        """Samples whose steps no longer change the objective beyond rounding are done."""
        unchanged = self.value - values <= precision * np.abs(values)
        self.idle = np.where(accepted, np.where(unchanged, self.idle + 1, 0), self.idle)
        self.done |= self.idle >= IDLE_STEPS

    def _search_along(self, direction: Tensor, chosen: NDArray[np.bool_]) -> None:
        """Begin the line search of the chosen samples, at length 1 where the history gives a scale."""
        slope = _inner(direction, self.gradient)
        uphill = chosen & ~(slope < 0)
        if uphill.any():
            self.pairs.forget(uphill)
            direction = _choose(uphill, -self.gradient, direction)
            slope = _inner(direction, self.gradient)
        self.direction = _choose(chosen, direction, self.direction)
        self.slope = np.where(chosen, slope, self.slope)
        self.length = np.where(chosen, 1.0, self.length)
        cautious = chosen & self.pairs.empty
        if cautious.any():
            norm = np.sqrt(_inner(self.direction, self.direction)).clip(1e-30)
            self.length = np.where(cautious, self.first_step * direction.shape[1] ** 0.5 / norm, self.length)
        self.tries[chosen] = 0
        self.done |= chosen & ~(self.slope < 0)

    def _draw_back(self, values: NDArray[np.float64], accepted: NDArray[np.bool_]) -> None:
        """Shorter steps for the rejected samples; steepest descent, then rest, for those drawn back too often."""
        rejected = ~accepted & ~self.done
        if not rejected.any():
            return
        with np.errstate(all="ignore"):
            curvature = values - self.value - self.length * self.slope
            shrink = np.nan_to_num(-0.5 * self.length * self.slope / curvature, nan=0.1).clip(0.1, 0.5)
        self.length = np.where(rejected, self.length * shrink, self.length)
        self.tries += rejected
        failed = rejected & (self.tries > LONGEST_SEARCH)
        self.done |= failed & self.pairs.empty
        restart = failed & ~self.done
        if restart.any():
            self.pairs.forget(restart)
            self._search_along(-self.gradient, restart)


class Pairs:
    """Steps s and gradient changes y of each sample, in a ring, and the products with y that the compact form needs."""

    def __init__(self, samples: int, size: int, history: int, like: Tensor):
        self.history = history
        self.basis = like.new_zeros(samples, 2 * history, size)
        self.products = np.zeros((samples, 2 * history, history))
        self.projected = np.zeros((samples, 2 * history))
        self.slots: list[list[int]] = [[] for _ in range(samples)]

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Which samples remember nothing."""
        return np.array([not slots for slots in self.slots])

    def forget(self, chosen: NDArray[np.bool_]) -> None:
        """Drop the pairs of the chosen samples."""
        for i in np.flatnonzero(chosen):
            self.slots[i] = []

    def direction(self, s: Tensor, y: Tensor, g: Tensor, products: NDArray[np.float64], chosen: NDArray[np.bool_],
                  fresh: bool) -> Tensor:
        """−H g of the chosen samples, (N, M), after they have remembered their s and y, unless they are fresh.

        The products, (N, 4), are ⟨s, y⟩, ⟨y, y⟩, ⟨s, g⟩ and ⟨y, g⟩.

        A pair of curvature that is not positive is left out; another takes the place of the oldest. The products with
        y are differences of those with this gradient and the last, so that a step reads the history only twice.
        """
        samples = np.flatnonzero(chosen).tolist()
        weights, gammas, places = np.zeros((len(g), 2 * self.history)), np.zeros((len(g), 1)), []
        for i, projected in zip(samples, self._projections(samples, g), strict=True):
            sy, yy, sg, yg = products[i]
            if not fresh and self._curved(i, sy, yy):
                slot = self._remember(i, projected - self.projected[i], sy, yy)
                places.append((i, slot))
                projected[[slot, self.history + slot]] = sg, yg
            self.projected[i] = projected
            weights[i], gammas[i] = self._compact_form(i, projected)
        self._put(places, s, y)
        return self._combined(samples, weights, gammas, g)

    def _projections(self, samples: list[int], g: Tensor) -> NDArray[np.float64]:
        """The basis' products with g of some samples; on a device of all at once, where launches take the time."""
        if g.device.type == "cpu":
            products = torch.stack([self.basis[i] @ g[i] for i in samples])
        else:
            products = torch.bmm(self.basis, g[:, :, None])[:, :, 0]
        found: NDArray[np.float64] = products.double().cpu().numpy()
        return found if len(found) == len(samples) else found[samples]

    def _put(self, places: list[tuple[int, int]], s: Tensor, y: Tensor) -> None:
        """Put steps and gradient changes in the basis, at (sample, slot)."""
        if s.device.type == "cpu":
            for i, slot in places:
                self.basis[i, slot], self.basis[i, self.history + slot] = s[i], y[i]
        elif places:
            rows, slots = torch.tensor(places).to(s.device).unbind(1)
            self.basis[rows, slots], self.basis[rows, self.history + slots] = s[rows], y[rows]

    def _combined(self, samples: list[int], weights: NDArray[np.float64], gammas: NDArray[np.float64],
                  g: Tensor) -> Tensor:
        """Σ weight · basis − γ g of some samples, and zeros."""
        scales = torch.from_numpy(np.concatenate([weights, gammas], 1)).to(g)
        if g.device.type != "cpu":
            return torch.baddbmm(scales[:, -1:, None] * g[:, None], scales[:, None, :-1], self.basis, beta=-1)[:, 0]
        directions = torch.zeros_like(g)
        for i in samples:
            directions[i] = torch.mv(self.basis[i].T, scales[i, :-1]).sub_(g[i], alpha=gammas[i, 0])
        return directions

    def _curved(self, i: int, sy: float, yy: float) -> bool:
        gamma = self._gamma(i) if self.slots[i] else 1.0
        return bool(sy > 1e-6 * yy * min(gamma, 1.0) and yy > 0)

    def _remember(self, i: int, with_y: NDArray[np.float64], sy: float, yy: float) -> int:
        """Put the basis' products with the y of a new pair in the oldest one's place, which is returned."""
        slots, products, m = self.slots[i], self.products[i], self.history
        slot = slots.pop(0) if len(slots) == m else len(slots)
        slots.append(slot)
        products[:, slot] = with_y
        products[slot, slot], products[m + slot, slot] = sy, yy
        products[m + slot] = products[m:, slot]
        return slot

    def _gamma(self, i: int) -> float:
        """γ = ⟨s, y⟩ / ⟨y, y⟩ of the newest pair."""
        newest = self.slots[i][-1]
        return float(self.products[i, newest, newest] / self.products[i, self.history + newest, newest])

    def _compact_form(self, i: int, projected: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """Weights of the basis, (2m,), and of −g, in −H g; `projected` are the basis' products with g."""
        weights = np.zeros(2 * self.history)
        s = np.array(self.slots[i], int)
        if not len(s):
            return weights, 1.0
        y, gamma = self.history + s, self._gamma(i)
        sy, yy = self.products[i][np.ix_(s, s)], self.products[i][np.ix_(y, s)]
        u = _solve(sy, projected[s])
        weights[s] = -_solve(sy, sy.diagonal() * u + gamma * (yy @ u - projected[y]), transposed=True)
        weights[y] = gamma * u
        return weights, gamma


def _choose(chosen: NDArray[np.bool_], new: Tensor, old: Tensor) -> Tensor:
    """Rows of new where chosen, else of old; without a copy where all are alike."""
    if chosen.all():
        return new
    return torch.where(torch.from_numpy(chosen).to(new.device)[:, None], new, old) if chosen.any() else old


def _differences(trial: Tensor, iterate: Tensor, gradient: Tensor,
                 before: Tensor) -> tuple[Tensor, Tensor, NDArray[np.float64]]:
    """s = trial − iterate, y = gradient − before, and ⟨s, y⟩, ⟨y, y⟩, ⟨s, g⟩ and ⟨y, g⟩ of each sample, (N, 4)."""
    if not kernels.fits(trial):
        s, y = trial - iterate, gradient - before
        sums = torch.stack([(a * b).sum(1) for a, b in ((s, y), (y, y), (s, gradient), (y, gradient))], 1)
        return s, y, sums.double().cpu().numpy()
    from .kernels import differences

    s, y, products = torch.empty_like(trial), torch.empty_like(trial), np.zeros((len(trial), 4))
    differences(*(a.contiguous().numpy() for a in (trial, iterate, gradient, before)), s.numpy(), y.numpy(), products)
    return s, y, products


def _inner(a: Tensor, b: Tensor) -> NDArray[np.float64]:
    """⟨a, b⟩ of each sample; not by BLAS, whose sums depend on where in memory a sample lies."""
    products: NDArray[np.float64] = (a * b).sum(1).double().cpu().numpy()
    return products


def _solve(upper: NDArray[np.float64], right: NDArray[np.float64], transposed: bool = False) -> NDArray[np.float64]:
    """R⁻¹ v, or R⁻ᵀ v, of the upper triangle R."""
    found: NDArray[np.float64] = dtrtrs(upper, right, trans=int(transposed))[0]
    return found

"""Limited-memory BFGS on batches of independent problems."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

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
        self.value = start.new_full((n,), torch.inf)
        self.gradient = start.new_zeros(n, m)
        self.direction = start.new_zeros(n, m)
        self.slope = start.new_zeros(n)
        self.length = start.new_zeros(n)
        self.tries = start.new_zeros(n, dtype=torch.long)
        self.idle = start.new_zeros(n, dtype=torch.long)
        self.done = start.new_zeros(n, dtype=torch.bool)
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
            self.done.zero_()
            self.idle.zero_()

    def tell(self, value: Tensor, gradient: Tensor) -> None:
        """Accept or draw back each sample's trial point."""
        g = gradient.reshape(self.iterate.shape)
        trial = self.point.reshape(g.shape)
        if self.fresh:
            accepted = ~self.done
        else:
            enough = self.value + SUFFICIENT_DECREASE * self.length * self.slope
            accepted = (value <= enough) & torch.isfinite(value) & ~self.done
            self._draw_back(value, accepted)
            self._rest(value, accepted)
        if accepted.any():
            direction = -self.pairs.step(trial - self.iterate, g - self.gradient, g, accepted & (not self.fresh))
            self.iterate = _choose(accepted, trial, self.iterate)
            self.value = torch.where(accepted, value, self.value)
            self.gradient = _choose(accepted, g, self.gradient)
            self._search_along(direction, accepted & ~self.done)
        self.fresh = False
        ahead = torch.addcmul(self.iterate, self.direction, self.length[:, None])
        self.point = _choose(self.done, self.iterate, ahead).view_as(self.point)

    def _rest(self, value: Tensor, accepted: Tensor) -> None:
        """Samples whose steps no longer change the objective beyond rounding are done."""
        unchanged = self.value - value <= torch.finfo(value.dtype).eps * value.abs()
        self.idle = torch.where(accepted, torch.where(unchanged, self.idle + 1, 0), self.idle)
        self.done |= self.idle >= IDLE_STEPS

    def _search_along(self, direction: Tensor, chosen: Tensor) -> None:
        """Begin the line search of the chosen samples, at length 1 where the history gives a scale."""
        slope = (direction * self.gradient).sum(1)
        uphill = chosen & ~(slope < 0)
        if uphill.any():
            self.pairs.forget(uphill)
            direction = _choose(uphill, -self.gradient, direction)
            slope = (direction * self.gradient).sum(1)
        self.direction = _choose(chosen, direction, self.direction)
        self.slope = torch.where(chosen, slope, self.slope)
        norm = torch.linalg.vector_norm(self.direction, dim=1)
        cautious = self.first_step * direction.shape[1] ** 0.5 / norm.clamp_min(1e-30)
        length = torch.where(self.pairs.empty, cautious, torch.ones_like(cautious))
        self.length = torch.where(chosen, length, self.length)
        self.tries = torch.where(chosen, torch.zeros_like(self.tries), self.tries)
        self.done |= chosen & ~(self.slope < 0)

    def _draw_back(self, value: Tensor, accepted: Tensor) -> None:
        """Shorter steps for the rejected samples; steepest descent, then rest, for those drawn back too often."""
        rejected = ~accepted & ~self.done
        if not rejected.any():
            return
        curvature = value - self.value - self.length * self.slope
        shrink = (-0.5 * self.length * self.slope / curvature).nan_to_num(0.1).clamp(0.1, 0.5)
        self.length = torch.where(rejected, self.length * shrink, self.length)
        self.tries = torch.where(rejected, self.tries + 1, self.tries)
        failed = rejected & (self.tries > LONGEST_SEARCH)
        self.done |= failed & self.pairs.empty
        restart = failed & ~self.done
        if restart.any():
            self.pairs.forget(restart)
            self._search_along(-self.gradient, restart)


class Pairs:
    """Steps s and gradient changes y of each sample, in a ring, and the products that the compact form needs."""

    def __init__(self, samples: int, size: int, history: int, like: Tensor):
        self.history = history
        self.basis = like.new_zeros(samples, 2 * history, size)
        self.products = like.new_zeros(samples, 2 * history, 2 * history, dtype=torch.float64)
        self.age = torch.arange(history, device=like.device).flip(0).repeat(samples, 1)
        self.used = like.new_zeros(samples, history, dtype=torch.bool)
        self.gamma = like.new_ones(samples, dtype=torch.float64)

    @property
    def empty(self) -> Tensor:
        """Which samples remember nothing."""
        return ~self.used.any(1)

    def forget(self, chosen: Tensor) -> None:
        """Drop the pairs of the chosen samples."""
        self.used &= ~chosen[:, None]

    def step(self, s: Tensor, y: Tensor, g: Tensor, chosen: Tensor) -> Tensor:
        """H g of each sample, (N, M), after the chosen samples have remembered their s and y.

        A pair of curvature that is not positive is left out; another takes the place of the oldest.
        """
        vectors = (s, y, g)
        products = [torch.stack([basis @ v[i] for v in vectors]) for i, basis in enumerate(self.basis)]
        known = torch.stack(products).double()
        own = torch.stack([torch.stack([(s * v).sum(1), (y * v).sum(1)], 1) for v in vectors], 2).double()
        sy, yy = own[:, 0, 1], own[:, 1, 1]
        positive = (sy > 1e-6 * yy * self.gamma.clamp_max(1.0)) & (yy > 0)
        for i in torch.nonzero(chosen & positive).flatten().tolist():
            self._remember(i, s[i], y[i], known[i], own[i])
        weights, scale = self._compact_form(known[:, 2])
        weights = weights.to(g)
        combined = torch.stack([row @ basis for basis, row in zip(self.basis, weights, strict=True)])
        return combined.addcmul_(scale.to(g), g)

    def _remember(self, i: int, s: Tensor, y: Tensor, known: Tensor, own: Tensor) -> None:
        """Put a pair in the place of the oldest; `known` are the products of the basis with s, y and g."""
        slot = int(self.age[i].argmax())
        places = [slot, self.history + slot]
        self.basis[i, places[0]], self.basis[i, places[1]] = s, y
        known[:, places] = own.T
        self.products[i, places] = known[:2]
        self.products[i, :, places] = known[:2].T
        self.used[i, slot] = True
        self.age[i] += 1
        self.age[i, slot] = 0
        self.gamma[i] = own[0, 1] / own[1, 1]

    def _compact_form(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of the basis, (N, 2m), and of g, (N, 1), in H g; `projected` are the basis' products with g."""
        m = self.history
        order = self.age.argsort(1, descending=True)
        used = self.used.gather(1, order)
        p = projected[:, :m].gather(1, order) * used
        q = projected[:, m:].gather(1, order) * used
        sy = _permuted(self.products[:, :m, m:], order, used)
        yy = _permuted(self.products[:, m:, m:], order, used)
        diagonal = torch.where(used, sy.diagonal(dim1=1, dim2=2), 1.0)
        upper = sy.triu(1) + torch.diag_embed(diagonal)
        gamma = torch.where(self.empty, 1.0, self.gamma)[:, None]
        u = torch.linalg.solve_triangular(upper, p[..., None], upper=True)[..., 0]
        inner = diagonal * used * u + gamma * ((yy @ u[..., None])[..., 0] - q)
        a = torch.linalg.solve_triangular(upper.transpose(1, 2), inner[..., None], upper=False)[..., 0]
        back = order.argsort(1)
        return torch.cat([(a * used).gather(1, back), (-gamma * u * used).gather(1, back)], 1), gamma


def _choose(chosen: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Rows of new where chosen, else of old; without a copy where all are alike."""
    if bool(chosen.all()):
        return new
    return torch.where(chosen[:, None], new, old) if bool(chosen.any()) else old


def _permuted(matrix: Tensor, order: Tensor, used: Tensor) -> Tensor:
    """Rows and columns from the oldest pair to the newest, zero where there is none."""
    m = order.shape[1]
    rows = matrix.gather(1, order[:, :, None].expand(-1, -1, m))
    both = rows.gather(2, order[:, None, :].expand(-1, m, -1))
    return both * (used[:, :, None] & used[:, None, :])

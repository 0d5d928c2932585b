"""The one loop behind inversion, activation maximisation and caricatures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import Representation

from .objectives import Objective
from .parameterizations import Canvas, Frame, Levelled
from .priors import Prior
from .recipes import Recipe, Stage
from .solvers.first_order import Solver
from .views import view


@dataclass(frozen=True)
class Term:
    """One data term: a descriptor, what is asked of its code, and how much it weighs."""

    phi: Representation
    objective: Objective
    weight: float = 1.0

    def at(self, stage: Stage, data_weight: float) -> Term:
        """The term as a stage of a recipe of weight C sees it: with the surrogate, its leaky twin, and the means."""
        phi = self.phi if stage.softness is None else self.phi.surrogate(stage.softness)
        phi = phi.leaky(stage.leak) if stage.leak else phi
        scale = data_weight * self.weight
        objective = self.objective.with_means(stage.means / scale) if stage.means and scale else self.objective
        return replace(self, phi=phi, objective=objective)


@dataclass(frozen=True)
class Progress:
    """What a progress callback receives after each gradient evaluation."""

    step: int
    steps: int
    objective: float
    data: float

    @property
    def error(self) -> float:
        """Relative error, of the stand-in where one is in use; meaningful for inversions."""
        return float(np.sqrt(max(self.data, 0.0)))


@dataclass(frozen=True)
class Outcome:
    """What the loop found: images (N, C, H, W), history by step, and how it ended."""

    x: Tensor
    history: dict[str, NDArray[np.float64]]
    status: str
    evaluations: int
    seconds: float
    interrupted: bool = False


def telling(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome whose status is that of all: the one that was interrupted, else the last."""
    return next((outcome for outcome in outcomes if outcome.interrupted), outcomes[-1])


@torch.enable_grad()
def descend(
    terms: Sequence[Term],
    recipe: Recipe,
    size: tuple[int, int],
    seeds: Sequence[int],
    like: Tensor,
    start: Tensor | None = None,
    flat: Tensor | None = None,
    measure: Callable[[Tensor], Tensor] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Make Σ weight · C · objective(Φ(x)) + Σ priors(x) small, over one image for each seed.

    Parameters
    ----------
    terms : sequence of Term
    recipe : Recipe
    size : tuple of int
        Height and width of the images.
    seeds : sequence of int
        One a sample; they draw the start and the jitter.
    like : Tensor
        Its dtype and device are those of the images.
    start : Tensor (N, C, H, W), optional
        Images to start from, instead of noise.
    flat : Tensor (N, H, W) of bool, optional
        Pixels at which the images are known to have no gradient; for recipes without jitter.
    measure : callable, optional
        Error of images (N, C, H, W) → (N,), recorded at the end of each stage.
    progress : callable, optional
        Called after each evaluation.

    Notes
    -----
    A keyboard interrupt ends the run and returns what there is. Non-finite values end it with the last finite image.
    """
    run = _Run(terms, recipe, size, seeds, like, start, flat)
    clock = time.perf_counter()
    status, interrupted = "", False
    try:
        for stage in recipe.stages:
            run.enter(stage)
            for _ in range(stage.steps):
                status = run.step()
                if progress:
                    progress(run.report())
                if status or run.solver.converged:
                    break
            if measure and stage.steps:
                run.record_error(measure)
            if status:
                break
    except KeyboardInterrupt:
        interrupted = True
        status = f"stopped by the user after {run.evaluations} of {recipe.steps} gradient evaluations"
    if not status and run.solver.converged:
        status = f"converged after {run.evaluations} gradient evaluations: no step along the gradient decreases further"
    status = status or f"step limit reached: all {recipe.steps} gradient evaluations are used"
    x = run.images()
    return Outcome(x, run.stacked_history(), status, run.evaluations, time.perf_counter() - clock, interrupted)


class _Run:
    """The state of one descent."""

    def __init__(
        self,
        terms: Sequence[Term],
        recipe: Recipe,
        size: tuple[int, int],
        seeds: Sequence[int],
        like: Tensor,
        start: Tensor | None,
        flat: Tensor | None,
    ):
        self.terms = tuple(terms)
        self.recipe = recipe
        self.size = size
        canvas = _canvas(recipe, terms[0].phi, size, like)
        self.canvas = canvas if flat is None or not bool(flat.any()) else Levelled(canvas, flat)
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.solver: Solver = recipe.solver()
        z = self.canvas.start(seeds) if start is None else self.canvas.coordinates(_enlarged(start, recipe.jitter - 1))
        self.solver.begin(z, self.canvas.project)
        self.finite = self.solver.point
        self.stage: Stage | None = None
        self.evaluations = 0
        self.history: list[dict[str, Tensor]] = []

    def enter(self, stage: Stage) -> None:
        previous = self.stage
        changed = previous is not None and stage.asks != previous.asks
        if changed or previous is None:
            terms = tuple(term.at(stage, self.recipe.weight) for term in self.terms)
            self.data = partial(_data, terms, self.recipe.weight)
        if stage.solver is not None:
            z, self.solver = self.solver.best, stage.solver()
            self.solver.begin(z, self.canvas.project)
        self.solver.next_stage(stage.rate, changed)
        self.stage = stage

    def step(self) -> str:
        """One gradient evaluation; a sentence if the run must end."""
        z = self.solver.point.detach().requires_grad_()
        x = self.canvas.render(z)
        parts, by_pixel = self.objective(x.detach())
        gradient = self.canvas.pull(z, x, by_pixel)
        value = torch.stack(list(parts.values())).sum(0)
        self.evaluations += 1
        self.history.append({"objective": value, **parts})
        if not math.isfinite(value.sum() + gradient.sum()):
            return f"non-finite values at evaluation {self.evaluations}: the last finite image is returned"
        self.finite = self.solver.point
        self.solver.tell(value, gradient)
        return ""

    def objective(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Each part of the objective, (N,), and the gradient of their sum, (N, C, H, W)."""
        x.requires_grad_()
        seen = self.viewed(self.jittered(x))
        data, by_seen = self.data(seen.detach())
        by_pixel = by_seen if seen is x else torch.autograd.grad(seen, x, by_seen)[0]
        gradient, values = _add_priors(self.recipe.priors, self.canvas.frame.centre, x.detach(), by_pixel)
        return {"data": data} | {prior.name: v for prior, v in zip(self.recipe.priors, values, strict=True)}, gradient

    def jittered(self, x: Tensor) -> Tensor:
        """The window that Φ looks at: random for each sample where the stage jitters, else the central one."""
        assert self.stage is not None
        if self.stage.jitter == 1:
            return self.central(x)
        extent = self.stage.jitter
        offsets = [torch.randint(extent, (2,), generator=g).tolist() for g in self.generators]
        height, width = self.size
        windows = [image[:, v : v + height, u : u + width] for image, (v, u) in zip(x, offsets, strict=True)]
        return torch.stack(windows)

    def viewed(self, x: Tensor) -> Tensor:
        assert self.stage is not None
        return view(x, self.stage.transforms, self.size, self.generators) if self.stage.transforms else x

    def central(self, x: Tensor) -> Tensor:
        height, width = self.size
        if x.shape[2:] == (height, width):
            return x
        top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
        return x[:, :, top : top + height, left : left + width]

    def images(self) -> Tensor:
        with torch.no_grad():
            z = self.solver.best
            return self.central(self.canvas.render(z if bool(torch.isfinite(z).all()) else self.finite))

    def record_error(self, measure: Callable[[Tensor], Tensor]) -> None:
        self.history[-1]["error"] = measure(self.images())

    def report(self) -> Progress:
        last = self.history[-1]
        data = float(last["data"].mean()) / (self.recipe.weight or math.nan)
        return Progress(self.evaluations, self.recipe.steps, float(last["objective"].mean()), data)

    def stacked_history(self) -> dict[str, NDArray[np.float64]]:
        names = dict.fromkeys(name for entry in self.history for name in entry)
        unknown = torch.full((len(self.generators),), torch.nan)
        columns: dict[str, Any] = {n: [entry.get(n, unknown).cpu().double() for entry in self.history] for n in names}
        return {name: torch.stack(values).numpy() for name, values in columns.items()}


def _data(terms: Sequence[Term], data_weight: float, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Σ weight · C · objective(Φ(seen)), (N,), and its gradient by what Φ is shown, (N, C, H, W)."""
    leaf = seen.detach().requires_grad_()
    codes = [term.phi(leaf) for term in terms]
    values, slopes = zip(*(term.objective.with_gradient(code.detach(), data_weight * term.weight)
                           for term, code in zip(terms, codes, strict=True)), strict=True)
    return sum(values[1:], values[0]), torch.autograd.grad(codes, leaf, slopes)[0]


def _add_priors(priors: Sequence[Prior], centre: Tensor, x: Tensor,
                gradient: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The gradient with those of the priors added, and each prior of each sample, (N,)."""
    total = gradient.clone(memory_format=torch.contiguous_format)
    values = [prior.with_gradient(x, centre, total).detach() for prior in priors]
    return total, values


def _canvas(recipe: Recipe, phi: Representation, size: tuple[int, int], like: Tensor) -> Canvas:
    channels = phi.in_channels[0]
    centre = torch.tensor(phi.centre, dtype=like.dtype, device=like.device).expand(channels)
    extra = recipe.jitter - 1
    return recipe.canvas(Frame(size[0] + extra, size[1] + extra, centre.view(-1, 1, 1)))


def _enlarged(x: Tensor, extra: int) -> Tensor:
    """Images with some more rows and columns, about the old ones, as jitter needs them."""
    before = extra // 2
    pads = (before, extra - before, before, extra - before)
    return torch.nn.functional.pad(x, pads, mode="replicate") if extra else x

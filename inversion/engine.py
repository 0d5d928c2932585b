"""The one loop of inversion, activation maximisation, caricatures and textures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from unfeature.features.base import Representation
from unfeature.features.compilation import compilation

from .objectives import Objective
from .parameterizations.base import ImageSpec, Parameterization
from .parameterizations.pixels import FlatRegions
from .recipes import Recipe, Stage
from .result import DIVERGED, STOPPED, images_of
from .solvers.base import Solver
from .views import centre_crop, view, with_contrast


@dataclass(frozen=True)
class Progress:
    """What a progress callback receives after each gradient evaluation.

    Attributes
    ----------
    step, steps : int
        Evaluations done, and those of the recipe.
    objective, data : float
        The objective, and the data term without its weight C: means over the images of a batch.
    """

    step: int
    steps: int
    objective: float
    data: float
    look: Callable[[], Tensor] = field(repr=False, compare=False)

    @property
    def error(self) -> float:
        """Relative error, of the surrogate where one is in use; meaningful for inversions."""
        return float(np.sqrt(max(self.data, 0.0)))

    @property
    def images(self) -> NDArray[np.float32]:
        """The images so far, (N, H, W) or (N, H, W, C): those of the moment at which they are asked for.

        They are rendered on demand; a callback that does not ask pays nothing.
        """
        return images_of(self.look())

    @property
    def image(self) -> NDArray[np.float32]:
        """The first of the images so far, (H, W) or (H, W, C)."""
        first: NDArray[np.float32] = self.images[0]
        return first


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Film:
    """Images of the way: the evaluations (S,) after which they were taken, and the images (S, N, C, H, W)."""

    steps: tuple[int, ...]
    images: Tensor


@dataclass(frozen=True)
class Outcome:
    """What the loop found: images (N, C, H, W), history by step, and how it ended."""

    x: Tensor
    history: dict[str, NDArray[np.float64]]
    status: str
    evaluations: int
    seconds: float
    interrupted: bool = False
    film: Film | None = None


@torch.enable_grad()
def descend(
    phi: Representation, objective: Objective, recipe: Recipe, size: tuple[int, int], seeds: Sequence[int],
    like: Tensor, start: Tensor | None = None, flat: Tensor | None = None,
    measure: Callable[[Tensor], Tensor] | None = None, progress: Report | None = None, snapshots: int = 0,
) -> Outcome:
    """Minimise C · objective(Φ(x)) + Σ priors(x) over one image for each seed, all at once.

    It starts from noise, or from images (N, C, H, W). Pixels that are flat, bool (N, H, W), are known to have no
    gradient. The error of images, (N, C, H, W) → (N,), is measured after each stage. A keyboard interrupt ends the run
    and returns what there is; non-finite values end it with the last finite image. Snapshots are evenly spaced over the
    recipe's evaluations, the first and the last among them. The seconds leave out compilation.
    """
    run = _Run(phi, objective, recipe, size, seeds, like, start, flat, snapshots)
    clock = time.perf_counter()
    try:
        with compilation() as compiled:
            status, interrupted = _followed(run, recipe, measure, progress)
            seconds = time.perf_counter() - clock - compiled.seconds
    finally:
        run.solver.end()
    x = run.shown()
    return Outcome(x, run.stacked_history(), status, run.evaluations, seconds, interrupted, run.film(x))


def _followed(run: _Run, recipe: Recipe, measure: Callable[[Tensor], Tensor] | None, progress: Report | None
              ) -> tuple[str, bool]:
    """Go through the stages: how it ended, and whether the user interrupted it."""
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
                run.history[-1]["error"] = measure(run.images())
            if status:
                break
    except KeyboardInterrupt:
        interrupted = True
        status = f"{STOPPED} after {run.evaluations} of {recipe.steps} gradient evaluations"
    if not status and run.solver.converged:
        status = f"converged after {run.evaluations} gradient evaluations: no step along the gradient decreases further"
    return status or f"step limit reached: all {recipe.steps} gradient evaluations are used", interrupted


class _Run:
    """The state of one descent."""

    def __init__(self, phi: Representation, objective: Objective, recipe: Recipe, size: tuple[int, int],
                 seeds: Sequence[int], like: Tensor, start: Tensor | None, flat: Tensor | None, snapshots: int):
        self.phi, self.objective, self.recipe, self.size = phi, objective, recipe, size
        self.parameterization = parameterization_of(phi, recipe, size, like)
        self.flatten = (lambda x: x) if flat is None or not bool(flat.any()) else FlatRegions(flat)
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.solver = self.begin(recipe.solver, self.parameterization.start(seeds) if start is None else
                                 self.parameterization.coordinates(_enlarged(start, recipe.extra_pixels)))
        self.finite, self.diverged = self.solver.point, False
        self.stage, self.staged, self.priors = Stage(0), (phi, objective), recipe.priors
        self.evaluations = 0
        self.history: list[dict[str, Tensor]] = []
        self.filmed = frozenset(np.rint(np.linspace(recipe.steps, 1, snapshots)).astype(int).tolist())
        self.frames: dict[int, Tensor] = {}

    def begin(self, make: Callable[[], Solver], z: Tensor) -> Solver:
        solver = make()
        solver.begin(z, self.parameterization.constraint)
        return solver

    def enter(self, stage: Stage) -> None:
        changed = stage.objective_key != self.stage.objective_key
        if changed:
            self.staged = staged(self.phi, self.objective, stage, self.recipe.data_weight)
            self.priors = tuple(prior.guided(stage.guidance) for prior in self.recipe.priors)
        if stage.solver is not None:
            last, self.solver = self.solver, self.begin(stage.solver, self.solver.best)
            last.end()
        self.solver.next_stage(stage.rate, changed and self.evaluations > 0)
        self.stage = stage

    def step(self) -> str:
        """One gradient evaluation; a sentence if the run must end."""
        z = self.solver.point.detach().requires_grad_()
        x = self.flatten(self.parameterization.render(z))
        parts, by_x = self.evaluate(x)
        gradient = pulled_back(by_x, x, z)
        value = torch.stack(list(parts.values())).sum(0)
        self.evaluations += 1
        self.history.append({"objective": value, **parts})
        self.diverged = not math.isfinite(value.sum() + gradient.sum())
        if self.diverged:
            return f"{DIVERGED} at evaluation {self.evaluations}: the last finite image is returned"
        self.finite = self.solver.point
        self.solver.tell(value, gradient)
        if self.evaluations in self.filmed:
            self.frames[self.evaluations] = self.shown().cpu()
        return ""

    def evaluate(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Each part of the objective, (N,), and the gradient of their sum by the images, (N, C, H, W)."""
        phi, objective = self.staged
        code = phi(view(x, self.stage.transforms, self.size, self.generators))
        data, slope = objective.with_gradient(code.detach(), self.recipe.data_weight)
        gradient = pulled_back(slope, code, x).clone(memory_format=torch.contiguous_format)
        parts, centre = {"data": data}, self.parameterization.spec.centre
        for prior in self.priors:
            parts[type(prior).__name__] = prior.with_gradient(x.detach(), centre, gradient).detach()
        return parts, gradient

    def images(self) -> Tensor:
        with torch.no_grad():
            z = self.solver.best
            lost = self.diverged and z is self.solver.point  # it is finite, but its code is not
            x = self.parameterization.render(self.finite if lost or not bool(torch.isfinite(z).all()) else z)
            return centre_crop(self.flatten(x), self.size)

    def shown(self) -> Tensor:
        """The images with the recipe's contrast, where the descriptor is blind to it."""
        x, contrast = self.images(), self.recipe.contrast
        return x if contrast is None or not self.phi.contrast_invariant else with_contrast(x, contrast)

    def film(self, x: Tensor) -> Film | None:
        """The snapshots, which end with the images found; None if none are wanted."""
        if not self.filmed:
            return None
        frames = {**self.frames, self.evaluations: x.cpu()}
        return Film(tuple(frames), torch.stack(list(frames.values())))

    def report(self) -> Progress:
        last = self.history[-1]
        data = float(last["data"].mean()) / (self.recipe.data_weight or math.nan)
        return Progress(self.evaluations, self.recipe.steps, float(last["objective"].mean()), data, self.shown)

    def stacked_history(self) -> dict[str, NDArray[np.float64]]:
        names = dict.fromkeys(name for entry in self.history for name in entry)
        unknown = torch.full((len(self.generators),), torch.nan)
        columns: dict[str, Any] = {n: [entry.get(n, unknown).cpu().double() for entry in self.history] for n in names}
        return {name: torch.stack(values).numpy() for name, values in columns.items()}


def staged(phi: Representation, objective: Objective, stage: Stage,
           data_weight: float) -> tuple[Representation, Objective]:
    """Surrogate and objective of a stage. C multiplies the whole objective, so the weight of the means is over C."""
    phi = phi if stage.softness is None else phi.surrogate(stage.softness)
    phi = phi.leaky(stage.leak) if stage.leak else phi
    if stage.spatial_mean_weight and data_weight:
        objective = objective.with_spatial_means(stage.spatial_mean_weight / data_weight)
    return phi, objective


def pulled_back(slope: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """torch.autograd.grad(y, x, slope), which would import SymPy to compare shapes: 0.8 s of a command's start."""
    return torch.autograd.grad(_Slope.apply(y, slope), x)[0]


class _Slope(torch.autograd.Function):
    """A number whose derivative by y is the slope."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, slope: Tensor) -> Tensor:
        ctx.slope = slope.view_as(y)
        return y.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, one: Tensor) -> tuple[Tensor, None]:
        return ctx.slope, None


def parameterization_of(phi: Representation, recipe: Recipe, size: tuple[int, int], like: Tensor) -> Parameterization:
    """The recipe's parameterization, after a check that all of its solvers can keep its bound."""
    extra = recipe.extra_pixels
    made = recipe.parameterization(ImageSpec(size[0] + extra, size[1] + extra, phi.centre_like(like)))
    for solver in (make() for make in recipe.solvers):
        if not solver.keeps(made.constraint):
            raise ValueError(f"the recipe {recipe.name!r} combines {type(solver).__name__}, which cannot keep a bound, "
                             f"with {type(made).__name__} that has one: give Pixels(bound=None), or another solver")
    return made


def _enlarged(x: Tensor, extra: int) -> Tensor:
    """Images with more rows and columns, split between both sides, as random shifts need them."""
    before = extra // 2
    pads = (before, extra - before, before, extra - before)
    return torch.nn.functional.pad(x, pads, mode="replicate") if extra else x

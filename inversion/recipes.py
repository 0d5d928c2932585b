"""Recipes: which canvas, solver, priors and stages. The published ones, and ours."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from unfeature.features.base import Representation

from .parameterizations import Canvas, Fourier, Frame, Pixels
from .priors import TYPICAL_COLOUR, BoundedRange, BoundedVariation, Prior
from .solvers.first_order import AdaGrad, Adam, Momentum, Solver
from .solvers.lbfgs import LBFGS
from .views import Transform

DEEP = 48
"""Pixels that a position of a network's layer sees, from which on its code is inverted as a deep one."""


@dataclass(frozen=True)
class Stage:
    """Some gradient evaluations under one setting.

    Attributes
    ----------
    steps : int
        Gradient evaluations.
    softness : float, optional
        Of the descriptor's surrogate; None is the descriptor itself.
    rate : float
        Scale of the solver's steps.
    jitter : int
        T: every step a random T × T offset of a larger image is looked at; 1 is none.
    solver : callable, optional
        Makes the solver that goes on from here; None keeps the one there is.
    transforms : tuple of Transform
        Random changes of what the descriptor is shown, one after the other.
    leak : float
        Slope of the gradient through dead units of a network; 0 is the network's own.
    means : float
        Weight of the means of a code over its positions, as C is the weight of the code; see `Euclidean`.
    """

    steps: int
    softness: float | None = None
    rate: float = 1.0
    jitter: int = 1
    solver: Callable[[], Solver] | None = None
    transforms: tuple[Transform, ...] = ()
    leak: float = 0.0
    means: float = 0.0

    @property
    def asks(self) -> tuple[float | None, float, float]:
        """What makes the objective of one stage another than that of the next."""
        return self.softness, self.leak, self.means


@dataclass(frozen=True)
class Recipe:
    """How to invert.

    Attributes
    ----------
    name : str
    canvas : callable
        Makes the canvas of a frame.
    solver : callable
        Makes a solver.
    priors : tuple of Prior
    stages : tuple of Stage
    weight : float
        C, the weight of the data term against the priors.
    levelled : bool
        Whether regions that the code says are flat are levelled.
    contrast : float, optional
        Standard deviation that images get in the end where the descriptor is blind to it; None leaves them as found.
    """

    name: str
    canvas: Callable[[Frame], Canvas]
    solver: Callable[[], Solver]
    priors: tuple[Prior, ...]
    stages: tuple[Stage, ...]
    weight: float
    levelled: bool = False
    contrast: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise ValueError(f"C, the weight of the data term, is finite and not negative, got {self.weight}")

    @property
    def steps(self) -> int:
        """Gradient evaluations of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def jitter(self) -> int:
        """The largest jitter of any stage."""
        return max(stage.jitter for stage in self.stages)

    def describe(self) -> dict[str, Any]:
        """The recipe as plain values, for a result's provenance."""
        return {
            "name": self.name,
            "canvas": _describe_call(self.canvas),
            "solver": _describe_call(self.solver),
            "priors": [repr(prior) for prior in self.priors],
            "stages": [repr(stage) for stage in self.stages],
            "weight": self.weight,
            "levelled": self.levelled,
            "contrast": self.contrast,
        }


def cvpr2015(phi: Representation) -> Recipe:
    """The settings of Mahendran & Vedaldi 2015: momentum descent, 4 × 200 steps, each rate a tenth of the last.

    Their image is divided by σ, the norm of a typical photograph (here σ² = B² H W): on that scale the step is 0.004,
    λ_TV = 10 with β = 2, and λ_α = 8e-10 with α = 6, which is next to nothing.
    """
    return Recipe(
        "cvpr2015",
        partial(Pixels, bound=None),
        partial(Momentum, step=0.004 * TYPICAL_COLOUR**2),
        (BoundedVariation(typical=TYPICAL_COLOUR, weight=10.0), BoundedRange(weight=8e-10)),
        tuple(Stage(200, rate=rate) for rate in (1.0, 0.1, 0.01, 0.001)),
        1.0,
    )


def ijcv2016(phi: Representation) -> Recipe:
    """The settings of Mahendran & Vedaldi 2016: AdaGrad that forgets, 300 steps, for networks with jitter and 50 more.

    Their step is one grey level and 1/η = α / (0.05 B² H W) on the 0–255 scale.
    """
    jitter = phi.jitter
    if jitter is None:
        stages: tuple[Stage, ...] = (Stage(300),)
    else:
        stages = (Stage(300, jitter=jitter), Stage(50, rate=0.1))
    return Recipe(
        "ijcv2016",
        Pixels,
        partial(AdaGrad, step=1 / 255, damping=6 / (0.05 * 255 * TYPICAL_COLOUR**2)),
        (BoundedRange(), BoundedVariation()),
        stages,
        phi.data_weight,
    )


def best(phi: Representation) -> Recipe:
    """Ours: a Fourier canvas and L-BFGS.

    Descriptors with surrogates have them sharpened as they say themselves (`Representation.sharpening`), by default
    in five stages, 300 gradient evaluations.

    Deep layers of networks are seen from jittered places by Adam first, 350 evaluations: L-BFGS alone stops in worse
    minima of theirs, but goes farther from strong noise where positions see less than 48 pixels. The last 120
    evaluations ask for the layer's means over positions, too: labels hang on them, and they cost its error little.
    """
    if phi.jitter is not None:
        return _network("best", phi, (90, 45, 95, 60, 60), partial(Fourier, power=1.0, spread=0.6, knee=0.02))
    solver = partial(LBFGS, history=6, first_step=max(0.05, phi.first_spread / 1.5))
    return _fourier("best", phi, phi.sharpening, phi.variation, partial(Fourier, spread=phi.first_spread), solver)


def fast(phi: Representation) -> Recipe:
    """As `best`, in 60 gradient evaluations, or as many as `Representation.quick_sharpening` says."""
    if phi.jitter is not None:
        return _network("fast", phi, (16, 8, 16, 10, 10), partial(Fourier, power=0.5, spread=0.1))
    canvas = partial(Fourier, margin=8, spread=min(0.1, phi.first_spread))
    return _fourier("fast", phi, phi.quick_sharpening, 10.0, canvas, partial(LBFGS, history=4))


PRESETS: dict[str, Callable[[Representation], Recipe]] = {
    "best": best,
    "fast": fast,
    "ijcv2016": ijcv2016,
    "cvpr2015": cvpr2015,
}


def recipe_for(
    phi: Representation, preset: str | Recipe, recipes: Mapping[str, Callable[[Representation], Recipe]] = PRESETS
) -> Recipe:
    """A recipe by its name, of those for inversion or others; ValueError names the nearest."""
    if isinstance(preset, Recipe):
        return preset
    if preset not in recipes:
        near = difflib.get_close_matches(str(preset), recipes, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown preset {preset!r}: one of {', '.join(recipes)}{hint}")
    return recipes[preset](phi)


def adjusted(recipe: Recipe, steps: int | None = None, data_weight: float | None = None) -> Recipe:
    """A recipe with another number of gradient evaluations, its stages in proportion, or another weight C."""
    recipe = recipe if data_weight is None else replace(recipe, weight=float(data_weight))
    return recipe if steps is None else with_steps(recipe, steps)


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """A recipe whose stages have `steps` gradient evaluations in all, in proportion to their own."""
    if steps < 1:
        raise ValueError(f"steps is at least 1, got {steps}")
    ends = np.rint(np.cumsum([stage.steps for stage in recipe.stages]) * steps / recipe.steps).astype(int)
    counts = np.diff(ends, prepend=0).tolist()
    stages = tuple(replace(stage, steps=count) for stage, count in zip(recipe.stages, counts, strict=True) if count)
    return replace(recipe, stages=stages)


def without_steps(recipe: Recipe) -> Recipe:
    """A recipe that leaves images where they start."""
    return replace(recipe, stages=tuple(replace(stage, steps=0) for stage in recipe.stages))


def _fourier(name: str, phi: Representation, sharpening: Sequence[tuple[int, float]], variation: float,
             canvas: Callable[[Frame], Canvas], solver: Callable[[], Solver]) -> Recipe:
    """The recipe of descriptors of gradients: stages of surrogates, or one of their steps where there is none."""
    if phi.exact:
        sharpening = [(sum(steps for steps, _ in sharpening), 0.0)]
    stages = [Stage(steps, softness=softness or None) for steps, softness in sharpening]
    priors = (BoundedRange(), BoundedVariation(weight=variation))
    return Recipe(name, canvas, solver, priors, tuple(stages), phi.data_weight, levelled=True, contrast=0.2)


def _network(name: str, phi: Representation, steps: tuple[int, int, int, int, int],
             shallow: Callable[[Frame], Canvas]) -> Recipe:
    """The recipe of a network's layer: Adam under jitter, Adam at a lower rate, L-BFGS; all L-BFGS if it is shallow.

    Gradients leak through dead units at first. The last steps see the network's own, and the means over positions.
    """
    priors = (BoundedRange(), BoundedVariation())
    if phi.receptive_field < DEEP:
        return Recipe(name, shallow, LBFGS, priors, (Stage(sum(steps)),), phi.data_weight)
    jitter = phi.jitter or 1
    stages = (
        Stage(steps[0], jitter=jitter, leak=0.05),
        Stage(steps[1], rate=0.3, jitter=jitter, leak=0.05),
        Stage(steps[2], solver=LBFGS, leak=0.02),
        Stage(steps[3], means=60.0),
        Stage(steps[4], means=1000.0),
    )
    return Recipe(name, Fourier, partial(Adam, step=0.01), priors, stages, phi.data_weight)


def _describe_call(maker: Callable[..., Any]) -> dict[str, Any]:
    if isinstance(maker, partial):
        return {"name": maker.func.__name__, **maker.keywords}
    return {"name": maker.__name__}

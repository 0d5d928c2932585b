"""Recipes: which parameterization, solver, priors and stages. The published ones, and ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np

from unfeature.catalogue import suggestion
from unfeature.features.base import Representation
from unfeature.features.checks import check_count

from . import PRESETS
from .parameterizations.base import ImageSpec, Parameterization
from .parameterizations.deep_prior import DeepPrior
from .parameterizations.fourier import Colours, Fourier
from .parameterizations.maco import MACO
from .parameterizations.pixels import Pixels
from .priors.base import TYPICAL_COLOUR, Prior
from .priors.bounded_range import BoundedRange
from .priors.small_pixels import SmallContribution, SmallNorm
from .priors.variation import TotalVariation
from .schedules import Descent2015, Schedule, Softness, schedule_for
from .solvers.base import Solver
from .solvers.first_order import AdaGrad, Adam, Momentum
from .solvers.lbfgs import LBFGS
from .views import Blur, Transform, random_shifts, robustness

DEEP = 48  # receptive field, in pixels, from which on a network's layer is inverted as a deep one
SIGMA = 27098.1 / 255  # norm of a typical photograph, Mahendran & Vedaldi 2015
LARGEST_WEIGHT = 1e20
CARICATURE_WEIGHT = 30.0
QUICK_NEAR = (4.0, 0.001)  # of `fast`; see `Schedule.near`
PRIORS = (BoundedRange(), TotalVariation())

MakeParameterization = Callable[[ImageSpec], Parameterization]
MakeSolver = Callable[[], Solver]


@dataclass(frozen=True)
class Stage:
    """Some gradient evaluations under one setting.

    Attributes
    ----------
    steps, rate : int, float
        Gradient evaluations, and the scale of the solver's steps.
    softness : float, optional
        Of the descriptor's surrogate; None is the descriptor itself.
    solver : callable, optional
        Makes the solver that goes on from here; None keeps the one there is.
    transforms : tuple of Transform
        Random views of the image that the descriptor receives, such as jitter, one after the other.
    leak : float
        Slope of the gradient below zero of a network's ReLUs (leaky ReLU); 0 is the network's own.
    spatial_mean_weight : float
        Weight of the code's means over positions, on the scale of C; see `Euclidean`.
    guidance : float
        Factor of the weight of a `Near` prior.
    """

    steps: int
    softness: float | None = None
    rate: float = 1.0
    solver: MakeSolver | None = None
    transforms: tuple[Transform, ...] = ()
    leak: float = 0.0
    spatial_mean_weight: float = 0.0
    guidance: float = 1.0

    @property
    def objective_key(self) -> tuple[float | None, float, float, float]:
        """Equal for two stages exactly if they have the same objective."""
        return self.softness, self.leak, self.spatial_mean_weight, self.guidance


@dataclass(frozen=True)
class Recipe:
    """How to search for an image.

    Attributes
    ----------
    parameterization, solver : callable
        Make the parameterization of an `ImageSpec`, and a solver.
    data_weight : float
        C of the papers, the weight of the data term against the priors.
    flat_regions : bool
        Whether regions that the code says are flat are kept flat.
    contrast : float, optional
        Standard deviation that images get in the end where the descriptor is blind to it; None leaves them as found.
    near : float, optional
        Of the `Near` prior that holds the image near that of a decoder, if one ships for the descriptor: its value for
        a typical photograph. None for searches that no decoder guides.
    guided_start : tuple of float
        As `Schedule.guided_start`.
    """

    name: str
    parameterization: MakeParameterization
    solver: MakeSolver
    priors: tuple[Prior, ...]
    stages: tuple[Stage, ...]
    data_weight: float
    flat_regions: bool = False
    contrast: float | None = None
    near: float | None = None
    guided_start: tuple[float, float] = Schedule.guided_start

    def __post_init__(self) -> None:
        if not 0 <= self.data_weight <= LARGEST_WEIGHT:
            raise ValueError(f"C, the weight of the data term, is a number from 0 to {LARGEST_WEIGHT:g}, "
                             f"got {self.data_weight}")

    @property
    def steps(self) -> int:
        """Gradient evaluations of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def extra_pixels(self) -> int:
        """By how much the image is higher and wider than what Φ receives, so that random shifts stay inside."""
        return max([0, *(sum(t.shrinkage for t in stage.transforms) for stage in self.stages)])

    @property
    def solvers(self) -> tuple[MakeSolver, ...]:
        """The makers of all solvers."""
        return self.solver, *(stage.solver for stage in self.stages if stage.solver)

    def describe(self) -> dict[str, Any]:
        """The recipe as plain values, for a result's provenance."""
        return {field.name: _described(getattr(self, field.name)) for field in fields(self)}


def cvpr2015(phi: Representation) -> Recipe:
    """The settings of Mahendran & Vedaldi 2015 for HOG and dense SIFT, or for the layers of a network."""
    return descent2015(schedule_for(phi).cvpr2015)


def descent2015(settings: Descent2015) -> Recipe:
    r"""Momentum descent, at rest whenever its rate changes, from Gaussian white noise of norm σ.

    E = ‖Φ(x) − Φ₀‖² / ‖Φ₀‖² + (λ_TV/2 Σ |∇x|² + λ_α/2 Σ x⁶) / σ²,  λ_α = 8·10⁻¹⁰, steps of 0.004 σ²

    for x on the 0–255 scale about its centre, and σ = 27098.1 for images of all sizes. With P = σ²/B² pixels in the
    priors and the step, that is our scale.
    """
    pixels = (SIGMA / TYPICAL_COLOUR) ** 2
    priors = (TotalVariation(typical=TYPICAL_COLOUR, weight=settings.tv_weight / 2, pixels=pixels),
              BoundedRange(weight=8e-10 / 2 * (255 * TYPICAL_COLOUR) ** 4, pixels=pixels, colours=False))
    stages = tuple(Stage(steps, rate=rate) for steps, rate in settings.stages)
    solver = partial(Momentum, step=0.004 * TYPICAL_COLOUR**2, pixels=pixels)
    return Recipe("cvpr2015", partial(Pixels, bound=None, start_norm=SIGMA), solver, priors, stages, 1.0)


def ijcv2016(phi: Representation) -> Recipe:
    """The settings of Mahendran & Vedaldi 2016: AdaGrad that forgets, 300 steps, for networks with jitter and 50 more.

    Their step is one grey level and 1/η = α / (0.05 B² H W) on the 0–255 scale.
    """
    schedule = schedule_for(phi)
    stages = (Stage(300, transforms=random_shifts(schedule.jitter or 1)), Stage(50, rate=0.1))
    solver = partial(AdaGrad, step=1 / 255, damping=6 / (0.05 * 255 * TYPICAL_COLOUR**2))
    return Recipe("ijcv2016", Pixels, solver, PRIORS, stages if schedule.jitter else stages[:1], schedule.data_weight)


def best(phi: Representation) -> Recipe:
    """Ours: Fourier coefficients and L-BFGS.

    Surrogates of descriptors are sharpened as their `Schedule` says, by default in five stages, 300 gradient
    evaluations.

    Deep layers of networks start with 350 evaluations of Adam under random shifts: L-BFGS alone ends in worse minima,
    but goes farther from strong noise where the receptive field is below 48 pixels. The last 120 evaluations also
    weigh the layer's means over positions: labels depend on them, and they cost its error little.
    """
    schedule = schedule_for(phi)
    if schedule.jitter is not None:
        shallow = partial(Fourier, power=1.0, init_std=0.6, low_frequency_cutoff=0.02)
        return _network("best", phi, schedule, (90, 45, 95, 60, 60), shallow)
    solver = partial(LBFGS, history=schedule.history, first_step=max(0.05, schedule.init_std / 1.5))
    parameterization = partial(Fourier, init_std=schedule.init_std)
    return _sharpened("best", phi, schedule, schedule.softness, schedule.tv_weight, parameterization, solver,
                      schedule.near)


def fast(phi: Representation) -> Recipe:
    """As `best`, in 60 gradient evaluations, or as many as `Schedule.quick_softness` says."""
    schedule = schedule_for(phi)
    if schedule.jitter is not None:
        return _network("fast", phi, schedule, (16, 8, 16, 10, 10), partial(Fourier, power=0.5, init_std=0.1))
    parameterization = partial(Fourier, margin=8, init_std=min(0.1, schedule.init_std))
    solver = partial(LBFGS, history=schedule.quick_history)
    return _sharpened("fast", phi, schedule, schedule.quick_softness, 10.0, parameterization, solver, QUICK_NEAR)


def deep_prior(phi: Representation) -> Recipe:
    """The deep image prior of Ulyanov et al. 2018, without other priors: Adam on the weights of an untrained network.

    Surrogates of descriptors are sharpened as in `best`, in four times as many evaluations, of lower rate in the end.
    """
    schedule = schedule_for(phi)
    softness = schedule.softness if schedule.jitter is None else ((300, 0.0),)
    recipe = _sharpened("deep-prior", phi, schedule, softness, 0.0, DeepPrior, partial(Adam, step=0.02), None)
    rates = np.geomspace(1, 0.15, len(recipe.stages)).tolist()
    stages = tuple(replace(stage, steps=4 * stage.steps, rate=rate)
                   for stage, rate in zip(recipe.stages, rates, strict=True))
    return replace(recipe, priors=(), stages=stages, flat_regions=False)


def _sharpened(name: str, phi: Representation, schedule: Schedule, softness: Softness, tv_weight: float,
               parameterization: MakeParameterization, solver: MakeSolver,
               near: tuple[float, float] | None) -> Recipe:
    """Stages of ever sharper surrogates, less and less guided; one stage for a descriptor that needs no surrogate."""
    if phi.exact:
        softness = ((sum(steps for steps, _ in softness), 0.0),)
    fading = np.geomspace(1, near[1], len(softness)).tolist() if near else [1.0] * len(softness)
    stages = tuple(Stage(steps, softness=value or None, guidance=guidance)
                   for (steps, value), guidance in zip(softness, fading, strict=True))
    priors = (BoundedRange(), TotalVariation(weight=tv_weight))
    return Recipe(name, parameterization, solver, priors, stages, schedule.data_weight, flat_regions=True, contrast=0.2,
                  near=near and near[0], guided_start=schedule.guided_start)


def _network(name: str, phi: Representation, schedule: Schedule, steps: tuple[int, int, int, int, int],
             shallow: MakeParameterization) -> Recipe:
    """The recipe of a network's layer: Adam under random shifts, Adam at a lower rate, L-BFGS; all L-BFGS if shallow.

    The first stages use a leaky ReLU gradient. The last use the network's own, and the means over positions.
    """
    if phi.receptive_field < DEEP:
        return Recipe(name, shallow, LBFGS, PRIORS, (Stage(sum(steps)),), schedule.data_weight)
    shifts = random_shifts(schedule.jitter or 1)
    stages = (
        Stage(steps[0], transforms=shifts, leak=0.05),
        Stage(steps[1], rate=0.3, transforms=shifts, leak=0.05),
        Stage(steps[2], solver=LBFGS, leak=0.02),
        Stage(steps[3], spatial_mean_weight=60.0),
        Stage(steps[4], spatial_mean_weight=1000.0),
    )
    return Recipe(name, Fourier, partial(Adam, step=0.01), PRIORS, stages, schedule.data_weight)


def maximization_ijcv2016(phi: Representation) -> Recipe:
    """Activation maximisation as in Mahendran & Vedaldi 2016: AdaGrad on pixels, 300 steps with jitter.

    The C of their experiments on networks is 1.
    """
    recipe = replace(ijcv2016(phi), stages=ijcv2016(phi).stages[:1])
    return recipe if schedule_for(phi).jitter is None else replace(recipe, data_weight=1.0)


def maximization(phi: Representation) -> Recipe:
    """Ours: for networks, Adam on Fourier coefficients of decorrelated colours, under random views; else `best`.

    Descriptors of gradients are blind to contrast, and hard bins need surrogates, as in an inversion.
    """
    schedule = schedule_for(phi)
    if schedule.jitter is None:
        return best(phi)
    transforms = robustness(max(schedule.jitter, 4))
    stages = (Stage(200, transforms=transforms), Stage(56, rate=0.3, transforms=transforms))
    colours, adam = partial(Colours, init_std=0.02), partial(Adam, step=0.03)
    return Recipe("best", colours, adam, PRIORS, stages, schedule.response_weight)


def maximization_maco(phi: Representation) -> Recipe:
    """Activation maximisation as in Fel et al. 2023: phases alone, without priors.

    The views are those of `best`, as the published crops leave the border of the image to chance.
    """
    recipe = maximization(phi)
    return replace(recipe, name="maco", parameterization=MACO, solver=partial(Adam, step=0.3), priors=(),
                   data_weight=1.0)


def maximization_yosinski2015(phi: Representation) -> Recipe:
    """Activation maximisation with the regularisers of Yosinski et al. 2015: decay, blur, two kinds of clipping.

    They change the image after each step of plain ascent; here decay and clipping are priors, blur is a view, and the
    steps are those of Mahendran & Vedaldi 2016.
    """
    recipe = maximization_ijcv2016(phi)
    priors = (SmallContribution(share=0.5), SmallNorm(share=0.5), BoundedRange(alpha=2.0))
    blurred = tuple(replace(stage, transforms=(Blur(0.5, 1.5), *stage.transforms)) for stage in recipe.stages)
    return replace(recipe, name="yosinski2015", priors=priors, stages=blurred,
                   data_weight=schedule_for(phi).response_weight / 20)


def _caricature(maximization: Callable[[Representation], Recipe], phi: Representation) -> Recipe:
    return replace(maximization(phi), data_weight=CARICATURE_WEIGHT)


def _metamer(inversion: Preset, phi: Representation) -> Recipe:
    """As the inversion, in three times as many evaluations, held near an image alike in all stages."""
    recipe = inversion(phi)
    stages = tuple(replace(stage, steps=3 * stage.steps, guidance=1.0) for stage in recipe.stages)
    return replace(recipe, stages=stages, contrast=None, near=None)


def texture(phi: Representation) -> Recipe:
    """Ours: L-BFGS on Fourier coefficients of decorrelated colours, whose images stay in [0, 1], and a smooth prior."""
    colours = partial(Colours, init_std=0.1)
    return Recipe("best", colours, LBFGS, (TotalVariation(weight=0.3),), (Stage(300),), 1000.0)


def gatys2015(phi: Representation) -> Recipe:
    """L-BFGS on pixels without priors, as Gatys, Ecker & Bethge 2015."""
    return Recipe("gatys2015", partial(Pixels, bound=None), LBFGS, (), (Stage(500),), 1000.0)


Preset = Callable[[Representation], Recipe]
Presets = Mapping[str, Preset]

MAXIMIZATION_PRESETS: Presets = {"best": maximization, "ijcv2016": maximization_ijcv2016,
                                 "yosinski2015": maximization_yosinski2015, "maco": maximization_maco}
CARICATURE_PRESETS: Presets = {name: partial(_caricature, MAXIMIZATION_PRESETS[name]) for name in ("best", "ijcv2016")}
METAMER_PRESETS: Presets = {"best": partial(_metamer, best), "fast": partial(_metamer, fast)}
TEXTURE_PRESETS: Presets = {"best": texture, "gatys2015": gatys2015}


def recipe_for(phi: Representation, preset: str | Recipe, presets: Presets = PRESETS, steps: int | None = None,
               data_weight: float | None = None) -> Recipe:
    """A recipe, or one of some presets by its name, with another number of steps or another C if they are given."""
    if not isinstance(preset, Recipe) and preset not in presets:
        raise ValueError(f"unknown preset {preset!r}: one of {', '.join(presets)}{suggestion(str(preset), presets)}")
    recipe = preset if isinstance(preset, Recipe) else presets[preset](phi)
    recipe = recipe if data_weight is None else replace(recipe, data_weight=float(data_weight))
    return recipe if steps is None else with_steps(recipe, steps)


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """A recipe whose stages have `steps` gradient evaluations in all, in proportion to their own."""
    steps = check_count("steps", steps)
    ends = np.rint(np.cumsum([stage.steps for stage in recipe.stages]) * steps / recipe.steps).astype(int)
    counts = np.diff(ends, prepend=0).tolist()
    stages = tuple(replace(stage, steps=count) for stage, count in zip(recipe.stages, counts, strict=True) if count)
    return replace(recipe, stages=stages)


def with_parts(recipe: Recipe, parameterization: MakeParameterization | None = None, solver: MakeSolver | None = None,
               priors: tuple[Prior, ...] | None = None) -> Recipe:
    """A recipe with another parameterization, another solver in all stages, or other priors; None keeps its own.

    No decoder guides the search where the parameterization cannot draw its image.
    """
    if solver is not None:
        recipe = replace(recipe, solver=solver, stages=tuple(replace(stage, solver=None) for stage in recipe.stages))
    if parameterization is not None:
        drawn = getattr(getattr(parameterization, "func", parameterization), "draws_any", True)
        recipe = replace(recipe, parameterization=parameterization, near=recipe.near if drawn else None)
    return recipe if priors is None else replace(recipe, priors=priors)


def without_steps(recipe: Recipe) -> Recipe:
    """A recipe that leaves images where they start."""
    return replace(recipe, stages=tuple(replace(stage, steps=0) for stage in recipe.stages))


def _described(value: Any) -> Any:
    if isinstance(value, partial):
        return {"name": value.func.__name__, **value.keywords}
    if callable(value):
        return {"name": value.__name__}
    return [repr(part) for part in value] if isinstance(value, tuple) else value

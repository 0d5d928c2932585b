"""``unfeature bench regularizers``: what the priors, β, jitter and C do to a pre-image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from unfeature.features.base import Representation
from unfeature.inversion.invert import invert
from unfeature.inversion.priors import BoundedRange, TotalVariation
from unfeature.inversion.recipes import Recipe, Stage, ijcv2016
from unfeature.inversion.schedules import schedule_for
from unfeature.inversion.views import random_shifts

from .. import page as tables
from .. import subjects
from ..page import Page, Plan
from ..protocol import Options, code_on, descriptor, image_for, measures
from ..tasks import Outcome, Row, Task

BETAS = (1.0, 1.5, 2.0)
DATA_WEIGHTS = (1.0, 20.0, 100.0, 300.0)
BY = {"feature": "descriptor", "method": "variant"}
METRICS = (tables.ERROR, tables.CENTRED, tables.NATURALNESS, tables.CORRELATION, tables.SSIM, tables.SECONDS)
LEAD = (
    "The published settings (ijcv2016) without priors, with other exponents β of the bounded variation, with and "
    "without jitter, and with other weights C of the code. Jitter is a quarter of the stride, or as the variant says."
)


def plan(options: Options) -> Plan:
    """One task for each descriptor, variant and photograph."""
    variants: list[dict[str, Any]] = [{"method": "no priors", "beta": None, "jitter": False, "data_weight": None}]
    variants += [{"method": f"β = {beta:g}{', jitter' if jitter else ''}", "beta": beta, "jitter": jitter,
                  "data_weight": None} for beta in BETAS for jitter in (False, True)]
    variants += [{"method": f"C = {c:g}", "beta": 2.0, "jitter": False, "data_weight": c}
                 for c in options.data_weights or DATA_WEIGHTS]
    return Plan(subjects.tasks("regularizers", options, variants), subjects.photographs(options))


def work(task: Task) -> Outcome:
    """Invert with the variant's recipe."""
    settings = task.settings
    phi, image = descriptor(settings, task.inputs), image_for(settings, task.inputs)
    code = code_on(phi, image, task.device)
    recipe = variant(phi, settings["beta"], settings["jitter"])
    result = invert(phi, code, preset=recipe, steps=settings.get("steps"),
                    data_weight=settings["data_weight"], size=image.shape[:2],
                    seed=settings["seed"])
    return Outcome(measures(result, image), {"image": result.image})


def variant(phi: Representation, beta: float | None, jitter: bool) -> Recipe:
    """The published recipe with other priors, all stages with the same jitter; beta None is without priors."""
    recipe = ijcv2016(phi)
    extent = (schedule_for(phi).jitter or max(round(phi.stride / 4), 1)) if jitter else 1
    stages: tuple[Stage, ...] = tuple(replace(stage, transforms=random_shifts(extent)) for stage in recipe.stages)
    priors = () if beta is None else (BoundedRange(), TotalVariation(beta=beta))
    return replace(recipe, name=f"ijcv2016, β {beta}, jitter {extent}", priors=priors, stages=stages)


def page(rows: list[Row], prepared: list[Row], options: Options) -> Page:
    """The tables and pictures."""
    tabled = (tables.summary("summary", "Variants", rows, BY, METRICS),
              tables.every_image(rows, {**BY, "image": "photograph"}, METRICS))
    sheets = tables.sheets(rows, prepared, "feature", ("method",))
    return Page("Priors, jitter and C", LEAD, tuple(rows), tabled, (), sheets)

"""``unfeature bench regularizers``: what the priors, β, jitter and C do to a pre-image."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from unfeature.features.base import Representation
from unfeature.inversion.priors.bounded_range import BoundedRange
from unfeature.inversion.priors.variation import TotalVariation
from unfeature.inversion.recipes import Recipe, Stage, ijcv2016
from unfeature.inversion.schedules import schedule_for
from unfeature.inversion.views import random_shifts

from ..page import CENTRED, CORRELATION, ERROR, NATURALNESS, SECONDS, SSIM, Metrics
from ..protocol import Problem
from ..study import CodeStudy, DataWeights, Methods
from ..tasks import Outcome, Settings, Task

BETAS = (1.0, 1.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class Regularizers(CodeStudy):
    """Invert without priors, with other β, with and without jitter, with other C."""

    title = "Priors, jitter and C"
    heading = "Variants"
    lead = (
        "What to see: what each part of the prior costs in accuracy, and buys in naturalness. The published settings "
        "(ijcv2016) without priors, with other exponents β of the bounded variation, with and without jitter, and "
        "with other weights C of the code. Jitter is a quarter of the stride, or as the variant says."
    )
    by: ClassVar = {"feature": "descriptor", "method": "variant"}
    prior_weight: ClassVar[float | None] = None
    metrics: ClassVar[Metrics] = (ERROR, CENTRED, NATURALNESS, CORRELATION, SSIM, SECONDS)

    methods: Methods = field(default=(), init=False)
    data_weights: DataWeights = (1.0, 20.0, 100.0, 300.0)

    def methods_and_variants(self) -> list[Settings]:
        """No priors; each β with and without jitter; each C."""
        one: dict[str, Any] = {"method": "no priors", "beta": None, "jitter": False, "data_weight": self.prior_weight}
        betas = [{**one, "method": f"β = {beta:g}{', jitter' if jitter else ''}", "beta": beta, "jitter": jitter}
                 for beta in BETAS for jitter in (False, True)]
        weights = [{**one, "method": f"C = {c:g}", "beta": 2.0, "data_weight": c} for c in self.data_weights]
        return [one, *betas, *weights]

    @staticmethod
    def work(task: Task) -> Outcome:
        """Invert with the variant's recipe."""
        settings, problem = task.settings, Problem.of(task)
        recipe = variant(problem.phi, settings["beta"], settings["jitter"])
        result = problem.invert(recipe, data_weight=settings["data_weight"])
        return problem.outcome(result)


def variant(phi: Representation, beta: float | None, jitter: bool) -> Recipe:
    """The published recipe with other priors, its first stage with jitter or not; beta None is without priors."""
    recipe = ijcv2016(phi)
    extent = (schedule_for(phi).jitter or max(round(phi.stride / 4), 1)) if jitter else 1
    first, *others = recipe.stages
    stages: tuple[Stage, ...] = (replace(first, transforms=random_shifts(extent)), *others)
    priors = () if beta is None else (BoundedRange(), TotalVariation(beta=beta))
    return replace(recipe, name=f"ijcv2016, β {beta}, jitter {extent}", priors=priors, stages=stages)

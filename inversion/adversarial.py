"""Adversarial images: the smallest change of an image that gives it another code, or another label."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import Representation

from .engine import Outcome, Progress
from .invert import as_codes, check_code
from .objectives import Euclidean, Label, scores, squared_norm
from .parameterizations.pixels import Around
from .recipes import Recipe, Stage, with_steps
from .result import Result
from .schedules import schedule_for
from .search import in_channels_of, result_of, search
from .solvers.first_order import Adam

Norm = Literal["inf", "2"]

FIRST_BALL = 256  # the reciprocal of the first radius that is tried
DOUBLINGS, HALVINGS = 8, 3
EXACT = ((25, 0.0), (15, 0.0))
FIRST_STEP, LAST_RATE = 0.25, 0.2  # of the bound; of the first rate


@torch.inference_mode(False)
def adversarial(
    phi: Representation, image: NDArray[Any], target: int | NDArray[Any] | Tensor | None = None, *,
    norm: Norm = "inf", bound: float | None = None, tolerance: float = 0.3, probability: float = 0.0,
    steps: int | None = None, progress: Callable[[Progress], None] | None = None,
) -> Result:
    r"""Change an image as little as possible so that it has another code, or another label.

    x* = argmin_x ‖Φ(x) − Φ₀‖² / ‖Φ₀‖²,  or argmin_x log Σ_j exp(s_j(x)) − s_t(x),  with ‖x − x₀‖ ≤ ε, x in [0, 1]

    Parameters
    ----------
    phi : Representation
        Φ; for labels a layer with one channel for each label and before the softmax, whose mean over positions is s.
    image : ndarray (H, W) or (H, W, C)
        x₀, in [0, 1].
    target : int, ndarray (h, w, D) or (D,), or Tensor (1, D, h, w) or (1, D), optional
        The label t, or the code Φ₀, such as that of another image of the same size. By default the label whose score
        is second in x₀.
    norm : {"inf", "2"}
        ‖Δ‖∞, the largest change of a value, or ‖Δ‖₂, the root of the sum of squares.
    bound : float, optional
        ε, on the scale of [0, 1]. By default the smallest that reaches the target, to 9 %: from 1/256 (for ‖Δ‖₂ of all
        values), it is doubled or halved until the outcome changes, and three bisections follow.
    tolerance : float
        Relative error of the code at which it counts as reached.
    probability : float
        Softmax of the label at which it counts as reached; 0 asks only that it is first.
    steps : int, optional
        Gradient evaluations for each bound that is tried; by default 40, for descriptors with a poor gradient as many
        as `fast` takes.
    progress : callable, optional
        As for `invert`.

    Returns
    -------
    Result
        With one image. ``provenance["change"]`` holds ‖Δ‖∞, ‖Δ‖₂, ε and whether the target is reached;
        ``provenance["label"]`` the labels before, wanted and after, and the softmax of the latter two.

    Raises
    ------
    ValueError
        For a label that the code does not have or the image has already, a code that no image of this size has, or a
        bound that is not positive.

    Notes
    -----
    Sources: Szegedy et al. 2014 (labels), Sabour et al. 2016 (codes), Madry et al. 2018 (projected descent). Differs:
    the descent is Adam's, projected onto the ball after each step. The bound holds for the image in floating point; its
    PNG rounds to 1/255.
    """
    if norm not in ("inf", "2"):
        raise ValueError(f'norm is "inf" or "2", got {norm!r}')
    check_bounds(bound, probability)
    x = in_channels_of(phi, image)
    shared: dict[str, Any] = {"phi": phi, "x": x, "norm": norm, "steps": steps, "progress": progress}
    target = _second_label(phi, x) if target is None else target
    if isinstance(target, (int, np.integer)):
        attack = Attack(**shared, label=checked_label(phi, x, int(target)), probability=probability)
    else:
        code = as_codes(target).to(x)
        check_code(phi, code, (x.shape[2], x.shape[3]), isinstance(target, Tensor))
        attack = Attack(**shared, code=code, tolerance=tolerance)
    found = attack.smallest() if bound is None else attack.attempt(bound)
    return result_of(phi, attack.recipe(found.bound), found.outcome, 0, 1, attack.code, **attack.facts(found))


def check_bounds(bound: float | None, probability: float) -> None:
    """ValueError for a radius that is not positive, or a probability outside [0, 1)."""
    if bound is not None and not 0 < bound < math.inf:
        raise ValueError(f"bound is a positive number on the scale of [0, 1], got {bound}")
    if not 0 <= probability < 1:
        raise ValueError(f"probability lies in [0, 1), got {probability}")


class Attempt(NamedTuple):
    """A search inside a ball of a radius, and whether it reached the target."""

    outcome: Outcome
    bound: float
    reached: bool


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Searches for a code, or a label, inside balls of several sizes about an image (1, C, H, W)."""

    phi: Representation
    x: Tensor
    norm: Norm
    steps: int | None
    progress: Callable[[Progress], None] | None
    code: Tensor | None = None
    label: int = -1
    tolerance: float = 0.0
    probability: float = 0.0

    def attempt(self, bound: float) -> Attempt:
        """The search inside one ball."""
        label = torch.tensor([self.label], device=self.x.device)
        objective = Label(label) if self.code is None else Euclidean(self.code)
        outcome = search(self.phi, objective, self.recipe(bound), (self.x.shape[2], self.x.shape[3]), [0], self.x,
                         codes=self.code, progress=self.progress)
        return Attempt(outcome, bound, self.reached(outcome.x))

    def recipe(self, bound: float, name: str = "adversarial") -> Recipe:
        """Adam inside the ball, at a lower rate in the end; surrogates are sharpened as `fast` does."""
        softness = EXACT if self.phi.exact else schedule_for(self.phi).quick_softness
        rates = np.geomspace(1, LAST_RATE, len(softness)).tolist()
        stages = tuple(Stage(count, softness=value or None, rate=rate)
                       for (count, value), rate in zip(softness, rates, strict=True))
        step = FIRST_STEP * bound / self.one
        recipe = Recipe(name, partial(Around, self.x, norm=self.norm, bound=bound), partial(Adam, step=step),
                        (), stages, 1.0)
        return recipe if self.steps is None else with_steps(recipe, self.steps)

    @property
    def one(self) -> float:
        """The norm of a change of 1 everywhere."""
        return 1.0 if self.norm == "inf" else math.sqrt(self.x.numel())

    def smallest(self) -> Attempt:
        """The attempt inside the smallest ball that reaches the target; if none does, the largest ball."""
        before = last = self.attempt(self.one / FIRST_BALL)
        factor = 0.5 if last.reached else 2.0
        for _ in range(DOUBLINGS):
            if last.reached != before.reached or last.outcome.interrupted:
                break
            before, last = last, self.attempt(factor * last.bound)
        if last.reached == before.reached:
            return last
        above, below = (last, before.bound) if last.reached else (before, last.bound)
        for _ in range(HALVINGS):
            last = self.attempt(math.sqrt(below * above.bound))
            above, below = (last, below) if last.reached else (above, last.bound)
            if last.outcome.interrupted:
                break
        return above

    def reached(self, x: Tensor) -> bool:
        """Whether an image has the label, or nearly the code."""
        found = self.encoded(x)
        if self.code is None:
            likely = scores(found)[0].softmax(0)
            return int(likely.argmax()) == self.label and float(likely[self.label]) >= self.probability
        return float((squared_norm(found - self.code) / squared_norm(self.code)).sqrt()) <= self.tolerance

    def encoded(self, x: Tensor) -> Tensor:
        """Φ(x), without gradient."""
        with torch.no_grad():
            return self.phi(x)

    def facts(self, found: Attempt) -> dict[str, Any]:
        """What the provenance says of the change, and of the labels."""
        change = (found.outcome.x - self.x).double()
        facts: dict[str, Any] = {"change": {
            "norm": self.norm, "bound": found.bound, "largest": float(change.abs().max()),
            "length": float(change.norm()), "reached": found.reached}}
        if self.code is None:
            before, after = (scores(self.encoded(x))[0].softmax(0) for x in (self.x, found.outcome.x))
            facts["label"] = {"before": int(before.argmax()), "target": self.label, "after": int(after.argmax()),
                              "probability before": float(before[self.label]),
                              "probability after": float(after[self.label])}
        return facts


def _second_label(phi: Representation, x: Tensor) -> int:
    with torch.no_grad():
        return int(_scores(phi, x).topk(2).indices[1])


def checked_label(phi: Representation, x: Tensor, label: int, new: bool = True) -> int:
    """The label; ValueError if the code has none of that number, or if it must be new and the image has it."""
    with torch.no_grad():
        found = _scores(phi, x)
    if not 0 <= label < len(found):
        raise ValueError(f"the labels of {phi!r} are its channels, 0 to {len(found) - 1}: there is no label {label}")
    if new and int(found.argmax()) == label:
        raise ValueError(f"the image has the label {label} already: give another one, or none for the second")
    return label


def _scores(phi: Representation, x: Tensor) -> Tensor:
    """Of one image, (D,)."""
    found = scores(phi(x))[0]
    if len(found) < 2:
        raise ValueError(f"{phi!r} has one channel, which is no choice of labels: give a code as target")
    return found

"""Caricatures: an image changed until what a layer finds in it stands out more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import Representation

from .engine import Outcome, Progress, Term, descend, telling
from .maximize import maximisation, without_code
from .objectives import InnerProduct, squared_norm
from .recipes import Recipe, adjusted, without_steps
from .result import Result

DATA_WEIGHT = 30.0


@torch.inference_mode(False)
def caricature(
    phi: Representation,
    image: NDArray[Any],
    *,
    preset: str | Recipe = "best",
    steps: int | None = None,
    data_weight: float | None = None,
    octaves: int = 1,
    octave_scale: float = 1.4,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Result:
    r"""Exaggerate an image: find one near it whose code is as strong as possible in the direction of the image's own.

    x* = argmin_x −C ⟨Φ(x), Φ₀⟩ + R(x),  Φ₀ = max(Φ(x₀), 0) / ‖max(Φ(x₀), 0)‖²,  from x₀

    Parameters
    ----------
    phi : Representation
        Φ.
    image : ndarray (H, W) or (H, W, C)
        x₀, in [0, 1].
    preset : {"best", "ijcv2016"} or Recipe
    steps : int, optional
        Gradient evaluations in all; the preset's stages are shortened or lengthened in proportion.
    data_weight : float, optional
        C of the papers, the weight of the data term against the priors; by default the preset's.
    octaves : int
        Sizes at which the image is changed, the smallest first, each going on from what the last one added, as in
        DeepDream: patterns of many sizes appear.
    octave_scale : float
        Ratio of one size to the next.
    seed : int
        Of the jitter.
    progress : callable, optional
        Called with a `Progress` after every gradient evaluation of each octave.

    Returns
    -------
    Result
        One image; ``provenance["responses"]`` holds ⟨Φ(x), Φ₀⟩, which is 1 for the image given.

    Raises
    ------
    ValueError
        For an image whose code has no positive entry, or is too small at the smallest octave.

    Notes
    -----
    Sources: Mahendran & Vedaldi 2016, §7; Mordvintsev, Olah & Tyka 2015 (the octaves).
    """
    if octaves < 1 or not octave_scale > 1:
        raise ValueError(f"octaves are at least 1 and their ratio above 1, got {octaves} and {octave_scale}")
    original = _in_channels(phi, image)
    recipe = adjusted(exaggeration(phi, preset), steps, data_weight)
    added = torch.zeros_like(original)
    outcomes: list[Outcome] = []
    for octave in reversed(range(octaves)):
        size = tuple(max(1, round(side * octave_scale**-octave)) for side in original.shape[2:])
        here = _resized(original, size)
        objective = InnerProduct(_own_direction(phi, here))
        start = here + _resized(added, size)
        shown = without_steps(recipe) if any(outcome.interrupted for outcome in outcomes) else recipe
        outcome = descend([Term(phi, objective)], shown, (size[0], size[1]), [seed], original, start,
                          progress=progress)
        outcomes.append(outcome)
        added = outcome.x - here
    with torch.no_grad():
        response = -float(objective(phi(outcomes[-1].x)))
    facts = {"responses": [response], "octaves": octaves, "octave_scale": octave_scale}
    return without_code(phi, recipe, _joined(outcomes), seed, 1, facts)


def exaggeration(phi: Representation, preset: str | Recipe) -> Recipe:
    """A recipe for caricatures by its name: that for maximisation, C as the code's response of 1 wants it."""
    recipe = maximisation(phi, preset)
    return recipe if isinstance(preset, Recipe) else replace(recipe, weight=DATA_WEIGHT)


def _own_direction(phi: Representation, x: Tensor) -> Tensor:
    with torch.no_grad():
        positive = phi(x).clamp_min(0)
    energy = float(squared_norm(positive))
    if not energy > 0:
        raise ValueError("the image's code has no positive entry, so there is nothing to exaggerate")
    return positive / energy


def _in_channels(phi: Representation, image: NDArray[Any]) -> Tensor:
    x = phi.as_batch(np.asarray(image)).float()
    return x.expand(-1, phi.in_channels[0], -1, -1) if x.shape[1] == 1 else x


def _resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return torch.nn.functional.interpolate(x, size, mode="bilinear", antialias=True)


def _joined(outcomes: list[Outcome]) -> Outcome:
    """All octaves as one outcome, of the last one's image."""
    parts = [outcome.history for outcome in outcomes if outcome.history]
    return replace(
        telling(outcomes),
        x=outcomes[-1].x,
        history={name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())},
        evaluations=sum(outcome.evaluations for outcome in outcomes),
        seconds=sum(outcome.seconds for outcome in outcomes),
    )

"""Caricatures: an image in which what a layer detects is exaggerated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import Representation

from .engine import Outcome, Report
from .objectives import InnerProduct, squared_norm
from .recipes import CARICATURE_PRESETS, Recipe, recipe_for, without_steps
from .result import Result
from .search import in_channels_of, one_after_another, result_of, search, seeds_for


@torch.inference_mode(False)
def caricature(
    phi: Representation, image: NDArray[Any], *, preset: str | Recipe = "best", octaves: int = 1,
    octave_scale: float = 1.4, steps: int | None = None, data_weight: float | None = None, starts: int = 1,
    seed: int = 0, memory: int | str | None = None, progress: Report | bool | None = None,
    snapshots: int = 0,
) -> Result:
    r"""Exaggerate an image: find one near it whose code is as strong as possible in the direction of the image's own.

    x* = argmin_x −C ⟨Φ(x), Φ₀⟩ + R(x),  Φ₀ = max(Φ(x₀), 0) / ‖max(Φ(x₀), 0)‖²,  from x₀

    Sources: Mahendran & Vedaldi 2016, §7; Mordvintsev, Olah & Tyka 2015 (the octaves).

    Parameters
    ----------
    phi, data_weight, memory, progress, snapshots
        As for `invert`; snapshots are those of the last octave.
    image : ndarray (H, W) or (H, W, C)
        x₀, in [0, 1].
    preset : {"best", "ijcv2016"} or Recipe
    octaves, octave_scale : int, float
        Sizes at which the image is changed, the smallest first, and the ratio of one to the next. Each starts from the
        image plus what the last one added, as in DeepDream: patterns of many sizes appear.
    steps : int, optional
        Of each octave.
    starts, seed : int
        Attempts, from the same image under different random views; recipes without views repeat the first.

    Returns
    -------
    Result
        One image for each start; ``provenance["responses"]`` holds ⟨Φ(x), Φ₀⟩ of each, which is 1 for the image given.

    Raises
    ------
    ValueError
        For an image whose code has no positive entry, or is too small at the smallest octave.

    Examples
    --------
    >>> import unfeature as uf
    >>> photograph = uf.resize_longer(uf.to_grey(uf.bundled("camera")), 48)
    >>> uf.caricature(uf.HOG(cell_size=8), photograph, steps=3).image.shape
    (48, 48)
    """
    if octaves < 1 or not octave_scale > 1:
        raise ValueError(f"octaves are at least 1 and their ratio above 1, got {octaves} and {octave_scale}")
    seeds = seeds_for(seed, starts)
    original = in_channels_of(phi, image)
    recipe = recipe_for(phi, preset, CARICATURE_PRESETS, steps, data_weight)
    recipe = stage_recipe = replace(recipe, contrast=None)
    added = torch.zeros_like(original)
    outcomes: list[Outcome] = []
    for octave in reversed(range(octaves)):
        height, width = (max(1, round(side * octave_scale**-octave)) for side in original.shape[2:])
        here = _resized(original, (height, width))
        objective = InnerProduct(_own_direction(phi, here))
        start = (here + _resized(added, (height, width))).expand(starts, -1, -1, -1)
        outcomes.append(search(phi, objective, stage_recipe, (height, width), seeds, original, start=start,
                               memory=memory, progress=progress, snapshots=0 if octave else snapshots))
        stage_recipe = without_steps(recipe) if outcomes[-1].interrupted else stage_recipe
        added = outcomes[-1].x - here
    with torch.no_grad():
        responses = -objective(torch.cat([phi(x) for x in outcomes[-1].x.split(1)]))
    return result_of(phi, recipe, one_after_another(outcomes), seed, starts, responses=responses.tolist(),
                     octaves=octaves, octave_scale=octave_scale)


def _own_direction(phi: Representation, x: Tensor) -> Tensor:
    with torch.no_grad():
        positive = phi(x).clamp_min(0)
    energy = float(squared_norm(positive))
    if not energy > 0:
        raise ValueError("the image's code has no positive entry, so there is nothing to exaggerate")
    return positive / energy


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(x.shape[2:]) == size:
        return x
    return torch.nn.functional.interpolate(x, size, mode="bilinear", antialias=True)

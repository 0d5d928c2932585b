"""Metamers: an image that looks like one photograph and has the code of another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import Representation
from unfeature.io.similarity import correlation

from .engine import Progress
from .guidance import with_noise
from .invert import Code, as_codes, check_code
from .near import Near
from .objectives import Euclidean
from .recipes import METAMER_PRESETS, Recipe, recipe_for
from .result import Result
from .search import in_channels_of, result_of, search, seeds_for

LEAST_POWER = 1e-6
START_NOISE = 0.06
BLUR = 8.0  # pixels, at which the likeness is measured


@torch.inference_mode(False)
def metamer(
    phi: Representation, code: Code, *, like: NDArray[Any], weight: float = 5.0, cutoff: float = 0.03,
    preset: str | Recipe = "best", steps: int | None = None, data_weight: float | None = None, starts: int = 1,
    seed: int = 0, memory: int | str | None = None, progress: Callable[[Progress], None] | None = None,
) -> Result:
    r"""Find an image with a given code that looks like another image.

    x* = argmin_x C ‖Φ(x) − Φ₀‖² / ‖Φ₀‖² + w mean(L(x − g)²) / mean(L(g − ḡ)²) + R(x),  from g

    L keeps the frequencies up to k, ḡ is the mean of g.

    Parameters
    ----------
    phi, data_weight, memory, progress
        As for `invert`.
    preset : {"best", "fast"} or Recipe
        Those of `invert` with three times as many gradient evaluations.
    steps : int, optional
        Gradient evaluations in all.
    code : ndarray (h, w, D) or (D,), a sequence or stack (N, …) of such, or Tensor (N, D, h, w) or (N, D)
        Φ₀.
    like : ndarray (H, W) or (H, W, C)
        g, in [0, 1]. The image found has its size.
    weight, cutoff : float
        w, larger for more likeness and a larger error of the code, and k, in cycles a pixel.
    starts, seed : int
        Attempts at each code, from g with different noise.

    Returns
    -------
    Result
        ``provenance["likeness"]`` holds, for each image, its correlation with g when both are blurred by a Gaussian of
        standard deviation 8 pixels.

    Raises
    ------
    ValueError
        If an image of the size of g has no such code, or for weights that `Near` refuses.

    Notes
    -----
    Source: Tatu, Lauze, Nielsen & Kimia 2011, who change one photograph until its HOG is that of another. Differs: only
    low frequencies are held, and the contrast is left as found.
    """
    target = as_codes(code) if isinstance(code, Tensor) else as_codes(code).to(phi.device)
    wanted = in_channels_of(phi, like)
    size = check_code(phi, target, (wanted.shape[2], wanted.shape[3]), isinstance(code, Tensor))
    seeds = seeds_for(seed, starts, len(target))
    recipe = recipe_for(phi, preset, METAMER_PRESETS, steps, data_weight)
    recipe = replace(recipe, priors=(*recipe.priors, Near(wanted, weight / _power(wanted, cutoff), cutoff=cutoff)))
    codes = target.repeat_interleave(starts, 0)
    centre = phi.centre_like(wanted)
    outcome = search(phi, Euclidean(codes), recipe, size, seeds, codes, codes=codes,
                     start=with_noise(wanted - centre, centre, START_NOISE, seeds), memory=memory, progress=progress)
    likeness = [_likeness(x, wanted) for x in outcome.x.split(1)]
    return result_of(phi, recipe, outcome, seed, starts, codes, likeness=likeness)


def _power(image: Tensor, cutoff: float) -> float:
    """What `Near` says of the mean of an image (1, C, H, W); ValueError for one that has no low frequencies."""
    mean = image.mean((2, 3), keepdim=True)
    found = float(Near(image, cutoff=cutoff)(mean.expand_as(image), mean[0]))
    if not found > LEAST_POWER:
        raise ValueError(f"the image to look like has one colour at frequencies up to {cutoff:g} cycles a pixel: give "
                         "another one, or a larger cutoff")
    return found


def _likeness(a: Tensor, b: Tensor) -> float:
    """Correlation of two images (1, C, H, W), both blurred; 0 where one is constant."""
    from scipy.ndimage import gaussian_filter

    blurred = (gaussian_filter(x[0].double().cpu().numpy(), (0, BLUR, BLUR)) for x in (a, b))
    return float(np.nan_to_num(correlation(*blurred)))

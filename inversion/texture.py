"""Textures and styles: images whose layers correlate as those of another image do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.networks.multi_layer import Layers

from .engine import Progress, Term, descend
from .invert import as_images
from .maximize import without_code
from .objectives import Euclidean, Gram, Objective
from .parameterizations import Colours, Pixels
from .priors import BoundedVariation
from .recipes import Recipe, Stage, adjusted
from .result import Result
from .solvers.lbfgs import LBFGS

Part = tuple[str, Objective, float]


class OverLayers(Objective):
    r"""A weighted sum of objectives, each of one layer.

    ℓ(φ) = Σ_i w_i ℓ_i(φ_{layer i})

    Parameters
    ----------
    phi : Layers
    size : tuple of int
        Height and width of the images.
    parts : sequence of (str, Objective, float)
        Layer, objective, weight; a layer may have several.

    Raises
    ------
    ValueError
        For a layer that phi does not have, or no part at all.
    """

    def __init__(self, phi: Layers, size: tuple[int, int], parts: Sequence[Part]):
        foreign = [layer for layer, _, _ in parts if layer not in phi.layers]
        if foreign or not parts:
            raise ValueError(f"the objective needs layers out of {', '.join(phi.layers)}, "
                             f"got {', '.join(foreign) or 'none'}")
        self.phi = phi
        self.size = size
        self.parts = tuple(parts)

    def by_part(self, code: Tensor) -> list[Tensor]:
        """ℓ_i of each sample, a list of (N,)."""
        codes = self.phi.split(code, *self.size)
        return [objective(codes[layer]) for layer, objective, _ in self.parts]

    def __call__(self, code: Tensor) -> Tensor:
        """ℓ of each sample, (N,)."""
        values = zip(self.by_part(code), self.parts, strict=True)
        return torch.stack([weight * value for value, (_, _, weight) in values]).sum(0)


@torch.inference_mode(False)
def synthesize(
    phi: Layers,
    image: NDArray[Any],
    *,
    size: tuple[int, int] | None = None,
    layer_weights: Mapping[str, float] | None = None,
    preset: str | Recipe = "best",
    steps: int | None = None,
    data_weight: float | None = None,
    starts: int = 1,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Result:
    r"""Make more of a texture: an image whose layers have the Gram matrices of those of the one given.

    x* = argmin_x C Σ_l w_l ‖G(Φ_l(x)) − G(Φ_l(x₀))‖² / ‖G(Φ_l(x₀))‖² + R(x)

    Parameters
    ----------
    phi : Layers
    image : ndarray (H, W) or (H, W, C)
        x₀, in [0, 1].
    size : tuple of int, optional
        Height and width of the texture to make; by default those of the image.
    layer_weights : mapping of str to float, optional
        w_l; by default all layers weigh alike, 1 together.
    preset : {"best", "gatys2015"} or Recipe
    steps : int, optional
        Gradient evaluations in all; the preset's stages are shortened or lengthened in proportion.
    data_weight : float, optional
        C of the papers, the weight of the data term against the priors; by default the preset's.
    starts : int
        How many textures to make, from different noise.
    seed : int
        Of the noise; the j-th has seed + j.
    progress : callable, optional
        Called with a `Progress` after every gradient evaluation.

    Returns
    -------
    Result
        ``provenance["distances"]`` holds, for each layer, ‖G − G₀‖ / ‖G₀‖ of each image.

    Notes
    -----
    Source: Gatys, Ecker & Bethge 2015. Differs: layers are compared relatively; "best" paints decorrelated colours in
    a Fourier canvas, whose values stay in [0, 1], and lets a prior keep the image smooth.
    """
    if starts < 1:
        raise ValueError(f"starts is at least 1, got {starts}")
    x = _colour(phi, image)
    size = size or (x.shape[2], x.shape[3])
    parts = _gram_parts(phi, x, layer_weights)
    seeds = [seed + j for j in range(starts)]
    return _find(phi, parts, size, seeds, texture_recipe(preset, steps, data_weight), None, progress)


@torch.inference_mode(False)
def style_transfer(
    phi: Layers,
    content: NDArray[Any],
    style: NDArray[Any],
    *,
    content_layers: Sequence[str] | None = None,
    style_layers: Sequence[str] | None = None,
    style_weight: float = 1.0,
    preset: str | Recipe = "best",
    steps: int | None = None,
    data_weight: float | None = None,
    start: NDArray[Any] | Tensor | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Result:
    r"""Paint the content of one image in the style of another.

    x* = argmin_x C (ℓ_content(x) + w ℓ_style(x)) + R(x), the codes of some layers near those of the content, the Gram
    matrices of others near those of the style

    Parameters
    ----------
    phi : Layers
    content, style : ndarray (H, W) or (H, W, C)
        In [0, 1]; of any sizes, the result has that of the content.
    content_layers : sequence of str, optional
        By default the last of phi.
    style_layers : sequence of str, optional
        By default all.
    style_weight : float
        w, for the mean of the style's layers against the mean of the content's, both relative.
    preset : {"best", "gatys2015"} or Recipe
    steps : int, optional
        Gradient evaluations in all; the preset's stages are shortened or lengthened in proportion.
    data_weight : float, optional
        C of the papers, the weight of the data term against the priors; by default the preset's.
    start : ndarray or Tensor, optional
        By default the content.
    seed : int
        Of the jitter, of recipes that have any.
    progress : callable, optional
        Called with a `Progress` after every gradient evaluation.

    Returns
    -------
    Result
        ``provenance["distances"]`` holds the relative distance of each part.

    Notes
    -----
    Source: Gatys, Ecker & Bethge 2016.
    """
    if not style_weight >= 0:
        raise ValueError(f"the style's weight is not negative, got {style_weight}")
    x = _colour(phi, content)
    size = (x.shape[2], x.shape[3])
    shown = tuple(content_layers or phi.layers[-1:])
    styled = tuple(style_layers or phi.layers)
    _check_layers(phi, (*shown, *styled))
    with torch.no_grad():
        codes = phi.split(phi(x), *size)
    parts: list[Part] = [(layer, Euclidean(codes[layer]), 1 / len(shown)) for layer in shown]
    parts += _gram_parts(phi, _colour(phi, style), {layer: style_weight / len(styled) for layer in styled})
    first = x if start is None else as_images(start, 1, size).to(x)
    return _find(phi, parts, size, [seed], texture_recipe(preset, steps, data_weight), first, progress)


def texture_recipe(preset: str | Recipe, steps: int | None = None, data_weight: float | None = None) -> Recipe:
    """A recipe for textures and styles by its name."""
    if isinstance(preset, Recipe):
        recipe = preset
    elif preset in RECIPES:
        recipe = RECIPES[preset]
    else:
        raise ValueError(f"unknown preset {preset!r} for textures: one of {', '.join(RECIPES)}")
    return adjusted(recipe, steps, data_weight)


RECIPES = {
    "best": Recipe("best", partial(Colours, spread=0.1), LBFGS, (BoundedVariation(weight=0.3),), (Stage(300),), 1000.0),
    "gatys2015": Recipe("gatys2015", partial(Pixels, bound=None), LBFGS, (), (Stage(500),), 1000.0),
}


def _find(phi: Layers, parts: Sequence[Part], size: tuple[int, int], seeds: Sequence[int], recipe: Recipe,
          start: Tensor | None, progress: Callable[[Progress], None] | None) -> Result:
    objective = OverLayers(phi, size, parts)
    like = torch.zeros(len(seeds), 1, device=phi.device)
    outcome = descend([Term(phi, objective)], recipe, size, seeds, like, start, progress=progress)
    with torch.no_grad():
        values = objective.by_part(phi(outcome.x))
    named = zip(values, parts, strict=True)
    distances = {f"{type(o).__name__} {layer}": value.sqrt().tolist() for value, (layer, o, _) in named}
    return without_code(phi, recipe, outcome, seeds[0], len(seeds), {"distances": distances})


def _gram_parts(phi: Layers, x: Tensor, weights: Mapping[str, float] | None) -> list[Part]:
    if weights is None:
        weights = {layer: 1 / len(phi.layers) for layer in phi.layers}
    _check_layers(phi, weights)
    with torch.no_grad():
        codes = phi.split(phi(x), x.shape[2], x.shape[3])
    return [(layer, Gram(codes[layer]), weight) for layer, weight in weights.items()]


def _check_layers(phi: Layers, names: Sequence[str] | Mapping[str, float]) -> None:
    foreign = [name for name in names if name not in phi.layers]
    if foreign:
        raise ValueError(f"there is no layer {foreign[0]!r} in this code, which has {', '.join(phi.layers)}")


def _colour(phi: Layers, image: NDArray[Any]) -> Tensor:
    x = phi.as_batch(np.asarray(image)).float()
    return x.expand(-1, phi.in_channels[0], -1, -1) if x.shape[1] == 1 else x

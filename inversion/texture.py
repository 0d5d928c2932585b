"""Textures and styles: images whose layers have the correlations of another image's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.networks.cnn import Layers
from unfeature.io.images import AnyImage

from .engine import Report
from .objectives import Euclidean, Gram, Objective
from .recipes import TEXTURE_PRESETS, Recipe, recipe_for
from .result import Result
from .search import in_channels_of, result_of, search, seeds_for

Part = tuple[str, Objective, float]


class OverLayers(Objective):
    """ℓ(φ) = Σ_i w_i ℓ_i(φ_{layer i}) on images of one size, of parts (layer, ℓ_i, w_i); a layer may have several."""

    def __init__(self, phi: Layers, size: tuple[int, int], parts: Sequence[Part]):
        _check_layers(phi, [layer for layer, _, _ in parts])
        self.phi, self.size, self.parts = phi, size, tuple(parts)

    def of(self, samples: slice) -> OverLayers:
        """The objective of some of the samples."""
        return OverLayers(self.phi, self.size, [(layer, part.of(samples), w) for layer, part, w in self.parts])

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
    phi: Layers, image: NDArray[Any], *, size: tuple[int, int] | None = None,
    layer_weights: Mapping[str, float] | None = None, preset: str | Recipe = "best", steps: int | None = None,
    data_weight: float | None = None, starts: int = 1, seed: int = 0, memory: int | str | None = None,
    progress: Report | bool | None = None,
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
    steps, data_weight, starts, seed, memory, progress
        As for `invert`; every start makes a texture of its own.

    Returns
    -------
    Result
        ``provenance["distances"]`` holds, for each layer, ‖G − G₀‖ / ‖G₀‖ of each image.

    Notes
    -----
    Source: Gatys, Ecker & Bethge 2015. Differs: layers are compared relatively; "best" optimises Fourier
    coefficients of decorrelated colours, whose images stay in [0, 1], under a prior that keeps them smooth.
    """
    seeds = seeds_for(seed, starts)
    recipe = recipe_for(phi, preset, TEXTURE_PRESETS, steps, data_weight)
    x = in_channels_of(phi, image)
    if layer_weights is None:
        layer_weights = dict.fromkeys(phi.layers, 1 / len(phi.layers))
    objective = OverLayers(phi, size or (x.shape[2], x.shape[3]), _parts(phi, x, Gram, layer_weights))
    return _search(phi, objective, recipe, seeds, None, memory, progress)


@torch.inference_mode(False)
def style_transfer(
    phi: Layers, content: NDArray[Any], style: NDArray[Any], *, content_layers: Sequence[str] | None = None,
    style_layers: Sequence[str] | None = None, style_weight: float = 1.0, preset: str | Recipe = "best",
    steps: int | None = None, data_weight: float | None = None, start: AnyImage | Tensor | None = None,
    seed: int = 0, progress: Report | bool | None = None,
) -> Result:
    r"""Give one image the style of another.

    x* = argmin_x C (ℓ_content(x) + w ℓ_style(x)) + R(x), the codes of some layers near those of the content, the Gram
    matrices of others near those of the style (Gatys, Ecker & Bethge 2016)

    Parameters
    ----------
    phi : Layers
    content, style : ndarray (H, W) or (H, W, C)
        In [0, 1]; of any sizes, the result has that of the content.
    content_layers, style_layers : sequence of str, optional
        By default the last of phi, and all.
    style_weight : float
        w, for the mean of the style's layers against the mean of the content's, both relative.
    preset : {"best", "gatys2015"} or Recipe
    steps, data_weight, progress
        As for `invert`.
    start : ndarray or Tensor, optional
        By default the content.
    seed : int
        Of the random views, in recipes that have any.

    Returns
    -------
    Result
        ``provenance["distances"]`` holds the relative distance of each part.
    """
    if not style_weight >= 0:
        raise ValueError(f"the style's weight is not negative, got {style_weight}")
    x = in_channels_of(phi, content)
    kept, styled = tuple(content_layers or phi.layers[-1:]), tuple(style_layers or phi.layers)
    parts = _parts(phi, x, Euclidean, dict.fromkeys(kept, 1 / len(kept)))
    parts += _parts(phi, in_channels_of(phi, style), Gram, dict.fromkeys(styled, style_weight / len(styled)))
    recipe = recipe_for(phi, preset, TEXTURE_PRESETS, steps, data_weight)
    objective = OverLayers(phi, (x.shape[2], x.shape[3]), parts)
    return _search(phi, objective, recipe, [seed], x if start is None else start, None, progress)


def _search(phi: Layers, objective: OverLayers, recipe: Recipe, seeds: list[int],
            start: AnyImage | Tensor | None, memory: int | str | None,
            progress: Report | bool | None) -> Result:
    outcome = search(phi, objective, recipe, objective.size, seeds, torch.zeros(1, device=phi.device), start=start,
                     memory=memory, progress=progress)
    with torch.no_grad():
        values = objective.by_part(phi(outcome.x))
    named = zip(values, objective.parts, strict=True)
    distances = {f"{type(part).__name__} {layer}": value.sqrt().tolist() for value, (layer, part, _) in named}
    return result_of(phi, recipe, outcome, seeds[0], len(seeds), distances=distances)


def _parts(phi: Layers, x: Tensor, kind: Callable[[Tensor], Objective], weights: Mapping[str, float]) -> list[Part]:
    _check_layers(phi, weights)
    with torch.no_grad():
        codes = phi.split(phi(x), x.shape[2], x.shape[3])
    return [(layer, kind(codes[layer]), weight) for layer, weight in weights.items()]


def _check_layers(phi: Layers, names: Sequence[str] | Mapping[str, float]) -> None:
    foreign = [name for name in names if name not in phi.layers]
    if foreign or not names:
        raise ValueError(f"there is no layer {foreign[0]!r} in this code, which has {', '.join(phi.layers)}" if foreign
                         else f"no layers are given: choose among {', '.join(phi.layers)}")

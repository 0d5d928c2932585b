"""A decoder's image guides the search: it is the start, and a prior holds its low frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from unfeature.features.base import Representation

from .decoder import CONTRAST, DecoderModel, pretrained
from .near import Near
from .parameterizations import Fourier, ImageSpec
from .recipes import Recipe

START_NOISE = 0.06
LEAST_CONTRAST = 0.01


class HoldsDecoder(Protocol):
    """What has a decoder model, as `unfeature.baselines.Decoder` has."""

    @property
    def model(self) -> DecoderModel:
        """The model."""


def guide_for(phi: Representation, recipe: Recipe, start: Any) -> DecoderModel | None:
    """The decoder that guides a search: the one given as its start, or the shipped one if the recipe takes one."""
    if (model := given_decoder(start)) is not None:
        return model
    return pretrained(phi) if isinstance(start, str) and start == "auto" and recipe.near is not None else None


def given_decoder(start: Any) -> DecoderModel | None:
    """The model of a start that is a decoder; None for other starts."""
    model = getattr(start, "model", start)
    return model if isinstance(model, DecoderModel) else None


@dataclass(frozen=True, eq=False)
class Guide:
    """What a decoder predicts for some codes: images (N, C, H, W), before their contrast is set to a photograph's."""

    images: Tensor
    model: DecoderModel

    @classmethod
    def of(cls, phi: Representation, codes: Tensor, size: tuple[int, int], model: DecoderModel) -> Guide:
        """The predictions for codes (N, D, h, w), each as it would be alone."""
        return cls(torch.cat([model.decode(phi, code, size) for code in codes.split(1)]), model)

    @property
    def facts(self) -> dict[str, Any]:
        """What the provenance says of it."""
        return {"decoder": {"digest": self.model.digest, "learned for": self.model.descriptors}}

    def recipe(self, recipe: Recipe) -> Recipe:
        """The recipe with a `Near` prior, if it takes one."""
        if recipe.near is None:
            return recipe
        curve = list(zip(self.model.frequencies.tolist(), self.model.spectrum.tolist(), strict=True))
        weight, cutoff = recipe.near
        return replace(recipe, priors=(*recipe.priors, Near(self.images, weight, curve, cutoff)))

    def start(self, phi: Representation, seeds: Sequence[int]) -> Tensor:
        """Images to start from: the predictions, with a photograph's contrast if Φ is blind to it, and some noise."""
        centre = torch.tensor(phi.centre).to(self.images).view(-1, 1, 1).expand(self.images.shape[1], 1, 1)
        contrasted = self.images - centre
        if phi.contrast_invariant:
            own = contrasted.square().mean((1, 2, 3), keepdim=True).sqrt()
            contrasted = contrasted * (CONTRAST / own.clamp_min(LEAST_CONTRAST))
        height, width = self.images.shape[2:]
        fourier = Fourier(ImageSpec(height, width, centre), init_std=START_NOISE)
        return contrasted + fourier.render(fourier.start(seeds))

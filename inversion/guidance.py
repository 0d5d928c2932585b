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
from .parameterizations.base import ImageSpec
from .parameterizations.fourier import Fourier
from .recipes import Recipe
from .result import Result, images_of
from .uncertainty import uncertainty_of

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
    """What a decoder predicts for some codes: images (N, C, H, W), before their contrast is set to a photograph's.

    With the standard deviation of their pixels, (N, 1, H, W), if that ships for the decoder.
    """

    images: Tensor
    model: DecoderModel
    std: Tensor | None = None

    @classmethod
    def of(cls, phi: Representation, codes: Tensor, size: tuple[int, int], model: DecoderModel) -> Guide:
        """The predictions for codes (N, D, h, w), each as it would be alone."""
        single, uncertainty = codes.split(1), uncertainty_of(model.digest)
        images = torch.cat([model.decode(phi, code, size) for code in single])
        if uncertainty is None:
            return cls(images, model)
        return cls(images, model, torch.cat([uncertainty.std(model, phi, code, size) for code in single]))

    @property
    def facts(self) -> dict[str, Any]:
        """What the provenance says of it."""
        return {"decoder": {"digest": self.model.digest, "learned for": self.model.descriptors}}

    def annotate(self, result: Result) -> Result:
        """The result with the predicted images, and their uncertainty if it is known."""
        uncertainties = result.uncertainties if self.std is None else images_of(self.std)
        return replace(result, guess=images_of(self.images), uncertainties=uncertainties)

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
        return with_noise(contrasted, centre, seeds)


def with_noise(deviation: Tensor, centre: Tensor, seeds: Sequence[int]) -> Tensor:
    """The centre, a deviation (N, C, H, W) or (1, C, H, W), and noise of each seed: images to start from."""
    fourier = Fourier(ImageSpec(deviation.shape[2], deviation.shape[3], centre), init_std=START_NOISE)
    return deviation + fourier.render(fourier.start(seeds))

"""A decoder's image guides the search: it is the start, and a prior holds the search near it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from unfeature.features.base import Representation

from .decoder import CONTRAST, DecoderModel, pretrained
from .near import Near, power_at
from .parameterizations.base import ImageSpec
from .parameterizations.fourier import Fourier
from .recipes import Recipe
from .result import Result, images_of
from .uncertainty import uncertainty_of

LEAST_CONTRAST = 0.01
RESIDUAL_SIDE = 256


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

    def recipe(self, phi: Representation, recipe: Recipe) -> Recipe:
        """The recipe with a `Near` prior, if it takes one, to the images at the contrast of the start."""
        if recipe.near is None:
            return recipe
        share = recipe.guided_start[0] / CONTRAST if phi.contrast_invariant else 1.0
        centre = phi.centre_like(self.images, self.images.shape[1])
        held = Near(centre + share * (self.images - centre), recipe.near / (share**2 * residual_power(self.model)))
        return replace(recipe, priors=(*recipe.priors, held))

    def start(self, phi: Representation, recipe: Recipe, seeds: Sequence[int]) -> Tensor:
        """Images to start from: the predictions, with the recipe's contrast if Φ is blind to it, and some noise."""
        contrast, noise = recipe.guided_start
        centre = phi.centre_like(self.images, self.images.shape[1])
        deviation = self.images - centre
        if phi.contrast_invariant:
            own = deviation.square().mean((1, 2, 3), keepdim=True).sqrt()
            deviation = deviation * (contrast / own.clamp_min(LEAST_CONTRAST))
        return with_noise(deviation, centre, noise, seeds)


def residual_power(model: DecoderModel) -> float:
    """The mean square of what the model's images lack of held-out photographs, at standard deviation 0.2."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(RESIDUAL_SIDE), np.fft.fftfreq(RESIDUAL_SIDE)))
    curve = list(zip(model.frequencies.tolist(), model.spectrum.tolist(), strict=True))
    return float(power_at(frequency, curve).mean())


def with_noise(deviation: Tensor, centre: Tensor, noise: float, seeds: Sequence[int]) -> Tensor:
    """The centre, a deviation (N, C, H, W) or (1, C, H, W), and noise of each seed: images to start from."""
    fourier = Fourier(ImageSpec(deviation.shape[2], deviation.shape[3], centre), init_std=noise)
    return deviation + fourier.render(fourier.start(seeds))

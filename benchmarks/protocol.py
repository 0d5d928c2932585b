"""The protocol of all tables: photographs, sizes, descriptors by name, and the inversion of a photograph's code."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unfeature.features import DESCRIPTORS as CATALOGUE
from unfeature.features.base import Representation, code_to_tensor
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.gradients.hog import HOG
from unfeature.features.networks.cnn import CNN
from unfeature.features.patterns.brief import BRIEF
from unfeature.features.patterns.lbp import LBP
from unfeature.features.words.bovw import BoVW
from unfeature.features.words.vocabulary import Vocabulary
from unfeature.inversion.invert import invert
from unfeature.inversion.recipes import Recipe
from unfeature.inversion.result import Result
from unfeature.io.images import read_image, resize_longer, to_grey

from .measures import Image, values_of
from .tasks import Inputs, Outcome, Settings, Task

SIDE = 256
"""Photographs are grey, their longer side has this many pixels (linear, anti-aliased), …"""
MULTIPLE = 8
"""… and they are cut at the lower right so that both sides are a multiple of this."""
NETWORK_SHORTER, NETWORK_SIDE = 256, 227
"""For networks, in colour: the shorter side is reduced to the first, and the central square of the second is cut."""
SEED = 0
"""Of the noise that inversions start from, and of everything learned."""

DESCRIPTORS: dict[str, Callable[[], Representation]] = {
    "hog": lambda: HOG(texture=False),
    "hogb": lambda: HOG(bilinear=True, texture=False),
    "dpm": lambda: HOG("dpm"),
    "dalal-triggs": lambda: HOG("dalal-triggs"),
    "dsift": lambda: DSIFT(variant="network"),
    "dsift-5": lambda: DSIFT(bin_size=5, variant="network"),
    "dsift-dense": lambda: DSIFT(variant="network", step=8),
    "dsift-vlfeat": lambda: DSIFT(window="flat"),
    "dsift-gaussian": DSIFT,
    "lbp": LBP,
    "lbp-oriented": lambda: LBP(rotation_invariant=False),
    "brief": lambda: BRIEF(step=8),
}
"""Named settings. HOG is scored on its histogram channels, as published (27 of 31). Cells and bins have 8 pixels, those
of dsift-5 five."""
WORD_CODES: dict[str, Callable[[Vocabulary], Representation]] = {
    "bovw": partial(BoVW, levels=(1, 2)),
    "bovw-pyramid": partial(BoVW, levels=(1, 2, 4)),
}
"""Codes on visual words."""
WORDS_OF = "dsift-vlfeat"
"""The descriptor whose visual words are learned, …"""
WORDS = 500
"""… and their number."""


def descriptor_names() -> list[str]:
    """The named settings, and what else of the catalogue is built without arguments."""
    return [*DESCRIPTORS, *(name for name in CATALOGUE if name not in DESCRIPTORS and _takes_nothing(CATALOGUE[name]))]


def _takes_nothing(kind: type[Representation]) -> bool:
    starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return all(parameter.default is not parameter.empty or parameter.kind in starred
               for parameter in inspect.signature(kind).parameters.values())


def named_descriptor(name: str) -> Representation:
    """A descriptor of `descriptor_names`."""
    return DESCRIPTORS[name]() if name in DESCRIPTORS else CATALOGUE[name]()


def descriptor(settings: Settings, inputs: Inputs) -> Representation:
    """The descriptor of a task."""
    name = settings["feature"]
    if "net" in settings:
        return CNN(settings["net"], name, weights=inputs.get("weights"))
    return WORD_CODES[name](Vocabulary.load(inputs["words"])) if name in WORD_CODES else named_descriptor(name)


def photograph(path: str | Path, side: int = SIDE) -> Image:
    """A grey test photograph (H, W); with side 0 as it is."""
    image = to_grey(read_image(path))
    if side == 0:
        return image
    image = resize_longer(image, side)
    height, width = (max(MULTIPLE, extent // MULTIPLE * MULTIPLE) for extent in image.shape)
    return np.ascontiguousarray(image[:height, :width])


def network_photograph(path: str | Path) -> Image:
    """A test photograph (227, 227, 3) for networks."""
    image = read_image(path)
    image = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    height, width = image.shape[:2]
    image = resize_longer(image, round(NETWORK_SHORTER * max(height, width) / min(height, width)))
    top, left = ((extent - NETWORK_SIDE) // 2 for extent in image.shape[:2])
    return np.ascontiguousarray(image[top : top + NETWORK_SIDE, left : left + NETWORK_SIDE])


def image_for(settings: Settings, inputs: Inputs) -> Image:
    """The photograph of a task: in colour and square for networks, else grey."""
    return network_photograph(inputs["image"]) if "net" in settings else photograph(inputs["image"], settings["side"])


@dataclass(frozen=True)
class Problem:
    """What a task inverts: a photograph (H, W) or (H, W, 3), its code (1, D, h, w) or (1, D), and the descriptor.

    The code is computed on the CPU; it and the descriptor are on the task's device.
    """

    task: Task
    phi: Representation
    image: Image
    code: torch.Tensor

    @classmethod
    def of(cls, task: Task, image: Image | None = None) -> Problem:
        """Encode the photograph of a task, or an image made of it."""
        phi = descriptor(task.settings, task.inputs)
        image = image_for(task.settings, task.inputs) if image is None else image
        code = code_to_tensor(phi(image)).to(task.device)
        return cls(task, phi.to(task.device), image, code)

    def invert(self, preset: str | Recipe, **options: Any) -> Result:
        """`invert` with the size of the photograph, the seed and the steps of the task."""
        settings = self.task.settings
        return invert(self.phi, self.code, preset=preset, steps=settings.get("steps"), size=self.image.shape[:2],
                      seed=settings["seed"], **options)

    def outcome(self, result: Result, **values: Any) -> Outcome:
        """What was measured of a result, with more values, and its image."""
        return Outcome({**values_of(result, self.image), **values}, {"image": result.image})

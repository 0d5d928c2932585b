"""What tests of learned methods share: small settings and descriptors, and how much two images agree."""

from __future__ import annotations

import dataclasses

import numpy as np
from torch.nn.functional import avg_pool2d

from unfeature import baselines
from unfeature.baselines.base import Baseline
from unfeature.baselines.keypoints import SIFTKeypoints
from unfeature.baselines.stream import Learner
from unfeature.features.base import Representation
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.gradients.hog import HOG
from unfeature.features.words.bovw import BoVW
from unfeature.features.words.vocabulary import Vocabulary

PHI = HOG(variant="dpm", cell_size=6)
SMALL = {
    "paired-dictionary": {"atoms": 40, "windows": 900, "cells": 3},
    "ridge": {"windows": 900, "cells": 3},
    "elda": {"cells": 3},
    "direct": {"components": 30, "cells": 2},
    "collage": {"cells": 3},
    "upconv": {"crop": 48, "crops": 4, "width": 16, "steps": 90, "batch": 4},
    "decoder": {"crop": 48, "smallest": 64, "largest": 100, "steps": 60, "batch": 4, "every": 20, "width": 16},
}
OPTIONS = {**SMALL, "jigsaw": {}, "keypoints": {"per_image": 20}, "toy": {}}
"""Small settings of every method that learns; the contract tests run for each."""


@dataclasses.dataclass(eq=False, repr=False)
class Toy(Baseline):
    """The mean grey of all images."""

    grey: float

    @classmethod
    def learn_from(cls, stream, phi):
        learner = GreyLearner()
        stream.run(learner, smallest=40)
        return cls(phi.to_config(), float(learner.arrays["greys"].mean()))

    def reconstruct(self, phi, code, size, count, seed):
        return np.full((1, *size, 1), self.grey, np.float32)


class GreyLearner(Learner):
    def __init__(self):
        self.arrays = {"greys": np.zeros(0)}

    def see(self, image, code, rng):
        self.append(greys=[image.mean()])


class Means(Representation):
    """Mean grey of squares, times something."""

    in_channels = (1,)

    def __init__(self, stride: int, strength: float = 1.0) -> None:
        super().__init__()
        self.stride = self.receptive_field = stride
        self.strength = strength

    def output_shape(self, height, width):
        return (1, height // self.stride, width // self.stride)

    def image_size_for(self, code_shape):
        return (code_shape[1] * self.stride, code_shape[2] * self.stride)

    def forward(self, x):
        return self.strength * avg_pool2d(x, self.stride)


def descriptor(name):
    """A descriptor that the method inverts."""
    if name == "jigsaw":
        rows = np.random.default_rng(0).uniform(0, 0.2, (30, 128)).astype(np.float32)
        return BoVW(Vocabulary(DSIFT(bin_size=3, step=6), rows), levels=(1, 2))
    return SIFTKeypoints() if name == "keypoints" else PHI


def learn(name, images, **more):
    """Learn a method, small where `OPTIONS` says how."""
    return baselines.find(name).learn(images, descriptor(name), **{**OPTIONS.get(name, {}), **more})


def invert(name, model, image):
    phi = descriptor(name)
    return model.invert(phi, phi(image), size=image.shape)

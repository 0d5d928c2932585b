"""The descriptors, priors and solvers that the contract tests run on.

Every descriptor of the catalogue that needs no argument is there, as "default-…"; the other lines are special settings.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from tests.tiny_networks import tiny
from unfeature.features import DESCRIPTORS
from unfeature.features.base import Representation
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.gradients.hog import HOG
from unfeature.features.gradients.phow import PHOW
from unfeature.features.networks.cnn import CNN, Layers
from unfeature.features.patterns.brief import BRIEF
from unfeature.features.patterns.lbp import LBP
from unfeature.features.textures.filter_bank import FilterBank
from unfeature.features.words.bovw import BoVW
from unfeature.features.words.fisher import Fisher
from unfeature.features.words.scspm import ScSPM
from unfeature.features.words.super_vector import SuperVector
from unfeature.features.words.vlad import VLAD
from unfeature.features.words.vocabulary import Mixture, Vocabulary
from unfeature.inversion.near import Near
from unfeature.inversion.priors.base import Prior
from unfeature.inversion.priors.bounded_range import BoundedRange
from unfeature.inversion.priors.small_pixels import SmallContribution, SmallNorm
from unfeature.inversion.priors.variation import HyperLaplacian, TotalVariation
from unfeature.inversion.solvers.base import Solver
from unfeature.inversion.solvers.first_order import AdaDelta, AdaGrad, Adam, Momentum
from unfeature.inversion.solvers.lbfgs import LBFGS
from unfeature.inversion.solvers.lbfgsb import LBFGSB

PATCHES = BRIEF(bits=6, patch_size=8, step=3, softness=1.0)
GENERATOR = np.random.default_rng(0)
WORDS = Vocabulary(PATCHES, GENERATOR.uniform(-0.6, 0.6, (8, 6)))
MIXTURE = Mixture(PATCHES, WORDS.words, variances=GENERATOR.uniform(0.1, 0.3, (8, 6)), priors=np.full(8, 0.125))


def needs_no_argument(kind: type[Representation]) -> bool:
    return all(p.default is not p.empty for p in inspect.signature(kind).parameters.values())


REPRESENTATIONS: dict[str, Callable[[], Representation]] = {
    **{f"default-{name}": kind for name, kind in DESCRIPTORS.items() if needs_no_argument(kind)},
    "hog": lambda: HOG(cell_size=4),
    "hog-bilinear": lambda: HOG(cell_size=4, bilinear=True, texture=False),
    "hog-smooth": lambda: HOG(cell_size=5, orientations=4, softness=0.2),
    "hog-dpm": lambda: HOG("dpm", cell_size=4),
    "hog-dalal-triggs": lambda: HOG("dalal-triggs", cell_size=6),
    "hog-skimage": lambda: HOG("skimage", cell_size=4, cells_per_block=2),
    "hog-skimage-roots": lambda: HOG("skimage", cell_size=4, block_norm="L1-sqrt", square_root=True),
    "hog-opencv": lambda: HOG("opencv", cell_size=4),
    "dsift": lambda: DSIFT(bin_size=3, step=2),
    "dsift-flat": lambda: DSIFT(bin_size=4, step=3, window="flat", geometry=(2, 3, 6), bounds=(1, 2, None, None)),
    "dsift-network": lambda: DSIFT(bin_size=3, variant="network"),
    "phow": lambda: PHOW(sizes=(2, 4)),
    "phow-hsv": lambda: PHOW(sizes=(3,), step=3, colour="hsv", contrast_threshold=0.0, variant="vlfeat"),
    "phow-opponent": lambda: PHOW(sizes=(3,), step=3, colour="opponent", window="gaussian"),
    "cnn": lambda: CNN(tiny(), "fire3"),
    "layers": lambda: Layers(tiny(), ["conv1", "fire3"]),
    "bovw-hard": lambda: BoVW(WORDS),
    "bovw-soft": lambda: BoVW(WORDS, "soft", neighbours=3, levels=(1, (3, 1)), normalisation="power"),
    "bovw-llc": lambda: BoVW(WORDS, "llc", pooling="max", normalisation="l2"),
    "scspm": lambda: ScSPM(WORDS, levels=(1, 2)),
    "vlad": lambda: VLAD(WORDS, normalise_components=True),
    "super-vector": lambda: SuperVector(WORDS),
    "fisher": lambda: Fisher(MIXTURE),
    "lbp": lambda: LBP(cell_size=4),
    "lbp-turned": lambda: LBP(points=4, cell_size=4, rotation_invariant=False),
    "filter-bank-responses": lambda: FilterBank("schmid", bins=0),
    "filter-bank-mr8": lambda: FilterBank("mr8", bins=5),
    "brief": lambda: BRIEF(bits=32, patch_size=12, step=4),
}

PRIORS: dict[str, Callable[[], Prior]] = {
    "range": BoundedRange,
    "range-2": partial(BoundedRange, alpha=2.0),
    "range-2015": partial(BoundedRange, pixels=50.0, colours=False),
    "variation": TotalVariation,
    "variation-2015": partial(TotalVariation, pixels=50.0),
    "variation-1": partial(TotalVariation, beta=1.0),
    "variation-1.5": partial(TotalVariation, beta=1.5),
    "variation-3": partial(TotalVariation, beta=3.0),
    "hyper-laplacian": HyperLaplacian,
    "small-norm": SmallNorm,
    "small-contribution": partial(SmallContribution, share=0.6),
    "near": partial(Near, torch.full((1, 1, 1, 1), 0.4), spectrum=((0.05, 3.0), (0.3, 0.2)), cutoff=0.4),
}

SOLVERS: dict[str, Callable[[], Solver]] = {
    "momentum": partial(Momentum, step=3e-5),
    "adagrad": partial(AdaGrad, step=0.02, damping=1.0),
    "adam": partial(Adam, step=0.05),
    "adadelta": partial(AdaDelta, damping=1e-4),
    "lbfgs": partial(LBFGS, history=8),
    "lbfgsb": partial(LBFGSB, history=8),
}

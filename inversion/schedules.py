"""What the recipes need to know of each kind of code: how its surrogate is sharpened, weights, jitter."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

from unfeature.features.base import Representation

Softness = tuple[tuple[int, float], ...]

UNKNOWN_INPUT_SIZE = (224, 224)


@dataclass(frozen=True)
class Descent2015:
    """Settings of Mahendran & Vedaldi 2015 that depend on the kind of code.

    Attributes
    ----------
    stages : tuple of (int, float)
        Gradient evaluations at each rate, in units of 0.004.
    tv_weight : float
        λ_TV.
    """

    stages: tuple[tuple[int, float], ...]
    tv_weight: float


DESCRIPTORS_2015 = Descent2015(((200, 1.0), (200, 0.1), (200, 0.01), (200, 0.001)), 1.0)
NEIGHBOURHOODS_2015 = Descent2015(((200, 0.1), (200, 0.01), (200, 0.001)), 100.0)


@dataclass(frozen=True)
class Schedule:
    """How one kind of code is inverted.

    Attributes
    ----------
    softness, quick_softness : tuple of (int, float)
        Gradient evaluations at each softness of the surrogate in `best` and `fast`, the softest first; 0 is the
        descriptor itself.
    tv_weight : float
        Weight of the total variation in `best`. Where codes are fitted closely, a large one trades noise for long
        false ramps.
    init_std : float
        Standard deviation of the Fourier coefficients of the noise that `best` starts from.
    history, quick_history : int
        Pairs of steps and gradients that the L-BFGS of `best` and `fast` keeps.
    data_weight : float
        C of the papers, the weight of the code's relative error against the priors.
    response_weight : float
        C of `best` when it maximises a response of a network.
    jitter : int, optional
        T, for networks: the published settings show Φ windows at T × T random offsets. None for other codes.
    cvpr2015 : Descent2015
        Steps and λ_TV of the preset `cvpr2015`.
    near : tuple of float, optional
        Where a decoder guides `best`: what the `Near` prior weighs for a typical photograph, and the share of that in
        the last stage. None where a decoder would lose more than it brings.
    guided_start : tuple of float
        Standard deviations of the decoder's image that `best` and `fast` start from, if the descriptor is blind to
        contrast, and of the noise added to it. From little contrast, edges form in fewer steps.
    """

    softness: Softness = ((60, 0.5), (60, 0.2), (60, 0.1), (60, 0.05), (60, 0.025))
    quick_softness: Softness = ((20, 0.4), (20, 0.15), (20, 0.04))
    tv_weight: float = 1.0
    init_std: float = 0.3
    history: int = 6
    quick_history: int = 4
    data_weight: float = 100.0
    response_weight: float = 2.0
    jitter: int | None = None
    cvpr2015: Descent2015 = DESCRIPTORS_2015
    near: tuple[float, float] | None = (8.0, 0.01)
    guided_start: tuple[float, float] = (0.2, 0.06)


@singledispatch
def schedule_for(phi: Representation) -> Schedule:
    """The schedule of a descriptor: that of its class or nearest base class, else the default one.

    Register one for a class of your own::

        @schedule_for.register
        def _(phi: Toy) -> Schedule:
            return Schedule(data_weight=300.0)

    The package's own classes are found by name, because importing all of them takes 0.3 s.
    """
    names = (base.__name__ for base in type(phi).__mro__ if base.__module__.startswith("unfeature."))
    return next((SCHEDULES[name](phi) for name in names if name in SCHEDULES), Schedule())


HARD_HOG = Schedule(history=20, quick_history=8, near=(30.0, 0.0005), guided_start=(0.08, 0.012))
BILINEAR_HOG = Schedule(tv_weight=0.5, near=(30.0, 0.0003), guided_start=(0.1, 0.02))
DENSE_SIFT = Schedule(init_std=0.03, history=20, near=(30.0, 0.0003), guided_start=(0.03, 0.003))
NETWORK_SIFT = replace(DENSE_SIFT, softness=((60, 0.5), (60, 0.2), (120, 0.1), (120, 0.05), (240, 0.025)),
                       near=(100.0, 0.004))
BLOCK_HOG = Schedule(softness=((80, 0.5), (130, 0.2), (160, 0.1), (210, 0.04), (220, 0.012)), history=20)
WORDS = Schedule(
    softness=((60, 0.5), (100, 0.35), (100, 0.25), (100, 0.18), (80, 0.12), (60, 0.08), (60, 0.0)),
    quick_softness=((30, 0.5), (30, 0.3), (30, 0.15), (10, 0.08)), init_std=0.01, data_weight=1e4)
HARD_BOVW = replace(WORDS, softness=((100, 0.5), (100, 0.3), (60, 0.15), (40, 0.07)))
SOFT_BOVW = replace(WORDS, softness=((60, 0.5), (80, 0.25), (100, 0.1), (60, 0.02)))
FISHER = replace(
    WORDS, quick_softness=((30, 1.0), (30, 0.5), (30, 0.25), (30, 0.1)),
    softness=((50, 1.0), (60, 0.7), (80, 0.5), (80, 0.35), (80, 0.25), (80, 0.15), (80, 0.1), (80, 0.05), (40, 0.02)))
STATISTICS = Schedule(softness=((150, 0.0),), quick_softness=((80, 0.0),), tv_weight=0.1, init_std=0.1, data_weight=1e4,
                      near=None)
SCSPM = replace(WORDS, softness=((60, 1.0), (60, 0.5), (60, 0.25), (60, 0.12), (60, 0.06)),
                quick_softness=((30, 1.0), (30, 0.5), (20, 0.25), (20, 0.12)), init_std=0.02)
LBP = Schedule(
    softness=((40, 0.2), (60, 0.1), (60, 0.05), (80, 0.025), (100, 0.0125), (100, 0.006), (60, 0.003)),
    quick_softness=((20, 0.2), (20, 0.05), (20, 0.0125)))


def _network(phi: Representation) -> Schedule:
    """T = max(round(stride / 4), 1), as published, and λ_TV of 1, 10 or 100 by depth.

    Published for layers 1–6, 7–12 and 13–20 of CaffeNet, which see up to 51, up to 131 and from 163 pixels on.
    """
    tv_weight = 1.0 if phi.receptive_field < 64 else 10.0 if phi.receptive_field < 144 else 100.0
    descent = Descent2015(((100, 1.0), (200, 0.1), (100, 0.01)), tv_weight)
    return Schedule(jitter=max(math.floor(phi.stride / 4 + 0.5), 1), cvpr2015=descent)


def _cnn(phi: Representation) -> Schedule:
    """C by the share of the network's image that a position sees.

    Inversions take 300 below half, 100 below the whole, 20 beyond: Mahendran & Vedaldi 2016 sweep 1, 20, 100 and 300,
    and show shallow layers with 300 and deep ones with less. Responses take 100 below three tenths, 300 below the
    whole: many channels of middle layers respond weakly, and come out grey with less. Beyond, where classes are vivid,
    they take 2.
    """
    share = phi.receptive_field / max(phi.input_size or UNKNOWN_INPUT_SIZE)
    return replace(_network(phi), data_weight=300.0 if share < 0.5 else 100.0 if share < 1 else 20.0,
                   response_weight=100.0 if share < 0.3 else 300.0 if share < 1 else 2.0)


def _hog(phi: Any) -> Schedule:
    """Normalised blocks that overlap tie the contrasts of neighbours together, which takes more evaluations."""
    return BLOCK_HOG if phi.variant in ("skimage", "opencv") else BILINEAR_HOG if phi.bilinear else HARD_HOG


SCHEDULES: dict[str, Callable[[Any], Schedule]] = {
    "HOG": _hog,
    "DSIFT": lambda phi: DENSE_SIFT if phi.variant == "vlfeat" else NETWORK_SIFT,
    "LBP": lambda phi: LBP,
    "FilterBank": lambda phi: STATISTICS if phi.bins else Schedule(),
    "PortillaSimoncelli": lambda phi: STATISTICS,
    "WordCode": lambda phi: WORDS,
    "BoVW": lambda phi: HARD_BOVW if phi.assignment in ("hard", "straight-through") else SOFT_BOVW,
    "Fisher": lambda phi: FISHER,
    "ScSPM": lambda phi: SCSPM,
    "NetworkCode": _network,
    "CNN": _cnn,
}

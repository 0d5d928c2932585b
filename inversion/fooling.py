"""Fooling images: noise that a network takes for a label with near certainty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from unfeature.features.base import Representation
from unfeature.features.checks import check_seed

from .adversarial import Attack, check_bounds, checked_label
from .engine import Progress
from .result import Result
from .search import result_of
from .targets import natural_noise, usual_size

Noise = Literal["natural", "white"]

FIRST_BOUND = 8 / 255


@torch.inference_mode(False)
def fooling(
    phi: Representation, label: int, *, probability: float = 0.99, noise: Noise = "natural",
    size: tuple[int, int] | None = None, bound: float | None = None, steps: int | None = None, seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Result:
    r"""Find an image that shows nothing but noise and that a network gives a label with near certainty.

    x* = argmin_x log Σ_j exp(s_j(x)) − s_t(x),  with ‖x − x₀‖∞ ≤ ε, x in [0, 1], x₀ noise

    Parameters
    ----------
    phi : Representation
        Φ; a layer with one channel for each label and before the softmax, whose mean over positions is s.
    label : int
        t.
    probability : float
        Softmax of the label at which the search ends.
    noise : {"natural", "white"}
        x₀: noise about the network's mean colour with the spectrum of photographs, 1/f, of standard deviation 0.2, or
        uniform noise in [0, 1], each value by itself.
    size : tuple of int, optional
        Height and width; by default the size that the code was made for.
    bound : float, optional
        ε, on the scale of [0, 1]. By default 8/255, doubled until the probability is reached.
    steps : int, optional
        Gradient evaluations for each bound that is tried; by default 40.
    seed : int
        Of the noise.
    progress : callable, optional
        As for `invert`.

    Returns
    -------
    Result
        With one image. ``provenance["label"]`` holds the labels of the noise, wanted and of the image, with the softmax
        of the wanted one before and after; ``provenance["change"]`` ‖Δ‖∞, ‖Δ‖₂, ε and whether the probability is
        reached; ``provenance["noise"]`` kind and seed of the noise.

    Raises
    ------
    ValueError
        For a label that the code does not have, an unknown kind of noise, a bound that is not positive, or a
        probability outside [0, 1).

    Notes
    -----
    Source: Nguyen, Yosinski & Clune 2015, whose irregular images evolve from noise, or climb the gradient of the score.
    Differs: the image stays within ε of the noise, so that it can show nothing of the label.
    """
    if noise not in get_args(Noise):
        raise ValueError(f"noise is {' or '.join(map(repr, get_args(Noise)))}, got {noise!r}")
    check_bounds(bound, probability)
    x = noise_image(phi, size or usual_size(phi), noise, check_seed(seed))
    attack = Attack(phi=phi, x=x, norm="inf", steps=steps, progress=progress, probability=probability,
                    label=checked_label(phi, x, label, new=False))
    found = attack.attempt(bound or FIRST_BOUND)
    while bound is None and not found.reached and found.bound < 1 and not found.outcome.interrupted:
        found = attack.attempt(2 * found.bound)
    facts: dict[str, Any] = attack.facts(found)
    return result_of(phi, attack.recipe(found.bound, "fooling"), found.outcome, seed, 1,
                     noise={"kind": noise, "seed": seed}, **facts)


def noise_image(phi: Representation, size: tuple[int, int], kind: Noise, seed: int) -> Tensor:
    """Noise (1, C, H, W) in [0, 1], on phi's device."""
    if kind == "natural":
        return natural_noise(phi, size, [seed])
    return torch.rand(1, phi.in_channels[0], *size, generator=torch.Generator().manual_seed(seed)).to(phi.device)

"""Orientation bins, and how a gradient is shared between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

CUBIC = (0.9675, 0.1821)
FAST_EPSILON = 2.0**-23
FAST_LEAST = 1e-4


@dataclass(frozen=True)
class Bins:
    r"""Orientation bins, and how a gradient is shared between them.

    Bin o of 2O directed ones lies at the angle oπ/O, clockwise from +x (y points down). The nearest bin is that of
    the undirected direction with the largest \|g·u_o\|, ties to the lower o, plus O if the product is negative. With
    t ∈ [0, ½] the angle between gradient and bin in units of π/O, the next nearest bin gets the share

    ======== ======================= ===================================================
    hard     0                       ``linear=False, softness=0``
    linear   t                       ``linear=True``
    smooth   σ((t − ½) / softness)   ``softness > 0``; tends to hard as softness → 0
    ======== ======================= ===================================================

    and the nearest bin the rest of the magnitude.

    Parameters
    ----------
    orientations : int
        O, the number of undirected directions.
    linear : bool
    softness : float
    decimals : int, optional
        Round the u_o to so many decimals, as the deformable part models do (four).
    cubic : bool
        Share linearly between the two bins beside VLFeat's fast angle (whatever ``linear`` says).

    Notes
    -----
    VLFeat has its own roundings of t, and so have we. Its HOG takes the arc cosine of g·u / \|g\|, which in single
    precision is coarse near zero: linear bins. Its SIFT takes the angle from a cubic, 0.006 rad off at worst, and
    drops gradients shorter than 10⁻⁴: ``cubic``. The derivative is that of the exact angle in the former case, and of
    the cubic in the latter.
    """

    orientations: int = 9
    linear: bool = False
    softness: float = 0.0
    decimals: int | None = None
    cubic: bool = False

    @property
    def hard(self) -> bool:
        """Whether each gradient belongs to one bin."""
        return not (self.linear or self.cubic or self.softness)

    @property
    def directions(self) -> NDArray[np.float64]:
        """The 2O vectors u_o, (2O, 2) as (x, y); mirrored bins have exactly mirrored vectors, so that ties are ties."""
        return _directions(self.orientations, self.decimals)


def mirrored_directions(number: int) -> NDArray[np.intp]:
    """Directions 2πk / number, an even number of them, in the order that they have in the mirror image: π less each."""
    return (number // 2 - np.arange(number)) % number


@lru_cache(maxsize=64)
def _directions(orientations: int, decimals: int | None) -> NDArray[np.float64]:
    n = orientations
    half = np.array([(_cosine(2 * o, 2 * n), _cosine(2 * o - n, 2 * n)) for o in range(n)])
    if decimals is not None:
        half = half.round(decimals)
    directions = np.concatenate([half, -half])
    directions.flags.writeable = False
    return directions


def _cosine(k: int, n: int) -> float:
    """cos(kπ/n) with the symmetries of the circle exact in floating point."""
    k = abs(k)
    if 2 * k > n:
        return -_cosine(n - k, n)
    return math.sin(math.pi * (n - 2 * k) / (2 * n)) if 4 * k > n else math.cos(math.pi * k / n)

"""Bands of pooling weights whose rows lie evenly, as the GPU's kernels take them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..oriented import Band


@dataclass(frozen=True, eq=False)
class Runs:
    """An axis in runs of pixels: those of run k count for the rows k + base, …, k + base + reach − 1 of a band.

    Attributes
    ----------
    first, pitch, count : int
        Run k, of `count`, begins at pixel first + pitch · k; the first may begin before the image.
    base, reach : int
    weights : ndarray (pixels, reach)
    """

    first: int
    pitch: int
    count: int
    base: int
    weights: NDArray[np.float64]

    @property
    def reach(self) -> int:
        """Rows that one pixel counts for, at most."""
        return int(self.weights.shape[1])


@lru_cache(maxsize=64)
def runs_of(band: Band) -> Runs:
    """The runs of a band, from `Band.grid`, where its rows begin and how far apart they lie."""
    origin, pitch = band.grid
    pixel = np.repeat(np.arange(band.pixels), np.diff(band.start))
    lowest = (0 - origin) // pitch
    run = (pixel - origin) // pitch - lowest
    offset = band.row - run
    base = int(offset.min(initial=0))
    weights = np.zeros((band.pixels, int(offset.max(initial=base)) - base + 1))
    weights[pixel, offset - base] = band.weight
    count = (band.pixels - 1 - origin) // pitch - lowest + 1
    return Runs(origin + lowest * pitch, pitch, count, base, weights)

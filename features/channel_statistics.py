"""How strongly each channel of a code responds to natural images: mean, standard deviation, maximum."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.io.files import load_arrays, save_arrays

from .base import Representation

KIND = "statistics"
IRRELEVANT = {"leak", "stride", "receptive_field", "precision"}


@dataclass(frozen=True)
class Statistics:
    """The responses of a descriptor's channels over a set of images and all positions of their codes.

    Attributes
    ----------
    mean, std, max : ndarray (D,)
        Float64; the standard deviation is that of the population, ÷ count.
    images, positions : int
        How many were read; every position counts alike, so that larger images count for more.
    config : dict
        `Representation.to_config` of the descriptor.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    max: NDArray[np.float64]
    images: int
    positions: int
    config: dict[str, Any]

    def save(self, path: str | Path) -> None:
        """Write one .npz file, atomically and without pickle."""
        meta = {"config": self.config, "images": self.images, "positions": self.positions}
        save_arrays(path, KIND, meta, mean=self.mean, std=self.std, max=self.max)

    @classmethod
    def load(cls, path: str | Path, phi: Representation | None = None) -> Statistics:
        """Read what `save` wrote; FileNotFoundError without file, ValueError if damaged or of another descriptor."""
        meta, arrays = load_arrays(path, KIND)
        found = cls(arrays["mean"], arrays["std"], arrays["max"], meta["images"], meta["positions"], meta["config"])
        if phi is not None:
            found.check(phi, path)
        return found

    def check(self, phi: Representation, source: str | Path = "these") -> None:
        """Raise a ValueError unless phi is the descriptor that the statistics were collected with.

        The slope of dead ReLUs is left out of the comparison, since codes do not depend on it, and so is the precision.
        """
        ours, theirs = self.config, phi.to_config()
        relevant = (ours.keys() | theirs.keys()) - IRRELEVANT
        differing = sorted(k for k in relevant if ours.get(k) != theirs.get(k))
        if differing:
            described = ", ".join(f"{k} {ours.get(k)!r} instead of {theirs.get(k)!r}" for k in differing)
            raise ValueError(f"the statistics in {source} belong to another descriptor ({described}): "
                             "collect them with this one")


def statistics(phi: Representation, images: Iterable[NDArray[Any] | Tensor]) -> Statistics:
    """Collect the mean, standard deviation and maximum of every channel, image by image or batch by batch.

    Parameters
    ----------
    phi : Representation
    images : iterable of ndarray (H, W) or (H, W, C), or of Tensor (N, C, H, W)
        Values in [0, 1] (arrays may be uint8); sizes may differ. A generator is read once and never held.

    Returns
    -------
    Statistics

    Raises
    ------
    ValueError
        If there is no image, or one that the descriptor cannot encode.

    Notes
    -----
    Counts, means and squared deviations are merged batch by batch in float64 (Chan, Golub & LeVeque 1983), which is
    exact where sums of squares would cancel.
    """
    seen = positions = 0
    mean, deviations, largest = np.zeros(1), np.zeros(1), np.full(1, -np.inf)
    for image in images:
        with torch.no_grad():
            code = phi(phi.as_batch(image))
        responses = code.transpose(0, 1).flatten(1).cpu().numpy().astype(np.float64)
        count = responses.shape[1]
        shift, total = responses.mean(axis=1) - mean, positions + count
        mean = mean + shift * count / total
        deviations = deviations + responses.var(axis=1) * count + shift**2 * positions * count / total
        largest = np.maximum(largest, responses.max(axis=1))
        seen, positions = seen + len(code), total
    if seen == 0:
        raise ValueError("there are no images to collect statistics over")
    return Statistics(mean, np.sqrt(deviations / positions), largest, seen, positions, phi.to_config())

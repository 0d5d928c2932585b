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
from unfeature.io.schema import Field, Value

from .base import Representation, differences

KIND = "statistics"
ARRAYS = {"mean": Field("float64", ("channels",)), "std": Field("float64", ("channels",), low=0),
          "max": Field("float64", ("channels",))}
META = {"config": Value(dict), "images": Value(int, low=1), "positions": Value(int, low=1)}
IRRELEVANT = {"leak", "stride", "receptive_field", "precision"}


@dataclass(frozen=True)
class Statistics:
    """The responses of a descriptor's channels over a set of images and all positions of their codes.

    Attributes
    ----------
    mean, std, max : ndarray (D,), float64
        The standard deviation is that of the population, ÷ `positions`.
    images, positions : int
        Numbers of images and of positions; all positions have the same weight, whatever their image.
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
        meta, arrays = load_arrays(path, KIND, ARRAYS, META)
        found = cls(arrays["mean"], arrays["std"], arrays["max"], meta["images"], meta["positions"], meta["config"])
        if phi is not None:
            found.check(phi, path)
        return found

    def check(self, phi: Representation, source: str | Path = "these") -> None:
        """Raise a ValueError unless the statistics are of this descriptor; leak and precision may differ."""
        if found := differences(self.config, phi.to_config(), IRRELEVANT):
            raise ValueError(f"the statistics in {source} belong to another descriptor ({found}): "
                             "collect them with this one")


def statistics(phi: Representation, images: Iterable[NDArray[Any] | Tensor]) -> Statistics:
    """The mean, standard deviation and maximum of every channel of a descriptor's codes.

    Parameters
    ----------
    phi : Representation
    images : iterable of ndarray (H, W) or (H, W, C), or of Tensor (N, C, H, W)
        Read once, one after the other; what `phi` can encode, of any sizes. ValueError if there is none.

    Notes
    -----
    Counts, means and squared deviations are merged batch by batch in float64 (Chan, Golub & LeVeque 1983), which is
    accurate where sums of squares would cancel.
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

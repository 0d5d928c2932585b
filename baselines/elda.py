"""Exemplar LDA: the windows that a detector made of one code likes best, averaged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from unfeature.features.base import Representation

from .base import Images, Progress, Stream
from .collection import Collected, Collection
from .windows import Floats, Windows, normalised, spread

AVERAGED = 20
STEP = 2


@dataclass(eq=False, repr=False)
class ELDA(Collected):
    r"""The average of the windows found by a whitened template.

    The template of a window y of the code is w = (Σ + λI)⁻¹ (y − μ), μ and Σ being the mean and covariance of all
    windows of the collection ("background"), λ the mean of Σ's diagonal times `ridge`. Windows y' of the collection
    are scored by ⟨w, y'⟩, and the patches under the 20 best are averaged.

    Attributes
    ----------
    background : ndarray (d)
        μ.
    precision : ndarray (d, d)
        (Σ + λI)⁻¹.

    Notes
    -----
    The paper makes one template of the code of a whole object. Here every second window of a code gets its own, so
    that codes of any size can be inverted; patches, of zero mean and unit norm, are laid over each other under a
    Gaussian window.

    References
    ----------
    C. Vondrick et al., "HOGgles", ICCV 2013, section 3.1; B. Hariharan, J. Malik, D. Ramanan, "Discriminative
    decorrelation for clustering and classification", ECCV 2012.
    """

    method: ClassVar[str] = "elda"

    background: Floats
    precision: Floats

    @classmethod
    def learn(cls, images: Images, phi: Representation, *, cells: int = 5, ridge: float = 0.1, seed: int = 0,
              side: int | None = None, memory: str | int = "2GB", output: str | Path | None = None,
              progress: Progress | None = None) -> ELDA:
        """Collect images and codes, and the background statistics of their windows.

        Parameters
        ----------
        images : path, or iterable of paths and arrays
        phi : Representation
            A descriptor whose code has positions.
        cells : int
            Positions along one side of a window.
        ridge : float
            λ, in units of the mean variance of a value of the code.
        seed, side, memory, output, progress
            See `Stream`.
        """
        if ridge <= 0:
            raise ValueError(f"ridge is a positive number, got {ridge}")
        shape = Windows.of(phi, cells)
        stream = Stream(images, phi, seed, side, memory, output, progress)
        kept = cls.collect(stream, shape)
        background, covariance = _background(kept, shape)
        covariance += ridge * max(float(np.trace(covariance)) / len(covariance), 1e-12) * np.eye(len(covariance))
        precision = np.linalg.inv(covariance).astype(np.float32)
        return stream.finish(cls(phi.to_config(), kept.pixels, kept.codes, kept.extents, cells,
                                 background.astype(np.float32), precision))

    def reconstruct(self, phi: Representation, code: NDArray[Any], size: tuple[int, int], count: int,
                    seed: int) -> Floats:
        """The image (1, H, W, C) in [0, 1] of a code (h, w, D)."""
        shape = Windows.of(phi, self.cells)
        rows, places = shape.every(code, self.cells // 2)
        chosen = (places % STEP == 0).all(axis=1)
        rows, places = rows[chosen], places[chosen]
        live = np.ptp(rows, axis=1) > 0
        bell = np.repeat(shape.bell(), shape.channels)
        patches = np.zeros((len(rows), shape.patch_length), dtype=np.float32)
        if live.any():
            templates = (rows[live] - self.background) @ self.precision
            scores, found = self.collection.nearest(shape, templates, AVERAGED, "product")
            patches[live] = normalised((found * np.isfinite(scores)[..., None]).mean(axis=1))
        total, _ = shape.lay(patches * bell, places, size)
        weight, _ = shape.lay(np.tile(bell, (len(rows), 1)), places, size)
        return spread(total / np.maximum(weight, 1e-3))[None]


def _background(collection: Collection, shape: Windows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and covariance of all windows of the collection."""
    total = np.zeros(shape.code_length)
    products = np.zeros((shape.code_length, shape.code_length))
    number = 0
    for image, code in collection.entries():
        rows = shape.codes(code, shape.places(code, image))
        total += rows.sum(axis=0)
        products += rows.T @ rows
        number += len(rows)
    mean = total / number
    return mean, products / number - np.outer(mean, mean)

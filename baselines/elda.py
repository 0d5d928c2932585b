"""Exemplar LDA: the mean of the windows that a detector, made of one code, scores highest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unfeature.features.base import Representation
from unfeature.io.schema import Field, Schema

from .collection import Collected, entries
from .stream import Floats, Moments, Size, Stream
from .windows import Windows, min_max_normalise, normalised

AVERAGED = 20
STEP = 2


@dataclass(eq=False, repr=False)
class ELDA(Collected):
    r"""Exemplar LDA: images, codes and background statistics.

    The image averages the windows that a whitened template scores highest. The template of a window y of the code is
    w = (Σ + λI)⁻¹ (y − μ), μ and Σ being the mean and covariance of all windows of the collection ("background"), λ
    the mean of Σ's diagonal times `ridge`. Windows y' of the collection are scored by ⟨w, y'⟩, and the patches under
    the 20 best are averaged. `background` (d) is μ and `precision` (d, d) is (Σ + λI)⁻¹.

    Notes
    -----
    The paper makes one template of the code of a whole object. Here every second window of a code gets its own, so
    that codes of any size can be inverted; patches, of zero mean and unit norm, are blended under a Gaussian
    window.

    References
    ----------
    C. Vondrick et al., "HOGgles", ICCV 2013, section 3.1; B. Hariharan, J. Malik, D. Ramanan, "Discriminative
    decorrelation for clustering and classification", ECCV 2012.
    """

    schema: ClassVar[Schema] = {**Collected.schema, "background": Field("float32", ("code",)),
                                "precision": Field("float32", ("code", "code"))}

    background: Floats
    precision: Floats

    @classmethod
    def learn_from(cls, stream: Stream, phi: Representation, *, cells: int = 5, ridge: float = 0.1) -> ELDA:
        """Collect images and codes, and the background statistics of their windows.

        Parameters
        ----------
        cells : int
            Positions along one side of a window.
        ridge : float
            Regularisation λ of the covariance, in units of the mean variance of a value of the code.
        """
        if ridge <= 0:
            raise ValueError(f"ridge is a positive number, got {ridge}")
        shape = Windows.of(phi, cells)
        kept = cls.collect(stream, shape)
        moments = Moments(shape.code_length)
        for image, code in entries(**kept):
            moments.add(shape.codes(code, shape.positions(code, image)))
        mean, covariance = moments.finish()
        covariance += ridge * max(float(np.trace(covariance)) / len(covariance), 1e-12) * np.eye(len(covariance))
        return cls(phi.to_config(), kept["pixels"], kept["codes"], kept["extents"], cells, mean.astype(np.float32),
                   np.linalg.inv(covariance).astype(np.float32))

    def reconstruct(self, phi: Representation, code: Floats, size: Size, count: int, seed: int) -> Floats:
        """The image (1, H, W, C) in [0, 1] of a code (h, w, D)."""
        shape = Windows.of(phi, self.cells)
        rows, positions = shape.all_windows(code, self.cells // 2, STEP)
        varied = np.ptp(rows, axis=1) > 0
        patches = np.zeros((len(rows), shape.patch_length), dtype=np.float32)
        if varied.any():
            templates = (rows[varied] - self.background) @ self.precision
            scores, found = self.nearest(shape, templates, AVERAGED, "product")
            patches[varied] = normalised((found * np.isfinite(scores)[..., None]).mean(axis=1))
        return min_max_normalise(shape.blend(patches, positions, size))[None]

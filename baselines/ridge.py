"""The most likely image window under a joint Gaussian of windows and codes: ridge regression with a likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unfeature.features.base import Representation
from unfeature.io.schema import Field, Schema, Value

from .base import Baseline, in_half
from .stream import Floats, Learner, Size, Stream
from .windows import CELLS, CHUNK, Windows, min_max_normalise, normalised

Doubles = NDArray[np.float64]
SHRINKAGES = tuple(float(s) for s in np.logspace(-6, -0.3, 20))
HELD_OUT = 5
FLOOR = 1e-6


@dataclass(eq=False, repr=False)
class Ridge(Baseline):
    r"""The joint Gaussian of windows and codes.

    The image is the conditional mean of the pixels, given the code. With x a patch and y the window of the code above
    it, both of zero mean and unit norm, and their means and covariances over many windows,

        x̂ = μ_x + Σ_xy Σ_yy⁻¹ (y − μ_y),   var(x | y) = diag(Σ_xx − Σ_xy Σ_yy⁻¹ Σ_yx).

    Σ_yy is shrunk, (1 − γ) Σ_yy + γ tr(Σ_yy)/d · I. The γ is the one under which windows of held-out images (every
    fifth) have the largest log-likelihood log p(y) + log p(x | y), with a diagonal conditional covariance.

    Attributes
    ----------
    weights : ndarray (d, side · side · C)
        (Σ_xy Σ_yy⁻¹)ᵀ; side is that of a patch in squares of `reduction` pixels.
    image_mean, code_mean, variance : ndarray
        μ_x, μ_y and the conditional variance of each pixel of a normalised patch.
    whitening : ndarray (d', d)
        A with AᵀA = Σ_yy⁻¹, over the directions in which windows of unit norm and zero mean vary at all.
    shrinkage : float
        γ.

    Notes
    -----
    The paper's implementation takes the covariance from HOG statistics learned on large image sets and a fixed ridge;
    this one is learned from any images, and chooses its shrinkage.

    References
    ----------
    C. Vondrick et al., "HOGgles: Visualizing Object Detection Features", ICCV 2013, section 3.2.
    """

    version: ClassVar[int] = 2

    schema: ClassVar[Schema] = {
        "weights": Field("float32", ("code", "pixels")), "image_mean": Field("float32", ("pixels",)),
        "code_mean": Field("float32", ("code",)), "variance": Field("float32", ("pixels",)),
        "whitening": Field("float32", ("directions", "code")), "cells": CELLS, "shrinkage": Value(float, 0, 1),
        "reduction": CELLS}

    weights: Floats
    image_mean: Floats
    code_mean: Floats
    variance: Floats
    whitening: Floats
    cells: int
    shrinkage: float
    reduction: int = 1

    @classmethod
    def learn_from(cls, stream: Stream, phi: Representation, *, windows: int = 100_000, cells: int = 5,
                   reduction: int = 1, half: bool = False) -> Ridge:
        """Accumulate means and covariances over windows of the images, in a stream.

        Parameters
        ----------
        windows : int
            Windows to learn from, spread evenly over the images; memory does not depend on their number.
        cells : int
            Positions along one side of a window.
        reduction : int
            Pixels along one side of a square that a patch averages.
        half : bool
            Round all arrays to half precision, which halves the file.
        """
        shape = Windows.of(phi, cells, reduction)
        d, p = shape.code_length, shape.patch_length
        stream.rows_in_memory(8 * (2 * (d * d + d * p) + 4 * d * d), 12 * (d + p), CHUNK)
        learner = _MomentsLearner(shape, -(-windows // len(stream)))
        stream.run(learner, shape.smallest_image)
        gaussian, gamma = _conditional(learner.moments("fit"), learner.moments("held"))
        single = {name: in_half(values) if half else values.astype(np.float32) for name, values in gaussian.items()}
        return cls(phi.to_config(), cells=cells, shrinkage=gamma, reduction=reduction, **single)

    def reconstruct(self, phi: Representation, code: Floats, size: Size, count: int, seed: int) -> Floats:
        """The image (1, H, W, C) in [0, 1] of a code (h, w, D)."""
        shape = Windows.of(phi, self.cells, self.reduction)
        rows, positions = shape.all_windows(code, self.cells)
        varied = np.ptp(rows, axis=1) > 0
        patches = np.zeros((len(rows), shape.patch_length), dtype=np.float32)
        patches[varied] = (normalised(rows[varied]) - self.code_mean) @ self.weights + self.image_mean
        return min_max_normalise(shape.blend(patches, positions, size, by_number=True))[None]

    def likelihood(self, phi: Representation, code: Floats, size: Size | None = None) -> tuple[Floats, Floats]:
        """How likely the windows of a code (h, w, D) are, and how uncertain the pixels remain.

        Parameters
        ----------
        phi, code, size
            See `Baseline.invert`.

        Returns
        -------
        log_likelihood : ndarray (h − cells + 1, w − cells + 1)
            log p(y) of each window inside the code, of unit norm, in nats; −∞ for constant windows.
        variance : ndarray (H, W, C)
            Conditional variance of the pixels, on the scale of patches of unit norm, averaged with the weights with
            which the windows make up the image.
        """
        self.check(phi)
        shape = Windows.of(phi, self.cells, self.reduction)
        size = phi.image_size_for((code.shape[2], *code.shape[:2])) if size is None else size
        rows, at = shape.all_windows(code, 0)
        distance = (((normalised(rows) - self.code_mean) @ self.whitening.T) ** 2).sum(axis=1)
        precisions = (self.whitening.astype(np.float64) ** 2).sum(axis=1)
        values = 0.5 * (float(np.log(precisions / (2 * np.pi)).sum()) - distance)
        values = np.where(np.ptp(rows, axis=1) > 0, values, -np.inf).astype(np.float32)
        _, positions = shape.all_windows(code, self.cells)
        return values.reshape(at.max(axis=0) + 1), shape.blend(self.variance, positions, size)


class _MomentsLearner(Learner):
    """Sums over code windows y and patches x, in double precision; every fifth image goes to the held-out sums."""

    def __init__(self, shape: Windows, per_image: int) -> None:
        self.shape, self.per_image = shape, per_image
        d, p = shape.code_length, shape.patch_length
        self.arrays = {"seen": np.zeros((), dtype=np.int64)}
        for part in ("fit", "held"):
            shapes = {"n": (), "y": (d,), "x": (p,), "yy": (d, d), "yx": (d, p), "xx": (p,)}
            self.arrays |= {f"{part}_{name}": np.zeros(extent) for name, extent in shapes.items()}

    def see(self, image: Floats, code: Floats, rng: np.random.Generator) -> None:
        part = "held" if self.arrays["seen"] % HELD_OUT == 1 else "fit"
        self.arrays["seen"] += 1
        for x, y in self.shape.samples(image, code, self.per_image, rng):
            sums = {"n": len(x), "y": y.sum(axis=0), "x": x.sum(axis=0), "yy": y.T @ y, "yx": y.T @ x,
                    "xx": (x**2).sum(axis=0)}
            for name, value in sums.items():
                self.arrays[f"{part}_{name}"] += value

    def moments(self, part: str) -> tuple[Doubles, ...]:
        """μ_y, μ_x, Σ_yy, Σ_yx and the diagonal of Σ_xx of one part; ValueError if it has too few windows."""
        n, y, x, yy, yx, xx = (self.arrays[f"{part}_{name}"] for name in ("n", "y", "x", "yy", "yx", "xx"))
        if n < 2:
            raise ValueError("learning a Gaussian takes at least two images with windows that are not constant, "
                             "one of them to choose the shrinkage: give more images")
        y, x = y / n, x / n
        return y, x, yy / n - np.outer(y, y), yx / n - np.outer(y, x), xx / n - x**2


def _conditional(fit: tuple[Doubles, ...], held: tuple[Doubles, ...]) -> tuple[dict[str, Doubles], float]:
    """The fields of `Ridge` that are arrays, and γ, chosen by the likelihood of held-out windows."""
    code_mean, image_mean, code_code, code_image, image_variance = fit
    values, vectors = np.linalg.eigh(code_code)
    varies = values > FLOOR * values.mean()
    values, vectors = values[varies], vectors[:, varies]
    rotated = vectors.T @ code_image
    shift_y, shift_x = held[0] - code_mean, held[1] - image_mean
    second_yy = vectors.T @ (held[2] + np.outer(shift_y, shift_y)) @ vectors
    second_yx = vectors.T @ (held[3] + np.outer(shift_y, shift_x))
    second_xx = held[4] + shift_x**2

    def shrunk(gamma: float) -> tuple[Doubles, Doubles, Doubles]:
        """Eigenvalues of the shrunk covariance, weights of its eigenvectors, conditional variance of the pixels."""
        spectrum = (1 - gamma) * values + gamma * max(float(values.mean()), 1e-12)
        weights = rotated / spectrum[:, None]
        left = image_variance - (rotated * weights).sum(axis=0)
        return spectrum, weights, np.maximum(left, FLOOR * image_variance.mean())

    def likelihood(gamma: float) -> float:
        spectrum, weights, variance = shrunk(gamma)
        residual = second_xx - 2 * (weights * second_yx).sum(axis=0) + (weights * (second_yy @ weights)).sum(axis=0)
        return -0.5 * float((np.log(spectrum) + np.diag(second_yy) / spectrum).sum()
                            + (np.log(variance) + residual / variance).sum())

    gamma = max(SHRINKAGES, key=likelihood)
    spectrum, weights, variance = shrunk(gamma)
    return {"weights": vectors @ weights, "image_mean": image_mean, "code_mean": code_mean, "variance": variance,
            "whitening": (vectors / np.sqrt(spectrum)).T}, gamma

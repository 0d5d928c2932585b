"""What is measured beside the errors of codes: likeness of images, means with their margins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas
from numpy.typing import NDArray

from unfeature.inversion.result import Result
from unfeature.io.images import to_grey

Image = NDArray[np.float32]
DIRECTIONS = 18
"""Bins of the histogram of gradient directions that naturalness compares."""


def measures(result: Result, original: Image) -> dict[str, Any]:
    """The values of one inversion: errors of the code, likeness of the image, effort."""
    codes = result.codes
    if codes is None:
        raise ValueError("a result without a code cannot be measured")
    image = np.clip(result.image, 0, 1)
    norm = float(np.linalg.norm(codes[result.best].astype(np.float64)))
    return {
        "error": result.error,
        "error_centred": result.error_centred,
        "distance": result.error * norm,
        **likeness(original, image),
        "within_two": within_two(result, original),
        "seconds": result.provenance["seconds"],
        "evaluations": result.provenance.get("evaluations"),
        "status": result.status,
    }


def likeness(original: Image, image: Image) -> dict[str, float]:
    """Correlation, SSIM after a min–max stretch of both, PSNR in dB without it, and naturalness of two images."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    axis = 2 if original.ndim == 3 else None
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = float(np.corrcoef(original.ravel(), image.ravel())[0, 1])
        psnr = float(peak_signal_noise_ratio(original, image, data_range=1.0))
    ssim = structural_similarity(min_max_stretch(original), min_max_stretch(image), data_range=1.0, channel_axis=axis)
    return {"correlation": correlation, "ssim": float(ssim), "psnr": psnr, "naturalness": naturalness(original, image)}


def within_two(result: Result, original: Image) -> float | None:
    """Share of the photograph's pixels within ± 2 σ of the image, both about zero with its contrast; None without σ."""
    if result.uncertainty is None:
        return None
    image, photograph = (to_grey(x).astype(np.float64) for x in (result.image, original))
    wanted = (photograph - photograph.mean()) * (image.std() / max(photograph.std(), 1e-12))
    return float((np.abs(image - image.mean() - wanted) <= 2 * result.uncertainty).mean())


def min_max_stretch(image: Image) -> Image:
    """Min–max to [0, 1]; a constant image becomes zero."""
    low, high = float(image.min()), float(image.max())
    return np.asarray((image - low) / max(high - low, 1e-12), dtype=np.float32)


def naturalness(original: Image, image: Image) -> float:
    """Intersection of two images' histograms of gradient directions: 18 directions, weighted by magnitude, sum 1."""
    return float(np.minimum(direction_histogram(original), direction_histogram(image)).sum())


def direction_histogram(image: Image) -> NDArray[np.float64]:
    """Magnitude-weighted histogram of the gradient's directions over an image, of sum 1."""
    dy, dx = np.gradient(to_grey(image).astype(np.float64))
    angle = np.mod(np.arctan2(dy, dx), 2 * np.pi)
    counts, _ = np.histogram(angle, bins=DIRECTIONS, range=(0, 2 * np.pi), weights=np.hypot(dx, dy))
    return np.asarray(counts / max(counts.sum(), 1e-12))


def interval(values: Iterable[float | None]) -> tuple[float, float]:
    """Mean and 1.96 standard errors of the finite values; NaN where there are too few."""
    finite = pandas.Series(list(values), dtype=float).replace([np.inf, -np.inf], np.nan)
    return float(finite.mean()), 1.96 * float(finite.sem())


def deviation(values: Iterable[float | None]) -> tuple[float, float]:
    """Mean and standard deviation of the finite values; NaN where there are too few."""
    finite = pandas.Series(list(values), dtype=float).replace([np.inf, -np.inf], np.nan)
    return float(finite.mean()), float(finite.std())

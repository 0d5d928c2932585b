"""How alike two images are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .images import AnyImage, as_floats, image_of, to_grey

Image = NDArray[np.float32]

DIRECTIONS = 18
"""Bins of the histogram of gradient directions that naturalness compares."""
WINDOW = 7
"""Side of the window of SSIM."""


def measures(original: AnyImage, image: AnyImage) -> dict[str, float]:
    r"""How alike a photograph and another image of its size are.

    Parameters
    ----------
    original, image : ndarray (H, W) or (H, W, 3), Pillow image or path
        Floats in [0, 1]; uint8 and uint16 are divided by their largest value. The image may leave [0, 1] a little, as
        pre-images do. If one is grey, the other is compared in grey.

    Returns
    -------
    dict
        "correlation": Pearson's, over all values; NaN if an image is constant. "ssim": the mean structural similarity
        (windows of 7 × 7) after a min–max stretch of both. "psnr": 10 log₁₀(1 / mean squared difference) in dB, of the
        values as they are; infinite for equal images. "naturalness": Σ_b min(h_b, h′_b) ∈ [0, 1] of the two histograms
        of gradient directions, 18 directions, weighted by magnitude and of sum 1; 0 if an image is constant.

    Raises
    ------
    ValueError
        If the sizes differ, a side has fewer than 7 pixels, or a value is not finite.

    Notes
    -----
    SSIM: Wang et al. 2004, as scikit-image computes it. Naturalness: Mahendran & Vedaldi 2016. Differs: the stretch.

    Examples
    --------
    >>> import unfeature as uf
    >>> photograph = uf.resize_longer(uf.to_grey(uf.bundled("camera")), 64)
    >>> {name: round(value, 2) for name, value in uf.measures(photograph, 0.5 * photograph).items()}
    {'correlation': 1.0, 'ssim': 1.0, 'psnr': 10.81, 'naturalness': 1.0}
    """
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    first, second = _pair(original, image)
    axis = 2 if first.ndim == 3 else None
    with np.errstate(divide="ignore"):
        psnr = float(peak_signal_noise_ratio(first, second, data_range=1.0))
    ssim = structural_similarity(min_max_stretch(first), min_max_stretch(second), data_range=1.0, channel_axis=axis)
    return {"correlation": correlation(first, second), "ssim": float(ssim), "psnr": psnr,
            "naturalness": naturalness(first, second)}


def correlation(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> float:
    """Pearson's correlation of two arrays of one shape; NaN if one is constant."""
    a, b = (array.astype(np.float64) - array.mean(dtype=np.float64) for array in (first, second))
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 1e-12 else float("nan")


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


def _pair(original: AnyImage, image: AnyImage) -> tuple[Image, Image]:
    """Both images as floats, in grey if one of them is; ValueError if they cannot be compared."""
    first, second = (as_floats(image_of(one)) for one in (original, image))
    for name, one in (("original", first), ("image", second)):
        if one.ndim not in (2, 3) or min(one.shape[:2]) < WINDOW:
            raise ValueError(f"the {name} has shape {one.shape}: give an image (H, W) or (H, W, 3) of at least "
                             f"{WINDOW} × {WINDOW} pixels")
        if not np.isfinite(one).all():
            raise ValueError(f"the {name} has {int((~np.isfinite(one)).sum())} values that are NaN or infinite")
    if first.shape[:2] != second.shape[:2]:
        raise ValueError(f"the original has {first.shape[0]} × {first.shape[1]} pixels and the image "
                         f"{second.shape[0]} × {second.shape[1]}: resize one of them")
    if first.ndim == second.ndim == 3 and first.shape[2] == second.shape[2] == 3:
        return first, second
    return to_grey(first), to_grey(second)

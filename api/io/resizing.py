"""Images of another size, with the numbers of scikit-image, which takes long to import."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FARTHEST = 4  # standard deviations of a Gaussian to its last weight


@np.errstate(invalid="ignore")
def resized(image: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """``skimage.transform.resize(image, (height, width), order=1, anti_aliasing=True)``, bit by bit.

    A Gaussian of σ = (f − 1) / 2, where f > 1 is the reduction along an axis; then linear interpolation. The image is
    (H, W) or (H, W, C), and mirrored about its border pixels.
    """
    found, shares = image, []
    for axis, size in enumerate((height, width)):
        length = image.shape[axis]
        place = np.abs((np.arange(size) + 0.5) * (length / size) - 0.5) if length > 1 else np.zeros(size)
        before = np.floor(place).astype(int)
        rows = np.concatenate([before, before + 1])
        found = _smoothed(found.swapaxes(0, axis), rows, length / size).swapaxes(0, axis)
        first = (1 - (place - before)).reshape(-1, *(1,) * (image.ndim - 1 - axis))
        shares.append((first, 1 - first))
    total = np.zeros((height, width, *image.shape[2:]))
    for down, half in zip(shares[0], (found[:height], found[height:]), strict=True):
        for across, quarter in zip(shares[1], (half[:, :width], half[:, width:]), strict=True):
            total += quarter * down * across
    inside: NDArray[np.float32] = np.clip(total.astype(np.float32), image.min(), image.max())
    return inside


def _smoothed(image: NDArray[np.float32], rows: NDArray[np.int64], reduction: float) -> NDArray[np.float32]:
    """Some rows of an image that a Gaussian smooths along the first axis; those beyond its ends are mirrored."""
    last = len(image) - 1

    def at(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        folded = np.abs(rows) % max(2 * last, 1)
        found: NDArray[np.float32] = image.take(np.minimum(folded, 2 * last - folded), 0)
        return found

    if reduction <= 1:
        return at(rows)
    sigma = (reduction - 1) / 2
    radius = int(FARTHEST * sigma + 0.5)
    weights = np.exp(-0.5 / sigma**2 * np.arange(-radius, radius + 1) ** 2)
    weights /= weights.sum()
    total = at(rows) * weights[radius]
    for k in range(radius, 0, -1):
        total += (at(rows - k).astype(np.float64) + at(rows + k)) * weights[radius + k]
    smoothed: NDArray[np.float32] = total.astype(np.float32)
    return smoothed

"""A collage of the patches whose descriptors are nearest, blended without seams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn

from unfeature.features.base import Representation

from .collection import Collected
from .stream import Floats, Size, Stream
from .windows import Windows, min_max_normalise


@dataclass(eq=False, repr=False)
class Collage(Collected):
    r"""A database of patches and descriptors.

    Each window of the code finds the window of the database at the least Euclidean distance, and pastes the patch
    under it; where patches overlap, the pixel belongs to the one whose centre is nearest, of equals to the better
    match. The image is that whose gradient is nearest to the gradients of the pasted patches, v:
    x = argmin ‖∇x − v‖² (Poisson blending), min–max normalised.

    Notes
    -----
    The paper's descriptors sit at interest points with a scale and an orientation of their own; here they sit on a
    grid, upright. The gradients are blended at once for the whole image, not patch after patch, by a cosine transform.

    References
    ----------
    P. Weinzaepfel, H. Jégou, P. Pérez, "Reconstructing an image from its local descriptors", CVPR 2011;
    P. Pérez, M. Gangnet, A. Blake, "Poisson image editing", SIGGRAPH 2003.
    """

    @classmethod
    def learn_from(cls, stream: Stream, phi: Representation, *, cells: int = 3) -> Collage:
        """Collect images and codes.

        Parameters
        ----------
        cells : int
            Positions along one side of a window; 1 for descriptors with a large receptive field, such as SIFT.
        """
        return cls(phi.to_config(), cells=cells, **cls.collect(stream, Windows.of(phi, cells)))

    def reconstruct(self, phi: Representation, code: Floats, size: Size, count: int, seed: int) -> Floats:
        """The image (1, H, W, C) in [0, 1] of a code (h, w, D)."""
        shape = Windows.of(phi, self.cells)
        rows, positions = shape.all_windows(code, 0)
        scores, found = self.nearest(shape, rows, 1, "distance")
        corners = positions * shape.stride + shape.origin
        blocks = found[:, 0].reshape(-1, shape.side, shape.side, shape.channels)
        return min_max_normalise(poisson(*_paste(blocks, corners, scores[:, 0], size)))[None]


def poisson(vertical: NDArray[Any], horizontal: NDArray[Any]) -> NDArray[np.float64]:
    r"""The image of zero mean whose forward differences are nearest to given ones, in the least-squares sense.

    Solves Δx = div v with x mirrored at the border, by a cosine transform. The differences (H, W, C) are those to the
    pixel below and to the right; the last row and column are not used.
    """
    vertical, horizontal = np.array(vertical, dtype=np.float64), np.array(horizontal, dtype=np.float64)
    vertical[-1], horizontal[:, -1] = 0, 0
    divergence = np.diff(vertical, axis=0, prepend=0) + np.diff(horizontal, axis=1, prepend=0)
    height, width = divergence.shape[:2]
    eigen = (2 * np.cos(np.pi * np.arange(height) / height) - 2)[:, None] + (
        2 * np.cos(np.pi * np.arange(width) / width) - 2)
    eigen[0, 0] = 1
    spectrum = dctn(divergence, axes=(0, 1), norm="ortho") / eigen[..., None]
    spectrum[0, 0] = 0
    return np.asarray(idctn(spectrum, axes=(0, 1), norm="ortho"))


def differences(blocks: NDArray[Any], axis: int) -> NDArray[Any]:
    """Forward differences along one axis, zero at its end."""
    return np.diff(blocks, axis=axis, append=blocks.take([-1], axis=axis))


def _paste(blocks: Floats, corners: NDArray[np.int64], scores: Floats,
           size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Differences down and right of the pasted patches."""
    side, channels = blocks.shape[1], blocks.shape[3]
    offset = np.abs(np.arange(side) - (side - 1) / 2)
    distance = np.maximum(offset[:, None], offset)
    nearest = np.full(size, np.inf)
    vertical, horizontal = (np.zeros((*size, channels), dtype=np.float32) for _ in range(2))
    for k in np.argsort(-scores, kind="stable"):
        inside = tuple(slice(max(c, 0), max(min(c + side, n), 0)) for c, n in zip(corners[k], size, strict=True))
        part = tuple(slice(s.start - c, s.stop - c) for s, c in zip(inside, corners[k], strict=True))
        nearer = distance[part] < nearest[inside]
        nearest[inside][nearer] = distance[part][nearer]
        vertical[inside][nearer] = differences(blocks[k], 0)[part][nearer]
        horizontal[inside][nearer] = differences(blocks[k], 1)[part][nearer]
    return vertical, horizontal

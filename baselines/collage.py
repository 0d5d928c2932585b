"""A collage of the patches whose descriptors are nearest, blended without seams."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn

from unfeature.features.base import Representation

from .base import Images, Progress, Stream
from .collection import Collected
from .windows import Floats, Windows, spread


@dataclass(eq=False, repr=False)
class Collage(Collected):
    r"""Patches of a collection, found by their descriptors, pasted over each other and blended.

    Each window of the code finds the window of the collection at the least Euclidean distance, and pastes the patch
    under it; where patches overlap, the pixel belongs to the one whose centre is nearest, of equals to the better
    match. The image is that whose gradient is nearest to the gradients of the pasted patches, v:
    x = argmin ‖∇x − v‖² (Poisson blending), stretched to [0, 1].

    Notes
    -----
    The paper's descriptors sit at interest points with a scale and an orientation of their own; here they sit on a
    grid, upright. The gradients are blended at once for the whole image, not patch after patch, by a cosine transform.

    References
    ----------
    P. Weinzaepfel, H. Jégou, P. Pérez, "Reconstructing an image from its local descriptors", CVPR 2011;
    P. Pérez, M. Gangnet, A. Blake, "Poisson image editing", SIGGRAPH 2003.
    """

    method: ClassVar[str] = "collage"

    @classmethod
    def learn(cls, images: Images, phi: Representation, *, cells: int = 3, seed: int = 0, side: int | None = None,
              memory: str | int = "2GB", output: str | Path | None = None,
              progress: Progress | None = None) -> Collage:
        """Collect images and codes.

        Parameters
        ----------
        images : path, or iterable of paths and arrays
        phi : Representation
            A descriptor whose code has positions.
        cells : int
            Positions along one side of a window.
        seed, side, memory, output, progress
            See `Stream`.
        """
        shape = Windows.of(phi, cells)
        stream = Stream(images, phi, seed, side, memory, output, progress)
        kept = cls.collect(stream, shape)
        return stream.finish(cls(phi.to_config(), kept.pixels, kept.codes, kept.extents, cells))

    def reconstruct(self, phi: Representation, code: NDArray[Any], size: tuple[int, int], count: int,
                    seed: int) -> Floats:
        """The image (1, H, W, C) in [0, 1] of a code (h, w, D)."""
        shape = Windows.of(phi, self.cells)
        rows, places = shape.every(code, 0)
        scores, found = self.collection.nearest(shape, rows, 1, "distance")
        first = places * shape.stride + shape.origin
        blocks = found[:, 0].reshape(-1, shape.side, shape.side, shape.channels)
        return spread(poisson(*_paste(blocks, first, scores[:, 0], size)))[None]


def poisson(vertical: NDArray[Any], horizontal: NDArray[Any]) -> NDArray[np.float64]:
    r"""The image of zero mean whose forward differences are nearest to given ones, in the least-squares sense.

    Solves Δx = div v with x mirrored at the border, by a cosine transform.

    Parameters
    ----------
    vertical, horizontal : ndarray (H, W, C)
        Wanted x(i+1, j) − x(i, j) and x(i, j+1) − x(i, j); their last row and column are not used.

    Returns
    -------
    ndarray (H, W, C)
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


def _paste(blocks: Floats, first: NDArray[np.int64], scores: Floats,
           size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Differences down and right of the pasted patches."""
    side, channels = blocks.shape[1], blocks.shape[3]
    away = np.abs(np.arange(side) - (side - 1) / 2)
    distance = np.maximum(away[:, None], away)
    nearest = np.full(size, np.inf)
    below, beside = (np.zeros((*size, channels), dtype=np.float32) for _ in range(2))
    for k in np.argsort(-scores, kind="stable"):
        y, x = first[k]
        inside = slice(max(y, 0), max(min(y + side, size[0]), 0)), slice(max(x, 0), max(min(x + side, size[1]), 0))
        part = tuple(slice(s.start - o, s.stop - o) for s, o in zip(inside, (y, x), strict=True))
        mine = distance[part] < nearest[inside]
        nearest[inside][mine] = distance[part][mine]
        block = blocks[k]
        below[inside][mine] = np.diff(block, axis=0, append=block[-1:])[part][mine]
        beside[inside][mine] = np.diff(block, axis=1, append=block[:, -1:])[part][mine]
    return below, beside

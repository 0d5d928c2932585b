"""Sparse matrices that pool the pixels of one axis into cells, or into the windows of dense SIFT."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..backend import is_traced


class PoolingMatrix:
    """A sparse matrix of pooling weights, rows × pixels, along one axis of the image.

    Parameters
    ----------
    rows, pixels : int
        Shape of the matrix: cells (or windows) by pixels of that axis.
    row, pixel : ndarray of int
    weight : ndarray
        The entries; those at the same place add up, and zeros are dropped.

    Attributes
    ----------
    start : ndarray (pixels + 1,) of int64
        The entries of pixel p are start[p] … start[p + 1] − 1.
    row : ndarray of int64
    weight : ndarray of float64
        Row and weight of each entry, sorted by pixel, then row.
    """

    def __init__(self, rows: int, pixels: int, row: NDArray[np.integer], pixel: NDArray[np.integer],
                 weight: NDArray[np.floating]) -> None:
        place, inverse = np.unique(np.ravel(pixel) * rows + np.ravel(row), return_inverse=True)
        summed = np.bincount(inverse, np.ravel(weight), len(place))
        place, summed = place[summed != 0], summed[summed != 0]
        self.rows, self.pixels = rows, pixels
        self.row = (place % rows).astype(np.int64)
        self.weight = summed.astype(np.float64)
        self.start = np.searchsorted(place // rows, np.arange(pixels + 1)).astype(np.int64)
        self._dense: dict[object, Tensor] = {}

    def dense(self, like: Tensor) -> Tensor:
        """The matrix, (rows, pixels), with the dtype and device of another tensor."""
        if is_traced():
            return self._made_dense(like)
        key = like.dtype, like.device
        if key not in self._dense:
            self._dense[key] = self._made_dense(like)
        return self._dense[key]

    def _made_dense(self, like: Tensor) -> Tensor:
        matrix = np.zeros((self.rows, self.pixels))
        matrix[self.row, np.repeat(np.arange(self.pixels), np.diff(self.start))] = self.weight
        with torch.inference_mode(False):
            return torch.tensor(matrix).to(like.device, like.dtype)


@lru_cache(maxsize=64)
def cell_pooling(pixels: int, cells: int, cell_size: int, visited: int) -> PoolingMatrix:
    """Bilinear pooling into cells: pixel p lies at (p + ½) / cell_size − ½ in units of cells.

    The positions 1 … visited − 2 count; those beyond the last interior pixel repeat its gradient at their own place.
    Weights that fall outside the grid are dropped.
    """
    position = np.arange(1, visited - 1)
    place = (position + 0.5) / cell_size - 0.5
    lower = np.floor(place).astype(np.int64)
    row = np.concatenate([lower, lower + 1])
    weight = np.concatenate([1 - (place - lower), place - lower])
    pixel = np.tile(np.minimum(position, pixels - 2), 2)
    inside = (row >= 0) & (row < cells)
    return PoolingMatrix(cells, pixels, row[inside], pixel[inside], weight[inside])

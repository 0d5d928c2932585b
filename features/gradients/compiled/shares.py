"""The gradients of all pixels and the two bins that each is shared between: worked out once, for both passes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...threads import in_parallel
from ..bins import CUBIC, FAST_EPSILON, FAST_LEAST, Bins
from . import differences, gradient

Array = NDArray[Any]


class Shares(NamedTuple):
    """Arrays (N·H, W); the second bin gets `share` of the length, and `slope` is the derivative of that by the angle.

    With hard bins the last two are those of the length, which count with weight zero.
    """

    gx: Array
    gy: Array
    length: Array
    nearest: Array
    following: Array
    share: Array
    slope: Array


def gradients(image: Array, scale: float, out: Array, channel: Array) -> None:
    """Fill (2, N·H, W) with the differences of images (N, C, H, W), and (N·H, W) with the channels they are of."""
    samples, _, height, width = image.shape
    in_parallel(differences.strongest_gradients, samples, 1, image[:, 0].size, image, image.dtype.type(scale),
                *(array.reshape(samples, height, width) for array in (*out, channel)))


def shares(image: Array, bins: Bins, scale: float) -> tuple[Shares, Array]:
    """Those of the strongest channel of images (N, C, H, W), and which channel it was, (N·H, W)."""
    samples, channels, height, width = image.shape
    shape, dtype = (samples * height, width), image.dtype
    numbers = np.empty((4 if bins.hard else 5, *shape), dtype)  # in one piece, which costs least to get
    following = np.empty(shape, np.int32)
    channel = following if channels == 1 else np.empty(shape, np.int32)  # nobody reads that of one channel
    gradients(image, scale, numbers[:2], channel)
    gx, gy, length, share = numbers[:4]
    nearest = np.zeros(shape, np.int32)

    def run(kernel: Callable[..., None], *arguments: Any) -> None:
        in_parallel(kernel, samples, height, image[:, 0].size, *arguments, height)

    if not bins.cubic:
        run(gradient.nearest_bins, gx, gy, bins.directions.astype(dtype), length, share, nearest)
    if bins.hard:
        return Shares(gx, gy, length, nearest, nearest, length, length), channel
    found = Shares(gx, gy, length, nearest, following, share, numbers[4])
    unit = dtype.type(bins.orientations / math.pi)
    if bins.cubic:
        run(gradient.cubic_shares, *found, _constants(dtype), unit, 2 * bins.orientations)
        return found, channel
    directions = Bins(bins.orientations).directions.astype(dtype)
    if bins.softness:
        whole = np.int32 if dtype == np.float32 else np.int64
        exponents = np.array([127, 23] if dtype == np.float32 else [1023, 52], np.int64)
        run(gradient.smooth_shares, *found, directions, _smooth_coefficients(bins.orientations, dtype), unit,
            dtype.type(bins.softness), _exponential(dtype), share.view(whole), exponents)
    else:
        run(gradient.linear_shares, *found, directions, _linear_coefficients(bins.orientations, dtype), unit)
    return found, channel


def _constants(dtype: np.dtype[Any]) -> tuple[Any, ...]:
    return tuple(dtype.type(number) for number in (*CUBIC, FAST_EPSILON, math.pi / 4, FAST_LEAST))


@lru_cache(maxsize=64)
def _smooth_coefficients(orientations: int, dtype: np.dtype[Any]) -> Array:
    end = math.tan(math.pi / (4 * orientations)) ** 2
    return (2 * orientations / math.pi * _fit(_atan_ratio, end, dtype)).astype(dtype)


@lru_cache(maxsize=64)
def _linear_coefficients(orientations: int, dtype: np.dtype[Any]) -> Array:
    end = 1 - math.cos(math.pi / (2 * orientations))
    return (orientations / math.pi * _fit(_acos_ratio, end, dtype)).astype(dtype)


@lru_cache(maxsize=4)
def _exponential(dtype: np.dtype[Any]) -> Array:
    """log 2, where to clip, and the polynomial of exp on [0, log 2]."""
    log2, bias = math.log(2), 127 if dtype == np.float32 else 1023
    return np.array([log2, (bias - 3) * log2, *_fit(np.exp, log2, dtype)]).astype(dtype)


def _fit(function: Callable[[NDArray[np.float64]], NDArray[np.float64]], end: float,
         dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """The shortest polynomial that is the function on [0, end] to within the precision of the dtype."""
    end *= 1 + 1e-3
    z = np.linspace(0, end, 513)
    for degree in range(1, 30):
        series = np.polynomial.Chebyshev.interpolate(function, degree, domain=[0, end])
        if np.abs(series(z) / function(z) - 1).max() < max(float(np.finfo(dtype).eps) / 4, 2e-15):
            break
    return np.asarray(series.convert(kind=np.polynomial.Polynomial).coef, np.float64)


def _atan_ratio(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """atan(√z) / √z."""
    root = np.sqrt(np.maximum(z, 1e-30))
    return np.arctan(root) / root


def _acos_ratio(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """acos(1 − z) / √z = 2 asin(√(z/2)) / √z."""
    root = np.sqrt(np.maximum(z, 1e-30))
    return 2 * np.arcsin(root / math.sqrt(2)) / root

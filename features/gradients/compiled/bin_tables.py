"""Orientation bins as the compiled passes take them: numbers that are worked out once."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..bins import CUBIC as CUBIC_COEFFICIENTS
from ..bins import FAST_EPSILON, FAST_LEAST, Bins

HARD, LINEAR, SMOOTH, CUBIC = range(4)


class BinTable(NamedTuple):
    """The two sets of directions (2O, 2) decide about the nearest bin, and measure angles."""

    mode: int
    rounded: NDArray[Any]
    exact: NDArray[Any]
    coefficients: NDArray[Any]  # of the share's polynomial; if CUBIC of the angle, then ε, π/4 and the least length
    unit: np.floating[Any]  # O/π
    softness: np.floating[Any]
    exponents: NDArray[Any]  # bias and shift of the bits of a float's exponent
    exponential: NDArray[Any]  # log 2, where to clip, and the polynomial of exp on [0, log 2]


class LinearTable(BinTable):
    """A table of its own type, for which passes are compiled apart."""


class CubicTable(BinTable):
    """The same."""


@lru_cache(maxsize=256)
def bin_table(bins: Bins, dtype: np.dtype[Any]) -> BinTable:
    """The numbers of these bins in one precision."""
    unit = bins.orientations / math.pi
    half_bin = math.pi / (2 * bins.orientations)
    if bins.cubic:
        mode, coefficients = CUBIC, np.array([*CUBIC_COEFFICIENTS, FAST_EPSILON, math.pi / 4, FAST_LEAST])
    elif bins.softness:
        mode, coefficients = SMOOTH, 2 * unit * _fit(_atan_ratio, math.tan(half_bin / 2) ** 2, dtype)
    elif bins.linear:
        mode, coefficients = LINEAR, unit * _fit(_acos_ratio, 1 - math.cos(half_bin), dtype)
    else:
        mode, coefficients = HARD, np.ones(1)
    exponents = np.array([127, 23], np.int32) if dtype == np.float32 else np.array([1023, 52], np.int64)
    log2 = math.log(2)
    exponential = np.array([log2, (exponents[0] - 3) * log2, *_fit(np.exp, log2, dtype)])
    table = {LINEAR: LinearTable, CUBIC: CubicTable}.get(mode, BinTable)
    return table(mode, bins.directions.astype(dtype), Bins(bins.orientations).directions.astype(dtype),
                 coefficients.astype(dtype), dtype.type(unit), dtype.type(bins.softness), exponents,
                 exponential.astype(dtype))


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

"""The three measures of published errors; they are never to be compared with each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Normaliser:
    """How far apart the codes of different photographs are.

    Attributes
    ----------
    euclidean, squared : float
        The divisors of the measures of these names.
    """

    euclidean: float
    squared: float

    @classmethod
    def of(cls, codes: Iterable[NDArray[Any]]) -> Normaliser:
        """The divisors over a set of photographs.

        Parameters
        ----------
        codes : iterable of ndarray (h, w, D) or (D,)
            Φ(x_i) of n ≥ 2 photographs, of any sizes. As in the published code, each is one column of numbers, h
            varying fastest and D slowest, with zeros up to the length of the longest.

        Raises
        ------
        ValueError
            For fewer than two codes, or if all are equal.
        """
        columns = [np.asarray(code, np.float64).ravel(order="F") for code in codes]
        if len(columns) < 2:
            raise ValueError(f"distances between photographs need at least two of their codes, got {len(columns)}")
        squares = np.array([_padded_distance(a, b) ** 2 for a, b in combinations(columns, 2)])
        if not squares.any():
            raise ValueError("the codes of all photographs are equal, so there is nothing to compare an error with")
        return cls(float(np.sqrt(squares).mean()), float(2 * squares.sum() / len(columns) ** 2))

    def errors(self, distance: float) -> dict[str, float]:
        """Both measures, by name, of a code at a distance ‖Φ(x) − Φ₀‖."""
        return {"euclidean": distance / self.euclidean, "squared": distance**2 / self.squared}


def euclidean(found: NDArray[Any], code: NDArray[Any], normaliser: Normaliser) -> float:
    r"""Distance over the mean distance between photographs: ‖Φ(x) − Φ₀‖ / mean_{i<j} ‖Φ(x_i) − Φ(x_j)‖.

    Parameters
    ----------
    found, code : ndarray (h, w, D) or (D,)
        Φ(x) and Φ₀.
    normaliser : Normaliser
        Over the test photographs.

    Returns
    -------
    float
        0 for a match; about 1 for the code of another photograph.

    Notes
    -----
    The measure of the text and table of Mahendran & Vedaldi 2015, in %, with the standard deviation over photographs.
    """
    return normaliser.errors(distance(found, code))["euclidean"]


def squared(found: NDArray[Any], code: NDArray[Any], normaliser: Normaliser) -> float:
    r"""Squared distance over the mean of squares: ‖Φ(x) − Φ₀‖² / mean_{i,j} ‖Φ(x_i) − Φ(x_j)‖².

    The mean is over all n² pairs, those of a photograph with itself too. Parameters are those of `euclidean`. This is
    what the code computes that was released after the paper of 2015; no published figure is stated in it.
    """
    return normaliser.errors(distance(found, code))["squared"]


def relative(found: NDArray[Any], code: NDArray[Any]) -> float:
    r"""Distance over the code's own norm: ‖Φ(x) − Φ₀‖ / ‖Φ₀‖; NaN for a code that is zero.

    The measure of Mahendran & Vedaldi 2016, with 1.96 standard errors of the mean. It is small wherever codes have no
    negative values: see the centred error of `Result`.
    """
    distance(found, code)
    return float(relative_errors(np.asarray(found)[None], np.asarray(code)[None])[0][0])


def distance(found: NDArray[Any], code: NDArray[Any]) -> float:
    """‖Φ(x) − Φ₀‖; ValueError for codes of different shapes."""
    if np.shape(found) != np.shape(code):
        raise ValueError(f"codes of the shapes {np.shape(found)} and {np.shape(code)} cannot be compared: encode "
                         "images of one size with one descriptor")
    return float(np.linalg.norm(np.asarray(found, np.float64) - np.asarray(code, np.float64)))


def relative_errors(found: NDArray[Any], codes: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Relative and centred relative errors of codes (N, h, w, D) or (N, D); NaN where the divisor is zero."""
    axes = tuple(range(1, codes.ndim))
    target = codes.astype(np.float64)
    distance = np.sqrt(np.square(found - target).sum(axes))
    centred = np.zeros_like(target) if codes.ndim == 2 else target - target.mean(axis=(1, 2), keepdims=True)
    norms = (np.sqrt(np.square(values).sum(axes)) for values in (target, centred))
    relative, relative_centred = (np.where(n > 0, distance / np.where(n > 0, n, 1), np.nan) for n in norms)
    return relative, relative_centred


def _padded_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    common = min(len(a), len(b))
    rest = max(a[common:], b[common:], key=len)
    return float(np.sqrt(np.square(a[:common] - b[:common]).sum() + np.square(rest).sum()))

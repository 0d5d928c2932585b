"""The metamer test: whether a code matches its target better than the codes of any two different photographs match."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .measures import distance


@dataclass(frozen=True)
class Agreement:
    r"""How well two codes match, or the most that chance allows.

    Attributes
    ----------
    spearman : float
        Spearman's ρ, the correlation of the ranks of their values; NaN for a constant code.
    r2 : float
        R², the square of their correlation; NaN for a constant code.
    snr : float
        Signal to noise, 10 log₁₀ ‖Φ₀‖² / ‖Φ(x) − Φ₀‖², in dB; infinite for a match, NaN for a zero target.
    """

    spearman: float
    r2: float
    snr: float

    def exceeds(self, null: Agreement) -> bool:
        """Whether each of the three is larger than that of the null; NaN is not."""
        return all(ours > theirs for ours, theirs in zip(astuple(self), astuple(null), strict=True))


def agreement(found: NDArray[Any], code: NDArray[Any]) -> Agreement:
    r"""How well the code of a pre-image matches its target, by three measures.

    Parameters
    ----------
    found, code : ndarray (h, w, D) or (D,)
        Φ(x) and Φ₀.

    Returns
    -------
    Agreement
        Spearman's ρ, R² and the signal-to-noise ratio in dB, over all values of the codes.

    Raises
    ------
    ValueError
        For codes of different shapes.

    See Also
    --------
    chance_agreement : what these are for the codes of different photographs.

    Notes
    -----
    Source: Feather, Durango, Gonzalez & McDermott 2019; Feather, Leclerc, Mądry & McDermott 2023.
    """
    distance(found, code)
    pair = np.stack([np.asarray(found, np.float64).ravel(), np.asarray(code, np.float64).ravel()])
    spearman, r2, snr = (float(table[0, 1]) for table in _agreements(pair))
    return Agreement(spearman, r2, snr)


def chance_agreement(codes: Iterable[NDArray[Any]]) -> Agreement:
    r"""The best match between the codes of two different photographs: the null of the metamer test.

    A pre-image passes if its `agreement` with the target exceeds this in all three measures, and if the network gives
    it the label of the photograph.

    Parameters
    ----------
    codes : iterable of ndarray (h, w, D) or (D,)
        Φ(x_i) of n ≥ 2 photographs, all of one size.

    Returns
    -------
    Agreement
        The largest of each measure over all pairs; over both orders of a pair, as the ratio depends on it.

    Raises
    ------
    ValueError
        For fewer than two codes, codes of different shapes, or if no pair can be measured, because codes are constant.

    Notes
    -----
    Source: as for `agreement`. Differs: all pairs of the photographs given, instead of a million random pairs of the
    training images; so the null is lower the fewer they are.
    """
    columns = [np.asarray(code, np.float32) for code in codes]
    shapes = sorted({column.shape for column in columns})
    if len(columns) < 2 or len(shapes) > 1:
        raise ValueError("the null of the metamer test needs the codes of at least two photographs of one size, got "
                         f"{len(columns)} of the shapes {', '.join(map(str, shapes)) or 'none'}")
    pairs = ~np.eye(len(columns), dtype=bool)
    found = _agreements(np.stack([column.ravel() for column in columns]))
    largest = [np.nanmax(np.where(pairs, table, -np.inf)) for table in found]
    if not np.isfinite(largest).all():
        raise ValueError("no two of the codes can be compared: they are constant, zero or equal")
    return Agreement(*map(float, largest))


def _agreements(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Spearman's ρ, R² and signal to noise of all rows, (n, n) each; row a found for the target, row b.

    The rows are overwritten, as those of many photographs are large.
    """
    from scipy.stats import rankdata

    ratios = _ratios(values)
    plain = _correlations(values)
    for row in values:
        row[:] = rankdata(row)
    return _correlations(values), plain**2, ratios


def _correlations(values: NDArray[Any]) -> NDArray[Any]:
    """Correlations of all rows, (n, n), which are centred in place; NaN where a row is constant."""
    constant = values.min(1) == values.max(1)
    values -= values.mean(1, keepdims=True)
    norms = np.where(constant, math.nan, np.linalg.norm(values, axis=1))
    products: NDArray[Any] = values @ values.T / np.outer(norms, norms)
    return products.clip(-1, 1)


def _ratios(values: NDArray[Any]) -> NDArray[Any]:
    """10 log₁₀ ‖b‖² / ‖a − b‖² of all rows a and b, (n, n); infinite where they are equal, NaN where b is zero."""
    norms = np.linalg.norm(values, axis=1)
    noise = np.zeros((len(values), len(values)))
    for i, j in combinations(range(len(values)), 2):
        noise[i, j] = noise[j, i] = np.linalg.norm(values[i] - values[j])
    with np.errstate(divide="ignore"):
        return np.asarray(20 * np.log10(np.where(norms > 0, norms, math.nan) / noise))

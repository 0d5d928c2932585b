"""The non-negative lasso, for many signals that share one dictionary."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ENTRY = 0.7
SWEEPS = 200
ROUNDS = 100


def nonnegative_lasso(gram: Floats, correlations: Floats, penalty: float, tolerance: float = 1e-3,
                      repelled: Floats | None = None) -> Floats:
    r"""Codes a = argmin ½‖y − Va‖² + λ Σ a + ½ Σ_m (q_mᵀ a)², a ≥ 0, one a signal y.

    Coordinate descent over an active set. Atoms enter when their correlation with the residual comes near the
    largest one; the descent runs on the small Gram matrix of the active atoms, then all correlations are renewed,
    until no atom outside exceeds λ. The cost depends on the non-zeros, not on the length of a signal.

    Parameters
    ----------
    gram : ndarray (K, K)
        VᵀV.
    correlations : ndarray (n, K)
        yᵀV, a row for each signal.
    penalty : float
        λ ≥ 0.
    tolerance : float
        Largest violation of the optimality conditions, on the scale of the correlations.
    repelled : ndarray (n, M, K), optional
        Vectors q of each signal that the code should be orthogonal to; none by default.

    Returns
    -------
    ndarray (n, K), float32

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    """
    signals, atoms = correlations.shape
    if gram.shape != (atoms, atoms):
        raise ValueError(f"correlations {correlations.shape} need a Gram matrix ({atoms}, {atoms}), got {gram.shape}")
    if repelled is None:
        repelled = np.zeros((signals, 0, atoms), dtype=np.float32)
    if repelled.shape[::2] != (signals, atoms):
        raise ValueError(f"repelled has shape {repelled.shape}, expected ({signals}, M, {atoms})")
    codes = np.zeros((signals, atoms), dtype=np.float32)
    _solve_all(*(np.ascontiguousarray(a, dtype=np.float32) for a in (gram, correlations, repelled)),
               np.float32(penalty), np.float32(tolerance), codes)
    return codes


@numba.njit(cache=True, nogil=True, fastmath=True)
def _solve_all(gram: Any, correlations: Any, repelled: Any, penalty: Any, tolerance: Any, codes: Any) -> None:
    atoms = gram.shape[0]
    small = np.empty((atoms, atoms), np.float32)
    for i in range(correlations.shape[0]):
        _solve(gram, correlations[i], repelled[i], penalty, tolerance, codes[i], small)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _solve(gram: Any, correlation: Any, repelled: Any, penalty: Any, tolerance: Any, code: Any, small: Any) -> None:
    residual = correlation.copy()
    inside = np.zeros(residual.shape[0], np.bool_)
    active = np.empty(residual.shape[0], np.int64)
    value = np.empty(residual.shape[0], np.float32)
    slope = np.empty(residual.shape[0], np.float32)
    size = 0
    for _ in range(ROUNDS):
        before = size
        size = _enter(residual, penalty, tolerance, inside, active, value, size)
        if size == before:
            break
        for p in range(size):
            slope[p] = residual[active[p]] - penalty
        _grow(gram, repelled, active, before, size, small)
        _descend(small, slope, value, size, tolerance)
        size = _leave(small, inside, active, value, size)
        _renew(gram, correlation, repelled, active, value, size, residual)
    for p in range(size):
        code[active[p]] = value[p]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _enter(residual: Any, penalty: Any, tolerance: Any, inside: Any, active: Any, value: Any, size: int) -> int:
    largest = np.float32(0)
    for j in range(residual.shape[0]):
        if not inside[j] and residual[j] > largest:
            largest = residual[j]
    if largest <= penalty + tolerance:
        return size
    threshold = penalty + np.float32(ENTRY) * (largest - penalty)
    for j in range(residual.shape[0]):
        if not inside[j] and residual[j] >= threshold:
            inside[j] = True
            active[size] = j
            value[size] = 0
            size += 1
    return size


@numba.njit(cache=True, nogil=True, fastmath=True)
def _grow(gram: Any, repelled: Any, active: Any, before: int, size: int, small: Any) -> None:
    for p in range(before, size):
        row = gram[active[p]]
        for q in range(p + 1):
            entry = row[active[q]]
            for m in range(repelled.shape[0]):
                entry += repelled[m, active[p]] * repelled[m, active[q]]
            small[p, q] = entry
            small[q, p] = entry


@numba.njit(cache=True, nogil=True, fastmath=True)
def _descend(small: Any, slope: Any, value: Any, size: int, tolerance: Any) -> None:
    for _ in range(SWEEPS):
        largest = np.float32(0)
        for p in range(size):
            curvature = small[p, p] + np.float32(1e-12)
            step = max(value[p] + slope[p] / curvature, np.float32(0)) - value[p]
            if step != 0:
                value[p] += step
                for q in range(size):
                    slope[q] -= step * small[p, q]
                largest = max(largest, abs(step) * curvature)
        if largest < tolerance:
            break


@numba.njit(cache=True, nogil=True, fastmath=True)
def _leave(small: Any, inside: Any, active: Any, value: Any, size: int) -> int:
    kept = 0
    for p in range(size):
        if value[p] <= 0:
            inside[active[p]] = False
            continue
        if kept != p:
            active[kept] = active[p]
            value[kept] = value[p]
            for q in range(size):
                small[kept, q] = small[p, q]
            for q in range(size):
                small[q, kept] = small[q, p]
        kept += 1
    return kept


@numba.njit(cache=True, nogil=True, fastmath=True)
def _renew(gram: Any, correlation: Any, repelled: Any, active: Any, value: Any, size: int, residual: Any) -> None:
    residual[:] = correlation
    for p in range(size):
        row = gram[active[p]]
        for j in range(residual.shape[0]):
            residual[j] -= value[p] * row[j]
    for m in range(repelled.shape[0]):
        along = np.float32(0)
        for p in range(size):
            along += repelled[m, active[p]] * value[p]
        for j in range(residual.shape[0]):
            residual[j] -= along * repelled[m, j]

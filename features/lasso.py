"""Non-negative sparse codes: least squares with an L1 penalty, of many signals at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import kernel, step

Floats = NDArray[np.float32]

ENTRY, SWEEPS, ROUNDS = 0.7, 200, 100


def lasso(gram: Floats, correlations: Floats, penalty: float, tolerance: float = 1e-3, repelled: Floats | None = None
          ) -> Floats:
    r"""Codes a = argmin ½‖y − Va‖² + λ Σ |a| + ½ Σ_m (q_mᵀ a)², one a signal y, a ≥ 0.

    Coordinate descent over an active set. Atoms enter when their correlation with the residual comes near the
    largest one; the descent runs on the small Gram matrix of the active atoms, then all correlations are renewed,
    until no atom outside exceeds λ. `gram` is VᵀV (K, K), `correlations` yᵀV (n, K), `penalty` λ, `repelled` q
    (n, M, K); `tolerance` bounds the violation of the optimality conditions, on the scale of the correlations.
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


@kernel
def _solve_all(gram: Any, correlations: Any, repelled: Any, penalty: Any, tolerance: Any, codes: Any) -> None:
    for i in range(correlations.shape[0]):
        active, value = _solve(gram, correlations[i], repelled[i], penalty, tolerance)
        codes[i][active] = value


@step
def _solve(gram: Any, correlation: Any, repelled: Any, penalty: Any, tolerance: Any) -> Any:
    """The non-zeros of one signal's code, and which they are."""
    active, value = np.empty(0, np.int64), np.empty(0, np.float32)
    residual = correlation.copy()
    for _ in range(ROUNDS):
        outside = residual.copy()
        outside[active] = 0
        largest = outside.max()
        if largest <= penalty + tolerance:
            break
        entering = np.flatnonzero(outside >= penalty + np.float32(ENTRY) * (largest - penalty))
        active = np.concatenate((active, entering))
        value = np.concatenate((value, np.zeros(len(entering), np.float32)))
        rows = gram[active]
        small = rows[:, active]
        for q in repelled:
            small += np.outer(q[active], q[active])
        _descend(small, residual[active], value, penalty, tolerance)
        residual = correlation - value @ rows
        for q in repelled:
            residual -= np.dot(q[active], value) * q
        active, value = active[value != 0], value[value != 0]
    return active, value


@step
def _descend(small: Any, slope: Any, value: Any, penalty: Any, tolerance: Any) -> None:
    """Coordinate descent over the active atoms, until no value moves."""
    for _ in range(SWEEPS):
        largest = np.float32(0)
        for p in range(len(value)):
            curvature = small[p, p] + np.float32(1e-12)
            move = max(value[p] + (slope[p] - penalty) / curvature, np.float32(0)) - value[p]
            if move != 0:
                value[p] += move
                slope -= move * small[p]
                largest = max(largest, abs(move) * curvature)
        if largest < tolerance:
            break

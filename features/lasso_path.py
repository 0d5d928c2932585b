"""Sparse codes with signs: least squares with an L1 penalty, exactly, along the path of solutions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import kernel, step

SMALLEST_PIVOT = 1e-12


def lasso_path(gram: NDArray[Any], correlations: NDArray[Any], penalty: float) -> NDArray[np.float64]:
    r"""Codes u = argmin ½‖d − Σ_k u_k w_k‖² + λ Σ_k |u_k|, one a signal d, (n, K).

    The solution is piecewise linear in the penalty. It is followed from the penalty at which it is zero down to λ:
    an atom enters where its correlation with the residual reaches the penalty, and leaves where its coefficient
    reaches zero. `gram` holds the products of the atoms w_k (K, K), positive definite; `correlations` those of
    signals and atoms (n, K).

    Source: Osborne, Presnell & Turlach 2000; Efron, Hastie, Johnstone & Tibshirani 2004.
    """
    signals, atoms = correlations.shape
    if gram.shape != (atoms, atoms):
        raise ValueError(f"correlations {correlations.shape} need a Gram matrix ({atoms}, {atoms}), got {gram.shape}")
    codes = np.zeros((signals, atoms))
    _follow_all(np.ascontiguousarray(gram, np.float64), np.array(correlations, np.float64), float(penalty), codes)
    return codes


@kernel
def _follow_all(gram: Any, correlations: Any, penalty: Any, codes: Any) -> None:
    atoms = len(gram)
    active, signs, values, direction = np.zeros(atoms, np.int64), np.zeros(atoms), np.zeros(atoms), np.zeros(atoms)
    factor = np.zeros((atoms, atoms))
    for i in range(len(codes)):
        count = _follow(gram, correlations[i], penalty, active, signs, values, direction, factor)
        codes[i][active[:count]] = values[:count]


@step
def _follow(gram: Any, correlation: Any, penalty: Any, active: Any, signs: Any, values: Any, direction: Any,
            factor: Any) -> Any:
    """Follow one signal's path; how many atoms are active in the end. Of the correlation the residual's is left."""
    free, count, left = np.ones(len(gram), np.bool_), 0, -1
    entering: Any = np.argmax(np.abs(correlation))
    level = abs(correlation[entering])
    for _ in range(8 * len(gram)):
        if level <= penalty:
            break
        if entering >= 0:
            active[count], signs[count], values[count] = entering, np.sign(correlation[entering]), 0.0
            free[entering] = False
            count += 1
        _solve(gram, active, signs, count, factor, direction)
        slope = np.zeros(len(gram))
        for p in range(count):
            slope += direction[p] * gram[active[p]]
        length, entering = _next_entry(correlation, slope, free, left, level, level - penalty)
        length, leaving = _next_exit(values, direction, count, length)
        level -= length
        correlation -= length * slope
        for p in range(count):
            values[p] += length * direction[p]
        left = -1
        if leaving >= 0:
            entering, left = -1, active[leaving]
            free[left] = True
            count -= 1
            for p in range(leaving, count):
                active[p], signs[p], values[p] = active[p + 1], signs[p + 1], values[p + 1]
        elif entering < 0:
            break
    return count


@step
def _next_entry(correlation: Any, slope: Any, free: Any, left: Any, level: Any, length: Any) -> Any:
    """How far until a free atom's correlation reaches the penalty, at most `length`, and the atom, or −1."""
    entering = -1
    for j in range(len(slope)):
        if free[j] and j != left:
            for sign in (-1.0, 1.0):
                closing = 1 + sign * slope[j]
                if closing > 0 and level + sign * correlation[j] < length * closing:
                    length, entering = max((level + sign * correlation[j]) / closing, 0.0), j
    return length, entering


@step
def _next_exit(values: Any, direction: Any, count: Any, length: Any) -> Any:
    """How far until an active atom's coefficient reaches zero, at most `length`, and its place, or −1."""
    leaving = -1
    for p in range(count):
        if values[p] * direction[p] < 0 and -values[p] / direction[p] < length:
            length, leaving = -values[p] / direction[p], p
    return length, leaving


@step
def _solve(gram: Any, active: Any, signs: Any, count: Any, factor: Any, found: Any) -> None:
    """Solve the active atoms' Gram matrix for their signs, by Cholesky's factor."""
    for p in range(count):
        row = gram[active[p]]
        for q in range(p + 1):
            rest = row[active[q]]
            for k in range(q):
                rest -= factor[p, k] * factor[q, k]
            factor[p, q] = np.sqrt(max(rest, SMALLEST_PIVOT)) if q == p else rest / factor[q, q]
    for p in range(count):
        rest = signs[p]
        for k in range(p):
            rest -= factor[p, k] * found[k]
        found[p] = rest / factor[p, p]
    for p in range(count - 1, -1, -1):
        rest = found[p]
        for k in range(p + 1, count):
            rest -= factor[k, p] * found[k]
        found[p] = rest / factor[p, p]

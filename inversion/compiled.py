# mypy: disable-error-code="no-untyped-def"
"""Compiled passes: priors and the Euclidean objective with their gradients, steps of AdaGrad and L-BFGS."""

from __future__ import annotations

import numpy as np
from numba import njit

BLOCK = 1024
SUFFICIENT_DECREASE = 1e-4
MAX_BACKTRACKS = 12
IDLE_STEPS = 5

jit = njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})


@jit
def range_with_gradient(x, centre, power, scale, slope, gradient, values):
    """values += scale Σ |x − c|^(2 power + 2), and gradient += slope |x − c|^(2 power) (x − c)."""
    samples, channels, height, width = x.shape
    squared = np.empty(width, x.dtype)
    for n in range(samples):
        total = 0.0
        for v in range(height):
            squared[:] = 0
            for c in range(channels):
                for u in range(width):
                    d = x[n, c, v, u] - centre[c]
                    squared[u] += d * d
            row = x.dtype.type(0)
            for u in range(width):
                factor = squared[u] * squared[u] if power == 2 else squared[u] ** power
                row += factor * squared[u]
                squared[u] = factor * slope
            for c in range(channels):
                for u in range(width):
                    gradient[n, c, v, u] += squared[u] * (x[n, c, v, u] - centre[c])
            total += row
        values[n] += scale * total


@jit
def variation_with_gradient(x, scale, gradient, values):
    """values += scale Σ (forward differences)², and its derivative to the gradient."""
    samples, channels, height, width = x.shape
    twice = scale + scale
    for n in range(samples):
        total = 0.0
        for c in range(channels):
            for v in range(height):
                row, slopes = x[n, c, v], gradient[n, c, v]
                above, below = x[n, c, max(v - 1, 0)], x[n, c, min(v + 1, height - 1)]
                squares = x.dtype.type(0)
                for u in range(1, width - 1):
                    across, down = row[u + 1] - row[u], below[u] - row[u]
                    squares += across * across + down * down
                    slopes[u] += twice * ((row[u] - row[u - 1]) - across + (row[u] - above[u]) - down)
                for u in range(0, width, max(width - 1, 1)):
                    left, right = row[max(u - 1, 0)], row[min(u + 1, width - 1)]
                    across, down = right - row[u], below[u] - row[u]
                    squares += across * across + down * down
                    slopes[u] += twice * ((row[u] - left) - across + (row[u] - above[u]) - down)
                total += squares
        values[n] += scale * total


@jit
def distance_with_gradient(code, target, slope, scales, values):
    """values = scale Σ (code − target)² of each sample, and slope its derivative by the code."""
    for n in range(len(code)):
        total, twice = 0.0, scales[n] + scales[n]
        for start in range(0, code.shape[1], BLOCK):
            squares = code.dtype.type(0)
            for i in range(start, min(start + BLOCK, code.shape[1])):
                difference = code[n, i] - target[n, i]
                squares += difference * difference
                slope[n, i] = twice * difference
            total += squares
        values[n] = scales[n] * total


@jit
def adagrad(gradient, squares, velocity, memory, damping, step):
    """squares ← μ squares + g², velocity ← μ velocity − step g / (damping + √squares)."""
    for i in range(gradient.shape[0]):
        g = gradient[i]
        squares[i] = memory * squares[i] + g * g
        velocity[i] = memory * velocity[i] - step * g / (damping + np.sqrt(squares[i]))


@jit
def difference_pair(trial, iterate, gradient, previous, chosen, slot, basis, products):
    """Write s = trial − iterate and y = gradient − previous of each chosen sample to its slot of the basis (2P, M).

    products (2P + 2,) become ⟨basis, gradient⟩, ⟨s, y⟩ and ⟨y, y⟩.
    """
    places = basis.shape[1] // 2
    for n in np.flatnonzero(chosen):
        products[n] = 0
        for start in range(0, trial.shape[1], BLOCK):
            end = min(start + BLOCK, trial.shape[1])
            t, x, g, b = trial[n, start:end], iterate[n, start:end], gradient[n, start:end], previous[n, start:end]
            s, y = basis[n, slot[n], start:end], basis[n, places + slot[n], start:end]
            for i in range(len(t)):
                s[i], y[i] = t[i] - x[i], g[i] - b[i]
            for k in range(2 * places):
                products[n, k] += _inner(basis[n, k, start:end], g)
            products[n, 2 * places] += _inner(s, y)
            products[n, 2 * places + 1] += _inner(y, y)


@jit
def apply_inverse_hessian(basis, weights, gradient, chosen, direction, slopes):
    """direction = −H g of each chosen sample, a weighted sum of basis and gradient; slope = ⟨direction, gradient⟩."""
    rows = basis.shape[1]
    for n in np.flatnonzero(chosen):
        slopes[n] = 0
        for start in range(0, gradient.shape[1], BLOCK):
            end = min(start + BLOCK, gradient.shape[1])
            g, d = gradient[n, start:end], direction[n, start:end]
            weight = weights[n, rows]
            for i in range(len(d)):
                d[i] = weight * g[i]
            for k in range(rows):
                weight, row = weights[n, k], basis[n, k, start:end]
                if weight != 0:
                    for i in range(len(d)):
                        d[i] += weight * row[i]
            slopes[n] += _inner(d, g)


@jit
def _inner(a, b):
    total = a.dtype.type(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@jit
def armijo_test(searches, ring, values, restarted, precision, accepted, failed):
    """Accept each sample's trial point, backtrack by quadratic interpolation, or fail after too many backtracks.

    A sample is done after five accepted steps that change the objective by no more than rounding, or when a search
    fails along its own gradient.
    """
    for n in range(len(searches)):
        one, value = searches[n], values[n]
        accepted[n] = failed[n] = False
        if one.done:
            continue
        change, expected = value - one.value, one.length * one.slope
        if restarted or change <= SUFFICIENT_DECREASE * expected:
            accepted[n] = True
            one.idle = one.idle + 1 if -change <= precision * abs(value) and not restarted else 0
            one.done = one.idle >= IDLE_STEPS
            one.value = value
        else:
            shrink = -0.5 * expected / (change - expected)
            one.length *= min(max(shrink, 0.1), 0.5) if np.isfinite(shrink) else 0.1
            one.backtracks += 1
            failed[n] = one.backtracks > MAX_BACKTRACKS and ring[n].count > 0
            one.done = one.backtracks > MAX_BACKTRACKS and ring[n].count == 0
        if one.done:
            one.length = 0.0


@jit
def start_line_search(searches, ring, chosen, first_length):
    """Start at step length 1 if there is a history, else at the length that makes the step `first_length` long.

    A direction that does not descend ends the sample; with a history it stays chosen, to be tried without it.
    """
    for n in np.flatnonzero(chosen):
        one, known = searches[n], ring[n].count > 0
        one.backtracks, one.done, one.length = 0, not one.slope < 0, 1.0
        chosen[n] = one.done and known
        if one.done:
            one.length = 0.0
        elif not known:
            one.length = first_length / np.sqrt(-one.slope)


@jit
def update_history(ring, curvature, previous, products, chosen, restarted, weights):
    """Keep the pair in each chosen sample's free slot unless its curvature is tiny, and weigh the basis for −H g."""
    places = curvature.shape[2]
    for n in np.flatnonzero(chosen):
        sy, yy = curvature[n]
        one, now = ring[n], products[n]
        slot = (one.newest + 1) % places
        scale = min(sy[one.newest, one.newest] / yy[one.newest, one.newest], 1.0) if one.count else 1.0
        if not restarted and now[2 * places + 1] > 0 and now[2 * places] > 1e-6 * scale * now[2 * places + 1]:
            for k in range(places):
                sy[k, slot] = now[k] - previous[n, k]
                yy[k, slot] = yy[slot, k] = now[places + k] - previous[n, places + k]
            sy[slot, slot], yy[slot, slot] = now[2 * places], now[2 * places + 1]
            one.newest, one.count = slot, min(one.count + 1, places - 1)
        previous[n] = now[: 2 * places]
        weights[n] = 0
        _weigh((one.newest + 1 - one.count + np.arange(one.count)) % places, sy, yy, now, weights[n])


@jit
def _weigh(pairs, sy, yy, products, weights):
    """The compact form: weights of the basis, and of the gradient, in −H g."""
    places, count = len(sy), len(pairs)
    weights[-1] = -1
    if count == 0:
        return
    gamma = sy[pairs[-1], pairs[-1]] / yy[pairs[-1], pairs[-1]]
    u, v = np.empty(count), np.empty(count)
    for i in range(count - 1, -1, -1):
        p, u[i] = pairs[i], products[pairs[i]]
        for j in range(i + 1, count):
            u[i] -= sy[p, pairs[j]] * u[j]
        u[i] /= sy[p, p]
    for i, p in enumerate(pairs):
        v[i] = sy[p, p] * u[i] - gamma * products[places + p]
        for j, q in enumerate(pairs):
            v[i] += gamma * yy[p, q] * u[j]
            if j < i:
                v[i] -= sy[q, p] * v[j]
        v[i] /= sy[p, p]
        weights[p], weights[places + p] = -v[i], gamma * u[i]
    weights[-1] = -gamma

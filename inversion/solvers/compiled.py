# mypy: disable-error-code="no-untyped-def"
"""Compiled passes of the engine: priors with their gradients, and the solvers' updates, in one sweep each."""

from __future__ import annotations

import numpy as np
from numba import njit

BLOCK = 1024
SUFFICIENT_DECREASE = 1e-4
LONGEST_SEARCH = 12
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
def look(trial, iterate, gradient, before, chosen, spare, basis, products):
    """Put s = trial − iterate and y = gradient − before of each chosen sample in spare places of its basis (2P, M).

    Its products, (2P + 2,), become those of the basis with the gradient, then ⟨s, y⟩ and ⟨y, y⟩.
    """
    places = basis.shape[1] // 2
    for n in np.flatnonzero(chosen):
        products[n] = 0
        for start in range(0, trial.shape[1], BLOCK):
            end = min(start + BLOCK, trial.shape[1])
            t, x, g, b = trial[n, start:end], iterate[n, start:end], gradient[n, start:end], before[n, start:end]
            s, y = basis[n, spare[n], start:end], basis[n, places + spare[n], start:end]
            for i in range(len(t)):
                s[i], y[i] = t[i] - x[i], g[i] - b[i]
            for k in range(2 * places):
                products[n, k] += _inner(basis[n, k, start:end], g)
            products[n, 2 * places] += _inner(s, y)
            products[n, 2 * places + 1] += _inner(y, y)


@jit
def combine(basis, weights, gradient, chosen, direction, slopes):
    """direction = Σ weight · basis + last weight · gradient of each chosen sample; slope = ⟨direction, gradient⟩."""
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
def judge(search, ring, values, fresh, precision, accepted, failed):
    """Which samples' trial points become their iterates, and which have been drawn back too often; others are, again.

    Samples whose steps no longer change the objective beyond rounding are done, and so are those that fail without a
    history.
    """
    for n in range(len(search)):
        one, value = search[n], values[n]
        accepted[n] = failed[n] = False
        if one.done:
            continue
        change, expected = value - one.value, one.length * one.slope
        if fresh or change <= SUFFICIENT_DECREASE * expected:
            accepted[n] = True
            one.idle = one.idle + 1 if -change <= precision * abs(value) and not fresh else 0
            one.done = one.idle >= IDLE_STEPS
            one.value = value
        else:
            shrink = -0.5 * expected / (change - expected)
            one.length *= min(max(shrink, 0.1), 0.5) if np.isfinite(shrink) else 0.1
            one.tries += 1
            failed[n] = one.tries > LONGEST_SEARCH and ring[n].count > 0
            one.done = one.tries > LONGEST_SEARCH and ring[n].count == 0
        if one.done:
            one.length = 0.0


@jit
def begin(search, ring, chosen, first_length):
    """Begin line searches at length 1 where the history gives a scale, else so that the step has its first length.

    Those that do not lead downhill are done; those of them that have a history are chosen again.
    """
    for n in np.flatnonzero(chosen):
        one, known = search[n], ring[n].count > 0
        one.tries, one.done, one.length = 0, not one.slope < 0, 1.0
        chosen[n] = one.done and known
        if one.done:
            one.length = 0.0
        elif not known:
            one.length = first_length / np.sqrt(-one.slope)


@jit
def remember(ring, curvature, before, products, chosen, fresh, weights):
    """Keep the spare pair of each chosen sample, unless it is hardly curved, and weigh basis and gradient for −H g."""
    places = curvature.shape[2]
    for n in np.flatnonzero(chosen):
        sy, yy = curvature[n]
        one, now = ring[n], products[n]
        spare = (one.newest + 1) % places
        scale = min(sy[one.newest, one.newest] / yy[one.newest, one.newest], 1.0) if one.count else 1.0
        if not fresh and now[2 * places + 1] > 0 and now[2 * places] > 1e-6 * scale * now[2 * places + 1]:
            for k in range(places):
                sy[k, spare] = now[k] - before[n, k]
                yy[k, spare] = yy[spare, k] = now[places + k] - before[n, places + k]
            sy[spare, spare], yy[spare, spare] = now[2 * places], now[2 * places + 1]
            one.newest, one.count = spare, min(one.count + 1, places - 1)
        before[n] = now[: 2 * places]
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

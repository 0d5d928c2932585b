"""The core that HOG and SIFT share: bins, pooling matrices and the sums of both."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unfeature.features.gradients.bins import Bins
from unfeature.features.gradients.histograms import assign, oriented_cells, strongest_gradient
from unfeature.features.gradients.pooling import PoolingMatrix, cell_pooling

SHARED_BINS = [Bins(linear=True), Bins(softness=0.3), Bins(cubic=True)]


def test_directions_are_mirrored_exactly():
    for n in range(1, 20):
        u = Bins(n).directions
        np.testing.assert_allclose(u[:, 0], np.cos(np.arange(2 * n) * math.pi / n), atol=1e-15)
        np.testing.assert_allclose(u[:, 1], np.sin(np.arange(2 * n) * math.pi / n), atol=1e-15)
        for o in range(1, n):
            assert u[o, 0] == -u[n - o, 0]
            assert u[o, 1] == u[n - o, 1]
    assert Bins(9, decimals=4).directions[1].tolist() == [0.9397, 0.3420]


def test_ties_go_to_the_lower_direction():
    gx, gy = torch.tensor([0.0, 0.0, 3.0, -3.0]), torch.tensor([2.0, -2.0, 0.0, 0.0])
    _, nearest, _, share = assign(gx, gy, Bins(9))
    assert nearest.tolist() == [4, 13, 0, 9]
    assert share is None
    _, nearest, _, _ = assign(torch.tensor([1.0, -1.0]), torch.tensor([1.0, 1.0]), Bins(2))
    assert nearest.tolist() == [0, 2]


@pytest.mark.parametrize("bins", SHARED_BINS, ids=str)
@given(st.floats(-math.pi, math.pi), st.floats(1e-3, 1e3))
def test_shares_are_those_of_the_angle(bins, angle, length):
    gx, gy = torch.tensor([length * math.cos(angle)]).double(), torch.tensor([length * math.sin(angle)]).double()
    magnitude, nearest, following, share = assign(gx, gy, bins)
    place = math.atan2(float(gy), float(gx)) * 9 / math.pi
    w = place - math.floor(place)
    upper = w if not bins.softness else 1 / (1 + math.exp((0.5 - w) / bins.softness))
    expected = np.zeros(18)
    expected[math.floor(place) % 18] += 1 - upper
    expected[(math.floor(place) + 1) % 18] += upper
    found = np.zeros(18)
    found[int(nearest)] += 1 - float(share)
    found[int(following)] += float(share)
    assert float(magnitude) == pytest.approx(length)
    if min(w, 1 - w) > 1e-3 or not bins.softness:
        np.testing.assert_allclose(found, expected, atol=0.018 if bins.cubic else 1e-6)


def test_zero_gradients_add_nothing_and_have_derivative_zero():
    for bins in [Bins(), *SHARED_BINS]:
        g = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
        magnitude, _, _, share = assign(g[0], g[1], bins)
        assert (magnitude == 0).all()
        (derivative,) = torch.autograd.grad((magnitude * (1 if share is None else share)).sum(), g)
        assert (derivative == 0).all()


def test_the_strongest_channel_counts_and_the_first_of_equals():
    ramp = torch.arange(5.0).expand(5, 5)
    gx, gy = strongest_gradient(torch.stack([ramp, -ramp, 3 * ramp.T])[None])
    assert (gx == 0).all()
    assert (gy == 6).all()
    gx, _ = strongest_gradient(torch.stack([ramp, -ramp])[None])
    assert (gx == 2).all()


def test_the_border_has_twice_the_one_sided_difference():
    gx, gy = strongest_gradient(torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])[None, None])
    assert gx[0].tolist() == [[2, 3, 4], [2, 3, 4]]
    assert (gy == 0).all()


@given(st.integers(2, 40), st.integers(1, 7), st.data())
def test_cells_share_every_visited_pixel(pixels, cell, data):
    cells = (pixels + cell // 2) // cell
    if cells < 1:
        return
    visited = data.draw(st.sampled_from([pixels, cells * cell]))
    dense = cell_pooling(pixels, cells, cell, visited).dense(torch.zeros(1, dtype=torch.float64)).numpy()
    expected = np.zeros((cells, pixels))
    for p in range(1, visited - 1):
        for c in range(cells):
            expected[c, min(p, pixels - 2)] += max(0.0, 1 - abs((p + 0.5) / cell - 0.5 - c))
    np.testing.assert_allclose(dense, expected, atol=1e-12)


def test_entries_at_the_same_place_add_up():
    matrix = PoolingMatrix(2, 3, np.array([1, 0, 1, 0]), np.array([2, 0, 2, 1]), np.array([0.5, 1.0, 0.25, 0.0]))
    assert matrix.dense(torch.zeros(1)).tolist() == [[1, 0, 0], [0, 0, 0.75]]
    assert matrix.start.tolist() == [0, 1, 1, 2]


@given(st.integers(5, 20), st.integers(5, 20), st.sampled_from([1, 3]), st.sampled_from([Bins(), *SHARED_BINS]))
def test_all_magnitude_arrives(height, width, channels, bins):
    x = torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ones = [PoolingMatrix(1, n, np.zeros(n, int), np.arange(n), np.ones(n)) for n in (height, width)]
    gx, gy = strongest_gradient(x * 7)
    total = oriented_cells(x, *ones, bins, 7.0).sum((1, 2, 3))
    torch.testing.assert_close(total, torch.sqrt(gx**2 + gy**2).sum((1, 2)))

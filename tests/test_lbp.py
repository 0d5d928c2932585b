from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.feature import local_binary_pattern

from unfeature.features.patterns.lbp import LBP
from unfeature.io.images import bundled, to_grey


def reference(image, points, radius, cell, invariant=True):
    """Cell histograms of scikit-image's labels; it warns of floating-point images."""
    with pytest.warns(UserWarning, match="floating-point"):
        labels = local_binary_pattern(image, points, radius, "uniform" if invariant else "nri_uniform").astype(int)
    h, w = (n // cell for n in labels.shape)
    cells = labels[: h * cell, : w * cell].reshape(h, cell, w, cell).transpose(0, 2, 1, 3).reshape(h, w, -1)
    return (cells[..., None] == np.arange(points + 2 if invariant else points * (points - 1) + 3)).mean(2)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.sampled_from([4, 8, 12, 16]), st.sampled_from([1.0, 1.5, 2.0, 3.0]), st.integers(1, 9), st.integers(9, 40),
       st.integers(9, 40), st.booleans())  # fmt: skip
def test_against_scikit_image_on_noise(points, radius, cell, height, width, invariant):
    image = np.random.default_rng(height * width).random((height, width))
    code = LBP(points, radius, cell, invariant)(image)
    np.testing.assert_allclose(code, reference(image, points, radius, cell, invariant), atol=1e-12)


def test_against_scikit_image_on_a_photograph():
    image = to_grey(bundled("camera"))[100:260, 100:300].astype(np.float64)
    expected = reference(image, 8, 1.0, 8)
    differing = np.abs(LBP()(image) - expected).sum() / 2 / expected.sum()
    assert differing < 0.03, "only ties on flat parts may differ"


def test_a_wide_circle_takes_no_more_memory():
    image = np.random.default_rng(0).random((40, 400))
    np.testing.assert_allclose(LBP(16, 250.0, 8)(image), reference(image, 16, 250.0, 8), atol=1e-12)
    with pytest.raises(ValueError, match="radius 1000 lies outside an image of 40 × 400 pixels"):
        LBP(radius=1000.0)(image)
    for radius in (np.nan, np.inf):
        with pytest.raises(ValueError, match="radius is a positive number"):
            LBP(radius=radius)


def test_flat_regions_tie_as_ones():
    code = LBP(8, 1.5, 4)(np.full((24, 24), 0.3))
    np.testing.assert_array_equal(code[1:-1, 1:-1, 8], 1)


def test_surrogate_is_the_expectation_over_all_patterns():
    phi = LBP(points=6, cell_size=1, softness=0.7)
    x = torch.rand(1, 1, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    probabilities = torch.sigmoid(phi.differences(x)[0, :, 2, 2] / 0.07).numpy()
    expected = np.zeros(8)
    for number in range(2**6):
        bits = np.array([number >> p & 1 for p in range(6)])
        label = bits.sum() if (bits != np.roll(bits, 1)).sum() <= 2 else 7
        expected[label] += np.prod(np.where(bits, probabilities, 1 - probabilities))
    np.testing.assert_allclose(phi(x)[0, :, 2, 2], expected, atol=1e-12)


def test_patterns_that_know_directions_add_up_to_those_that_do_not():
    x = torch.rand(1, 1, 24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for softness in (0.0, 0.5):
        turned, invariant = (LBP(6, rotation_invariant=k, softness=softness)(x) for k in (False, True))
        assert turned.shape[1] == 33
        sums = [turned[:, 0], *(turned[:, 1 + 6 * n : 7 + 6 * n].sum(1) for n in range(5)), *turned[0, 31:, None]]
        torch.testing.assert_close(torch.stack(sums, 1), invariant)


def test_surrogate_tends_to_the_code():
    x = torch.rand(1, 1, 40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    phi = LBP(rotation_invariant=False)
    errors = [(phi.surrogate(s)(x) - phi(x)).abs().mean().item() for s in (1, 0.3, 0.1, 1e-4)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-4
    assert not phi.exact


@pytest.mark.parametrize("channels", [1, 3])
def test_gradient(channels):
    x = torch.rand(1, channels, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(LBP(8, 1.5, 4, softness=1.0), (x.requires_grad_(),), eps=1e-6, atol=1e-6)


def test_sizes_and_bad_arguments():
    phi = LBP(cell_size=8)
    assert phi.image_size_for(phi.output_shape(70, 81)) == (64, 80)
    with pytest.raises(ValueError, match="smaller than one cell"):
        phi(np.zeros((7, 30)))
    with pytest.raises(ValueError, match="shape"):
        phi.image_size_for((11, 4, 4))
    for bad in ({"points": 1}, {"points": 25}, {"radius": 0.0}, {"cell_size": 0}, {"softness": -0.1}):
        with pytest.raises(ValueError):
            LBP(**bad)

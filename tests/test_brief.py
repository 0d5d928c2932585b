from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from unfeature.features.patterns.brief import BRIEF


def test_bits_are_comparisons_of_a_smoothed_image():
    image = np.random.default_rng(0).random((40, 45))
    phi = BRIEF(bits=50, patch_size=16, step=5, sigma=1.5, seed=3)
    smooth = gaussian_filter(image, 1.5, mode="nearest", radius=5)
    code = phi(image)
    assert code.shape == (5, 6, 50)
    for i, j, b in np.ndindex(code.shape):
        p, q = phi.pairs[b].numpy() + np.array([5 * i, 5 * j])
        assert code[i, j, b] == (1 if smooth[tuple(p)] < smooth[tuple(q)] else -1)


def test_differences_are_linear():
    phi = BRIEF(bits=20, patch_size=12)
    x, y = torch.rand(2, 1, 3, 30, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(phi.differences(2 * x - y), 2 * phi.differences(x) - phi.differences(y))
    torch.testing.assert_close(phi(x), torch.where(phi.differences(x) > 0, 1.0, -1.0).double())


def test_pairs_depend_on_the_seed_alone():
    assert torch.equal(BRIEF(seed=1).pairs, BRIEF(seed=1, step=3).pairs)
    assert not torch.equal(BRIEF(seed=1).pairs, BRIEF(seed=2).pairs)
    pairs = BRIEF(bits=500, patch_size=9).pairs
    assert pairs.min() == 0 and pairs.max() == 8
    assert (pairs[:, 0] != pairs[:, 1]).any(1).all()


def test_surrogate_tends_to_the_code():
    x = torch.rand(1, 1, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    phi = BRIEF()
    errors = [(phi.surrogate(s)(x) - phi(x)).abs().mean().item() for s in (1, 0.3, 0.1, 1e-4)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3
    assert not phi.exact


def test_gradient():
    x = torch.rand(1, 3, 14, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(BRIEF(bits=6, patch_size=8, step=3, softness=1.0), (x,))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(2, 20), st.integers(1, 9), st.integers(20, 50), st.integers(20, 50))
def test_sizes(patch, step, height, width):
    phi = BRIEF(bits=3, patch_size=patch, step=step)
    shape = phi.output_shape(height, width)
    assert tuple(phi(torch.zeros(1, 1, height, width)).shape[1:]) == shape
    smallest = phi.image_size_for(shape)
    assert smallest[0] <= height < smallest[0] + step and smallest[1] <= width < smallest[1] + step
    assert phi.output_shape(*smallest) == shape


def test_bad_arguments():
    with pytest.raises(ValueError, match="smaller than one patch"):
        BRIEF()(np.zeros((20, 50)))
    with pytest.raises(ValueError, match="shape"):
        BRIEF().image_size_for((255, 4, 4))
    for bad in ({"bits": 0}, {"patch_size": 1}, {"step": 0}, {"sigma": 0.0}, {"softness": -1.0}):
        with pytest.raises(ValueError):
            BRIEF(**bad)

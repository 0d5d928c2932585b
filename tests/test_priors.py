"""What every prior of contract_list keeps, and the published formulas, term by term."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.contract_list import PRIORS
from unfeature.inversion.priors.base import TYPICAL_COLOUR, TYPICAL_GRADIENT, Prior
from unfeature.inversion.priors.bounded_range import BoundedRange
from unfeature.inversion.priors.small_pixels import SmallContribution, SmallNorm
from unfeature.inversion.priors.variation import HyperLaplacian, TotalVariation

CENTRE = torch.full((3, 1, 1), 0.45, dtype=torch.float64)


def images(count=2, height=6, width=5, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, height, width, generator=generator, dtype=torch.float64)


@pytest.fixture(params=PRIORS, ids=str)
def prior(request):
    return PRIORS[request.param]()


def test_one_value_a_sample_independent_of_the_others(prior):
    x = images(3)
    together = prior(x, CENTRE)
    assert together.shape == (3,)
    alone = torch.cat([prior(sample[None], CENTRE) for sample in x])
    torch.testing.assert_close(together, alone)
    assert len(set(together.tolist())) == 3


def test_gradient_is_that_of_finite_differences(prior):
    assert torch.autograd.gradcheck(lambda x: prior(x, CENTRE), images().requires_grad_())


@given(
    name=st.sampled_from(sorted(PRIORS)),
    shape=st.tuples(st.integers(1, 3), st.sampled_from([1, 3]), st.integers(2, 9), st.integers(2, 40)),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_gradients_are_those_of_autograd(name, shape, dtype):
    prior, (count, channels, height, width) = PRIORS[name](), shape
    x = images(count, height, width, channels, seed=width).to(dtype)
    centre, before = CENTRE[:channels].to(dtype), torch.full_like(x, 0.5)
    gradient, slowly = before.clone(), before.clone()
    values = prior.with_gradient(x, centre, gradient)
    expected = Prior.with_gradient(prior, x, centre, slowly)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(values, expected, rtol=tolerance, atol=0)
    torch.testing.assert_close(gradient, slowly, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", ["constant", "centre", "step", "noise"])
def test_gradients_are_finite(prior, kind):
    x = {"constant": images() * 0 + 0.2, "centre": images() * 0 + 0.45, "noise": images()}.get(kind)
    if x is None:
        x = torch.zeros(1, 3, 6, 6, dtype=torch.float64)
        x[..., 3:] = 1
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(prior(x, CENTRE).sum(), x)
    assert torch.isfinite(gradient).all()


def test_a_flat_image_at_the_centre_is_the_most_natural(prior):
    flat = CENTRE.expand(3, 6, 5)[None].clone()
    assert float(prior(flat, CENTRE)) < float(prior(images(1), CENTRE))


@given(height=st.integers(2, 9), width=st.integers(2, 9), channels=st.sampled_from([1, 3]))
def test_variation_is_the_sum_that_the_paper_writes(height, width, channels):
    x = images(1, height, width, channels, seed=height * 10 + width)[0].numpy()
    for beta in (2.0, 3.0):
        total = 0.0
        for k, v, u in itertools.product(range(channels), range(height), range(width)):
            right = x[k, v, u + 1] - x[k, v, u] if u + 1 < width else 0.0
            below = x[k, v + 1, u] - x[k, v, u] if v + 1 < height else 0.0
            total += (right**2 + below**2) ** (beta / 2)
        expected = total / (height * width * TYPICAL_GRADIENT**beta)
        found = TotalVariation(beta=beta)(torch.from_numpy(x)[None], CENTRE[:channels])
        np.testing.assert_allclose(float(found), expected, rtol=1e-5)


def test_range_is_the_mean_that_the_paper_writes():
    x = images(1)
    norm = (x - CENTRE).square().sum(1).sqrt() / (80 / 255)
    torch.testing.assert_close(BoundedRange()(x, CENTRE)[0], norm.pow(6).mean())


def test_sparser_priors_prefer_one_jump_to_many_small_ones():
    ramp = torch.linspace(0, 1, 16, dtype=torch.float64).expand(1, 1, 16, 16)
    step = (ramp > 0.5).double()
    ratios = [float(p(step, CENTRE[:1]) / p(ramp, CENTRE[:1])) for p in (TotalVariation(2.0), TotalVariation(1.0))]
    assert ratios[1] == pytest.approx(1, rel=0.01) and ratios[0] > 10
    assert float(HyperLaplacian()(step, CENTRE[:1])) < float(HyperLaplacian()(ramp, CENTRE[:1]))


@pytest.mark.parametrize(("make", "value"), [(BoundedRange, 1.5), (TotalVariation, 0.5), (HyperLaplacian, 1.5)])
def test_exponents_out_of_range_are_refused(make, value):
    with pytest.raises(ValueError, match=str(value)):
        make(value)


def test_pixels_of_a_small_norm_are_pulled_to_the_centre_and_the_others_left():
    x, gradient = images(1, 4, 5), torch.zeros(1, 3, 4, 5, dtype=torch.float64)
    prior = SmallNorm(share=0.25, weight=10 * TYPICAL_COLOUR**2)  # w / (P B²) = 1/2
    prior.with_gradient(x, CENTRE, gradient)
    moved = x - gradient
    norms = (x - CENTRE).square().sum(1)
    least = norms <= norms.flatten().kthvalue(5).values
    assert int(least.sum()) == 5
    torch.testing.assert_close(moved, torch.where(least[:, None], CENTRE.expand_as(x), x))


def test_pixels_that_contribute_little_are_pulled_to_the_centre():
    x = images(2, 4, 5)
    slope = torch.randn(x.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    gradient = slope.clone()
    values = SmallContribution(share=0.25, weight=10 * TYPICAL_COLOUR**2).with_gradient(x, CENTRE, gradient)
    contributions = ((x - CENTRE) * slope).sum(1).abs()
    least = contributions <= contributions.flatten(1).kthvalue(5, dim=1).values.view(2, 1, 1)
    torch.testing.assert_close(gradient - slope, torch.where(least[:, None], x - CENTRE, torch.zeros_like(x)))
    torch.testing.assert_close(values, 0.5 * ((x - CENTRE).square().sum(1) * least).flatten(1).sum(1))


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(ValueError, match="share of the pixels"):
        SmallNorm(share=share)

"""Parameterizations: what all keep; a basis times the spectrum of photographs, pixels in a bound, an untrained net."""

import pytest
import torch

from unfeature.inversion.objectives import value_and_gradient
from unfeature.inversion.parameterizations import PARAMETERIZATIONS
from unfeature.inversion.parameterizations.base import ImageSpec
from unfeature.inversion.parameterizations.deep_prior import DeepPrior
from unfeature.inversion.parameterizations.fourier import Fourier
from unfeature.inversion.parameterizations.maco import MACO
from unfeature.inversion.parameterizations.pixels import Pixels
from unfeature.inversion.solvers.first_order import Adam


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
@pytest.mark.parametrize(("height", "width", "channels"), [(4, 5, 1), (33, 20, 3)])
def test_every_parameterization_draws_its_samples_alone(name, height, width, channels):
    spec = ImageSpec(height, width, torch.full((channels, 1, 1), 0.5, dtype=torch.float64))
    state = torch.get_rng_state()
    parameterization = PARAMETERIZATIONS[name](spec)
    z = parameterization.start([3, 4, 3])
    x = parameterization.render(z)
    assert x.shape == (3, channels, height, width) and x.dtype == torch.float64
    assert torch.equal(x[0], x[2]) and not torch.equal(x[0], x[1])
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(parameterization.render(z[1:2]), x[1:2])
    if parameterization.constraint is not None:
        torch.testing.assert_close(parameterization.constraint(20 * z), parameterization.project(20 * z))
    if parameterization.draws_any:
        image = x.clamp(0.02, 0.98)
        torch.testing.assert_close(parameterization.render(parameterization.coordinates(image)), image)


def test_gradients_of_the_deep_prior_are_those_of_finite_differences():
    deep = DeepPrior(ImageSpec(5, 6, torch.full((1, 1, 1), 0.5, dtype=torch.float64)), channels=(2,))
    z = deep.start([0]).requires_grad_()
    (gradient,) = torch.autograd.grad(deep.render(z).square().sum(), z)
    for place in range(0, z.numel(), 17):
        change = torch.zeros_like(z)
        change[0, 0, place] = 1e-6
        above, below = (float(deep.render((z + sign * change).detach()).square().sum()) for sign in (1, -1))
        assert (above - below) / 2e-6 == pytest.approx(float(gradient[0, 0, place]), abs=1e-6)


def test_the_deep_prior_draws_a_photograph_before_it_draws_noise(photograph):
    image = torch.from_numpy(photograph(side=64))[None, None]
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(0))
    noise = image.mean() + (noise - 0.5) * image.std() / noise.std()
    deep = DeepPrior(ImageSpec(*image.shape[2:], torch.full((1, 1, 1), 0.5)), channels=(4, 8, 8))

    def left(target):
        solver = Adam(step=0.01)
        solver.begin(deep.start([0]))
        for _ in range(20):
            solver.tell(*value_and_gradient(lambda z: (deep.render(z) - target).square().mean((1, 2, 3)), solver.point))
        return float((deep.render(solver.point) - target).square().mean() / target.var())

    assert left(image) < 0.5 * left(noise)


def test_the_deep_prior_has_levels_as_the_image_allows():
    spec = ImageSpec(20, 40, torch.full((1, 1, 1), 0.5))
    assert DeepPrior(spec).size == [20, 40] and DeepPrior(spec._replace(height=21)).size == [24, 40]
    assert len(DeepPrior(spec).shapes) < len(DeepPrior(spec._replace(height=64, width=64)).shapes)
    for channels in ((), (4, 0)):
        with pytest.raises(ValueError, match="channels is a number of channels, 1 or more"):
            DeepPrior(spec, channels)


@pytest.mark.parametrize("size", [(16, 16), (15, 22), (33, 8)])
def test_fourier_coefficients_are_an_orthonormal_basis_times_the_spectrum(size):
    spec = ImageSpec(*size, torch.full((1, 1, 1), 0.5, dtype=torch.float64))
    flat = Fourier(spec, power=0.0, margin=0)
    z = flat.start([0]) * 100
    x = flat.render(flat.coordinates(flat.render(z)))
    torch.testing.assert_close(flat.render(z), x)
    jacobian = torch.autograd.functional.jacobian(lambda v: flat.render(v).flatten(), z).flatten(1)
    gram = jacobian @ jacobian.T
    torch.testing.assert_close(gram, torch.eye(len(gram), dtype=torch.float64), atol=1e-9, rtol=0)
    coordinates = (jacobian.T @ (x - 0.5).flatten()).view(z.shape)
    assert float(coordinates.square().sum()) == pytest.approx(float((x - 0.5).square().sum()), rel=1e-9)
    torch.testing.assert_close(flat.render(coordinates), x)
    weighted = Fourier(spec, power=1.0, margin=0)
    ratio = weighted.weights / flat.weights
    torch.testing.assert_close(weighted.render(z), flat.render(ratio * z))
    assert float(ratio.max() / ratio.min()) > 4


def test_fourier_coefficients_start_like_photographs():
    fourier = Fourier(ImageSpec(128, 128, torch.full((1, 1, 1), 0.5)), power=1.0, margin=0, init_std=0.1)
    x = fourier.render(fourier.start([0]))
    spectrum = torch.fft.fft2(x - 0.5)[0, 0].abs()
    low, high = spectrum[2:8, 2:8].mean(), spectrum[20:60, 20:60].mean()
    assert 4 < low / high < 25


def test_below_the_cutoff_all_frequencies_weigh_alike():
    spec = ImageSpec(64, 64, torch.full((1, 1, 1), 0.5))
    fourier = Fourier(spec, power=1.0, margin=0, low_frequency_cutoff=0.1)
    weights = fourier.weights[0, 1:32, 0]
    assert float(weights[0] / weights[2]) == pytest.approx(1.0, abs=0.1)
    assert float(weights[14] / weights[29]) == pytest.approx(1.88, abs=0.02)  # √(30² + 6.4²) / √(15² + 6.4²)
    x = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fourier.render(fourier.coordinates(x)), x)
    with pytest.raises(ValueError, match="low_frequency_cutoff lies in"):
        Fourier(spec, low_frequency_cutoff=-0.1)


def test_pixels_start_as_published_and_stay_in_the_bound():
    pixels = Pixels(ImageSpec(64, 64, torch.full((3, 1, 1), 0.5)))
    z = pixels.start([0])
    assert float(z.flatten().quantile(0.95)) == pytest.approx(80 / 255 / 3**0.5, rel=0.02)
    far = pixels.project(20 * z)
    assert float(far.norm(dim=1).max()) == pytest.approx(160 / 255, rel=1e-5)
    near = 0.5 * z
    torch.testing.assert_close(pixels.project(near), near)


def test_phases_are_free_and_magnitudes_fixed():
    maco = MACO(ImageSpec(75, 45, torch.full((3, 1, 1), 0.45, dtype=torch.float64)), margin=0, std=0.2)
    phases = maco.start([0, 1])
    assert float(phases.abs().max()) <= torch.pi and float(phases.std()) == pytest.approx(torch.pi / 3**0.5, rel=0.02)
    images = maco.render(phases)
    assert images.shape == (2, 3, 75, 45) and 0 < float(images.min()) < float(images.max()) < 1
    spectra, contrasts = [], []
    for x in images.split(1):
        y = (torch.logit(x) - maco.grey) / 4
        y = torch.einsum("ij,njhw->nihw", maco.mixing.inverse(), y)
        contrasts.append(y.std((2, 3)))
        spectra.append(torch.fft.rfft2(y).abs()[0, :, 1:30])
    torch.testing.assert_close(spectra[0], spectra[1])
    assert torch.allclose(torch.cat(contrasts), torch.full((1,), 0.2, dtype=torch.float64), rtol=0.01)
    assert float(spectra[0][0, 0, 0] / spectra[0][0, 10, 10]) > 8
    torch.testing.assert_close(maco.render(maco.coordinates(images)), images, atol=1e-6, rtol=0)


def test_gradients_of_phases():
    maco = MACO(ImageSpec(9, 8, torch.full((1, 1, 1), 0.5, dtype=torch.float64)), margin=2)
    assert torch.autograd.gradcheck(maco.render, maco.start([3]).requires_grad_())
    with pytest.raises(ValueError, match="between 0 and 1"):
        MACO(ImageSpec(9, 8, torch.full((1, 1, 1), 0.5)), std=0)

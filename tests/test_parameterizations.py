"""Parameterizations: an orthonormal basis times the spectrum of photographs, and pixels in a bound."""

import pytest
import torch

from unfeature.inversion.parameterizations.base import ImageSpec
from unfeature.inversion.parameterizations.fourier import Fourier
from unfeature.inversion.parameterizations.maco import MACO
from unfeature.inversion.parameterizations.pixels import Pixels


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

"""Transforms: sizes, samples that do not mix, gradients, and the parameterization by decorrelated colours."""

import numpy as np
import pytest
import torch

from unfeature.inversion.parameterizations.base import ImageSpec
from unfeature.inversion.parameterizations.fourier import Colours
from unfeature.inversion.views import Blur, Jitter, Pad, Rotate, Scale, robustness, view


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def images(count=2, height=12, width=16):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_a_border_has_its_value_or_reflects():
    x = images()
    bordered = Pad(2, 0.25)(x, generators(0, 1))
    assert bordered.shape == (2, 3, 16, 20)
    assert (bordered[..., :2, :] == 0.25).all()
    assert torch.equal(Pad(2, None)(x, [])[..., 2:-2, 0], x[..., 2])


def test_jitter_is_a_window_of_the_image():
    x = images()
    windows = Jitter(3)(x, generators(0, 1))
    assert windows.shape == (2, 3, 9, 13)
    for image, window in zip(x, windows, strict=True):
        assert any(torch.equal(image[:, v:v + 9, u:u + 13], window) for v in range(4) for u in range(4))


def test_identities_change_nothing():
    x = images()
    for transform in (Scale(1.0, 1.0), Rotate(0.0), Pad(0), Jitter(0), Blur(0.0, 0.0)):
        torch.testing.assert_close(transform(x, generators(0, 1)), x)


def test_magnifying_by_two_shows_the_middle():
    ramp = torch.linspace(0, 1, 16, dtype=torch.float64).expand(1, 1, 16, 16)
    magnified = Scale(2.0, 2.0)(ramp, generators(0))
    torch.testing.assert_close(magnified[0, 0, 5, 1:] - magnified[0, 0, 5, :-1], torch.full((15,), 1 / 30).double())


def test_a_turn_of_a_wide_image_keeps_its_circles_round():
    v, u = np.mgrid[:40, :60]
    disc = torch.from_numpy(np.exp(-((v - 19.5)**2 + (u - 29.5)**2) / 50))[None, None]
    torch.testing.assert_close(Rotate(30.0)(disc, generators(4)), disc, atol=0.01, rtol=0)


def test_samples_do_not_mix_and_gradients_flow():
    x = images().requires_grad_()
    both = view(x, robustness(4), (12, 16), generators(5, 6))
    alone = view(x[1:], robustness(4), (12, 16), generators(6))
    assert both.shape == x.shape
    torch.testing.assert_close(both[1:], alone)
    (gradient,) = torch.autograd.grad(both.sum(), x)
    assert gradient.abs().sum() > 0


def test_small_views_are_given_a_border():
    x = images()
    seen = view(x, (Jitter(4),), (12, 16), generators(0, 1))
    assert seen.shape == x.shape
    assert torch.equal(seen[..., 0, :], seen[..., 1, :])


@pytest.mark.parametrize("make", [lambda: Pad(-1), lambda: Jitter(-1), lambda: Scale(0, 1), lambda: Scale(2, 1)])
def test_impossible_settings_are_refused(make):
    with pytest.raises(ValueError, match="got"):
        make()


def test_jitter_needs_room():
    with pytest.raises(ValueError, match="no room"):
        Jitter(12)(images(), generators(0, 1))


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_are_read_back_and_stay_in_range(channels):
    centre = torch.full((channels, 1, 1), 0.4, dtype=torch.float64)
    colours = Colours(ImageSpec(20, 24, centre), margin=4)
    x = images(2, 20, 24)[:, :channels] * 0.9 + 0.05
    torch.testing.assert_close(colours.render(colours.coordinates(x)), x)
    drawn = colours.render(100 * colours.start([0]))
    assert float(drawn.min()) >= 0 and float(drawn.max()) <= 1


def test_colours_start_near_the_centre_and_mostly_in_brightness():
    centre = torch.tensor([0.4, 0.5, 0.6], dtype=torch.float64).view(3, 1, 1)
    x = Colours(ImageSpec(64, 64, centre)).render(Colours(ImageSpec(64, 64, centre)).start([0]))
    torch.testing.assert_close(x.mean((0, 2, 3)), centre.flatten(), atol=0.15, rtol=0)
    correlation = np.corrcoef(x[0].flatten(1).numpy())
    assert correlation[0, 1] > 0.7


def test_a_blur_is_the_gaussian():
    spot = torch.zeros(2, 1, 41, 41, dtype=torch.float64)
    spot[..., 20, 20] = 1
    blurred = Blur(2.0, 2.0)(spot, generators(0, 1))
    v, u = np.mgrid[-20:21, -20:21]
    expected = torch.from_numpy(np.exp(-(v**2 + u**2) / 8) / (8 * np.pi))
    torch.testing.assert_close(blurred, expected.expand_as(blurred), atol=2e-4, rtol=0)
    widths = {float(one.max()) for one in Blur(0.5, 3.0)(spot, generators(0, 1))}
    assert len(widths) == 2 and max(widths) < 1


@pytest.mark.parametrize("given", [(-1.0, 1.0), (2.0, 1.0)])
def test_blurs_out_of_range_are_refused(given):
    with pytest.raises(ValueError, match="standard deviations"):
        Blur(*given)

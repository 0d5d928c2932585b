"""Filter banks: their filters, histograms by hand, textons, and textures made from histograms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from skimage.data import brick

from unfeature.features.textures.filter_bank import FilterBank, filters, soft_histograms
from unfeature.features.words.bovw import BoVW
from unfeature.features.words.vocabulary import Vocabulary
from unfeature.inversion.invert import invert


@pytest.fixture(scope="module")
def texture():
    return brick()[100:190, 40:136].astype(np.float32) / 255


@pytest.mark.parametrize(("bank", "count", "gaussians"), [("lm", 48, 4), ("schmid", 13, 0), ("mr8", 38, 2)])
def test_filters_are_scaled(bank, count, gaussians):
    found = filters(bank)
    assert found.shape == (count, 49, 49)
    np.testing.assert_allclose(np.abs(found).sum((1, 2)), 1)
    zero = found[:-gaussians or None] if bank != "mr8" else np.delete(found, 36, 0)
    np.testing.assert_allclose(zero.sum((1, 2)), 0, atol=1e-12)


def test_filters_see_edges_and_bars_along_their_orientation():
    x = np.broadcast_to(np.arange(49) > 24, (49, 49)) - 0.5
    bar = np.broadcast_to(np.abs(np.arange(49) - 24) < 2, (49, 49)) - 0.0
    found = filters("lm")
    for order, picture in enumerate((x, bar)):
        oriented = np.abs((found[18 * order:18 * order + 18] * picture).sum((1, 2))).reshape(3, 6)
        assert (oriented.argmax(1) == 3).all(), "the fourth of six orientations is vertical"


@pytest.mark.parametrize("crop", [(56, 60), (90, 96)])
def test_responses_are_correlations_inside_the_image(texture, crop):
    image = texture[:crop[0], :crop[1]]
    phi = FilterBank("schmid", bins=0)
    code = phi(image)
    assert code.shape == (crop[0] - 48, crop[1] - 48, 13)
    for i in (0, 5, 12):
        np.testing.assert_allclose(code[..., i], correlate2d(image - 0.5, filters("schmid")[i], "valid"), atol=1e-5)
    assert phi.image_size_for((13, 8, 12)) == (56, 60)
    with pytest.raises(ValueError, match="smaller than a filter of 49 × 49"):
        phi(texture[:48])


def test_histograms_share_each_value_between_two_bins():
    edge = float(np.arcsinh(0.5 / 0.02))
    values = torch.tensor([-9.0, 0.02 * np.sinh(-edge), 0.0, 0.02 * np.sinh(edge / 4), 0.5])[None, None].double()
    found = soft_histograms(values, 5)[0, 0]
    torch.testing.assert_close(found, torch.tensor([2, 0, 1.5, 0.5, 1]).double() / 5)


def test_mr8_does_not_see_a_quarter_turn(texture):
    square = texture[:88, :88]
    phi, plain = FilterBank("mr8", bins=9), FilterBank("lm", bins=9)
    turned = np.ascontiguousarray(np.rot90(square))
    assert phi(square).shape == (72,) and plain(square).shape == (432,)
    np.testing.assert_allclose(phi(square).reshape(8, 9).sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(phi(turned), phi(square), atol=1e-4)
    assert np.abs(plain(turned) - plain(square)).max() > 0.1


def test_textons_are_words_of_responses(texture):
    local = FilterBank("schmid", bins=0)
    textons = Vocabulary.learn([texture], local, words=5, samples=300)
    code = BoVW(textons, levels=(1,))(texture)
    assert code.shape == (5,) and code.min() > 0 and code.sum() == pytest.approx(1)


def test_a_texture_is_made_from_its_histograms(texture):
    phi = FilterBank(bins=11)
    code = phi(texture)
    noise = phi(np.random.default_rng(0).random(texture.shape).astype(np.float32))
    result = invert(phi, code, size=texture.shape, steps=30)
    assert result.error < 0.35 * np.linalg.norm(noise - code) / np.linalg.norm(code)


@pytest.mark.parametrize(("options", "message"), [({"bank": "gabor"}, "unknown bank 'gabor'.*lm, schmid, mr8"),
                                                  ({"bins": 1}, "at least 2 bins, and 0 stands for the responses")])
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FilterBank(**options)

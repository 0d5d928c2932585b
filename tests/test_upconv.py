"""The up-convolutional network: grids of any fineness, codes of any size and strength, crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.small_models import Means
from tests.tiny_networks import tiny
from unfeature.baselines.upconv import Upconv, _CropLearner
from unfeature.features.networks.cnn import CNN
from unfeature.io.similarity import correlation

SMALL = {"crop": 48, "crops": 4, "width": 32, "batch": 4}


@pytest.mark.parametrize(("stride", "least"), [(2, 0.95), (4, 0.88), (6, 0.81), (16, 0.5)])
def test_grids_of_any_fineness_lead_to_images(images, target, stride, least):
    phi = Means(stride)
    model = Upconv.learn(images, phi, steps=80, **SMALL)
    image = model.invert(phi, phi(target), size=target.shape).image
    assert image.shape == target.shape
    assert correlation(image, target) > least
    aligned = [correlation(np.roll(image, shift, axis=(0, 1)), target) for shift in (-3, 0, 3)]
    assert np.argmax(aligned) == 1


def test_huge_codes_are_learned_as_others(images, target):
    codes = [Means(4, strength) for strength in (1e3, 1e9)]
    found = []
    for phi in codes:
        model = Upconv.learn(images, phi, steps=20, **SMALL)
        found.append(model.invert(phi, phi(target), size=target.shape).image)
    assert np.ptp(found[0]) > 0.1
    assert np.abs(found[0] - found[1]).max() < 0.05


def test_a_layer_with_one_position_gives_images_of_any_size(images, target):
    phi = CNN(tiny(), "fc4")
    colour = [np.repeat(image[..., None], 3, axis=2) for image in [*images, target]]
    model = Upconv.learn(colour[:-1], phi, steps=3, **{**SMALL, "crop": 16})
    code = phi(colour[-1][:16, :16])
    assert code.shape == (1, 1, 7)
    assert model.invert(phi, code).images.shape == (1, 16, 16, 3)
    with pytest.raises(ValueError, match="larger crop"):
        model.invert(phi, phi(colour[-1]), size=target.shape)


def test_short_memory_keeps_some_crops_of_every_image():
    learner = _CropLearner(Means(4), crop=16, crops=20, zoom=1.0, most=8, images=4)
    for grey in (0.2, 0.4, 0.6, 0.8):
        learner.see(np.full((20, 24), grey, np.float32), np.zeros(0, np.float32), np.random.default_rng(0))
    kept = learner.arrays["images"].reshape(8, -1)
    assert np.array_equal(kept[:, 0], np.repeat([51, 102, 153, 204], 2))
    assert np.allclose(learner.moments()[0], 0.5, atol=2e-3)
    assert np.allclose(learner.moments()[1], np.std([0.2, 0.4, 0.6, 0.8]), atol=2e-3)


def test_zoomed_crops_hold_more_of_the_image():
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    spans = {}
    for zoom in (1.0, 3.0):
        learner = _CropLearner(Means(4), crop=32, crops=20, zoom=zoom, most=100, images=1)
        learner.see(ramp, np.zeros(0, np.float32), np.random.default_rng(0))
        spans[zoom] = np.ptp(learner.arrays["images"].astype(float), axis=(1, 2, 3)) / 255
    assert np.allclose(spans[1.0], 31 / 63, atol=0.01)
    assert spans[3.0].min() < 0.6 and 0.8 < spans[3.0].max() <= 1
    with pytest.raises(ValueError, match="zoom is at least 1"):
        Upconv.learn([ramp], Means(4), zoom=0.5)


def test_the_network_begins_near_the_mean_image(images):
    model = Upconv.learn(images, Means(8), steps=1, **SMALL)
    image = model.invert(Means(8), Means(8)(images[0]), size=images[0].shape).image
    assert abs(float(np.mean(image)) - model.image_mean) < 0.2
    assert torch.isfinite(torch.from_numpy(model.weights)).all()

"""Caricatures: stronger in the direction of the image's own code, and still the image."""

from dataclasses import replace

import numpy as np
import pytest

from tests.tiny_networks import tiny
from unfeature.features.networks.cnn import CNN
from unfeature.inversion.caricature import caricature
from unfeature.inversion.recipes import CARICATURE_PRESETS, recipe_for


@pytest.fixture(scope="module")
def phi():
    return CNN(tiny(), "relu2")


def short(phi, preset="best", steps=15):
    recipe = recipe_for(phi, preset, CARICATURE_PRESETS)
    return replace(recipe, stages=(replace(recipe.stages[0], steps=steps),))


@pytest.mark.parametrize("preset", ["best", "ijcv2016"])
def test_what_is_there_becomes_stronger(phi, photograph, preset):
    image = photograph(side=40, grey=False)
    result = caricature(phi, image, preset=short(phi, preset))
    own = np.maximum(phi(image), 0)
    response = float((phi(result.image) * own).sum() / (own**2).sum())
    assert response > 1.1
    np.testing.assert_allclose(response, result.provenance["responses"][0], rtol=1e-3)
    assert np.corrcoef(image.ravel(), result.image.ravel())[0, 1] > 0.4


def test_octaves_follow_one_another(phi, photograph):
    image = photograph(side=48, grey=False)
    result = caricature(phi, image, preset=short(phi, steps=4), octaves=2)
    assert result.images.shape == (1, *image.shape)
    assert len(result.history["objective"]) == 8
    assert result.provenance["evaluations"] == 8


def test_an_interrupt_ends_all_octaves(phi, photograph):
    image = photograph(side=48, grey=False)
    steps = []

    def stop(progress):
        steps.append(progress.step)
        if len(steps) == 3:
            raise KeyboardInterrupt

    result = caricature(phi, image, preset=short(phi, steps=4), octaves=2, progress=stop)
    assert steps == [1, 2, 3] and result.images.shape == (1, *image.shape)
    assert result.status == "stopped by the user after 3 of 4 gradient evaluations"
    assert len(result.history["objective"]) == result.provenance["evaluations"] == 3


def test_mistakes_are_named(phi):
    with pytest.raises(ValueError, match="ratio above 1"):
        caricature(phi, np.zeros((40, 40, 3), np.float32), octave_scale=np.nan)
    with pytest.raises(ValueError, match=r"cannot take|too small"):
        caricature(phi, np.full((28, 28, 3), 0.5, np.float32), octaves=5000)
    with pytest.raises(ValueError, match="octaves are at least 1"):
        caricature(phi, np.zeros((40, 40, 3), np.float32), octaves=0)
    with pytest.raises(ValueError, match=r"cannot take|too small"):
        caricature(phi, np.full((28, 28, 3), 0.5, np.float32), octaves=6)

"""Each descriptor says in which stages its stand-in is sharpened, and codes of words are inverted so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import unfeature
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.gradients.hog import HOG
from unfeature.features.words.bovw import BoVW
from unfeature.features.words.encodings import VLAD, Fisher, SuperVector
from unfeature.features.words.vocabulary import Mixture, Vocabulary
from unfeature.inversion.recipes import best, fast

LOCAL = DSIFT(bin_size=3, step=2)


@pytest.fixture(scope="module")
def image(photograph):
    return photograph(side=64)


@pytest.fixture(scope="module")
def words(image):
    local = LOCAL(image).reshape(-1, LOCAL.dimensions)
    return Vocabulary(LOCAL, local[np.random.default_rng(0).choice(len(local), 12, replace=False)])


def stages(recipe):
    return [(stage.steps, stage.softness) for stage in recipe.stages]


def test_presets_take_the_stages_of_the_descriptor(words):
    assert stages(best(HOG())) == [(60, s) for s in (0.5, 0.2, 0.1, 0.05, 0.025)]
    assert stages(fast(HOG())) == [(20, s) for s in (0.4, 0.15, 0.04)]
    phi = VLAD(words)
    assert stages(best(phi)) == [*phi.sharpening[:-1], (phi.sharpening[-1][0], None)]
    assert stages(fast(phi)) == list(phi.quick_sharpening)
    assert best(phi).weight == phi.data_weight != best(HOG()).weight
    assert BoVW(words).sharpening != BoVW(words, "soft").sharpening


def test_a_code_is_blind_to_contrast_as_its_descriptor_is(words):
    assert VLAD(words).blind_to_contrast
    faded = words.with_phi(LOCAL.replace(epsilon=1.0))
    assert not VLAD(faded).blind_to_contrast


@pytest.mark.parametrize("make", [VLAD, SuperVector, Fisher, BoVW])
def test_codes_of_words_are_inverted(make, words, image):
    if make is Fisher:
        spread = np.full_like(words.words, 5e-3)
        words = Mixture(LOCAL, words.words, variances=spread, priors=np.full(len(spread), 1 / len(spread)))
    phi = make(words)
    code = phi(image)
    noise = phi(np.random.default_rng(0).random(image.shape).astype(np.float32))
    result = unfeature.invert(phi, code, size=image.shape, preset="fast")
    assert result.error < 0.3 * np.linalg.norm(noise - code) / np.linalg.norm(code)


def test_a_last_stage_with_the_descriptor_itself_does_not_harm(words, image):
    phi = VLAD(words)
    code = phi(image)
    recipe = fast(phi)
    softly = unfeature.invert(phi, code, size=image.shape, preset=recipe)
    stages = (*recipe.stages, replace(recipe.stages[-1], steps=40, softness=None))
    exactly = unfeature.invert(phi, code, size=image.shape, preset=replace(recipe, stages=stages))
    assert exactly.error < softly.error

"""Recipes follow the schedule of each kind of code, as recorded, and codes of words are inverted with theirs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import unfeature
from tests.contract_list import REPRESENTATIONS
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.gradients.hog import HOG
from unfeature.features.words.bovw import BoVW
from unfeature.features.words.fisher import Fisher
from unfeature.features.words.super_vector import SuperVector
from unfeature.features.words.vlad import VLAD
from unfeature.features.words.vocabulary import Mixture, Vocabulary
from unfeature.inversion import PRESETS
from unfeature.inversion.recipes import CARICATURE_PRESETS, MAXIMIZATION_PRESETS, best, fast
from unfeature.inversion.schedules import Schedule, schedule_for

RECORDED = json.loads((Path(__file__).parent / "golden" / "recipes.json").read_text())
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


@pytest.mark.parametrize("name", RECORDED["descriptors"])
def test_recipes_are_those_recorded(name):
    phi = REPRESENTATIONS[name]()
    families = {"": PRESETS, "maximize ": MAXIMIZATION_PRESETS, "caricature ": CARICATURE_PRESETS}
    for prefix, presets in families.items():
        for preset, make in presets.items():
            recorded = RECORDED["recipes"][RECORDED["descriptors"][name][prefix + preset]]
            assert json.loads(json.dumps(make(phi).describe())) == recorded, prefix + preset


def test_presets_follow_the_schedule(words):
    assert stages(best(HOG())) == list(Schedule().softness) == [(60, s) for s in (0.5, 0.2, 0.1, 0.05, 0.025)]
    assert stages(fast(HOG())) == list(Schedule().quick_softness) == [(20, s) for s in (0.4, 0.15, 0.04)]
    phi, schedule = VLAD(words), schedule_for(VLAD(words))
    assert stages(best(phi)) == [*schedule.softness[:-1], (schedule.softness[-1][0], None)]
    assert stages(fast(phi)) == list(schedule.quick_softness)
    assert best(phi).data_weight == schedule.data_weight != best(HOG()).data_weight
    assert schedule_for(BoVW(words)).softness != schedule_for(BoVW(words, "soft")).softness


def test_a_class_takes_the_schedule_of_its_nearest_base_unless_it_has_its_own():
    class Toy(HOG):
        pass

    assert schedule_for(Toy(bilinear=True)) == schedule_for(HOG(bilinear=True)) != schedule_for(HOG())
    schedule_for.register(Toy, lambda phi: Schedule(data_weight=7.0, softness=((5, 0.5), (3, 0.0))))
    assert best(Toy()).data_weight == 7.0 and stages(best(Toy())) == [(5, 0.5), (3, None)]
    assert schedule_for(HOG()) == Schedule(history=20, quick_history=8, near=(30.0, 0.0005), guided_start=(0.08, 0.012))
    assert (best(HOG()).near, best(DSIFT(variant="network")).near, fast(HOG()).near) == (30.0, 100.0, 4.0)
    assert [stage.guidance for stage in best(HOG()).stages][::4] == [1, pytest.approx(0.0005)]


def test_a_code_is_contrast_invariant_as_its_descriptor_is(words):
    assert VLAD(words).contrast_invariant
    faded = words.with_phi(LOCAL.replace(epsilon=1.0))
    assert not VLAD(faded).contrast_invariant


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

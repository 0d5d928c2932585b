"""Activation maximisation on a tiny network and on HOG."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from tests.tiny_networks import randomise, tiny
from unfeature.cli.maximize import PRESETS
from unfeature.features.channel_statistics import statistics
from unfeature.features.gradients.hog import HOG
from unfeature.features.networks.cnn import CNN
from unfeature.inversion.maximize import maximize
from unfeature.inversion.recipes import CARICATURE_PRESETS, MAXIMIZATION_PRESETS, Stage, best, recipe_for
from unfeature.inversion.solvers.first_order import Adam, Momentum
from unfeature.inversion.solvers.lbfgs import LBFGS
from unfeature.inversion.views import robustness


def short(phi, preset="best", steps=25):
    recipe = recipe_for(phi, preset, MAXIMIZATION_PRESETS)
    return replace(recipe, stages=(replace(recipe.stages[0], steps=steps),))


@pytest.fixture(scope="module")
def phi():
    return CNN(tiny(), "fire3", leak=0.05)


def noise_response(phi, channel, size):
    image = np.random.default_rng(0).uniform(0.3, 0.7, (*size, 3)).astype(np.float32)
    return float(phi(image)[..., channel].mean())


@pytest.mark.parametrize("preset", ["best", "ijcv2016"])
def test_channels_respond_more_than_to_noise_and_as_they_would_alone(phi, preset):
    recipe = short(phi, preset)
    both = maximize(phi, channel=[2, 7], preset=recipe)
    alone = maximize(phi, channel=7, preset=recipe)
    assert both.images.shape == (2, 25, 25, 3)
    np.testing.assert_allclose(both.images[1], alone.image, atol=1e-4)
    assert alone.provenance["responses"][0] > 1.5 * noise_response(phi, 7, (25, 25))
    np.testing.assert_allclose(phi(alone.image.astype(np.float64))[..., 7].mean(), alone.provenance["responses"][0],
                               rtol=1e-4)
    assert np.isnan(alone.errors).all() and alone.codes is None


def test_a_neuron_responds_at_its_own_place(phi):
    result = maximize(phi, neuron=(3, 0, 1), size=(25, 25), preset=short(phi))
    code = phi(result.image)
    np.testing.assert_allclose(code[0, 1, 3], result.provenance["responses"][0], rtol=1e-4)
    assert code[0, 1, 3] > np.median(code[..., 3])
    middle = maximize(phi, neuron=(3,), preset=short(phi, steps=1))
    assert middle.images.shape[1:3] == (phi.receptive_field,) * 2 or phi.receptive_field > 25


def test_a_mosaic_shows_each_filter_at_its_own_place(phi):
    first = maximize(phi, mosaic=[1, 4, 6, 8], preset=short(phi))
    assert min(first.images.shape[1:3]) >= 2 * phi.receptive_field
    code = phi(first.image)
    rows, columns = code.shape[:2]
    centres = [(rows // 4, columns // 4), (rows // 4, 3 * columns // 4), (3 * rows // 4, columns // 4),
               (3 * rows // 4, 3 * columns // 4)]
    for channel, (v, u) in zip([1, 4, 6, 8], centres, strict=True):
        around = code[max(v - 1, 0):v + 2, max(u - 1, 0):u + 2, channel]
        assert around.max() > code[..., channel].mean()


def test_starts_differ_and_repeat(phi):
    recipe = short(phi, steps=4)
    several = maximize(phi, class_=2, starts=2, seed=5, preset=recipe)
    assert several.starts == 2 and np.abs(several.images[0] - several.images[1]).max() > 1e-3
    again = maximize(phi, class_=2, seed=6, preset=recipe)
    np.testing.assert_allclose(again.image, several.images[1], atol=1e-5)


def test_statistics_set_the_scale(phi):
    images = [np.random.default_rng(seed).random((25, 25, 3)).astype(np.float32) for seed in range(3)]
    known = statistics(phi, images)
    result = maximize(phi, channel=1, statistics=known, preset=short(phi, steps=2))
    area = min(phi.receptive_field, 25) ** 2 / 1e4
    expected = max(known.max[1], 0.1 * known.max.max()) * area
    np.testing.assert_allclose(result.provenance["target"]["scale"], expected, rtol=1e-5)
    with pytest.raises(ValueError, match="another descriptor"):
        maximize(CNN(tiny(), "conv2"), channel=1, statistics=known)


def test_a_template_on_hog_is_found_by_its_direction():
    phi = HOG("dpm", cell_size=8)
    template = np.zeros((4, 3, 32), np.float32)
    template[..., 4] = 1.0
    result = maximize(phi, direction=template, preset=short(phi, steps=40))
    assert result.images.shape[1:3] == (6 * 8, 5 * 8)
    code = phi(result.image)
    assert code[..., 4].mean() > 2 * code[..., [13, 0, 8]].mean()


def test_a_direction_among_channels_fits_every_position(phi):
    direction = torch.zeros(10)
    direction[2] = 1
    result = maximize(phi, direction=direction, preset=short(phi, steps=3))
    np.testing.assert_allclose(phi(result.image)[..., 2].sum(), result.provenance["responses"][0], rtol=1e-4)


@pytest.mark.parametrize(("request_", "words"), [
    ({}, "give one of"),
    ({"channel": 1, "class_": 2}, "give one of"),
    ({"channel": 99}, "no channel 99"),
    ({"channel": []}, "a whole number, or several"),
    ({"channel": 1.5}, "a whole number, or several"),
    ({"neuron": (1, 2)}, "channel, row, column"),
    ({"neuron": ()}, "a whole number, or several"),
    ({"mosaic": []}, "a whole number, or several"),
    ({"neuron": (1, 50, 0), "size": (25, 25)}, "no row 50"),
    ({"direction": np.zeros((2, 2, 3), np.float32), "size": (25, 25)}, "direction has shape"),
    ({"mosaic": list(range(10)), "size": (17, 17)}, "no room"),
    ({"channel": 1, "preset": "bset"}, "did you mean 'best'"),
    ({"channel": 1, "starts": 0}, "at least 1"),
])
def test_mistakes_are_named(phi, request_, words):
    with pytest.raises(ValueError, match=words):
        maximize(phi, **request_)


def test_networks_are_maximised_under_random_views_and_other_codes_are_not(phi, monkeypatch):
    recipe = recipe_for(phi, "best", MAXIMIZATION_PRESETS)
    assert [(stage.steps, stage.rate, stage.transforms) for stage in recipe.stages] == [
        (200, 1.0, robustness(4)), (56, 0.3, robustness(4))]
    assert MAXIMIZATION_PRESETS["best"](HOG()).describe() == best(HOG()).describe()
    published = recipe_for(phi, "ijcv2016", MAXIMIZATION_PRESETS)
    assert [stage.steps for stage in published.stages] == [300] and published.data_weight == 1
    seen = []
    forward = type(phi).forward
    monkeypatch.setattr(type(phi), "forward", lambda self, x: seen.append(x.detach().clone()) or forward(self, x))
    still = replace(recipe, solver=partial(Adam, step=0.0), stages=(replace(recipe.stages[0], steps=6),))
    maximize(phi, channel=1, preset=still, size=(25, 25))
    views = [x for x in seen if len(x) == 1][-7:-1]
    assert {tuple(x.shape[2:]) for x in views} == {(25, 25)}
    assert len({float(x.sum()) for x in views}) == 6


def test_phases_alone_raise_the_response_at_a_fixed_contrast(phi):
    found = maximize(phi, channel=7, preset="maco", steps=20)
    assert {name: found.provenance["recipe"][name] for name in ("name", "priors")} == {"name": "maco", "priors": []}
    assert list(found.history) == ["objective", "data"]
    assert found.history["data"][-5:].mean() < found.history["data"][:3].mean()
    assert 0.12 < found.image.std() < 0.35
    assert maximize(HOG("dpm"), channel=4, size=(48, 40), preset="maco", steps=4).image.shape == (48, 40)


def test_the_regularisers_of_2015_keep_pixels_small(phi):
    found = maximize(phi, channel=7, preset="yosinski2015", steps=20)
    assert {"SmallContribution", "SmallNorm", "BoundedRange"} <= set(found.history)
    free = maximize(phi, channel=7, preset="yosinski2015", steps=20, data_weight=1e4)
    assert found.history["SmallNorm"][-1] < free.history["SmallNorm"][-1]
    assert found.provenance["responses"][0] > noise_response(phi, 7, (25, 25))


def test_the_command_knows_every_preset():
    assert set(PRESETS) == set(MAXIMIZATION_PRESETS) and set(PRESETS[:2]) == set(CARICATURE_PRESETS)


def test_responses_of_middle_layers_weigh_more_than_those_of_classes():
    network = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 7), nn.Conv2d(4, 4, 9)), 0)
    layers = [CNN(network, str(i), mean=0.5, std=0.2, input_size=(17, 17)) for i in range(3)]
    assert [layer.receptive_field for layer in layers] == [3, 9, 17]
    assert [recipe_for(layer, "best", MAXIMIZATION_PRESETS).data_weight for layer in layers] == [100.0, 300.0, 2.0]


def test_a_later_stage_may_bring_another_solver(phi):
    stages = (Stage(6), Stage(6, solver=LBFGS))
    recipe = replace(recipe_for(phi, "best", MAXIMIZATION_PRESETS), solver=partial(Momentum, step=0.0), stages=stages)
    objective = maximize(phi, channel=1, preset=recipe).history["objective"]
    assert (objective[:6] == objective[0]).all()
    assert objective[-1] < objective[0]


def test_no_hook_is_left_even_after_an_error():
    network = tiny()
    phi = CNN(network, "fire3")

    def fail(progress):
        raise RuntimeError("from the callback")

    with pytest.raises(RuntimeError, match="from the callback"):
        maximize(phi, channel=1, progress=fail)
    assert not any(m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in network.modules())


def test_a_class_of_a_real_network_is_recognised(shared):
    weights = shared / "data/networks/squeezenet1_0.safetensors"
    phi = CNN("squeezenet1_0", "pool_final", weights, leak=0.05)
    result = maximize(phi, class_=130, size=(99, 99), preset=short(phi, steps=40))
    scores = phi(result.image).ravel()
    assert scores.argmax() == 130

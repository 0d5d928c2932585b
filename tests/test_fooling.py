"""Fooling images: noise, inside the ball, with the label and the certainty that were asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import unfeature as uf
from tests.tiny_networks import tiny
from unfeature.features.networks.cnn import CNN


@pytest.fixture(scope="module")
def phi():
    return CNN(tiny(), "fc4")


def likely(phi, image):
    return torch.tensor(phi(image.clip(0, 1)).mean((0, 1))).softmax(0)


@pytest.mark.parametrize("noise", ["natural", "white"])
def test_noise_gets_the_label_with_the_certainty(phi, noise):
    result = uf.fooling(phi, 2, noise=noise, probability=0.9, steps=10, seed=3)
    facts = result.provenance
    assert facts["change"]["reached"] and facts["label"]["after"] == 2 and facts["noise"] == {"kind": noise, "seed": 3}
    assert float(likely(phi, result.image)[2]) == pytest.approx(facts["label"]["probability after"], abs=1e-4)
    assert facts["label"]["probability after"] >= 0.9 > facts["label"]["probability before"]
    assert result.image.shape == (25, 25, 3) and result.image.min() >= 0 and result.image.max() <= 1
    bound = facts["change"]["bound"]
    assert facts["change"]["largest"] <= bound * (1 + 1e-5) and np.log2(bound * 255 / 8) % 1 == pytest.approx(0)
    again = uf.fooling(phi, 2, noise=noise, probability=0.9, steps=10, seed=3, bound=bound)
    np.testing.assert_array_equal(again.images, result.images)
    assert result.provenance["method"] == "fooling" and facts["method"] == "fooling"


def test_an_adversarial_image_may_have_to_be_certain(phi, photograph):
    image = photograph(side=40, grey=False)
    first = uf.adversarial(phi, image, 2, steps=10).provenance
    wanted = first["label"]["probability after"] + 0.02
    certain = uf.adversarial(phi, image, 2, probability=wanted, steps=10).provenance
    assert certain["change"]["reached"] and certain["label"]["probability after"] >= wanted
    assert certain["change"]["bound"] > first["change"]["bound"]


def test_a_label_out_of_reach_ends_at_the_largest_ball(phi):
    result = uf.fooling(phi, 2, probability=1 - 1e-9, steps=1)
    assert not result.provenance["change"]["reached"] and result.provenance["change"]["bound"] >= 1


@pytest.mark.parametrize(("settings", "words"), [
    ({"label": 7}, "there is no label 7"), ({"label": 1, "noise": "pink"}, "'natural' or 'white'"),
    ({"label": 1, "bound": -1.0}, "positive"), ({"label": 1, "probability": 1.0}, r"\[0, 1\)"),
    ({"label": 1, "seed": -1}, "seed"),
])
def test_mistakes_are_named(phi, settings, words):
    with pytest.raises(ValueError, match=words):
        uf.fooling(phi, **settings)


def test_the_command_fools_a_descriptor(call, tmp_path):
    out = tmp_path / "out"
    status, text, _ = call("fooling", "--feature", "hog", "--label", 21, "--size", "40x48", "--steps", 9, "--seed", 2,
                           "--bound", "40/255", "--probability", 0.02, "-o", out)
    assert status == 0 and "→ 21 (" in text and "not reached" not in text
    assert {path.name for path in out.iterdir()} == {
        "preimage.png", "change.png", "image.npy", "result.json", "report.html"}
    found = uf.fooling(uf.HOG(), 21, size=(40, 48), steps=9, seed=2, bound=40 / 255, probability=0.02)
    np.testing.assert_array_equal(uf.Result.load(out).images, found.images)
    assert "taken for label 21" in (out / "report.html").read_text(encoding="utf-8")

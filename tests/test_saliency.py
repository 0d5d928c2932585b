"""Saliency: gradients by finite differences, rectified ones by their rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import unfeature as uf
from tests.tiny_networks import Residual, tiny
from unfeature.features.networks.cnn import CNN
from unfeature.features.networks.hooks import RectifyingReLU
from unfeature.io.images import bundled, bundled_path, resize_longer, to_grey


@pytest.fixture(scope="module")
def phi():
    return CNN(tiny(), "fire3")


@pytest.fixture(scope="module")
def image(photograph):
    return photograph(side=40, grey=False)


def map_of(result, i=0):
    scale = result.provenance["saliency"]["scale"][i]
    return (result.images[i] - 0.5) * 2 * scale


def test_the_gradient_tells_how_the_response_changes(phi, image):
    result = uf.saliency(phi, image, channel=[2, 7])
    assert result.images.shape == (2, *image.shape) and np.isnan(result.errors).all()
    np.testing.assert_allclose(result.provenance["responses"], phi(image)[..., [2, 7]].mean((0, 1)), rtol=1e-4)
    change = 1e-6 * np.random.default_rng(0).normal(size=image.shape)
    exact = image.astype(np.float64)
    moved, back = (phi(exact + sign * change)[..., 7].mean() for sign in (1, -1))
    assert float((map_of(result, 1) * change).sum()) == pytest.approx((moved - back) / 2, rel=0.02)
    assert (np.abs(result.images - 0.5) <= 0.5).mean() == pytest.approx(0.999, abs=1e-3)


def test_every_method_on_hog_and_networks(phi, image):
    maps = {method: map_of(uf.saliency(phi, image, neuron=(3,), method=method))
            for method in ("gradient", "guided", "deconvnet")}
    assert all(np.abs(a - b).max() > 1e-3 * np.abs(a).max() for a, b in zip(
        list(maps.values()), list(maps.values())[1:] + list(maps.values())[:1], strict=True))
    hog = uf.saliency(uf.HOG(cell_size=8), image[..., 0], channel=4)
    assert hog.image.shape == image.shape[:2]
    with pytest.raises(ValueError, match="layers of networks"):
        uf.saliency(uf.HOG(cell_size=8), image, channel=4, method="guided")


@pytest.mark.parametrize(("rule", "expected"), [("guided", [0, 0, 0, 2]), ("deconvnet", [0, 1, 0, 2])])
def test_rectified_gradients(rule, expected):
    x = torch.tensor([-1.0, -1.0, 1.0, 1.0], requires_grad=True)
    y = RectifyingReLU(rule)(x)
    y.backward(torch.tensor([-1.0, 1.0, -2.0, 2.0]))
    assert x.grad.tolist() == expected and y.tolist() == [0, 0, 1, 1]


def test_a_neuron_is_where_its_channel_responds_most(phi, image):
    code = phi(image)
    row, column = np.unravel_index(code[..., 6].argmax(), code.shape[:2])
    result = uf.saliency(phi, image, neuron=(6,))
    assert result.provenance["saliency"]["neuron"] == [[6, row, column]]
    assert result.provenance["responses"] == pytest.approx([code[..., 6].max()])
    np.testing.assert_array_equal(uf.saliency(phi, image, neuron=[(6, int(row), int(column))]).images, result.images)


def test_the_strongest_channel_is_meant_without_a_target(phi, image):
    result = uf.saliency(phi, image)
    assert result.provenance["saliency"]["channel"] == phi(image).mean((0, 1)).argmax()


def test_the_descriptor_keeps_its_own_gradient(phi, image):
    before = uf.saliency(phi, image, channel=1).images
    uf.saliency(phi, image, channel=1, method="deconvnet")
    np.testing.assert_array_equal(uf.saliency(phi, image, channel=1).images, before)


def test_results_are_saved_and_read(phi, image, tmp_path):
    result = uf.saliency(phi, image, channel=1, method="guided")
    result.save(tmp_path)
    assert uf.Result.load(tmp_path, phi) == result
    page = uf.write_report(tmp_path).read_text(encoding="utf-8")
    assert "depends on" in page and "guided" in page


@pytest.mark.parametrize(("settings", "words"), [
    ({"channel": 99}, "no channel 99"), ({"neuron": (99,)}, "no channel 99"), ({"neuron": (1, 2)}, "channel, row"),
    ({"channel": 1, "class_": 2}, "give one of"), ({"channel": 1, "method": "lrp"}, "method is one of"),
])
def test_mistakes_are_named(phi, image, settings, words):
    with pytest.raises(ValueError, match=words):
        uf.saliency(phi, image, **settings)


def test_networks_without_relus_are_named(image):
    smooth = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh()).eval()
    plain = CNN(smooth, "1", mean=0.5, std=0.25)
    with pytest.raises(ValueError, match=r"torch\.nn\.ReLU"):
        uf.saliency(plain, image, channel=1, method="guided")
    other = CNN(Residual(), "down", mean=0.5, std=0.25)
    assert uf.saliency(other, image, channel=1, method="guided").images.std() > 0


def test_the_command_writes_maps_and_a_page(call, tmp_path):
    out = tmp_path / "out"
    status, text, _ = call("saliency", bundled_path("astronaut"), "--feature", "hog", "--size", 48, "--channel", "3,5",
                           "-o", out)
    assert status == 0 and text.startswith("response of channel 3: ") and ", 5: " in text
    assert {path.name for path in out.iterdir()} == {
        "preimage-00.png", "preimage-01.png", "magnitude.png", "original.png", "image.npy", "result.json",
        "report.html"}
    phi = uf.HOG()
    np.testing.assert_array_equal(
        np.load(out / "image.npy"), uf.saliency(phi, resize_longer(to_grey(bundled("astronaut")), 48),
                                                channel=[3, 5]).images)
    assert "unknown name 'lrp'" in call("saliency", bundled_path("astronaut"), "--feature", "hog", "--method", "lrp")[2]

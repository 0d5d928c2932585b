"""Several layers as one code, textures and styles."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.tiny_networks import tiny
from unfeature.features.networks.cnn import CNN, Layers
from unfeature.inversion.objectives import Euclidean, Gram, gram_matrix
from unfeature.inversion.recipes import TEXTURE_PRESETS
from unfeature.inversion.texture import OverLayers, style_transfer, synthesize


@pytest.fixture(scope="module")
def network():
    return tiny()


@pytest.fixture(scope="module")
def phi(network):
    return Layers(network, ["conv1", "relu2"])


def short(phi, steps=30, preset="best"):
    recipe = TEXTURE_PRESETS[preset](phi)
    return replace(recipe, stages=(replace(recipe.stages[0], steps=steps),))


def test_the_code_is_that_of_the_layers(network, phi):
    x = torch.rand(2, 3, 30, 26, generator=torch.Generator().manual_seed(0))
    parts = phi.split(phi(x), 30, 26)
    for layer, code in parts.items():
        torch.testing.assert_close(code, CNN(network, layer)(x))
    assert phi.output_shape(30, 26) == tuple(phi(x).shape[1:])


def test_weights_of_layers_and_objectives_add_up(phi):
    x, y = torch.rand(2, 1, 3, 25, 25, generator=torch.Generator().manual_seed(0))
    target = phi.split(phi(x), 25, 25)
    found = phi.split(phi(y), 25, 25)
    parts = [("conv1", Euclidean(target["conv1"]), 2.0), ("relu2", Gram(target["relu2"]), 0.5)]
    expected = 2 * parts[0][1](found["conv1"]) + 0.5 * parts[1][1](found["relu2"])
    torch.testing.assert_close(OverLayers(phi, (25, 25), parts)(phi(y)), expected)
    with pytest.raises(ValueError, match="fire3"):
        OverLayers(phi, (25, 25), [("fire3", parts[0][1], 1.0)])


@pytest.mark.parametrize("preset", ["best", "gatys2015"])
def test_a_texture_has_the_correlations_of_its_image(phi, photograph, preset):
    image = photograph("camera", side=40)
    result = synthesize(phi, image, size=(32, 36), preset=short(phi, preset=preset), starts=2)
    assert result.images.shape == (2, 32, 36, 3)
    assert np.abs(result.images[0] - result.images[1]).max() > 0.01
    for layer in phi.layers:
        assert max(result.provenance["distances"][f"Gram {layer}"]) < 0.35
    colour = torch.from_numpy(np.repeat(image[None, None], 3, axis=1))
    found = torch.from_numpy(result.images[:1]).permute(0, 3, 1, 2)
    wanted = gram_matrix(phi.split(phi(colour), *image.shape)["relu2"])
    got = gram_matrix(phi.split(phi(found), 32, 36)["relu2"])
    distance = float((got - wanted).norm() / wanted.norm())
    np.testing.assert_allclose(distance, result.provenance["distances"]["Gram relu2"][0], rtol=1e-3)


def test_a_style_moves_towards_the_other_image(phi, photograph):
    content, style = photograph(side=40, grey=False), photograph("camera", side=36)
    plain = style_transfer(phi, content, style, style_weight=0.0, preset=short(phi))
    styled = style_transfer(phi, content, style, style_layers=["conv1"], style_weight=10.0, preset=short(phi))
    name = "Gram conv1"
    assert styled.provenance["distances"][name][0] < 0.5 * plain.provenance["distances"][name][0]
    assert plain.provenance["distances"]["Euclidean relu2"][0] < styled.provenance["distances"]["Euclidean relu2"][0]
    assert styled.images.shape == (1, *content.shape)


def test_descriptions_tell_codes_apart(network, phi):
    assert phi.to_config() == Layers.from_config(phi.to_config(), network=network).to_config()
    assert phi.to_config() != Layers(network, ["conv1"]).to_config()


@pytest.mark.parametrize(("call", "words"), [
    (lambda phi, image: Layers(tiny(), ["conv1", "conv1"]), "different names"),
    (lambda phi, image: synthesize(phi, image, layer_weights={"fire3": 1.0}), "no layer 'fire3'"),
    (lambda phi, image: synthesize(phi, image, preset="ijcv2016"), "unknown preset"),
    (lambda phi, image: synthesize(phi, image, starts=0), "at least 1"),
    (lambda phi, image: style_transfer(phi, image, image, style_layers=["nonsense"]), "no layer 'nonsense'"),
    (lambda phi, image: style_transfer(phi, image, image, style_weight=-1.0), "not negative"),
])
def test_mistakes_are_named(phi, call, words):
    with pytest.raises(ValueError, match=words):
        call(phi, np.full((32, 32, 3), 0.5, np.float32))

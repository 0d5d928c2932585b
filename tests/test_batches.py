"""Many images under a bound on memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.contract_list import REPRESENTATIONS
from tests.tiny_networks import tiny
from unfeature.features.batches import encode_each
from unfeature.features.gradients.hog import HOG
from unfeature.features.networks.cnn import CNN, Layers
from unfeature.inversion.caricature import caricature
from unfeature.inversion.invert import invert
from unfeature.inversion.maximize import maximize
from unfeature.inversion.recipes import CARICATURE_PRESETS, TEXTURE_PRESETS, Recipe, best, ijcv2016
from unfeature.inversion.search import bytes_per_image, images_at_once
from unfeature.inversion.texture import synthesize
from unfeature.io.images import to_grey

SIZE = (25, 25)


def short(phi, make=best) -> Recipe:
    recipe = make(phi)
    return replace(recipe, stages=(replace(recipe.stages[0], steps=4),), data_weight=50.0)


@pytest.fixture(scope="module")
def phi():
    return CNN(tiny(), "relu2")


@pytest.fixture(scope="module")
def codes(phi):
    return phi(torch.rand(3, 3, *SIZE, generator=torch.Generator().manual_seed(0)))


def test_batches_change_nothing(phi, codes):
    recipe = short(phi)
    memory = 2.5 * bytes_per_image(phi, recipe, SIZE, codes)
    assert images_at_once(phi, recipe, SIZE, codes, int(memory)) == 2
    masks = (torch.rand(codes.shape, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    whole, parts = (invert(phi, codes, preset=recipe, size=SIZE, starts=2, mask=masks, memory=bound)
                    for bound in (None, int(memory)))
    np.testing.assert_allclose(parts.images, whole.images, atol=1e-4)
    np.testing.assert_allclose(parts.errors, whole.errors, rtol=1e-3)
    assert len(whole) == 6 and parts.history["objective"].shape == whole.history["objective"].shape == (4, 6)


def test_masks_belong_to_their_codes(phi, codes):
    masks = torch.zeros_like(codes)
    masks[0, :5], masks[1:] = 1, 1
    result = invert(phi, codes, preset=short(phi), size=SIZE, starts=2, mask=masks)
    alone = invert(phi, codes[:1], preset=short(phi), size=SIZE, mask=masks[:1])
    np.testing.assert_allclose(result.images[0], alone.images[0], atol=1e-4)


def test_maximisation_in_batches_changes_nothing(phi):
    recipe = short(phi, ijcv2016)
    bound = bytes_per_image(phi, recipe, SIZE, torch.zeros(1))
    whole, parts = (maximize(phi, channel=[0, 1, 2], preset=recipe, memory=memory) for memory in (None, bound))
    np.testing.assert_allclose(parts.images, whole.images, atol=1e-4)
    np.testing.assert_allclose(parts.provenance["responses"], whole.provenance["responses"], rtol=1e-3)


def test_textures_in_batches_change_nothing():
    phi = Layers(tiny(), ["conv1", "relu2"])
    image = np.random.default_rng(0).random((*SIZE, 3)).astype(np.float32)
    bound = bytes_per_image(phi, TEXTURE_PRESETS["best"](phi), SIZE, torch.zeros(1))
    whole, parts = (synthesize(phi, image, steps=6, starts=3, memory=memory) for memory in (None, bound))
    np.testing.assert_allclose(parts.images, whole.images, atol=1e-4)
    for name, distances in whole.provenance["distances"].items():
        np.testing.assert_allclose(parts.provenance["distances"][name], distances, rtol=1e-3)


def test_caricatures_differ_by_their_views_and_batches_change_nothing(phi):
    image = np.random.default_rng(0).random((*SIZE, 3)).astype(np.float32)
    bound = bytes_per_image(phi, CARICATURE_PRESETS["best"](phi), SIZE, torch.zeros(1))
    whole, parts = (caricature(phi, image, steps=6, starts=2, octaves=2, octave_scale=1.2, memory=memory)
                    for memory in (None, bound))
    np.testing.assert_allclose(parts.images, whole.images, atol=1e-4)
    np.testing.assert_allclose(parts.provenance["responses"], whole.provenance["responses"], rtol=1e-3)
    assert whole.starts == 2 and whole.history["objective"].shape == (12, 2)
    assert np.abs(whole.images[0] - whole.images[1]).max() > 1e-3
    second = caricature(phi, image, steps=6, seed=1, octaves=2, octave_scale=1.2)
    np.testing.assert_allclose(second.image, whole.images[1], atol=1e-4)


def test_an_interrupt_ends_all_batches(phi, codes):
    recipe = short(phi)
    steps = []

    def stop(progress):
        steps.append(progress.step)
        if len(steps) == 6:
            raise KeyboardInterrupt

    memory = bytes_per_image(phi, recipe, SIZE, codes)
    result = invert(phi, codes, preset=recipe, size=SIZE, memory=memory, progress=stop)
    assert steps == [1, 2, 3, 4, 1, 2]
    assert result.status == "stopped by the user after 2 of 4 gradient evaluations"
    alone = invert(phi, codes[:1], preset=recipe, size=SIZE)
    np.testing.assert_allclose(result.images[0], alone.images[0], atol=1e-4)
    assert result.images.shape == (3, *SIZE, 3) and np.isfinite(result.errors).all()
    assert np.isnan(result.history["error"][:, 1:]).all() and np.isnan(result.history["objective"][:, 2]).all()


def test_larger_images_and_longer_histories_take_more():
    phi = HOG()
    small, large = (bytes_per_image(phi, best(phi), (side, side), torch.zeros(1)) for side in (128, 256))
    assert 3 * small < large < 5 * small
    assert bytes_per_image(phi, ijcv2016(phi), (128, 128), torch.zeros(1)) < small


def test_too_little_memory_is_said(phi, codes):
    with pytest.raises(ValueError, match=r"memory='1KB' does not hold one image of 25 × 25 pixels, which takes"):
        invert(phi, codes, size=SIZE, memory="1KB")
    with pytest.raises(ValueError, match="cannot read 'much'"):
        invert(phi, codes, size=SIZE, memory="much")


@pytest.mark.parametrize("name", ["hog", "default-dsift", "lbp", "brief", "cnn", "default-filter-bank"])
def test_photographs_of_equal_size_are_encoded_together_as_they_are_alone(name, photograph):
    phi = REPRESENTATIONS[name]()
    images = [photograph(picture, 80, grey=False) for picture in ("astronaut", "coffee", "chelsea", "rocket")]
    images = [to_grey(image) if phi.in_channels[0] == 1 else image for image in (*images, images[0][:, ::-1].copy())]
    batches: list[int] = []
    phi.register_forward_pre_hook(lambda _, batch: batches.append(len(batch[0])))
    codes = encode_each(phi, images)
    assert max(batches) == (1 if phi.heavy else 3) and sum(batches) == len(images)
    for image, code in zip(images, codes, strict=True):
        np.testing.assert_array_equal(code, phi(image))
        assert (code.image_size, code.descriptor) == (image.shape[:2], phi.to_config())


def test_an_image_that_cannot_be_encoded_is_told(photograph):
    image = photograph("camera", 48)
    with pytest.raises(ValueError, match="an image of 4 × 4 pixels has"):
        encode_each(HOG(), [image, image[:4, :4]])

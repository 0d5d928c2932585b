from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from skimage.color import rgb2hsv

from tests.golden.sift import PATH, PHOW_CASES, vlfeat_phow
from unfeature.features.base import Representation
from unfeature.features.gradients.phow import PHOW, colour_channels, hsv
from unfeature.io.images import bundled, list_images, read_image

EIGHT_BITS = 255 / 512


@pytest.fixture(scope="module")
def golden():
    with np.load(PATH, allow_pickle=False) as arrays:
        return dict(arrays)


def crop(name="astronaut", side=64):
    image = np.asarray(bundled(name), dtype=np.float32)[80 : 80 + side, 190 : 190 + side + 9]
    return np.ascontiguousarray(image)


def compare(image, **case):
    """Frames and which descriptors are zero as in VLFeat, floats within 1e-4, bytes within one level."""
    phi = PHOW(**case)
    frames, found = phi.describe(image, quantised=False)
    expected_frames, expected = vlfeat_phow(image, **case)
    _, levels = vlfeat_phow(image, floats=False, **case)
    np.testing.assert_array_equal(frames[:, [0, 1, 3]], expected_frames[:, [0, 1, 3]])
    np.testing.assert_allclose(frames[:, 2], expected_frames[:, 2], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found.any(axis=1), expected.any(axis=1))
    assert np.abs(np.minimum(found, EIGHT_BITS) - expected / 512).max() <= 1e-4
    assert (np.abs(phi.describe(image)[1].astype(int) - levels) > 1).mean() <= 1e-3


@pytest.mark.parametrize("name", PHOW_CASES)
def test_golden_vectors(golden, name):
    case = PHOW_CASES[name]
    image = golden["grey" if name == "gray" else "colour"]
    frames, found = PHOW(**case).describe(image, quantised=False)
    np.testing.assert_allclose(frames, golden[f"phow-{name}-frames"], rtol=1e-4)
    np.testing.assert_allclose(np.minimum(found, EIGHT_BITS), golden[f"phow-{name}"] / 512, atol=2e-5)


@pytest.mark.parametrize("colour", ["gray", "rgb", "opponent", "hsv"])
@pytest.mark.parametrize("window", ["flat", "gaussian"])
def test_against_vlfeat(colour, window, monkeypatch):
    pytest.importorskip("cyvlfeat.sift.phow")
    monkeypatch.setattr(sys.modules["cyvlfeat.sift.phow"], "rgb_to_hsv", lambda a: rgb2hsv(a).astype(np.float32))
    compare(crop(), colour=colour, window=window, sizes=(4, 6, 8, 10), step=3)
    compare(crop("coffee"), colour=colour, window=window, sizes=(4, 5, 7), step=4)


def test_against_vlfeat_on_photographs(shared, monkeypatch):
    pytest.importorskip("cyvlfeat.sift.phow")
    monkeypatch.setattr(sys.modules["cyvlfeat.sift.phow"], "rgb_to_hsv", lambda a: rgb2hsv(a).astype(np.float32))
    for n, path in enumerate(list_images(shared / "data" / "bsds500" / "val")[:20]):
        image = read_image(path)[:100, :110]
        colour = ("gray", "rgb", "opponent", "hsv")[n % 4]
        compare(image, colour=colour, sizes=(4, 6, 8, 10), step=2 + n % 5)


@pytest.mark.parametrize("colour", ["gray", "opponent"])
def test_the_original_by_its_parts(colour):
    dsift = pytest.importorskip("cyvlfeat.sift.dsift").dsift
    phi, image = PHOW(sizes=(4, 6), step=3, colour=colour, variant="vlfeat"), crop()
    red, green, blue = np.moveaxis(image, -1, 0)
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    channels = [grey] if colour == "gray" else [
        grey, (red - green) / np.sqrt(2) + 0.01 * grey, (red + green - 2 * blue) / np.sqrt(6) + 0.01 * grey]
    frames, found = phi.describe(image, quantised=False)
    start = 0
    for size, first in ((4, 3), (6, 0)):
        for c, channel in enumerate(channels):
            smooth = channel
            for axis in (0, 1):
                smooth = gaussian_filter1d(smooth, size / 6, axis, mode="nearest", radius=int(np.ceil(4 * size / 6)))
            centres, expected = dsift(smooth, step=3, size=size, bounds=(first, first, 63, 72), window_size=1.5,
                                      norm=True, fast=True, float_descriptors=True)
            part = slice(start, start + len(centres))
            np.testing.assert_array_equal(frames[part, :2], centres[:, :2])
            clear = frames[part, 2] >= 0.005
            error = np.abs(np.minimum(found[part, c * 128 : c * 128 + 128], EIGHT_BITS) - expected / 512)
            assert clear.any() and error[clear].max() <= 1e-4
        start += len(centres)
    assert start == len(frames)


def test_sizes_share_their_centres_and_the_code_is_that_of_the_lists():
    phi, image = PHOW(sizes=(4, 6, 10), step=3), crop()[..., 1]
    code = phi(image)
    frames, listed = phi.describe(image, quantised=False)
    common = np.stack(np.meshgrid(*phi.position_centres(*image.shape), indexing="ij"), -1).reshape(-1, 2)
    assert code.shape == (*phi.output_shape(*image.shape)[1:], 3 * 128)
    for k, size in enumerate(phi.sizes):
        of_size = frames[:, 3] == size
        index = {tuple(centre): i for i, centre in enumerate(frames[of_size, :2].tolist())}
        picked = listed[of_size][[index[tuple(centre)] for centre in common.tolist()]]
        np.testing.assert_array_equal(code[..., k * 128 : k * 128 + 128].reshape(-1, 128), picked)
    assert phi.output_shape(*phi.image_size_for((384, 3, 4))) == (384, 3, 4)


def test_faint_descriptors_are_zero():
    image = crop()[..., 1].copy()
    image[:, 30:] = 0.5 + 1e-4 * image[:, 30:]
    code, kept = PHOW(step=4)(image), PHOW(step=4, contrast_threshold=0.0)(image)
    assert 0.2 < (code.any(axis=2)).mean() < 0.8 < (kept.any(axis=2)).mean()
    soft = PHOW(step=4).surrogate(0.1)
    assert soft.surrogate(0.1) is soft and not PHOW(step=4).exact
    assert 0 < np.abs(soft(image) - code).max() <= 0.51


def test_grey_and_colour_images_are_taken_by_all():
    image = crop()
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    np.testing.assert_allclose(PHOW(sizes=(4,))(image), PHOW(sizes=(4,))(grey), atol=1e-3)
    code = PHOW(sizes=(4,), colour="rgb", variant="vlfeat")(grey)
    np.testing.assert_allclose(code[..., :128], code[..., 256:], atol=1e-6)


def test_hue_saturation_and_value():
    image = crop()
    image[:9, :9] = 0.5
    image[9:12, :9] = 0
    found = hsv(torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float64)))[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, rgb2hsv(image.astype(np.float64)), atol=1e-6)


def test_colours_have_gradients():
    x = torch.from_numpy(crop(side=20).transpose(2, 0, 1)[None].astype(np.float64))[..., :20].requires_grad_()
    for colour in ("hsv", "opponent"):
        assert torch.autograd.gradcheck(lambda x, c=colour: colour_channels(x, c, "vlfeat"), x, fast_mode=True)


def test_description_rebuilds_the_descriptor():
    phi = PHOW((4, 6), 3, "opponent", "gaussian", 1.0, 5.0, 0.01, "vlfeat")
    again = Representation.from_config(phi.to_config())
    assert again.to_config() == phi.to_config()
    np.testing.assert_array_equal(again(crop()), phi(crop()))


@pytest.mark.parametrize(("arguments", "message"), [
    ({"colour": "grey"}, "did you mean 'gray'"),
    ({"variant": "matlab"}, "unknown variant 'matlab'"),
    ({"window": "flatt"}, "did you mean 'flat'"),
    ({"sizes": ()}, "at least one bin size"),
    ({"sizes": (4, 0)}, "each of sizes is a whole number"),
    ({"magnification": 0.0}, "magnification is a positive number"),
    ({"contrast_threshold": -1.0}, "contrast_threshold is a number of at least 0"),
])  # fmt: skip
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        PHOW(**arguments)


def test_wrong_images_and_codes_are_named():
    with pytest.raises(ValueError, match="too small for one descriptor"):
        PHOW()(np.zeros((30, 80), np.float32))
    with pytest.raises(ValueError, match="D = 512"):
        PHOW().image_size_for((128, 2, 2))

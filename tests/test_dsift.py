from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.golden.sift import DSIFT_CASES, PATH, vlfeat_dsift
from unfeature.display.pictures import glyph
from unfeature.features.backend import BACKENDS, backend
from unfeature.features.base import Representation
from unfeature.features.gradients.dsift import DSIFT, quantise
from unfeature.features.gradients.phow import PHOW
from unfeature.io.images import bundled, list_images, read_image, to_grey

EIGHT_BITS = 255 / 512


@pytest.fixture(scope="module")
def golden():
    with np.load(PATH, allow_pickle=False) as arrays:
        return dict(arrays)


def grey_bytes(name, side):
    image = np.rint(to_grey(bundled(name)) * 255).astype(np.uint8)
    return np.ascontiguousarray(image[100 : 100 + side, 120 : 120 + side + 17])


def noise(height=40, width=46, seed=0):
    return np.random.default_rng(seed).random((height, width))


def compare(image, window, **case):
    """Frames are VLFeat's, bytes within one level, and floats within 1e-4, however faint a descriptor is."""
    frames, found = DSIFT(window=window, **case).describe(image, norm=True, quantised=False)
    expected_frames, expected = vlfeat_dsift(image, window=window, **case)
    _, levels = vlfeat_dsift(image, window=window, floats=False, norm=False, **case)
    np.testing.assert_array_equal(frames[:, :2], expected_frames[:, :2])
    np.testing.assert_allclose(frames[:, 2], expected_frames[:, 2], rtol=1e-4, atol=1e-4)
    assert np.abs(np.minimum(found, EIGHT_BITS) - expected / 512).max() <= (1e-5 if window == "flat" else 1e-4)
    return np.abs(quantise(found).astype(int) - levels) > 1


@pytest.mark.parametrize("name", DSIFT_CASES)
def test_golden_vectors(golden, name):
    case = DSIFT_CASES[name]
    frames, found = DSIFT(**case).describe(golden["grey"], norm=True, quantised=False)
    np.testing.assert_allclose(frames, golden[f"dsift-{name}-frames"], rtol=1e-5)
    np.testing.assert_allclose(np.minimum(found, EIGHT_BITS), golden[f"dsift-{name}"] / 512, atol=1e-5)


def test_golden_vectors_are_those_of_vlfeat(golden):
    pytest.importorskip("cyvlfeat")
    for name, case in DSIFT_CASES.items():
        frames, descriptors = vlfeat_dsift(golden["grey"], **case)
        np.testing.assert_allclose(frames, golden[f"dsift-{name}-frames"], rtol=1e-5)
        np.testing.assert_allclose(descriptors, golden[f"dsift-{name}"], atol=1e-2)


@settings(max_examples=24)
@given(st.sampled_from(["camera", "astronaut", "coffee"]), st.sampled_from(["gaussian", "flat"]), st.integers(1, 8),
       st.integers(3, 12), st.booleans())  # fmt: skip
def test_against_vlfeat(name, window, step, bin_size, inner):
    pytest.importorskip("cyvlfeat")
    image = grey_bytes(name, 56)
    case = {"bounds": (3, 1, image.shape[0] - 4, image.shape[1] - 2)} if inner else {}
    assert compare(image, window, step=step, bin_size=bin_size, **case).mean() <= 1e-3


def test_against_vlfeat_on_photographs(shared):
    pytest.importorskip("cyvlfeat")
    for n, path in enumerate(list_images(shared / "data" / "bsds500" / "val")[:20]):
        image = np.rint(read_image(path, grey=True) * 255).astype(np.uint8)[:130, :150]
        for window in ("gaussian", "flat"):
            assert compare(image, window, step=1 + n % 8, bin_size=3 + n % 10).mean() <= 1e-3


def faint_areas(side=72):
    """Strong noise beside one level's, and beside nothing at all, as bytes."""
    rng = np.random.default_rng(5)
    image = np.full((side, side + 9), 255, np.uint8)
    image[:30, :40] = rng.integers(0, 256, (30, 40))
    image[40:, 50:] = 254 + rng.integers(0, 2, (side - 40, side - 41))
    return image


@pytest.mark.parametrize(("step", "bin_size"), [(1, 3), (3, 8), (7, 12), (2, 5)])
def test_against_vlfeat_where_only_roundings_remain(step, bin_size):
    pytest.importorskip("cyvlfeat")
    image = faint_areas()
    assert compare(image, "flat", step=step, bin_size=bin_size).mean() <= 1e-3
    frames, found = DSIFT(bin_size, step, window="flat").describe(image * np.float32(1e-3 / 255), quantised=False)
    assert len(frames) == len(found) and np.isfinite(found).all()


def test_running_sums_are_those_of_triangles_but_for_rounding():
    """Values within 1e-4 / norm, where the norm of a strong descriptor counts as 3; gradients within 1e-4."""
    image = torch.from_numpy(noise(90, 97))[None, None]
    image[..., 50:] = 0.5 + 0.01 * image[..., 50:]
    phi = DSIFT(bin_size=5, step=3, window="flat")
    found = {}
    for dtype, arithmetic in ((torch.float32, "compiled"), (torch.float32, "torch"), (torch.float64, "compiled")):
        x = image.to(dtype).requires_grad_()
        with backend(arithmetic):
            code, norms = phi.code_and_norms(x)
        weights = torch.linspace(-1, 1, 128, dtype=dtype)[:, None, None] * norms.detach().clamp(max=1)
        found[dtype, arithmetic] = code.detach(), norms.detach(), torch.autograd.grad((code * weights).sum(), x)[0]
    exact, norms, gradient = found[torch.float64, "compiled"]
    for dtype, arithmetic in ((torch.float32, "compiled"), (torch.float32, "torch")):
        code, mass, slope = found[dtype, arithmetic]
        torch.testing.assert_close(mass.double(), norms, rtol=1e-4, atol=1e-4)
        assert float(((code - exact).abs().amax(1) * norms.clamp(max=3)).max()) <= 1e-4
        assert float((slope - gradient).norm() / gradient.norm()) <= 1e-4


def test_running_sums_repeat_bit_by_bit(monkeypatch):
    monkeypatch.setattr("unfeature.features.threads.PIXELS_PER_THREAD", 100)
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", 3)
    phi = DSIFT(bin_size=4, step=3, window="flat")
    x = torch.from_numpy(np.stack([noise(61, 83, seed) for seed in range(3)]).astype(np.float32))[:, None]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = torch.cat([phi(one) for one in x.split(1)])
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(phi(x), expected) and torch.equal(phi(x[2:]), expected[2:])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_running_sums_hide_nothing_that_is_not_finite(value):
    x = torch.from_numpy(noise().astype(np.float32))[None, None]
    x[..., 20, 20] = value
    assert torch.isnan(DSIFT(bin_size=4, window="flat")(x)).any()


def histogram(image, centre, b, mask):
    """One descriptor by its definition: a loop over pixels, bins and directions; no cleverness."""
    padded = np.pad(image, 1, mode="edge").astype(np.float64)
    gy, gx = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2, (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    gy[[0, -1]] *= 2
    gx[:, [0, -1]] *= 2
    h, (height, width) = np.zeros((4, 4, 8)), image.shape
    for i in range(4):
        for j in range(4):
            yi, xj = centre[0] + b * (i - 1.5), centre[1] + b * (j - 1.5)
            for y in range(int(yi) - b, int(yi) + b + 1):
                for x in range(int(xj) - b, int(xj) + b + 1):
                    weight = max(0, 1 - abs(y - yi) / b) * max(0, 1 - abs(x - xj) / b) * mask[i] * mask[j]
                    v = gx[min(max(y, 0), height - 1), min(max(x, 0), width - 1)]
                    u = gy[min(max(y, 0), height - 1), min(max(x, 0), width - 1)]
                    place = np.arctan2(u, v) / (np.pi / 4) % 8
                    for o in range(8):
                        away = min(abs(place - o), 8 - abs(place - o))
                        h[i, j, o] += weight * np.hypot(u, v) * max(0, 1 - away)
    return h.ravel()


def test_network_by_its_definition():
    b, image = 4, noise(31, 33)
    offsets = np.arange(1 - b, b)
    mask = [np.exp(-0.5 * ((offsets + b * (i - 1.5)) / (2 * b)) ** 2).mean() for i in range(4)]
    phi = DSIFT(bin_size=b, variant="network")
    code = phi(image)
    assert phi.step == 3 * b and code.shape == (2, 2, 128)
    for row, column in ((0, 0), (1, 1), (0, 1)):
        centre = phi.frames(31, 33).reshape(2, 2, 2)[row, column]
        h = histogram(image, centre, b, mask)
        np.testing.assert_allclose(code[row, column], np.minimum(h / np.linalg.norm(h), 0.2), atol=1e-6)


@pytest.mark.parametrize(("axis", "direction"), [(1, 0), (0, 2)])
def test_order_of_bins_and_directions(axis, direction):
    image = np.zeros((40, 40), np.float32)
    (image if axis == 0 else image.T)[20:] = 1
    phi = DSIFT(bin_size=4, step=1, variant="network")
    code = phi(image).reshape(*phi.output_shape(40, 40)[1:], 4, 4, 8)
    place = phi.frames(40, 40).reshape(*code.shape[:2], 2)
    centred = code[(place == (22, 22)).all(-1)][0]
    strongest = centred.sum(axis=(1 - axis, 2)).argmax()
    assert strongest == 1, "the edge at 19.5 lies nearest the second bin, at 20"
    assert set(np.flatnonzero(centred.sum(axis=(0, 1)))) == {direction}


def shape_or_none(phi, height, width):
    try:
        return phi.output_shape(height, width)
    except ValueError:
        return None


@given(st.integers(1, 9), st.integers(1, 9), st.integers(20, 60), st.integers(20, 60), st.integers(0, 5))
def test_frames_lie_within_the_bounds_and_images_are_the_smallest(bin_size, step, height, width, margin):
    bounds = (margin, 2, height - 1 - margin, None)
    phi = DSIFT(bin_size=bin_size, step=step, bounds=bounds)
    shape = shape_or_none(phi, height, width)
    if shape is None:
        assert min(height - 1 - 2 * margin, width - 3) < 3 * bin_size
        return
    frames = phi.frames(height, width)
    assert len(frames) == shape[1] * shape[2]
    assert frames.min(0).tolist() == [margin + 1.5 * bin_size, 2 + 1.5 * bin_size]
    assert (frames.max(0) <= (height - 1 - margin - 1.5 * bin_size, width - 1 - 1.5 * bin_size)).all()
    assert (frames.max(0) + step > (height - 1 - margin - 1.5 * bin_size, width - 1 - 1.5 * bin_size)).all()
    small = phi.image_size_for(shape)
    assert phi.output_shape(*small) == shape and small[0] == height - margin and small[1] <= width
    for smaller in ((small[0] - 1, small[1]), (small[0], small[1] - 1)):
        assert shape_or_none(phi, *smaller) != shape


def test_descriptors_ignore_contrast_and_norms_measure_it():
    image = noise()
    phi = DSIFT(bin_size=4)
    np.testing.assert_allclose(phi(0.25 * image), phi(image), atol=1e-5)
    np.testing.assert_allclose(phi.norms(0.25 * image), 0.25 * phi.norms(image), rtol=1e-5)
    np.testing.assert_allclose(phi.replace(scale=1.0).norms(image), phi.norms(image) / 255, rtol=1e-5)
    assert phi.norms(np.full((40, 46), 0.5)).max() == 0 == phi(np.full((40, 46), 0.5)).max()


def test_values_are_in_the_stated_range():
    image = noise()
    lengths = np.linalg.norm(DSIFT(bin_size=3)(image), axis=2)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)
    network = DSIFT(bin_size=3, variant="network", step=3)(image)
    assert 0.19 < network.max() <= 0.2 + 1e-7 and network.min() >= 0


@pytest.mark.parametrize("window", ["gaussian", "flat"])
def test_compiled_norms_have_the_gradient_of_the_plain_ones(window):
    phi = DSIFT(bin_size=4, step=3, window=window)
    x = torch.from_numpy(noise())[None, None].requires_grad_()
    gradients = []
    for arithmetic in BACKENDS:
        with backend(arithmetic):
            code, norms = phi.code_and_norms(x)
        loss = (norms**2).sum() + (code * torch.linspace(-1, 1, 128, dtype=code.dtype)[:, None, None]).sum()
        gradients.append(torch.autograd.grad(loss, x)[0])
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("variant", "softness"), [("vlfeat", 0.5), ("network", 0.2)])
def test_stand_ins_leak_beyond_the_clamp(variant, softness):
    image = noise()
    image[:, 20:] = 0.5
    phi = DSIFT(bin_size=4, step=3, variant=variant)
    soft = phi.surrogate(softness)
    assert soft.leak == 0.1 and soft.surrogate(0.5) is soft
    x = torch.from_numpy(image)[None, None]
    expected = []
    for descriptor in (phi, soft):
        with backend("torch"):
            expected.append(descriptor(x))
        torch.testing.assert_close(descriptor(x), expected[-1], rtol=1e-6, atol=1e-8)
    assert 0.005 < float((expected[0] - expected[1]).abs().max()) < 0.1


@pytest.mark.parametrize("case", [{"bin_size": 4, "step": 3}, {"bin_size": 5, "variant": "network", "step": 7}])
def test_zeros_of_a_code_tell_where_the_image_is_flat(case):
    image = noise(64, 70)
    image[10:52, 15:60] = 0.25
    phi = DSIFT(**case)
    code = torch.from_numpy(phi(image)).permute(2, 0, 1)[None]
    flat = phi.flat_pixels(code, *image.shape)[0].numpy()
    truth = np.hypot(*np.gradient(image)) == 0
    assert not (flat & ~truth).any() and flat.sum() > 0.5 * truth.sum()


def test_glyphs_are_stars_along_the_gradient():
    image = np.zeros((32, 32), np.float32)
    image[:, 16:] = 1
    phi = DSIFT(bin_size=8, step=4)
    picture = glyph(phi, phi(image))
    side = (picture.shape[0] - 2) // 4
    star = picture[1 : 1 + side, 1 + 2 * side : 1 + 3 * side]
    middle = side // 2
    assert star[middle, middle + side // 4] == 1 > 0.1 > star[middle, middle - side // 4]
    assert star[: middle - 4].max() < 0.1
    assert glyph(PHOW(step=3), PHOW(step=3)(noise(60, 70))).ndim == 2
    with pytest.raises(ValueError, match="has shape"):
        glyph(phi, np.zeros((2, 2, 64)))


def test_a_larger_epsilon_lets_faint_descriptors_fade():
    image = noise()
    phi = DSIFT(bin_size=4, variant="network")
    faint = phi.replace(epsilon=float(phi.norms(image).max()) * 10)
    assert np.abs(phi(0.1 * image)).max() > 0.15 > 0.1 > np.abs(faint(0.1 * image)).max()
    assert phi.contrast_invariant and not faint.contrast_invariant


def test_quantised_descriptors_are_truncated():
    np.testing.assert_array_equal(quantise(np.array([0, 1.99 / 512, 0.2, 0.6])), [0, 1, 102, 255])
    _, levels = DSIFT(bin_size=3).describe(noise())
    assert levels.dtype == np.uint8 and levels.shape[1] == 128


def test_description_rebuilds_the_descriptor():
    phi = DSIFT(5, 3, (1, 2, 30, None), "flat", 1.5, (2, 4, 6), "network", 1.0)
    again = Representation.from_config(phi.to_config())
    assert again.to_config() == phi.to_config()
    np.testing.assert_array_equal(again(noise()), phi(noise()))


@pytest.mark.parametrize(("arguments", "message"), [
    ({"variant": "vlfeet"}, "did you mean 'vlfeat'"),
    ({"window": "gauss"}, "did you mean 'gaussian'"),
    ({"bin_size": 0}, "bin_size is a whole number of at least 1, got 0"),
    ({"step": 1.5}, "step is a whole number"),
    ({"window_size": -1.0}, "window_size is a positive number"),
    ({"scale": float("nan")}, "scale is a positive number"),
    ({"epsilon": 0.0}, "epsilon is a positive number"),
    ({"leak": 2.0}, "leak is a slope from 0 to 1"),
    ({"geometry": (4, 4)}, "geometry is"),
    ({"geometry": (4, 4, 7)}, "even number of directions"),
    ({"bounds": (0, 0, 10)}, "bounds is"),
    ({"bounds": (-1, 0, None, None)}, "bounds is"),
    ({"bounds": (None, 0, 3, 3)}, "bounds is"),
])  # fmt: skip
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DSIFT(**arguments)


def test_wrong_images_and_codes_are_named():
    with pytest.raises(ValueError, match=r"too small for one descriptor.*25 × 25 pixels"):
        DSIFT()(noise(24, 60))
    with pytest.raises(ValueError, match="reach beyond an image of 40 × 46"):
        DSIFT(4, bounds=(0, 0, 40, None))(noise())
    with pytest.raises(ValueError, match="takes images with 1 channels, got 3"):
        DSIFT()(np.zeros((40, 40, 3)))
    with pytest.raises(ValueError, match="D = 128"):
        DSIFT().image_size_for((64, 2, 2))
    with pytest.raises(ValueError, match="no image has a code"):
        DSIFT(bounds=(0, 0, 30, 30)).image_size_for((128, 2, 2))


def test_norms_of_half_precision():
    x = torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(0)).half()
    norms, exact = DSIFT().norms(x), DSIFT().norms(x.float())
    assert norms.dtype == x.dtype
    torch.testing.assert_close(norms.float(), exact, rtol=2e-3, atol=0)

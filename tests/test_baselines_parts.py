"""The algorithms under the baselines, against definitions and libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from unfeature import baselines
from unfeature.baselines.base import in_half
from unfeature.baselines.collage import Collage, poisson
from unfeature.baselines.collection import CollectionLearner, entries
from unfeature.baselines.keypoints import KeypointSet, SIFTKeypoints
from unfeature.baselines.paired_dictionary import PairedDictionary
from unfeature.baselines.primal_dual import _adjoint, _gradient
from unfeature.baselines.ridge import Ridge
from unfeature.baselines.windows import Windows, min_max_normalise, normalised
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.gradients.hog import HOG
from unfeature.features.lasso import lasso
from unfeature.io.images import list_images, read_image, resize_longer
from unfeature.io.similarity import correlation

PHI = HOG(variant="dpm", cell_size=6)


def violation(dictionary, signals, codes, penalty):
    """Largest violation of the optimality conditions of the non-negative lasso."""
    slope = (signals - codes @ dictionary) @ dictionary.T - penalty
    return max(float(slope.max()), float(np.abs(slope[codes > 0]).max(initial=0)))


@given(seed=st.integers(0, 1000), atoms=st.integers(1, 60), signals=st.integers(1, 5), length=st.integers(2, 30))
def test_lasso_meets_its_optimality_conditions(seed, atoms, signals, length):
    rng = np.random.default_rng(seed)
    dictionary = normalised(rng.standard_normal((atoms, length)).astype(np.float32))
    y = normalised(rng.standard_normal((signals, length)).astype(np.float32))
    codes = lasso(dictionary @ dictionary.T, y @ dictionary.T, 0.05, 1e-5)
    assert codes.min() >= 0
    assert violation(dictionary, y, codes, 0.05) < 2e-3


def test_lasso_agrees_with_scikit_learn():
    from sklearn.linear_model import Lasso

    rng = np.random.default_rng(0)
    dictionary = normalised(rng.standard_normal((50, 40)).astype(np.float32))
    y = normalised(rng.standard_normal((3, 40)).astype(np.float32))
    ours = lasso(dictionary @ dictionary.T, y @ dictionary.T, 0.1, 1e-6)
    for signal, code in zip(y, ours, strict=True):
        theirs = Lasso(alpha=0.1 / 40, positive=True, fit_intercept=False, tol=1e-8, max_iter=10**5)
        assert np.allclose(theirs.fit(dictionary.T.astype(float), signal.astype(float)).coef_, code, atol=1e-3)


def test_lasso_with_repulsion_is_the_lasso_with_more_rows():
    rng = np.random.default_rng(1)
    dictionary = normalised(rng.standard_normal((20, 30)).astype(np.float32))
    y = normalised(rng.standard_normal((2, 30)).astype(np.float32))
    q = rng.uniform(0, 1, (2, 2, 20)).astype(np.float32)
    found = lasso(dictionary @ dictionary.T, y @ dictionary.T, 0.02, 1e-6, q)
    for i in range(2):
        gram = dictionary @ dictionary.T + q[i].T @ q[i]
        assert np.allclose(found[i], lasso(gram, y[i : i + 1] @ dictionary.T, 0.02, 1e-6)[0], atol=1e-4)


def test_lasso_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="Gram matrix"):
        lasso(np.eye(3, dtype=np.float32), np.zeros((2, 4), np.float32), 0.1)
    with pytest.raises(ValueError, match="repelled"):
        lasso(np.eye(4, dtype=np.float32), np.zeros((2, 4), np.float32), 0.1, repelled=np.zeros((1, 1, 4), np.float32))


@pytest.mark.parametrize(("phi", "side", "origin"), [
    (HOG(variant="dpm"), 56, 0),
    (HOG(variant="uoctti"), 56, -8),
    (HOG(variant="dalal-triggs", cell_size=5), 35, -5),
])
def test_the_patch_of_a_window_of_hog_reaches_one_cell_beyond_it(phi, side, origin):
    shape = Windows.of(phi, 5)
    assert (shape.side, shape.origin) == (side, origin)


@pytest.mark.parametrize("phi", [PHI, HOG(cell_size=5), DSIFT(bin_size=4, step=3)])
def test_windows_and_patches_belong_together(phi, photograph):
    """Only the pixels near a patch change its window."""
    image = photograph("camera", 90)
    shape = Windows.of(phi, 3)
    positions = shape.positions(phi(image), image)
    position = positions[len(positions) // 2]
    y, x = shape.stride * position + shape.origin
    far = np.random.default_rng(0).uniform(size=image.shape).astype(np.float32)
    reach = phi.receptive_field
    near = slice(max(y - reach, 0), y + shape.side + reach), slice(max(x - reach, 0), x + shape.side + reach)
    far[near] = image[near]
    codes = [shape.codes(phi(i), position[None]) for i in (image, far)]
    assert np.allclose(*codes, atol=1e-6)
    assert np.array_equal(shape.patches(image, position[None])[0].reshape(shape.side, shape.side),
                          image[y : y + shape.side, x : x + shape.side])
    inside = image.copy()
    inside[y + shape.side // 2 - 2 :, x + shape.side // 2 - 2 :] = 0.5
    assert not np.allclose(codes[0], shape.codes(phi(inside), position[None]))


def test_overlapping_patches_sum_to_the_image_times_their_number(photograph):
    image = photograph("camera", 60)
    shape = Windows.of(PHI, 2)
    positions = shape.positions(PHI(image), image)
    patches = shape.patches(image, positions)
    total = shape.overlap_add(patches, positions, image.shape)
    count = shape.overlap_add(np.ones(shape.patch_length, np.float32), positions, image.shape)
    assert np.allclose(total, image[..., None] * count, atol=1e-5)
    middle = slice(5, -5)
    blended = shape.blend(patches, positions, image.shape)[middle, middle, 0]
    assert np.allclose(blended, image[middle, middle], atol=1e-5)
    assert count.max() > 1
    outside = np.array([[-9, -9], [50, 50]])
    total = shape.overlap_add(np.ones((2, shape.patch_length), np.float32), outside, image.shape)
    assert total.shape == (*image.shape, 1) and not total.any()


def test_min_max_normalise_and_normalised():
    assert min_max_normalise(np.array([2.0, 4.0, 3.0], np.float32)).tolist() == [0, 1, 0.5]
    assert min_max_normalise(np.full(3, 7.0, np.float32)).tolist() == [0.5] * 3
    rows = normalised(np.array([[1, 2, 3], [0.1, 0.1, 0.1]], np.float32))
    assert np.allclose(rows.mean(1), 0) and np.allclose(np.linalg.norm(rows, axis=1), [1, 0])


def test_poisson_restores_an_image_from_its_differences(photograph):
    image = photograph("coffee", 40, False)
    below = np.diff(image, axis=0, append=image[-1:])
    beside = np.diff(image, axis=1, append=image[:, -1:])
    assert np.allclose(poisson(below, beside), image - image.mean(axis=(0, 1)), atol=1e-5)


def test_the_adjoint_of_the_gradient_is_minus_the_divergence():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand((1, 1, 7, 9), generator=generator) for _ in range(2))
    assert torch.allclose((_gradient(x) * _gradient(y)).sum(), (x * _adjoint(_gradient, x)(_gradient(y))).sum())
    assert _gradient(x)[0, ..., -1, :].abs().sum() == _gradient(x)[1, ..., -1].abs().sum() == 0


def test_ridge_is_the_gaussian_conditional(photograph):
    images = [photograph(name, 90) for name in ("camera", "chelsea", "coffee", "rocket")]
    model = baselines.Ridge.learn(images, PHI, cells=1, windows=3000)
    assert 0 < model.shrinkage < 1
    assert (model.variance > 0).all()
    code = PHI(images[0])
    values, variance = model.likelihood(PHI, code)
    assert values.shape == code.shape[:2] and np.isfinite(values).all()
    assert variance.shape == (*PHI.image_size_for((32, *code.shape[:2])), 1) and (variance[20:-20, 20:-20] > 0).all()
    y = normalised(code.reshape(-1, 32))
    spectrum, vectors = np.linalg.eigh((model.whitening.T @ model.whitening).astype(np.float64))
    kept = vectors[:, -len(model.whitening) :]
    covariance = np.diag(1 / spectrum[-len(model.whitening) :])
    expected = multivariate_normal(cov=covariance).logpdf((y - model.code_mean) @ kept)
    assert np.allclose(values.ravel(), expected, rtol=1e-3, atol=0.1)


def test_ridge_finds_more_likely_what_it_has_seen(photograph):
    images = [photograph(name, 90) for name in ("camera", "chelsea", "coffee", "rocket")]
    model = baselines.Ridge.learn(images, PHI, cells=2)
    code = PHI(photograph("astronaut", 90))
    scrambled = np.random.default_rng(0).permutation(code.reshape(-1)).reshape(code.shape)
    natural, unnatural = (model.likelihood(PHI, c)[0].mean() for c in (code, scrambled))
    assert natural > unnatural + 50


def test_nearest_windows_are_those_of_a_full_search(photograph):
    images = [photograph(name, 70) for name in ("camera", "chelsea", "coffee")]
    shape = Windows.of(PHI, 2)
    learner = CollectionLearner(10**9)
    for image in images:
        learner.see(image, PHI(image), np.random.default_rng(0))
    collection = Collage(PHI.to_config(), cells=2, **learner.arrays)
    rows, patches = [], []
    for image, code in entries(**learner.arrays):
        positions = shape.positions(code, image)
        rows.append(shape.codes(code, positions))
        patches.append(shape.patches(image / np.float32(255), positions))
    rows, patches = np.concatenate(rows), np.concatenate(patches)
    templates = rows[[3, 40]] + 0.01
    for metric, table in (("product", templates @ rows.T), ("distance", -((templates[:, None] - rows) ** 2).sum(2))):
        scores, found = collection.nearest(shape, templates, 5, metric)
        order = np.argsort(-table, axis=1)[:, :5]
        assert np.allclose(scores, np.take_along_axis(table, order, 1), atol=1e-4)
        assert np.allclose(found[:, 0], patches[order[:, 0]], atol=1e-6)


@pytest.mark.parametrize("phi", [PHI, DSIFT(bin_size=4, step=6)])
def test_several_inverses_agree_in_code_and_differ_in_the_image(phi, photograph):
    images = [photograph(name, 90) for name in ("camera", "chelsea", "coffee", "rocket")]
    model = baselines.PairedDictionary.learn(images, phi, atoms=60, windows=800, cells=3)
    code = phi(photograph("astronaut", 90))
    result = model.invert(phi, code, count=3)
    assert len(result) == result.starts == 3
    assert np.array_equal(result.images[0], model.invert(phi, code).image)
    pairs = [np.corrcoef(result.images[i].ravel(), result.images[j].ravel())[0, 1] for i, j in ((0, 1), (0, 2), (1, 2))]
    assert max(pairs) < 0.98
    assert max(result.errors) < 1.5 * min(result.errors)


def test_photographs_are_recognised_after_learning_from_others(shared):
    phi = HOG(variant="dpm")
    paths = list_images(shared / "data" / "bsds500" / "train")[:40]
    model = baselines.Ridge.learn(paths, phi, cells=3, windows=8_000, side=192)
    correlations = []
    for path in list_images(shared / "data" / "imagenet_sample")[::25]:
        image = resize_longer(read_image(path, grey=True), 192)
        image = image[: image.shape[0] // 8 * 8, : image.shape[1] // 8 * 8]
        correlations.append(np.corrcoef(model.invert(phi, phi(image)).image.ravel(), image.ravel())[0, 1])
    assert np.mean(correlations) > 0.4


def test_keypoints_of_an_image_are_found_in_its_own_database(photograph, tmp_path):
    phi = SIFTKeypoints()
    images = [photograph(name, 160) for name in ("coffee", "astronaut")]
    model = baselines.Keypoints.learn(images, phi)
    found = phi(images[1])
    assert len(found) > 50 and len(SIFTKeypoints(20)(images[1])) < 25
    result = model.invert(phi, found)
    assert result.images.shape == (1, *images[1].shape)
    assert np.corrcoef(result.image.ravel(), images[1].ravel())[0, 1] > 0.85
    found.save(tmp_path / "points.npz")
    again = model.invert(phi, KeypointSet.load(tmp_path / "points.npz"))
    assert np.array_equal(again.images, result.images)


def test_keypoints_need_points_and_fitting_shapes(tmp_path):
    with pytest.raises(ValueError, match="not one interest point"):
        baselines.Keypoints.learn([np.full((64, 64), 0.5, np.float32)], SIFTKeypoints(), output=tmp_path / "points.npz")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="frames"):
        KeypointSet(np.zeros((2, 3)), np.zeros((2, 128)), (64, 64))


def test_a_network_gives_a_start_with_contrast_and_noise(photograph):
    images = [photograph(name, 64) for name in ("camera", "chelsea", "coffee")]
    model = baselines.Upconv.learn(images, PHI, crop=48, crops=4, width=16, steps=20, batch=4)
    code = PHI(photograph("astronaut", 64))
    guess, starts = model.invert(PHI, code).image, [model.start(PHI, code, seed=seed) for seed in (0, 0, 1)]
    assert starts[0].shape == guess.shape and starts[0].dtype == np.float32
    assert starts[0].std() == pytest.approx(0.25, rel=0.1)
    assert np.array_equal(starts[0], starts[1]) and not np.array_equal(starts[0], starts[2])
    middle = (starts[0] + starts[2]) / 2
    assert np.corrcoef(middle.ravel(), guess.ravel())[0, 1] > 0.8
    assert np.isfinite(model.start(PHI, np.zeros_like(code))).all()
    spike = photograph("astronaut", 64)
    spike[:], spike[30:32, 30:32] = 0.5, 1
    assert np.abs(model.start(PHI, PHI(spike))).max() < 4


@pytest.mark.parametrize(("kind", "options"), [
    (PairedDictionary, {"atoms": 40, "windows": 900}), (Ridge, {"windows": 900})])
def test_reduced_models_in_half_precision_are_small_and_nearly_as_good(kind, options, images, target, tmp_path):
    phi = HOG("dpm", cell_size=6)
    files = [tmp_path / "whole.npz", tmp_path / "reduced.npz"]
    models = [kind.learn(images, phi, cells=3, output=file, **options, **more)
              for file, more in zip(files, ({}, {"reduction": 3, "half": True}), strict=True)]
    assert files[1].stat().st_size < files[0].stat().st_size / 3
    found = [model.invert(phi, phi(target), size=target.shape).image for model in models]
    assert correlation(*found) > 0.8
    again = kind.load(files[1], phi)
    assert np.array_equal(again.invert(phi, phi(target), size=target.shape).image, found[1])
    assert all(value.dtype == np.float32 for value in vars(again).values() if isinstance(value, np.ndarray))
    with pytest.raises(ValueError, match="reduction divides the side of a patch, 30 pixels"):
        kind.learn(images, phi, cells=3, reduction=7, **options)


def test_values_too_large_for_half_precision_are_refused():
    np.testing.assert_array_equal(in_half(np.array([1 / 3, 60000])), np.array([1 / 3, 60000]).astype(np.float16))
    with pytest.raises(ValueError, match="half precision ends at 65504"):
        in_half(np.array([1.0, 1e5]))


def test_enlarged_patches_keep_their_means():
    shape = Windows.of(HOG(), 3, 5)
    ramp = np.tile(np.linspace(0, 1, shape.side // 5, dtype=np.float32), (shape.side // 5, 1))
    large = shape.enlarged(ramp.reshape(1, -1)).reshape(shape.side, shape.side)
    means = large.reshape(shape.side // 5, 5, shape.side // 5, 5).mean((1, 3))
    np.testing.assert_allclose(means[1:-1, 1:-1], ramp[1:-1, 1:-1], atol=1e-6)

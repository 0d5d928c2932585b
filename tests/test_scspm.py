"""Sparse codes with max pooling: against scikit-learn, by hand, in both backends, and inverted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import sparse_encode

from unfeature.features.backend import backend
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.lasso_path import lasso_path
from unfeature.features.words.scspm import ScSPM, sparse_codes
from unfeature.features.words.vocabulary import Vocabulary
from unfeature.inversion.invert import invert

LOCAL = DSIFT(bin_size=3, step=4)


@pytest.fixture(scope="module")
def image(photograph):
    return photograph(side=64)


@pytest.fixture(scope="module")
def words(image):
    local = LOCAL(image).reshape(-1, LOCAL.dimensions)
    return Vocabulary(LOCAL, 3 * local[np.random.default_rng(0).choice(len(local), 24, replace=False)])


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def drawn(signals, atoms, length, seed=0):
    rng = np.random.default_rng(seed)
    return (torch.from_numpy(unit(rng.standard_normal((n, length)))) for n in (signals, atoms))


@pytest.mark.parametrize("penalty", [0.05, 0.15, 0.4])
def test_codes_are_those_of_scikit_learn(penalty):
    signals, atoms = drawn(20, 30, 16)
    theirs = sparse_encode(signals.numpy(), atoms.numpy(), algorithm="lasso_cd", alpha=penalty, max_iter=10**5)
    assert (theirs < 0).any() and (theirs > 0).any()
    for name in ("compiled", "torch"):
        with backend(name):
            ours = sparse_codes(signals[None], atoms, penalty)[0]
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize(("atoms", "length", "penalty"), [(1, 8, 0.2), (12, 5, 0.01), (60, 20, 0.05), (256, 128, 0.15)])
def test_paths_of_correlated_atoms_end_at_the_optimum(atoms, length, penalty):
    rng = np.random.default_rng(atoms)
    w, signals = unit(rng.uniform(0, 1, (atoms, length)) ** 2), unit(rng.uniform(0, 1, (30, length)) ** 2)
    w[-1] = w[0]
    signals[0] = 0
    gram = w @ w.T + 1e-5 * np.eye(atoms)
    codes = lasso_path(gram, signals @ w.T, penalty)
    left = signals @ w.T - codes @ gram
    assert not codes[0].any() and codes[1:].any(1).all()
    assert np.abs(left).max() <= penalty + 1e-9
    np.testing.assert_allclose(left[codes != 0], penalty * np.sign(codes[codes != 0]), atol=1e-9)


def test_a_path_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="Gram matrix"):
        lasso_path(np.eye(3), np.zeros((2, 4)), 0.1)


def test_without_a_correlation_above_the_penalty_there_is_no_code():
    signals, atoms = drawn(4, 6, 40)
    for name in ("compiled", "torch"):
        with backend(name):
            assert not sparse_codes(signals[None], atoms, 0.9).any()


def test_the_gradient_is_that_of_finite_differences():
    signals, atoms = drawn(5, 12, 8, seed=1)
    signals = signals[None].requires_grad_()
    assert torch.autograd.gradcheck(lambda d: sparse_codes(d, atoms, 0.15), signals, eps=1e-6, atol=1e-4)
    (gradient,) = torch.autograd.grad(sparse_codes(signals, atoms, 0.15).square().sum(), signals, create_graph=True)
    assert torch.isfinite(torch.autograd.grad(gradient.square().sum(), signals)[0]).all()


def test_the_largest_magnitude_of_each_region_is_kept(words, image):
    phi = ScSPM(words, levels=(1, 2))
    local = LOCAL(image)
    h, w = local.shape[:2]
    coded = sparse_encode(local.reshape(h * w, -1).astype(float), unit(words.words.astype(float)),
                          algorithm="lasso_cd", alpha=0.15, max_iter=10**4)
    size = np.abs(coded).reshape(h, w, -1)
    row, column = (np.arange(n) + 0.5 >= n / 2 for n in (h, w))
    parts = [size, *(size[row == a][:, column == b] for a in (False, True) for b in (False, True))]
    expected = np.concatenate([part.max((0, 1)) for part in parts])
    np.testing.assert_allclose(phi(image), expected / np.linalg.norm(expected), atol=2e-3)
    np.testing.assert_allclose(phi.surrogate(1e-3)(image), phi(image), atol=1e-3)
    assert np.linalg.norm(phi.surrogate(0.5)(image) - phi(image)) > 0.05


def test_words_that_are_absent_have_a_gradient_of_the_surrogate(words, image):
    x = torch.from_numpy(image)[None, None].requires_grad_()
    absent = int((ScSPM(words)(image) == 0).argmax())
    for phi, gradients in ((ScSPM(words), False), (ScSPM(words).surrogate(0.5), True)):
        code = phi(x)
        assert code[0, absent] == 0
        assert bool(torch.autograd.grad(code[0, absent], x)[0].any()) is gradients


def test_compiled_codes_are_those_of_plain_torch(words, image):
    phi = ScSPM(words)
    code = phi(image)
    with backend("torch"):
        np.testing.assert_allclose(phi(image), code, atol=2e-3)


def test_an_image_is_found_from_its_code(words, image):
    phi = ScSPM(words)
    code = phi(image)
    assert code.shape == (21 * 24,) and code.min() >= 0 and np.linalg.norm(code) == pytest.approx(1)
    noise = phi(np.random.default_rng(0).random(image.shape).astype(np.float32))
    result = invert(phi, code, preset="fast", steps=40)
    assert result.error < 0.4 * np.linalg.norm(noise - code)


@pytest.mark.parametrize(("options", "message"), [
    ({"penalty": 0.0}, "penalty, the weight λ of the L1 norm, lies between 0 and 1, got 0.0"),
    ({"penalty": 1.5}, "penalty"), ({"softness": -0.1}, r"softness lies in \[0, 1\], got -0.1")])
def test_impossible_options_are_refused(words, options, message):
    with pytest.raises(ValueError, match=message):
        ScSPM(words, **options)

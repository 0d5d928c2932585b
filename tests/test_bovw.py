from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unfeature.features.base import Representation
from unfeature.features.gradients.phow import PHOW
from unfeature.features.patterns.brief import BRIEF
from unfeature.features.words import soft_sums, word_code
from unfeature.features.words.bovw import BoVW
from unfeature.features.words.vocabulary import Vocabulary
from unfeature.inversion.invert import invert

PHI = BRIEF(bits=6, patch_size=8, step=4, softness=1.0)
VOCABULARY = Vocabulary(PHI, np.random.default_rng(0).uniform(-0.8, 0.8, (9, 6)))


def image(height=40, width=52, seed=0):
    return torch.rand(1, 1, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def local_of(x):
    return PHI(x)[0].flatten(1).T.numpy()


def test_hard_histograms_count_nearest_words():
    x = image()
    code = BoVW(VOCABULARY, levels=(1, 2, (3, 1)), normalisation="none")(x)[0].numpy().reshape(-1, 9)
    nearest = ((local_of(x)[:, None] - VOCABULARY.words) ** 2).sum(2).argmin(1).reshape(9, 12)
    quarters = [nearest[:4, :6], nearest[:4, 6:], nearest[4:, :6], nearest[4:, 6:]]
    parts = [nearest, *quarters, nearest[:3], nearest[3:6], nearest[6:]]
    np.testing.assert_array_equal(code, [np.bincount(part.ravel(), minlength=9) for part in parts])


def test_soft_weights_are_a_normalised_kernel():
    x = image()
    code = BoVW(VOCABULARY, "soft", neighbours=3, sigma=0.4, levels=(1,), normalisation="none")(x)[0].numpy()
    distances = ((local_of(x)[:, None] - VOCABULARY.words) ** 2).sum(2)
    kernel = np.exp(-distances / (2 * 0.4**2))
    kernel[distances > np.sort(distances, axis=1)[:, 2:3]] = 0
    np.testing.assert_allclose(code, (kernel / kernel.sum(1, keepdims=True)).sum(0), rtol=1e-6)


def test_llc_solves_the_constrained_system():
    local = torch.from_numpy(local_of(image()))[None]
    phi = BoVW(VOCABULARY, "llc", neighbours=3, ridge=1e-3)
    weights = phi.assignment_weights(local)[0].numpy()
    np.testing.assert_allclose(weights.sum(1), 1)
    assert ((weights != 0).sum(1) == 3).all()
    words = VOCABULARY.words.astype(float)

    def cost(u, d, ridge):
        return np.square(d - u @ words).sum() + ridge * np.square(u).sum()

    rng = np.random.default_rng(0)
    for u, d in zip(weights[::11], local[0].numpy()[::11], strict=True):
        near = np.flatnonzero(u)
        ridge = 1e-3 * np.square(words[near] - d).sum()
        step = np.zeros(9)
        step[near] = rng.normal(size=3) * 1e-2
        step[near] -= step[near].mean()
        assert cost(u, d, ridge) < min(cost(u + step, d, ridge), cost(u - step, d, ridge))


@pytest.mark.parametrize("pooling", ["sum", "max"])
@pytest.mark.parametrize("how", ["hard", "soft", "llc"])
def test_blocks_give_the_same_code_and_gradient(how, pooling, monkeypatch):
    x = torch.cat([image(), image(seed=1)]).requires_grad_()
    phi = BoVW(VOCABULARY, how, pooling=pooling, normalisation="l2")
    weights = torch.linspace(-1, 1, 45, dtype=x.dtype)
    whole = phi(x)
    (gradient,) = torch.autograd.grad((whole @ weights).sum(), x)
    monkeypatch.setattr(word_code, "LARGEST_BLOCK", 2 * 9 * 7)
    monkeypatch.setattr(soft_sums, "BLOCK", 7 * (9 + 6))
    parts = phi(x)
    (again,) = torch.autograd.grad((parts @ weights).sum(), x)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(again, gradient)


@pytest.mark.parametrize("normalisation, norm", [("l1", 1), ("l2", 2), ("power", 2)])
def test_norms(normalisation, norm):
    code = BoVW(VOCABULARY, normalisation=normalisation)(image())[0].numpy()
    assert np.linalg.norm(code, norm) == pytest.approx(1)
    plain = BoVW(VOCABULARY, normalisation="none")(image())[0].numpy()
    plain = np.sqrt(plain) if normalisation == "power" else plain
    np.testing.assert_allclose(code, plain / np.linalg.norm(plain, norm), atol=1e-6)


@pytest.mark.parametrize("how", ["soft", "llc"])
@pytest.mark.parametrize("pooling, normalisation", [("sum", "l1"), ("max", "l2"), ("sum", "power")])
def test_gradient(how, pooling, normalisation):
    phi = BoVW(VOCABULARY, how, pooling=pooling, levels=(2,), normalisation=normalisation)
    assert torch.autograd.gradcheck(phi, (image(20, 20).requires_grad_(),), eps=1e-7, atol=1e-5, rtol=1e-3)


def test_straight_through_has_the_value_of_hard_and_the_gradient_of_soft():
    x = image().requires_grad_()
    hard, soft, through = (BoVW(VOCABULARY, how, sigma=0.3, normalisation="none") for how in
                           ("hard", "soft", "straight-through"))
    torch.testing.assert_close(through(x), hard(x))
    weights = torch.linspace(-1, 1, 45, dtype=x.dtype)
    gradients = [torch.autograd.grad((phi(x) @ weights).sum(), x)[0] for phi in (hard, soft, through)]
    assert gradients[0].abs().max() == 0 < gradients[1].abs().max()
    torch.testing.assert_close(gradients[2], gradients[1])


def test_surrogate_tends_to_hard_and_softens_the_descriptor_too():
    x = image()
    phi = BoVW(VOCABULARY.with_phi(PHI.replace(softness=0.0)))
    errors = [(phi.surrogate(s)(x) - phi(x)).abs().sum().item() for s in (1, 0.3, 0.1, 1e-3)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02
    assert phi.surrogate(0.2).phi.softness == 0.2
    assert not phi.exact


def test_a_smooth_code_is_its_own_surrogate():
    assert BoVW(VOCABULARY, "llc").exact
    assert not BoVW(VOCABULARY, "llc", normalisation="power").exact
    assert BoVW(VOCABULARY, "soft", sigma=0.3).surrogate(0.0001).width == pytest.approx(0.3)
    assert not BoVW(VOCABULARY).exact


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(16, 40), st.integers(16, 40), st.sampled_from(["hard", "soft", "llc"]), st.integers(1, 3))
def test_shapes(height, width, how, batch):
    phi = BoVW(VOCABULARY, how, levels=(1, (2, 1)))
    x = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))
    code = phi(x)
    assert code.dtype == x.dtype
    assert tuple(code.shape) == (batch, *phi.output_shape(height, width))
    torch.testing.assert_close(phi(x[-1:])[0], code[-1], atol=1e-6, rtol=1e-5)


def test_constant_images_have_finite_gradients():
    for how in ("hard", "soft", "llc", "straight-through"):
        for normalisation in ("l1", "power"):
            x = torch.full((1, 1, 24, 24), 0.5, requires_grad=True)
            phi = BoVW(VOCABULARY, how, normalisation=normalisation)
            (gradient,) = torch.autograd.grad(phi(x).square().sum(), x)
            assert gradient.isfinite().all()


def test_the_status_of_an_inversion_without_gradient_says_so():
    phi, code = BoVW(VOCABULARY), np.zeros((5, 9))
    code[:, np.linalg.norm(VOCABULARY.words, axis=1).argmax()] = 0.2
    blind, best = (invert(phi, code.ravel(), size=(40, 52), preset=preset, steps=5) for preset in ("ijcv2016", "best"))
    assert blind.errors[0] >= 1
    assert f"; the relative error of {blind.errors[0]:.2g} is no better than that of a zero code, 1, because the " \
           "gradient of BoVW is zero: take the preset best" in blind.status
    through = invert(BoVW(VOCABULARY, "straight-through"), code.ravel(), size=(40, 52), preset="ijcv2016", steps=60)
    assert "zero" not in best.status + through.status and through.errors[0] < blind.errors[0]


def test_config_needs_the_words():
    phi = BoVW(VOCABULARY, "soft", levels=(1, (3, 1)))
    again = Representation.from_config(phi.to_config(), words=VOCABULARY)
    assert again.to_config() == phi.to_config() != BoVW(VOCABULARY, "soft").to_config()
    with pytest.raises(ValueError, match="pass it as words="):
        Representation.from_config(phi.to_config())


def test_histograms_list_regions():
    phi = BoVW(VOCABULARY, levels=(1, 2))
    found = phi.histograms(phi(image()[0, 0].numpy()))
    assert found.shape == (5, 9)
    np.testing.assert_allclose(found[0], found[1:].sum(0), atol=1e-12)


def test_phow_gives_a_descriptor_for_each_size():
    phow = PHOW(sizes=(3, 4), step=5)
    vocabulary = Vocabulary(phow, np.random.default_rng(0).uniform(0, 0.2, (4, 128)))
    x = image(50, 60)
    histogram = BoVW(vocabulary, levels=(1, 2), normalisation="none")(x)[0].numpy().reshape(5, 4)
    dense = phow(x)[0].numpy()
    local = np.concatenate([dense[:128].reshape(128, -1), dense[128:].reshape(128, -1)], axis=1).T
    nearest = ((local[:, None] - vocabulary.words) ** 2).sum(2).argmin(1)
    np.testing.assert_array_equal(histogram[0], np.bincount(nearest, minlength=4))
    np.testing.assert_array_equal(histogram[1:].sum(0), histogram[0])
    corner = nearest.reshape(2, *dense.shape[1:])[:, : dense.shape[1] // 2, : dense.shape[2] // 2]
    np.testing.assert_array_equal(histogram[1], np.bincount(corner.ravel(), minlength=4))


@pytest.mark.parametrize("bad", [
    {"assignment": "hart"}, {"pooling": "mean"}, {"normalisation": "l3"}, {"neighbours": 0}, {"neighbours": 10},
    {"sigma": 0.0}, {"levels": ()}, {"levels": (0,)}, {"ridge": 0.0}, {"softening": -1.0},
])  # fmt: skip
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        BoVW(VOCABULARY, **bad)


def test_unknown_choices_list_the_valid_ones():
    listed = "'hart': choose one of hard, soft, llc, straight-through; did you mean 'hard'"
    with pytest.raises(ValueError, match=listed):
        BoVW(VOCABULARY, "hart")


def test_small_images():
    phi = BoVW(VOCABULARY, levels=(1, 4))
    with pytest.raises(ValueError, match="too few for a pyramid of 4 × 4"):
        phi(np.zeros((16, 60)))
    with pytest.raises(ValueError, match="smaller than one patch"):
        phi(np.zeros((5, 60)))
    with pytest.raises(ValueError, match="size="):
        phi.image_size_for((180,))

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from unfeature.features.base import Representation
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.patterns.brief import BRIEF
from unfeature.features.words import soft_sums, word_code
from unfeature.features.words.fisher import Fisher
from unfeature.features.words.super_vector import SuperVector
from unfeature.features.words.vlad import VLAD
from unfeature.features.words.vocabulary import Mixture, Vocabulary

GOLDEN = Path(__file__).parent / "golden" / "encodings.npz"
FLAGS = ("normalise_mass", "square_root", "normalise_components", "normalise_code")
ALL = list(itertools.product((0, 1), repeat=4))
PHI = BRIEF(bits=5, patch_size=8, step=4, softness=1.0)


class Channels(Representation):
    """Each pixel's channels are a local descriptor."""

    in_channels = (6,)

    def output_shape(self, height, width):
        return (6, height, width)

    def forward(self, x):
        return x


def codebooks(dimension, count, phi, seed=0):
    rng = np.random.default_rng(seed)
    words = rng.uniform(0, 1, (count, dimension)).astype(np.float32)
    variances = rng.uniform(0.01, 0.1, (count, dimension)).astype(np.float32)
    return Vocabulary(phi, words), Mixture(phi, words, variances=variances, priors=rng.dirichlet(np.ones(count) * 5))


def settings_of(flags):
    return {name: bool(flag) for name, flag in zip(FLAGS, flags, strict=True)}


@pytest.fixture(scope="module")
def descriptors():
    return np.random.default_rng(1).uniform(0, 1, (8, 15, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN, allow_pickle=False) as archive:
        return dict(archive)


def close(found, expected):
    assert np.linalg.norm(found - expected) <= 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("how", ["hard", "soft"])
@pytest.mark.parametrize("flags", ALL)
def test_vlad_against_golden_vectors(flags, how, golden, descriptors):
    words, _ = codebooks(6, 7, Channels())
    phi = VLAD(words, how, sigma=0.3, **settings_of(flags))
    close(phi(descriptors), golden[f"vlad_{how}_{''.join(map(str, flags))}"])


@pytest.mark.parametrize("root, norm", list(itertools.product((0, 1), repeat=2)))
def test_fisher_against_golden_vectors(root, norm, golden, descriptors):
    _, mixture = codebooks(6, 7, Channels())
    phi = Fisher(mixture, square_root=bool(root), normalise_code=bool(norm))
    close(phi(descriptors), golden[f"fisher_{root}{norm}"])


def vlfeat_vectors(descriptors):
    """What cyvlfeat computes for the golden file."""
    vlad = pytest.importorskip("cyvlfeat.vlad.vlad").vlad
    fisher = pytest.importorskip("cyvlfeat.fisher.fisher").fisher
    local = descriptors.reshape(-1, 6)
    words, mixture = codebooks(6, 7, Channels())
    vectors = {}
    for how in ("hard", "soft"):
        phi = VLAD(words, how, sigma=0.3)
        weights = np.ascontiguousarray(phi.assignment_weights(torch.from_numpy(local)[None])[0].numpy())
        for flags in ALL:
            mass, root, components, norm = map(bool, flags)
            vectors[f"vlad_{how}_{''.join(map(str, flags))}"] = vlad(
                local, words.words, weights, normalize_mass=mass, square_root=root, normalize_components=components,
                unnormalized=not norm)  # fmt: skip
    for root, norm in itertools.product((0, 1), repeat=2):
        vectors[f"fisher_{root}{norm}"] = fisher(local, mixture.words, mixture.variances, mixture.priors,
                                                 normalized=bool(norm), square_root=bool(root)).ravel()  # fmt: skip
    return vectors


def test_golden_vectors_are_vlfeats(golden, descriptors):
    found = vlfeat_vectors(descriptors)
    assert found.keys() == golden.keys()
    for name, vector in found.items():
        np.testing.assert_allclose(vector, golden[name], atol=1e-5, rtol=1e-5)


def test_vlad_and_fisher_against_vlfeat_on_a_photograph(photograph):
    pytest.importorskip("cyvlfeat")
    from cyvlfeat.fisher.fisher import fisher
    from cyvlfeat.vlad.vlad import vlad

    image = photograph("astronaut", 128)
    words = Vocabulary.learn([image], PHI, words=8)
    mixture = Vocabulary.learn([image], PHI, words=4, kind="gmm")
    local = PHI(image).reshape(-1, 5)
    phi = VLAD(words, normalise_components=True)
    weights = np.ascontiguousarray(phi.assignment_weights(torch.from_numpy(local)[None])[0].numpy())
    close(phi(image), vlad(local, words.words, weights, normalize_components=True))
    close(Fisher(mixture)(image), fisher(local, mixture.words, mixture.variances, mixture.priors,
                                              improved=True).ravel())  # fmt: skip


def test_narrow_components_cost_single_precision_little(photograph):
    image = photograph("astronaut", 96)
    phi = DSIFT(bin_size=3, step=2)
    local = torch.from_numpy(phi(image)).flatten(0, 1)[None]
    words = local[0, :: local.shape[1] // 16].numpy()
    mixture = Mixture(phi, words, variances=np.full_like(words, 1e-3), priors=np.full(len(words), 1 / len(words)))
    fisher = Fisher(mixture, square_root=False)
    count = local.new_tensor([local.shape[1]])
    found, exact = (fisher.normalise(fisher.finish(fisher.pool(d, [slice(None)]), count.to(d)).flatten(1))
                    for d in (local, local.double()))
    assert found.dtype == torch.float32
    assert (found - exact).norm() < 1e-5 * exact.norm()


def test_fisher_is_the_gradient_of_the_likelihood(descriptors):
    _, mixture = codebooks(6, 3, Channels())
    x = torch.from_numpy(descriptors).double().reshape(-1, 6)
    means = torch.from_numpy(mixture.words).double().requires_grad_()
    deviations = torch.from_numpy(mixture.variances).double().sqrt().requires_grad_()
    priors = torch.from_numpy(mixture.priors).double()
    z = (x[:, None] - means) / deviations
    likelihood = torch.logsumexp(priors.log() - deviations.log().sum(1) - z.square().sum(2) / 2, dim=1).mean()
    by_mean, by_deviation = torch.autograd.grad(likelihood, (means, deviations))
    expected = [by_mean * deviations / priors[:, None].sqrt(), by_deviation * deviations / (2 * priors[:, None]).sqrt()]
    found = Fisher(mixture, square_root=False, normalise_code=False)(descriptors.astype(np.float64))
    np.testing.assert_allclose(found, torch.cat(expected).flatten().detach().numpy(), rtol=1e-5, atol=1e-9)


def test_super_vector_by_hand(descriptors):
    words, _ = codebooks(6, 4, Channels())
    local = descriptors.reshape(-1, 6)
    nearest = ((local[:, None] - words.words) ** 2).sum(2).argmin(1)
    share = np.bincount(nearest, minlength=4) / len(local)
    expected = [np.r_[0.3 * np.sqrt(share[k]),
                      (local[nearest == k] - words.words[k]).sum(0) / len(local) / np.sqrt(share[k])] for k in range(4)]
    found = SuperVector(words, mass=0.3, normalise_code=False)(descriptors)
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-5)


def encodings():
    words, mixture = codebooks(5, 4, PHI)
    return {
        "vlad": VLAD(words, "soft", levels=(1, 2)),
        "vlad-intra": VLAD(words, "soft", square_root=True, normalise_components=True),
        "super": SuperVector(words, "soft"),
        "fisher": Fisher(mixture, square_root=False, levels=((2, 1),)),
        "fisher-improved": Fisher(mixture),
    }


@pytest.mark.parametrize("name", encodings())
def test_gradient(name):
    x = torch.rand(1, 1, 20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(encodings()[name], (x,), eps=1e-7, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", encodings())
def test_blocks_batches_and_constant_images(name, monkeypatch):
    phi = encodings()[name]
    x = torch.rand(2, 1, 28, 36, generator=torch.Generator().manual_seed(0))
    code = phi(x)
    assert tuple(code.shape[1:]) == phi.output_shape(28, 36)
    torch.testing.assert_close(phi(x[1:]), code[1:], atol=1e-5, rtol=1e-4)
    monkeypatch.setattr(word_code, "LARGEST_BLOCK", 2 * 4 * 5)
    monkeypatch.setattr(soft_sums, "BLOCK", 60)
    torch.testing.assert_close(phi(x), code, atol=1e-5, rtol=1e-4)
    flat = torch.full((1, 1, 28, 36), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(phi(flat).sum(), flat)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("make", [VLAD, SuperVector])
def test_hard_surrogates_tend_to_the_code(make):
    words, _ = codebooks(5, 4, PHI.replace(softness=0.0))
    phi = make(words)
    x = torch.rand(1, 1, 40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    errors = [(phi.surrogate(s)(x) - phi(x)).norm().item() for s in (1, 0.1, 1e-3)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05


def test_improved_fisher_has_a_softened_root():
    phi = encodings()["fisher-improved"]
    assert phi.surrogate(0.5).softening == 0.5
    assert phi.surrogate(0.5).normalise_code


def test_bad_arguments():
    words, _ = codebooks(5, 4, PHI)
    with pytest.raises(ValueError, match='kind="gmm"'):
        Fisher(words)
    with pytest.raises(ValueError, match="unknown assignment"):
        VLAD(words, "llc")
    with pytest.raises(ValueError, match="mass"):
        SuperVector(words, mass=-1)
    with pytest.raises(ValueError, match="too few"):
        VLAD(words, levels=(9,))(np.zeros((20, 20)))

from __future__ import annotations

import pytest
import torch

from unfeature.features.words import soft_sums
from unfeature.features.words.soft_sums import soft_masses, soft_moments

DOUBLE = torch.float64
REGIONS = torch.tensor([[1, 1, 0], [1, 0, 1], [1, 0, 0]], dtype=DOUBLE).repeat(13, 1)


def given(squares, samples=2, positions=37, dimensions=5, words=4, dtype=DOUBLE):
    generator = torch.Generator().manual_seed(0)
    local = torch.rand(samples, dimensions, positions, generator=generator, dtype=DOUBLE).transpose(1, 2).to(dtype)
    centre = torch.rand(dimensions, generator=generator)
    offsets = torch.randn(words, generator=generator)
    weights = torch.randn(words, dimensions * (2 if squares else 1), generator=generator)
    return local, centre, offsets, weights


def by_hand(local, centre, offsets, weights):
    features = local - centre
    if weights.shape[1] > len(centre):
        features = torch.cat([features, features**2], 2)
    assigned = torch.softmax(features @ weights.to(local).T + offsets, 2)
    return torch.cat([assigned.sum(1)[..., None], torch.einsum("npk,npf->nkf", assigned, features)], 2)


def value_and_gradient(function, local, *others):
    leaf = local.detach().requires_grad_()
    found = function(leaf, *others)
    slope = torch.linspace(-1, 1, found.numel(), dtype=found.dtype).view(found.shape)
    return found.detach(), torch.autograd.grad(found, leaf, slope)[0]


def small_blocks(patch):
    patch.setattr(soft_sums, "BLOCK", 120)


def no_assignments_kept(patch):
    small_blocks(patch)
    patch.setattr(soft_sums, "LARGEST_BLOCK", 0)


@pytest.mark.parametrize("how", [None, small_blocks, no_assignments_kept])
@pytest.mark.parametrize("squares", [False, True])
def test_moments_by_hand(squares, how, monkeypatch):
    if how:
        how(monkeypatch)
    for found, expected in zip(value_and_gradient(soft_moments, *given(squares)),
                               value_and_gradient(by_hand, *given(squares)), strict=True):
        torch.testing.assert_close(found, expected)


def masses(local, *others):
    return soft_masses(local, *others, REGIONS[: local.shape[1]])


def masses_by_hand(local, centre, offsets, weights):
    assigned = torch.softmax((local - centre) @ weights.to(local).T + offsets, 2)
    return torch.einsum("npk,pr->nrk", assigned, REGIONS[: local.shape[1]])


@pytest.mark.parametrize("how", [None, small_blocks, no_assignments_kept])
def test_masses_by_hand(how, monkeypatch):
    if how:
        how(monkeypatch)
    for found, expected in zip(value_and_gradient(masses, *given(False)),
                               value_and_gradient(masses_by_hand, *given(False)), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("squares", [False, True])
def test_gradient(squares, monkeypatch):
    small_blocks(monkeypatch)
    local, *others = given(squares, positions=23)
    assert torch.autograd.gradcheck(lambda x: soft_moments(x, *others), (local.contiguous().requires_grad_(),))


def test_samples_have_the_bits_that_they_have_alone():
    local, *others = given(True, samples=3, positions=5000, dtype=torch.float32)
    together = value_and_gradient(lambda x: soft_moments(x, *others), local[:1])
    twice = value_and_gradient(lambda x: soft_moments(x, *others)[:1], local)
    assert torch.equal(twice[0], together[0])
    assert torch.equal(twice[1][:1], together[1])


def test_single_precision_loses_little():
    local, *others = given(True, positions=5000)
    for found, expected in zip(value_and_gradient(soft_moments, local.float(), *others),
                               value_and_gradient(soft_moments, local.float().double(), *others), strict=True):
        assert (found - expected).norm() < 1e-6 * expected.norm()
    assert value_and_gradient(soft_moments, local.float(), *others)[0].dtype == DOUBLE


def test_nothing_is_kept_but_descriptors_and_assignments():
    local, *others = given(True, samples=1, positions=6000, dtype=torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        soft_moments(local.requires_grad_(), *others)
    assert sum(kept) == local.numel() + 6000 * 4 + sum(other.numel() for other in others)


@pytest.mark.parametrize("squares", [False, True])
def test_second_derivatives(squares):
    local, *others = (operand.double() for operand in given(squares, positions=5, dimensions=2, words=3))
    assert torch.autograd.gradgradcheck(lambda leaf: soft_moments(leaf, *others), local.requires_grad_())
    if not squares:
        members = REGIONS[:5]
        assert torch.autograd.gradgradcheck(lambda leaf: soft_masses(leaf, *others, members), local)

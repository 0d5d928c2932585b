"""What a soft assignment gives each word: masses, and sums of descriptors and squares, in blocks of positions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 2**19
"""Numbers that are made at once on the CPU, of one image: they stay in its cache, and leave no holes in its memory."""
LEAST_SHARE = 1e-20
"""Smaller shares count as none: processors are slow with numbers that single precision hardly holds."""
LARGEST_BLOCK = 2**25
"""Numbers that are made at once on other devices, and shares that are kept for the gradient."""


def soft_moments(local: Tensor, centre: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    r"""Mass and moments of the words under a soft assignment.

    With e_i = d_i − c, features f_i = e_i or [e_i, e_i²], and shares q_ik ∝ exp(o_k + w_k · f_i), Σ_k q_ik = 1, these
    are Σ_i q_ik and Σ_i q_ik f_i.

    Parameters
    ----------
    local : Tensor (N, P, D)
        Descriptors d, the only ones that have a gradient.
    centre : Tensor (D,)
        c: near the descriptors, so that little is lost where squares nearly cancel.
    offsets : Tensor (K,)
    weights : Tensor (K, D) or (K, 2D)
        Which also says whether the squares count.

    Returns
    -------
    Tensor (N, K, 1 + D) or (N, K, 1 + 2D)
        Mass first; in float64, as sums over blocks are, which themselves have the precision of the descriptors. Cannot
        be differentiated twice.
    """
    local = local.to(torch.promote_types(local.dtype, torch.float32))
    found: Tensor = _SoftMoments.apply(local, *(operand.to(local) for operand in (centre, offsets, weights)))
    return found


def soft_masses(local: Tensor, centre: Tensor, offsets: Tensor, weights: Tensor, members: Tensor) -> Tensor:
    r"""Masses Σ_i q_ik m_ir of the words in regions, under the shares of `soft_moments`.

    Parameters
    ----------
    local, centre, offsets : Tensor
    weights : Tensor (K, D)
    members : Tensor (P, R)
        m: 1 where a position belongs to a region, else 0.

    Returns
    -------
    Tensor (N, R, K)
        In float64, otherwise as `soft_moments`.
    """
    local = local.to(torch.promote_types(local.dtype, torch.float32))
    found: Tensor = _SoftMasses.apply(local, *(operand.to(local) for operand in (centre, offsets, weights, members)))
    return found.transpose(1, 2)


class _SoftMoments(torch.autograd.Function):
    """Nothing of positions × words × dimensions is ever held, and of positions × words only the shares."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, centre: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
        n, positions, _ = local.shape
        total = local.new_zeros(n, len(weights), 1 + weights.shape[1], dtype=torch.float64)
        kept, keep = [], ctx.needs_input_grad[0] and n * positions * len(weights) <= LARGEST_BLOCK
        for samples, places in _blocks(local, weights):
            features = _features(local[samples, places], centre, weights)
            shares = _shares(features, offsets, weights)
            total[samples, :, 0] += shares.sum(2)
            total[samples, :, 1:] += torch.bmm(shares, features.transpose(1, 2))
            if keep:
                kept.append(shares)
        ctx.save_for_backward(local, centre, offsets, weights, *kept)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        local, centre, offsets, weights, *kept = ctx.saved_tensors
        by_mass, by_moments = (part.to(local) for part in upstream.split([1, weights.shape[1]], 2))
        both = torch.cat([by_moments, weights.expand_as(by_moments)], 1).transpose(1, 2)
        out = torch.empty_like(local)
        for number, (samples, places) in enumerate(_blocks(local, weights)):
            features = _features(local[samples, places], centre, weights)
            shares = kept[number] if kept else _shares(features, offsets, weights)
            by_logit = _by_logits(torch.baddbmm(by_mass[samples], by_moments[samples], features), shares)
            by_features = torch.bmm(both[samples], torch.cat([shares, by_logit], 1))
            out[samples, places] = _by_descriptors(by_features, features, local.shape[2]).transpose(1, 2)
        return out, None, None, None


class _SoftMasses(torch.autograd.Function):
    """As _SoftMoments, of masses alone."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, centre: Tensor, offsets: Tensor, weights: Tensor, members: Tensor) -> Tensor:
        n, positions, _ = local.shape
        total = local.new_zeros(n, len(weights), members.shape[1], dtype=torch.float64)
        kept, keep = [], ctx.needs_input_grad[0] and n * positions * len(weights) <= LARGEST_BLOCK
        for samples, places in _blocks(local, weights):
            shares = _shares(_features(local[samples, places], centre, weights), offsets, weights)
            total[samples] += torch.matmul(shares, members[places])
            if keep:
                kept.append(shares)
        ctx.save_for_backward(local, centre, offsets, weights, members, *kept)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        local, centre, offsets, weights, members, *kept = ctx.saved_tensors
        by_masses, out = upstream.to(local), torch.empty_like(local)
        across = weights.T.expand(len(local), -1, -1)
        for number, (samples, places) in enumerate(_blocks(local, weights)):
            shares = kept[number] if kept else _shares(_features(local[samples, places], centre, weights), offsets,
                                                       weights)
            by_logit = _by_logits(torch.matmul(by_masses[samples], members[places].T), shares)
            out[samples, places] = torch.bmm(across[samples], by_logit).transpose(1, 2)
        return out, None, None, None, None


def _by_logits(by_shares: Tensor, shares: Tensor) -> Tensor:
    """The derivative by logits, (N, K, P), in place of that by their softmax."""
    found = by_shares.mul_(shares)
    return found.addcmul_(shares, found.sum(1, keepdim=True), value=-1)


def _blocks(local: Tensor, weights: Tensor) -> Iterator[tuple[slice, slice]]:
    """Samples and positions that are taken together: on the CPU of one sample, so that it does not know of others."""
    n, positions, _ = local.shape
    alone = local.device.type == "cpu"
    size = max(1, (BLOCK if alone else LARGEST_BLOCK // n) // sum(weights.shape))
    for first in range(0, n, 1 if alone else n):
        for start in range(0, positions, size):
            yield slice(first, first + 1 if alone else n), slice(start, start + size)


def _features(local: Tensor, centre: Tensor, weights: Tensor) -> Tensor:
    """f, (N, D or 2D, P)."""
    plain = local.transpose(1, 2) - centre[:, None]
    return plain if weights.shape[1] == len(centre) else torch.cat([plain, plain * plain], 1)


def _shares(features: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """q, (N, K, P)."""
    logits = torch.baddbmm(offsets[:, None], weights.expand(len(features), -1, -1), features)
    return torch.threshold_(torch.softmax(logits, 1), LEAST_SHARE, 0.0)


def _by_descriptors(by_features: Tensor, features: Tensor, dimensions: int) -> Tensor:
    """The derivative by descriptors, (N, D, P), of those by features."""
    by_plain = by_features[:, :dimensions]
    if features.shape[1] == dimensions:
        return by_plain
    return by_plain.addcmul_(features[:, :dimensions], by_features[:, dimensions:], value=2)

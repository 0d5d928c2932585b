"""Sums over descriptors weighted by their soft assignment to words, in blocks of positions that bound memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..backend import is_traced

BLOCK = 2**19
"""Elements of a block on the CPU, of one image: it fits the cache and does not fragment memory."""
LARGEST_BLOCK = 2**25
"""Elements of a block on other devices; also the most assignments that are kept for backward."""
LEAST_ASSIGNMENT = 1e-20
"""Smaller assignments are set to 0: arithmetic on denormal numbers is slow."""


def soft_moments(local: Tensor, centre: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    r"""Mass and moments of each word under a soft assignment: (N, K, 1 + D), or (N, K, 1 + 2D) with squares.

    With e_i = d_i − c, features f_i = e_i or [e_i, e_i²], and assignments q_ik ∝ exp(o_k + w_k · f_i), Σ_k q_ik = 1,
    the mass Σ_i q_ik comes first, then the moments Σ_i q_ik f_i.

    Parameters
    ----------
    local : Tensor (N, P, D)
        Descriptors d, the only argument with a gradient .
    centre : Tensor (D,)
        c; a point near the descriptors limits the cancellation of squares.
    offsets : Tensor (K,)
    weights : Tensor (K, D) or (K, 2D)
        2D columns include the squares in the features.

    Notes
    -----
    Blocks are computed in the precision of the descriptors, float32 at least, and added in float64, the result's dtype.
    Second derivatives, and what torch traces or transforms, take all positions at once.
    """
    return _soft_sums(local, centre, offsets, weights, None)


def soft_masses(local: Tensor, centre: Tensor, offsets: Tensor, weights: Tensor, members: Tensor) -> Tensor:
    """Masses Σ_i q_ik m_ir, (N, R, K), of each word in R regions, with the assignments q of `soft_moments`.

    `members` (P, R) is 1 where a position belongs to a region, else 0; weights are (K, D). The rest is as for
    `soft_moments`.
    """
    return _soft_sums(local, centre, offsets, weights, members).transpose(1, 2)


def _soft_sums(local: Tensor, centre: Tensor, offsets: Tensor, weights: Tensor, members: Tensor | None) -> Tensor:
    local = local.to(torch.promote_types(local.dtype, torch.float32))
    centre, offsets, weights = (constant.to(local) for constant in (centre, offsets, weights))
    operands = local, centre, offsets, weights, None if members is None else members.to(local)
    sums: Tensor = _at_once(*operands) if is_traced() else _SoftSums.apply(*operands)
    return sums


def _at_once(local: Tensor, centre: Tensor, offsets: Tensor, weights: Tensor, members: Tensor | None) -> Tensor:
    """The sums of all positions in one block, of plain torch."""
    features = _features(local, centre, weights)
    assigned = torch.softmax(_logits(features, offsets, weights), 1)
    if members is not None:
        return (assigned @ members).double()
    return torch.cat([assigned.sum(2, keepdim=True), assigned @ features.transpose(1, 2)], 2).double()


class _SoftSums(torch.autograd.Function):
    """Masses in regions, or mass and moments if there are no regions; positions × words × dimensions never exist."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, centre: Tensor, offsets: Tensor, weights: Tensor,
                members: Tensor | None) -> Tensor:
        n, positions, _ = local.shape
        columns = 1 + weights.shape[1] if members is None else members.shape[1]
        total = local.new_zeros(n, len(weights), columns, dtype=torch.float64)
        kept, keep = [], ctx.needs_input_grad[0] and n * positions * len(weights) <= LARGEST_BLOCK
        for samples, places in _blocks(local, weights):
            features = _features(local[samples, places], centre, weights)
            assigned = _assign(features, offsets, weights)
            if members is None:
                total[samples, :, 0] += assigned.sum(2)
                total[samples, :, 1:] += torch.bmm(assigned, features.transpose(1, 2))
            else:
                total[samples] += torch.matmul(assigned, members[places])
            if keep:
                kept.append(assigned)
        ctx.save_for_backward(local, centre, offsets, weights, members, *kept)
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        local, centre, offsets, weights, members, *kept = ctx.saved_tensors
        if torch.is_grad_enabled() or is_traced(upstream):
            with torch.enable_grad():
                sums = _at_once(local, centre, offsets, weights, members)
            return *torch.autograd.grad(sums, local, upstream, create_graph=torch.is_grad_enabled()), *(None,) * 4
        out, dimensions = torch.empty_like(local), local.shape[2]
        by_mass, by_moments = (part.to(local) for part in upstream.split([1, upstream.shape[2] - 1], 2))
        upstream, by_features = upstream.to(local), weights.expand(len(local), -1, -1).transpose(1, 2)
        if members is None:
            by_features = torch.cat([by_moments.transpose(1, 2), by_features], 2)
        for number, (samples, places) in enumerate(_blocks(local, weights)):
            if members is None or not kept:
                features = _features(local[samples, places], centre, weights)
            assigned = kept[number] if kept else _assign(features, offsets, weights)
            if members is None:
                by_assigned = torch.baddbmm(by_mass[samples], by_moments[samples], features)
                found = torch.cat([assigned, _by_logits(by_assigned, assigned)], 1)
            else:
                found = _by_logits(torch.matmul(upstream[samples], members[places].T), assigned)
            gradient = torch.bmm(by_features[samples], found)
            by_plain = gradient[:, :dimensions]
            if weights.shape[1] > dimensions:
                by_plain.addcmul_(features[:, :dimensions], gradient[:, dimensions:], value=2)
            out[samples, places] = by_plain.transpose(1, 2)
        return out, None, None, None, None


def _blocks(local: Tensor, weights: Tensor) -> Iterator[tuple[slice, slice]]:
    """Samples and positions of each block; on the CPU one sample, whose result does not depend on its batch."""
    n, positions, _ = local.shape
    samples, elements = (1, BLOCK) if local.device.type == "cpu" else (n, LARGEST_BLOCK // n)
    size = max(1, elements // sum(weights.shape))
    for first in range(0, n, samples):
        for start in range(0, positions, size):
            yield slice(first, first + samples), slice(start, start + size)


def _features(local: Tensor, centre: Tensor, weights: Tensor) -> Tensor:
    """f, (N, D or 2D, P)."""
    plain = local.transpose(1, 2) - centre[:, None]
    return plain if weights.shape[1] == len(centre) else torch.cat([plain, plain * plain], 1)


def _assign(features: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """q, (N, K, P)."""
    return torch.threshold_(torch.softmax(_logits(features, offsets, weights), 1), LEAST_ASSIGNMENT, 0.0)


def _logits(features: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """o + w · f, (N, K, P)."""
    return torch.baddbmm(offsets[:, None], weights.expand(len(features), -1, -1), features)


def _by_logits(by_assigned: Tensor, assigned: Tensor) -> Tensor:
    """The derivative by logits, (N, K, P), written over that by the assignments."""
    found = by_assigned.mul_(assigned)
    return found.addcmul_(assigned, found.sum(1, keepdim=True), value=-1)

"""Sparse codes of local descriptors with max pooling over a spatial pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..backend import uses_compiled
from .vocabulary import Vocabulary
from .word_code import Level, Region, WordCode

RIDGE = 1e-5
SHORTEST = 0.01  # a descriptor below this norm keeps its relative length
ITERATIONS = 1000
TINY = 1e-12


class ScSPM(WordCode):
    r"""Sparse codes with max pooling over a spatial pyramid.

    Each local descriptor d, of unit norm, has a sparse code over the words w₁ … w_K, of unit norm, too:

    u = argmin ½ ‖d − Σ_k u_k w_k‖² + λ Σ_k |u_k|

    Each region of the pyramid keeps, for each word, the largest |u_k| of its descriptors; the regions' vectors are
    concatenated and divided by their Euclidean norm.

    Parameters
    ----------
    words : Vocabulary
        Words, as atoms of the dictionary, and their local descriptor.
    penalty : float
        Weight λ of the L1 norm.
    levels : tuple of int or (int, int)
        Grids of the spatial pyramid: (1, 2, 4) is the whole image, its quarters and its sixteenths.
    softness : float
        Of the pooling, for surrogates: (Σ |u|^p)^(1/p) with p = 1 + 1/softness; 0 is the maximum.

    Raises
    ------
    ValueError
        For impossible arguments; on encoding, for an image with a region without descriptors.

    Notes
    -----
    Shape: (N, C, H, W) → (N, R·K), R the number of regions, each region's words together, in [0, 1].

    The gradient is exact but where the set A of non-zeros changes: there u is continuous, and in between it is linear
    in d, u_A = (W_A W_Aᵀ)⁻¹ (W_A d − λ sign u_A). The solver finds A, and autograd differentiates this system. It adds
    10⁻⁵ to the diagonal, as the authors' code does. Differs: the words may come from k-means; here the authors learn a
    dictionary with the same penalty, and their descriptors are SIFT every 6 pixels.

    References
    ----------
    Yang, Yu, Gong and Huang, CVPR 2009.
    """

    def __init__(self, words: Vocabulary, penalty: float = 0.15, levels: tuple[Level, ...] = (1, 2, 4),
                 softness: float = 0.0) -> None:
        super().__init__(words, levels)
        if not 0 < penalty < 1:
            raise ValueError(f"penalty, the weight λ of the L1 norm, lies between 0 and 1, got {penalty}")
        if not 0 <= softness <= 1:
            raise ValueError(f"softness lies in [0, 1], got {softness}")
        self.penalty, self.softness = penalty, softness
        self.codebook = normalize(self.codebook, dim=1)
        self.region_dimension = len(self.codebook)

    def pool(self, local: Tensor, regions: Sequence[Region]) -> Tensor:
        """The largest magnitude of each word's coefficients in regions, (N, R, K)."""
        signals = normalize(local, dim=-1, eps=SHORTEST)
        codes = sparse_codes(signals, self.codebook, self.penalty)
        if not self.softness:
            return torch.stack([codes[:, region].abs().amax(1) for region in regions], dim=1)
        atoms = self.codebook.to(signals)
        unexplained = ((signals - codes @ atoms) @ atoms.T).abs()
        return torch.stack([self._softly(codes[:, region].abs(), unexplained[:, region]) for region in regions], dim=1)

    def _softly(self, magnitudes: Tensor, unexplained: Tensor) -> Tensor:
        """The p-norm of magnitudes (N, P, K) over positions, (N, K), with a gradient for words that are absent."""
        largest = magnitudes.detach().amax(1)
        power = 1 + 1 / self.softness
        shares = magnitudes / largest.clamp_min(TINY)[:, None]
        norms = largest * (shares**power).sum(1).clamp_min(TINY) ** (1 / power)
        leak = self.softness * torch.where(largest == 0, unexplained.amax(1), 0.0)
        return norms + leak - leak.detach()

    def _softer(self, softness: float) -> dict[str, Any]:
        return super()._softer(softness) | {"softness": min(max(softness, self.softness), 1.0)}


def sparse_codes(signals: Tensor, atoms: Tensor, penalty: float) -> Tensor:
    r"""Codes u = argmin ½ ‖d − Σ_k u_k w_k‖² + λ Σ_k |u_k| (N, P, K) of signals d (N, P, D) by atoms w (K, D).

    Differentiable in the signals: the non-zeros solve a linear system, which is solved again for the gradient.
    """
    atoms = atoms.to(signals)
    correlations = signals @ atoms.T
    with torch.no_grad():
        gram = atoms @ atoms.T + RIDGE * torch.eye(len(atoms), dtype=signals.dtype, device=signals.device)
        compiled = uses_compiled(signals)
        found = (_by_path if compiled else _by_iteration)(correlations.detach(), gram, penalty)
        count = max(int((found != 0).sum(-1).max()), 1) if compiled else min(atoms.shape)
        index = found.abs().topk(count, dim=-1).indices
        signs = found.gather(-1, index).sign()
        active = signs.abs()
        system = (gram[index[..., :, None], index[..., None, :]] * active[..., :, None] * active[..., None, :]
                  + torch.diag_embed(1 - active))
    target = active * (correlations.gather(-1, index) - penalty * signs)
    solution = torch.linalg.solve(system, target[..., None])[..., 0]
    return torch.zeros_like(correlations).scatter(-1, index, solution)


def _by_path(correlations: Tensor, gram: Tensor, penalty: float) -> Tensor:
    """Codes (N, P, K), compiled, along the path of solutions."""
    from ..lasso_path import lasso_path

    codes = lasso_path(gram.numpy(), correlations.flatten(0, 1).numpy(), penalty)
    return torch.from_numpy(codes).to(correlations).view(correlations.shape)


def _by_iteration(correlations: Tensor, gram: Tensor, penalty: float) -> Tensor:
    """Codes (N, P, K) by accelerated proximal gradients, which begin anew where their momentum leads uphill."""
    exact, gram = correlations.double(), gram.double()
    step = 1 / gram.abs().sum(1).amax()
    codes = ahead = torch.zeros_like(exact)
    pace = torch.ones_like(exact[..., :1])
    for _ in range(ITERATIONS):
        moved = ahead + step * (exact - ahead @ gram)
        found = moved.sign() * (moved.abs() - step * penalty).clamp_min(0)
        uphill = ((ahead - found) * (found - codes)).sum(-1, keepdim=True) > 0
        pace = torch.where(uphill, 1.0, pace)
        following = (1 + (1 + 4 * pace.square()).sqrt()) / 2
        ahead = found + torch.where(uphill, 0.0, (pace - 1) / following) * (found - codes)
        codes, pace = found, following
    return codes.to(correlations)

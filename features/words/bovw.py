"""Bags of visual words: hard, soft and locality-constrained assignment, pooled over a spatial pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from ..checks import check_choice
from .soft_sums import soft_masses
from .vocabulary import Vocabulary, signed_root
from .word_code import AssignedCode, Level, Region, squared_distances

BagAssignment = Literal["hard", "soft", "llc", "straight-through"]
Pooling = Literal["sum", "max"]
Normalisation = Literal["l1", "l2", "power", "none"]



class BoVW(AssignedCode):
    r"""Bag of visual words.

    Each local descriptor d has assignment weights u (K,) for the words w₁ … w_K; u is pooled over each region of a
    spatial pyramid, and the histograms of the regions are concatenated and normalised.

    - hard: u is 1 for the nearest word. Its own gradient is zero; the surrogate is the soft assignment to all words.
    - soft: u_k ∝ exp(−‖d − w_k‖² / 2σ²) over the nearest words, Σ u = 1.
    - llc: u minimises ‖d − Σ u_k w_k‖² + λ tr(C) ‖u‖² over the nearest words, Σ u = 1, where C is the Gram matrix
      of w_k − d (locality-constrained linear coding, in its fast form).
    - straight-through: the value of hard with the gradient of soft.

    Parameters
    ----------
    words : Vocabulary
        Visual words and their local descriptor.
    assignment : {"hard", "soft", "llc", "straight-through"}
        Assignment of descriptors to words.
    neighbours : int, optional
        Nearest words that an assignment uses; by default 5 for llc, and all for soft and straight-through.
    sigma : float, optional
        Width of the soft assignment's Gaussian kernel, in units of the descriptor; half the words' spacing by default.
    pooling : {"sum", "max"}
        Pooling of the weights in a region.
    levels : tuple of int or (int, int)
        Grids of the spatial pyramid: (1, 2) is the whole image and its quarters, (3, 1) is three rows.
    normalisation : {"l1", "l2", "power", "none"}
        Normalisation of the whole code; power is the signed square root followed by the Euclidean norm.
    ridge : float
        Regularisation λ of llc.
    softening : float
        Bounds the gradient of the power normalisation's square root, √|v| → v / √(|v| + softening · mean |v|).

    Raises
    ------
    ValueError
        For unknown or impossible arguments; on encoding, for an image with a region without descriptors.

    Notes
    -----
    Shape: (N, C, H, W) → (N, R·K), R the number of regions, each region's words together, in [0, 1] (llc may be
    negative, unnormalised sums are larger). Descriptors of flat patches count too; they are nearest to the word
    closest to zero.

    References
    ----------
    Sivic and Zisserman, ICCV 2003; Lazebnik et al., CVPR 2006 (pyramid; without its weights); van Gemert et al.,
    ECCV 2008, and Liu et al., ICCV 2011 (soft assignment to near words); Wang et al., CVPR 2010 (LLC).

    Examples
    --------
    >>> import unfeature as uf
    >>> photographs = [uf.resize_longer(uf.to_grey(uf.bundled(name)), 64) for name in ("camera", "coffee")]
    >>> words = uf.Vocabulary.learn(photographs, uf.DSIFT(bin_size=4, step=4), 8)
    >>> uf.BoVW(words, levels=(1, 2))(photographs[0]).shape
    (40,)
    """

    assignments = get_args(BagAssignment)

    def __init__(self, words: Vocabulary, assignment: BagAssignment = "hard", neighbours: int | None = None,
                 sigma: float | None = None, pooling: Pooling = "sum", levels: tuple[Level, ...] = (1, 2),
                 normalisation: Normalisation = "l1", ridge: float = 1e-4, softening: float = 0.0) -> None:
        super().__init__(words, assignment, neighbours, sigma, levels, softening)
        check_choice("pooling", pooling, get_args(Pooling))
        check_choice("normalisation", normalisation, get_args(Normalisation))
        if ridge <= 0:
            raise ValueError(f"ridge, the regularisation λ of llc, is positive, got {ridge}")
        self.pooling, self.normalisation, self.ridge = pooling, normalisation, ridge
        self.square_root, self.region_dimension = normalisation == "power", len(self.codebook)

    def assignment_weights(self, local: Tensor) -> Tensor:
        """Weights (N, P, K) of the words for descriptors (N, P, D); they sum to 1 over the words."""
        if self.assignment == "llc":
            return llc_weights(local, self.codebook, min(self.neighbours or 5, len(self.codebook)), self.ridge)
        return super().assignment_weights(local)

    def pool(self, local: Tensor, regions: Sequence[Region]) -> Tensor:
        """Histograms of regions, (N, R, K): sums or maxima."""
        if not self.soft_over_all or self.pooling != "sum":
            return super().pool(local, regions)
        members = local.new_zeros(local.shape[1], len(regions))
        for number, region in enumerate(regions):
            members[region, number] = 1
        return soft_masses(local, *self.softmax(), members).to(local)

    def statistics(self, weights: Tensor, local: Tensor) -> Tensor:
        """Sum or maximum of the weights over a region, (N, K)."""
        return weights.sum(1) if self.pooling == "sum" else weights.amax(1)

    def merge(self, one: Tensor, other: Tensor) -> Tensor:
        """Histogram of the union of two disjoint sets of positions."""
        return one + other if self.pooling == "sum" else torch.maximum(one, other)

    def normalise(self, code: Tensor) -> Tensor:
        """The code divided by its norm, (N, D) → (N, D)."""
        if self.normalisation == "none":
            return code
        if self.square_root:
            code = signed_root(code, self.softening)
        return normalize(code, p=1 if self.normalisation == "l1" else 2, dim=1)

    def histograms(self, code: NDArray[Any]) -> NDArray[Any]:
        """A code (D,) as one histogram per region, (R, K)."""
        return code.reshape(-1, self.region_dimension)


def llc_weights(local: Tensor, words: Tensor, neighbours: int, ridge: float) -> Tensor:
    """Coefficients (N, P, K) of the constrained least-squares fit of each descriptor by its nearest words."""
    words = words.to(local)
    with torch.no_grad():
        index = squared_distances(local, words).topk(neighbours, dim=-1, largest=False).indices
    offsets = words[index] - local.unsqueeze(-2)
    gram = offsets @ offsets.transpose(-1, -2)
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1).clamp_min(1e-12)
    system = gram + (ridge * trace)[..., None, None] * torch.eye(neighbours, dtype=local.dtype, device=local.device)
    solution = torch.linalg.solve(system, torch.ones_like(offsets[..., :1])).squeeze(-1)
    weights = solution / solution.sum(-1, keepdim=True)
    return local.new_zeros(*local.shape[:2], len(words)).scatter(-1, index, weights)

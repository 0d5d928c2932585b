"""Bags of visual words: hard, soft and locality-constrained assignment, pooled over a spatial pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from .soft_sums import soft_masses
from .vocabulary import Vocabulary, signed_root
from .word_code import AssignedCode, Level, squared_distances

POOLINGS = ("sum", "max")
NORMALISATIONS = ("none", "l1", "l2", "power")


class BoVW(AssignedCode):
    r"""Bag of visual words.

    Each local descriptor d shares itself among the words w₁ … w_K; the shares u (K,) are pooled over each region
    of a spatial pyramid, and the regions' histograms are stacked and normalised.

    - hard: u is 1 for the nearest word. Its own gradient is zero; the surrogate is the soft assignment to all words.
    - soft: u_k ∝ exp(−‖d − w_k‖² / 2σ²) over the nearest words, Σ u = 1.
    - llc: u minimises ‖d − Σ u_k w_k‖² + λ tr(C) ‖u‖² over the nearest words, Σ u = 1, where C is the Gram matrix
      of w_k − d (locality-constrained linear coding, in its fast form).
    - straight-through: the value of hard with the gradient of soft.

    Parameters
    ----------
    vocabulary : Vocabulary
        Words and their local descriptor.
    assignment : {"hard", "soft", "llc", "straight-through"}
    neighbours : int, optional
        Words that a descriptor is shared among: by default 5 for llc, and all for soft and straight-through.
    sigma : float, optional
        Width σ of the Gaussian kernel, in the units of the descriptor; half the spacing of the words by default.
    pooling : {"sum", "max"}
    levels : tuple of int or (int, int)
        Grids of the pyramid: (1, 2) is the whole image and its quarters, (3, 1) is three rows.
    normalisation : {"l1", "l2", "power", "none"}
        Of the whole code; power is the signed square root followed by the Euclidean norm.
    ridge : float
        λ of llc.
    softening : float
        Bounds the gradient of the power normalisation's square root, √|v| → v / √(|v| + softening · mean |v|).

    Raises
    ------
    ValueError
        For unknown or impossible arguments; on encoding, for an image whose regions would hold no descriptor.

    Notes
    -----
    Shape: (N, C, H, W) → (N, R·K), R the number of regions, each region's words together, in [0, 1] (llc may be
    negative, unnormalised sums are larger). Local descriptors are encoded wherever they are, those of flat patches
    too; they fall to the word nearest zero.

    References
    ----------
    Sivic and Zisserman, ICCV 2003; Lazebnik et al., CVPR 2006 (pyramid; without its weights); van Gemert et al.,
    ECCV 2008, and Liu et al., ICCV 2011 (soft assignment to near words); Wang et al., CVPR 2010 (LLC).
    """

    assignments = ("hard", "soft", "llc", "straight-through")

    def __init__(
        self,
        vocabulary: Vocabulary,
        assignment: str = "hard",
        neighbours: int | None = None,
        sigma: float | None = None,
        pooling: str = "sum",
        levels: tuple[Level, ...] = (1, 2),
        normalisation: str = "l1",
        ridge: float = 1e-4,
        softening: float = 0.0,
    ) -> None:
        super().__init__(vocabulary, assignment, neighbours, sigma, levels, softening)
        if pooling not in POOLINGS:
            raise ValueError(f"unknown pooling {pooling!r}: one of {', '.join(POOLINGS)}")
        if normalisation not in NORMALISATIONS:
            raise ValueError(f"unknown normalisation {normalisation!r}: one of {', '.join(NORMALISATIONS)}")
        if ridge <= 0:
            raise ValueError(f"ridge, the weight λ of the llc system, is positive, got {ridge}")
        self.pooling, self.normalisation, self.ridge = pooling, normalisation, ridge

    @property
    def rooted(self) -> bool:
        """Whether square roots are taken."""
        return self.normalisation == "power"

    @property
    def region_dimension(self) -> int:
        """The number of words."""
        return len(self.words)

    def shares(self, local: Tensor) -> Tensor:
        """Shares (N, P, K) of the words in descriptors (N, P, D), which sum to 1."""
        if self.assignment == "llc":
            return llc_shares(local, self.words, min(self.neighbours or 5, len(self.words)), self.ridge)
        return super().shares(local)

    def pool(self, local: Tensor, regions: Sequence[Tensor | slice]) -> Tensor:
        """Histograms of regions, (N, R, K), or maxima; those of a soft assignment to all words in blocks."""
        if not self.spreads or self.pooling != "sum":
            return super().pool(local, regions)
        members = local.new_zeros(local.shape[1], len(regions))
        for number, region in enumerate(regions):
            if isinstance(region, slice):
                members[region, number] = 1
            else:
                members[:, number].index_fill_(0, region, 1)
        return soft_masses(local, *self.softmax(), members).to(local)

    def statistics(self, shares: Tensor, local: Tensor) -> Tensor:
        """Sum or maximum of the shares over a region, (N, K)."""
        return shares.sum(1) if self.pooling == "sum" else shares.amax(1)

    def merge(self, one: Tensor, other: Tensor) -> Tensor:
        """Statistics of two parts of a region as those of both."""
        return one + other if self.pooling == "sum" else torch.maximum(one, other)

    def normalise(self, code: Tensor) -> Tensor:
        """The code divided by its norm, (N, D) → (N, D)."""
        if self.normalisation == "none":
            return code
        if self.normalisation == "power":
            code = signed_root(code, self.softening)
        return normalize(code, p=1 if self.normalisation == "l1" else 2, dim=1)

    def histograms(self, code: NDArray[Any]) -> NDArray[Any]:
        """A code (D,) as one histogram a region, (R, K): which words are present, and where."""
        return code.reshape(-1, self.region_dimension)


def llc_shares(local: Tensor, words: Tensor, neighbours: int, ridge: float) -> Tensor:
    """Coefficients (N, P, K) of the constrained least-squares fit of each descriptor by its nearest words."""
    words = words.to(local)
    with torch.no_grad():
        index = squared_distances(local, words).topk(neighbours, dim=-1, largest=False).indices
    offsets = words[index] - local.unsqueeze(-2)
    gram = offsets @ offsets.transpose(-1, -2)
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1).clamp_min(1e-12)
    system = gram + (ridge * trace)[..., None, None] * torch.eye(neighbours, dtype=local.dtype, device=local.device)
    solution = torch.linalg.solve(system, torch.ones_like(offsets[..., :1])).squeeze(-1)
    shares = solution / solution.sum(-1, keepdim=True)
    return torch.zeros(*local.shape[:2], len(words), dtype=local.dtype, device=local.device).scatter(-1, index, shares)

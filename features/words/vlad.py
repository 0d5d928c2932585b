"""Vectors of locally aggregated descriptors (VLAD)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .soft_sums import soft_moments
from .vocabulary import Vocabulary, signed_root
from .word_code import TINY, AssignedCode, Assignment, Level, Region


class ResidualCode(AssignedCode):
    """A word code of the residuals d − w between descriptors and their words."""

    def statistics(self, weights: Tensor, local: Tensor) -> Tensor:
        """Mass of each word and sum of its residuals, (N, K, 1 + D)."""
        mass = weights.sum(1).unsqueeze(-1)
        return torch.cat([mass, weights.transpose(1, 2) @ local - mass * self.codebook.to(local)], -1)

    def pool(self, local: Tensor, regions: Sequence[Region]) -> Tensor:
        """The statistics of regions, (N, R, K, 1 + D)."""
        if not self.soft_over_all:
            return super().pool(local, regions)
        softmax = self.softmax()
        moments = torch.stack([soft_moments(local[:, region], *softmax) for region in regions], 1)
        mass, first = moments[..., :1], moments[..., 1:]
        return torch.cat([mass, first - mass * (self.codebook.double() - softmax[0])], -1).to(local)


class VLAD(ResidualCode):
    r"""Vector of locally aggregated descriptors: the sum of the residuals of each word.

    v_k = Σ_i u_ik (d_i − w_k), with the weights u of a hard or soft assignment; the code lists v₁ … v_K.

    Parameters
    ----------
    words : Vocabulary
        Visual words and their local descriptor.
    assignment : {"hard", "soft", "straight-through"}
        Assignment of descriptors to words, as for `BoVW`.
    neighbours : int, optional
        Nearest words that a soft assignment uses; all by default.
    sigma : float, optional
        Width of the soft assignment's Gaussian kernel, in units of the descriptor; half the words' spacing by default.
    levels : tuple of int or (int, int)
        Grids of the spatial pyramid, such as (1, 2) or (1, (3, 1)).
    normalise_mass : bool
        Divide v_k by Σ_i u_ik.
    square_root : bool
        Take signed square roots (power normalisation) before dividing by norms.
    normalise_components : bool
        Divide each v_k by its Euclidean norm (intra-normalisation).
    normalise_code : bool
        Divide the whole code by its Euclidean norm.
    softening : float
        Bounds the gradient of the square root, √|v| → v / √(|v| + softening · mean |v|).

    Raises
    ------
    ValueError
        For impossible arguments; on encoding, for an image with a region without descriptors.

    Notes
    -----
    Shape: (N, C, H, W) → (N, R·K·D). The flags are VLFeat's, in its order, and the default is its default; the
    values agree with ``cyvlfeat.vlad.vlad``.

    References
    ----------
    Jégou et al., CVPR 2010; Arandjelović and Zisserman, CVPR 2013 (intra-normalisation).
    """

    def __init__(self, words: Vocabulary, assignment: Assignment = "hard", neighbours: int | None = None,
                 sigma: float | None = None, levels: tuple[Level, ...] = (1,), normalise_mass: bool = False,
                 square_root: bool = False, normalise_components: bool = False, normalise_code: bool = True,
                 softening: float = 0.0) -> None:
        super().__init__(words, assignment, neighbours, sigma, levels, softening)
        self.normalise_mass, self.square_root = normalise_mass, square_root
        self.normalise_components, self.normalise_code = normalise_components, normalise_code
        self.region_dimension = self.codebook.numel()

    def finish(self, statistics: Tensor, count: Tensor) -> Tensor:
        """The code of each region, its components normalised."""
        v = statistics[..., 1:]
        if self.normalise_mass:
            v = v / statistics[..., :1].clamp_min(TINY)
        if self.square_root:
            v = signed_root(v, self.softening)
        if self.normalise_components:
            v = normalize(v, dim=-1, eps=TINY)
        return v.flatten(2)

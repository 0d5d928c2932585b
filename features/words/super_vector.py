"""Super-vector coding."""

from __future__ import annotations

import torch
from torch import Tensor

from .vlad import ResidualCode
from .vocabulary import Vocabulary, signed_root
from .word_code import Assignment, Level


class SuperVector(ResidualCode):
    r"""Super-vector coding: the mass of each word and the mean of its residuals.

    With p_k = Σ_i u_ik / n the mass of word k in a region of n descriptors, its part of the code is
    [s √p_k,  (1 / (n √p_k)) Σ_i u_ik (d_i − w_k)]; words without descriptors have zeros.

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
    mass : float
        Weight s of the masses against the residuals, in units of the descriptor.
    normalise_code : bool
        Divide the whole code by its Euclidean norm.

    Raises
    ------
    ValueError
        For impossible arguments; on encoding, for an image with a region without descriptors.

    Notes
    -----
    Shape: (N, C, H, W) → (N, R·K·(1 + D)), the mass of each word before its residuals.

    References
    ----------
    Zhou et al., ECCV 2010.
    """

    def __init__(self, words: Vocabulary, assignment: Assignment = "hard", neighbours: int | None = None,
                 sigma: float | None = None, levels: tuple[Level, ...] = (1,), mass: float = 0.1,
                 normalise_code: bool = True) -> None:
        super().__init__(words, assignment, neighbours, sigma, levels)
        if mass < 0:
            raise ValueError(f"mass, the weight of the masses, is not negative, got {mass}")
        self.mass, self.normalise_code = mass, normalise_code
        self.region_dimension = self.codebook.numel() + len(self.codebook)

    def finish(self, statistics: Tensor, count: Tensor) -> Tensor:
        """The code of each region."""
        statistics = statistics / count[:, None, None]
        root = signed_root(statistics[..., :1])
        return torch.cat([self.mass * root, statistics[..., 1:] / root.clamp_min(1e-6)], dim=-1).flatten(2)

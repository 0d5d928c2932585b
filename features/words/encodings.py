"""Encodings richer than counts: VLAD, Fisher vectors, super-vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .soft_sums import soft_moments
from .vocabulary import Mixture, Vocabulary, signed_root
from .word_code import AssignedCode, Level, WordCode

TINY = 1e-12
WARMTH = 20.0


class ResidualCode(AssignedCode):
    """A word code of what the descriptors of each word differ from it by."""

    def statistics(self, shares: Tensor, local: Tensor) -> Tensor:
        """Mass of each word, and sum of its descriptors' differences from it: (N, K, 1 + D)."""
        mass = shares.sum(1).unsqueeze(-1)
        return torch.cat([mass, shares.transpose(1, 2) @ local - mass * self.words.to(local)], -1)

    def pool(self, local: Tensor, regions: Sequence[Tensor | slice]) -> Tensor:
        """The statistics of regions, (N, R, K, 1 + D); those of a soft assignment to all words in blocks."""
        if not self.spreads:
            return super().pool(local, regions)
        given = self.softmax()
        found = torch.stack([soft_moments(local[:, region], *given) for region in regions], 1)
        mass, first = found[..., :1], found[..., 1:]
        return torch.cat([mass, first - mass * (self.words.double() - given[0])], -1).to(local)


class VLAD(ResidualCode):
    r"""Vector of locally aggregated descriptors: for each word, the sum of what its descriptors differ from it by.

    v_k = Σ_i u_ik (d_i − w_k), with the shares u of a hard or soft assignment; stacked, word by word.

    Parameters
    ----------
    vocabulary : Vocabulary
    assignment : {"hard", "soft", "straight-through"}
        As for `BoVW`.
    neighbours, sigma
        As for `BoVW`.
    levels : tuple of int or (int, int)
        Grids of a spatial pyramid; the whole image by default.
    normalise_mass : bool
        Divide v_k by Σ_i u_ik.
    square_root : bool
        Take signed square roots (power normalisation) before norms are divided by.
    normalise_components : bool
        Divide each v_k by its Euclidean norm (intra-normalisation).
    normalise_code : bool
        Divide the whole code by its Euclidean norm.
    softening : float
        Bounds the gradient of the square root, √|v| → v / √(|v| + softening · mean |v|).

    Raises
    ------
    ValueError
        For impossible arguments; on encoding, for an image whose regions would hold no descriptor.

    Notes
    -----
    Shape: (N, C, H, W) → (N, R·K·D). The flags are VLFeat's, in its order, and the default is its default; the
    numbers agree with ``cyvlfeat.vlad.vlad``.

    References
    ----------
    Jégou et al., CVPR 2010; Arandjelović and Zisserman, CVPR 2013 (intra-normalisation).
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        assignment: str = "hard",
        neighbours: int | None = None,
        sigma: float | None = None,
        levels: tuple[Level, ...] = (1,),
        normalise_mass: bool = False,
        square_root: bool = False,
        normalise_components: bool = False,
        normalise_code: bool = True,
        softening: float = 0.0,
    ) -> None:
        super().__init__(vocabulary, assignment, neighbours, sigma, levels, softening)
        self.normalise_mass, self.square_root = normalise_mass, square_root
        self.normalise_components, self.normalise_code = normalise_components, normalise_code

    @property
    def rooted(self) -> bool:
        """Whether square roots are taken."""
        return self.square_root

    @property
    def region_dimension(self) -> int:
        """Words × dimensions of the descriptor."""
        return self.words.numel()

    def finish(self, statistics: Tensor, count: Tensor) -> Tensor:
        """The code of each region, its words normalised."""
        v = statistics[..., 1:]
        if self.normalise_mass:
            v = v / statistics[..., :1].clamp_min(TINY)
        if self.square_root:
            v = signed_root(v, self.softening)
        if self.normalise_components:
            v = normalize(v, dim=-1, eps=TINY)
        return v.flatten(2)

    def normalise(self, code: Tensor) -> Tensor:
        """The code divided by its Euclidean norm, if asked for."""
        return normalize(code, dim=1, eps=TINY) if self.normalise_code else code


class SuperVector(ResidualCode):
    r"""Super-vector coding: for each word its mass, and its descriptors' mean difference from it.

    With p_k = Σ_i u_ik / n the share of word k in a region of n descriptors, its part of the code is
    [s √p_k,  (1 / (n √p_k)) Σ_i u_ik (d_i − w_k)]; words without descriptors have zeros.

    Parameters
    ----------
    vocabulary : Vocabulary
    assignment, neighbours, sigma
        As for `BoVW`, without llc.
    levels : tuple of int or (int, int)
        Grids of a spatial pyramid; the whole image by default.
    mass : float
        The constant s that balances counts against differences; the unit of the descriptor.
    normalise_code : bool
        Divide the whole code by its Euclidean norm.

    Raises
    ------
    ValueError
        For impossible arguments; on encoding, for an image whose regions would hold no descriptor.

    Notes
    -----
    Shape: (N, C, H, W) → (N, R·K·(1 + D)), the word's mass first.

    References
    ----------
    Zhou et al., ECCV 2010.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        assignment: str = "hard",
        neighbours: int | None = None,
        sigma: float | None = None,
        levels: tuple[Level, ...] = (1,),
        mass: float = 0.1,
        normalise_code: bool = True,
    ) -> None:
        super().__init__(vocabulary, assignment, neighbours, sigma, levels)
        if mass < 0:
            raise ValueError(f"mass, the weight of the counts, is not negative, got {mass}")
        self.mass, self.normalise_code = mass, normalise_code

    @property
    def region_dimension(self) -> int:
        """Words × (1 + dimensions of the descriptor)."""
        return self.words.numel() + len(self.words)

    def finish(self, statistics: Tensor, count: Tensor) -> Tensor:
        """The code of each region."""
        statistics = statistics / count[:, None, None]
        root = signed_root(statistics[..., :1])
        return torch.cat([self.mass * root, statistics[..., 1:] / root.clamp_min(1e-6)], dim=-1).flatten(2)

    def normalise(self, code: Tensor) -> Tensor:
        """The code divided by its Euclidean norm, if asked for."""
        return normalize(code, dim=1, eps=TINY) if self.normalise_code else code


class Fisher(WordCode):
    r"""Fisher vector: the gradient of the descriptors' likelihood for the means and variances of a Gaussian mixture.

    With posteriors q_ik, n descriptors, z = (d_i − μ_k) / σ_k and priors π_k,

        u_k = 1 / (n √π_k) Σ_i q_ik z_ik,   v_k = 1 / (n √(2π_k)) Σ_i q_ik (z_ik² − 1);

    the code lists u of all components, then v of all components.

    Parameters
    ----------
    vocabulary : Mixture
        As ``Vocabulary.learn(..., kind="gmm")`` gives.
    levels : tuple of int or (int, int)
        Grids of a spatial pyramid; the whole image by default.
    square_root : bool
        Take signed square roots before the norm is divided by.
    normalise_code : bool
        Divide the whole code by its Euclidean norm; with square_root the improved Fisher vector.
    softening : float
        Bounds the gradient of the square root, √|v| → v / √(|v| + softening · mean |v|).
    temperature : float
        T ≥ 1: posteriors are softened to q ∝ (π_k N(d; μ_k, σ_k))^(1/T), since with many dimensions they are all but
        hard; 1 is the Fisher vector.

    Raises
    ------
    ValueError
        If the vocabulary is not a mixture; on encoding, for an image whose regions would hold no descriptor.

    Notes
    -----
    Shape: (N, C, H, W) → (N, R·2·K·D). The numbers agree with ``cyvlfeat.fisher.fisher``, which, unlike this,
    drops posteriors below 1e-6.

    References
    ----------
    Perronnin and Dance, CVPR 2007; Perronnin et al., ECCV 2010 (square root and norm).
    """

    variances: Tensor
    priors: Tensor

    def __init__(
        self,
        vocabulary: Mixture,
        levels: tuple[Level, ...] = (1,),
        square_root: bool = True,
        normalise_code: bool = True,
        softening: float = 0.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(vocabulary, levels, softening)
        if not isinstance(vocabulary, Mixture):
            raise ValueError("a Fisher vector needs a Gaussian mixture, got words of k-means: "
                             'learn the vocabulary with kind="gmm"')
        if temperature < 1:
            raise ValueError(f"temperature is at least 1, got {temperature}")
        self.square_root, self.normalise_code, self.temperature = square_root, normalise_code, temperature
        self.register_buffer("variances", torch.from_numpy(vocabulary.variances), persistent=False)
        self.register_buffer("priors", torch.from_numpy(vocabulary.priors), persistent=False)

    @property
    def rooted(self) -> bool:
        """Whether square roots are taken."""
        return self.square_root

    @property
    def region_dimension(self) -> int:
        """2 × components × dimensions of the descriptor."""
        return 2 * self.words.numel()

    def pool(self, local: Tensor, regions: Sequence[Tensor | slice]) -> Tensor:
        """Mass, and first and second moments about the mean, of each component: (N, R, K, 1 + 2D), in float64."""
        centre, precisions = self.words.mean(0), 1 / self.variances.double()
        means = self.words.double() - centre
        offsets = self.priors.double().log() + (precisions.log() - means.square() * precisions).sum(1) / 2
        weights = torch.cat([means * precisions, -precisions / 2], 1)
        given = centre, offsets / self.temperature, weights / self.temperature
        found = torch.stack([soft_moments(local[:, region], *given) for region in regions], 1)
        mass, first, second = found.split([1, *centre.shape, *centre.shape], -1)
        return torch.cat([mass, first - mass * means, second - 2 * means * first + mass * means.square()], -1)

    def finish(self, statistics: Tensor, count: Tensor) -> Tensor:
        """The Fisher vector of each region, before norms."""
        mass, first, second = statistics.split([1, self.words.shape[1], self.words.shape[1]], dim=-1)
        variances, priors = self.variances.to(statistics), self.priors.to(statistics)[:, None]
        u = first / (variances * priors).sqrt() / count[:, None, None]
        v = (second / variances - mass) / (2 * priors).sqrt() / count[:, None, None]
        return torch.cat([u.flatten(2), v.flatten(2)], dim=2).to(count)

    def normalise(self, code: Tensor) -> Tensor:
        """Signed square roots, then the code divided by its Euclidean norm, as asked for."""
        if self.square_root:
            code = signed_root(code, self.softening)
        return normalize(code, dim=1, eps=TINY) if self.normalise_code else code

    def _softer(self, softness: float) -> dict[str, Any]:
        return super()._softer(softness) | {"temperature": 1 + WARMTH * softness**2}

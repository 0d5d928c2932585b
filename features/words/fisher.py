"""Fisher vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .soft_sums import soft_moments
from .vocabulary import Mixture, signed_root
from .word_code import Level, Region, WordCode

WARMTH = 20.0


class Fisher(WordCode):
    r"""Fisher vector: the gradient of the log-likelihood by the means and deviations of a Gaussian mixture.

    With posteriors q_ik, n descriptors, z = (d_i − μ_k) / σ_k and priors π_k,

        u_k = 1 / (n √π_k) Σ_i q_ik z_ik,   v_k = 1 / (n √(2π_k)) Σ_i q_ik (z_ik² − 1);

    the code lists u of all components, then v of all components.

    Parameters
    ----------
    words : Mixture
        Gaussian mixture of local descriptors, as ``Vocabulary.learn(..., kind="gmm")`` returns.
    levels : tuple of int or (int, int)
        Grids of the spatial pyramid, such as (1, 2) or (1, (3, 1)).
    square_root : bool
        Take signed square roots before dividing by the norm.
    normalise_code : bool
        Divide the whole code by its Euclidean norm. With square_root this is the improved Fisher vector.
    softening : float
        Bounds the gradient of the square root, √|v| → v / √(|v| + softening · mean |v|).
    temperature : float
        T ≥ 1 softens the posteriors. They become q ∝ (π_k N(d; μ_k, σ_k))^(1/T), since in many dimensions they are
        almost hard; 1 is the Fisher vector.

    Raises
    ------
    ValueError
        If words is not a mixture; on encoding, for an image with a region without descriptors.

    Notes
    -----
    Shape: (N, C, H, W) → (N, R·2·K·D). The values agree with ``cyvlfeat.fisher.fisher``, which drops posteriors
    below 1e-6; this does not.

    References
    ----------
    Perronnin and Dance, CVPR 2007; Perronnin et al., ECCV 2010 (square root and norm).
    """

    variances: Tensor
    priors: Tensor

    def __init__(self, words: Mixture, levels: tuple[Level, ...] = (1,), square_root: bool = True,
                 normalise_code: bool = True, softening: float = 0.0, temperature: float = 1.0) -> None:
        super().__init__(words, levels, softening)
        if not isinstance(words, Mixture):
            raise ValueError("a Fisher vector needs a Gaussian mixture, got words of k-means: "
                             'learn the words with kind="gmm"')
        if temperature < 1:
            raise ValueError(f"temperature is at least 1, got {temperature}")
        self.square_root, self.normalise_code, self.temperature = square_root, normalise_code, temperature
        self.region_dimension = 2 * self.codebook.numel()
        self.register_buffer("variances", torch.from_numpy(words.variances), persistent=False)
        self.register_buffer("priors", torch.from_numpy(words.priors), persistent=False)

    def pool(self, local: Tensor, regions: Sequence[Region]) -> Tensor:
        """Mass, and first and second moments about the mean, of each component: (N, R, K, 1 + 2D), in float64."""
        centre, precisions = self.codebook.mean(0), 1 / self.variances.double()
        means = self.codebook.double() - centre
        offsets = self.priors.double().log() + (precisions.log() - means.square() * precisions).sum(1) / 2
        weights = torch.cat([means * precisions, -precisions / 2], 1)
        softmax = centre, offsets / self.temperature, weights / self.temperature
        moments = torch.stack([soft_moments(local[:, region], *softmax) for region in regions], 1)
        mass, first, second = moments.split([1, *centre.shape, *centre.shape], -1)
        return torch.cat([mass, first - mass * means, second - 2 * means * first + mass * means.square()], -1)

    def finish(self, statistics: Tensor, count: Tensor) -> Tensor:
        """The Fisher vector of each region, before square roots and norms."""
        mass, first, second = statistics.split([1, self.codebook.shape[1], self.codebook.shape[1]], dim=-1)
        variances, priors = self.variances.to(statistics), self.priors.to(statistics)[:, None]
        u = first / (variances * priors).sqrt() / count[:, None, None]
        v = (second / variances - mass) / (2 * priors).sqrt() / count[:, None, None]
        return torch.cat([u.flatten(2), v.flatten(2)], dim=2).to(count)

    def normalise(self, code: Tensor) -> Tensor:
        """The code after signed square roots and division by its Euclidean norm, where they are set."""
        return super().normalise(signed_root(code, self.softening) if self.square_root else code)

    def _softer(self, softness: float) -> dict[str, Any]:
        return super()._softer(softness) | {"temperature": 1 + WARMTH * softness**2}

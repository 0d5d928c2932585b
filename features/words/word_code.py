"""How local descriptors are shared among visual words, and how their shares are pooled over an image."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..base import Representation
from ..device_constants import constant, kept
from .sampling import stacked
from .vocabulary import Vocabulary

Self = TypeVar("Self", bound="WordCode")

Level = int | tuple[int, int]
LARGEST_BLOCK = 2**25


class WordCode(Representation):
    """What all encodings of visual words share: a dense descriptor, shares among words, a spatial pyramid.

    A subclass says which statistics of regions there are (`pool`), and how a region's (`finish`) and the whole code
    (`normalise`) are completed.

    Parameters
    ----------
    vocabulary : Vocabulary
        Words and their local descriptor, whose stride, channels and centre this code has.
    levels : tuple of int or (int, int)
        Grids of the pyramid: 2 is 2 × 2 regions, (3, 1) is three rows. A position of the descriptor's grid belongs
        to the region in which its centre lies, the regions dividing the grid evenly. The code lists level by level,
        each row by row.
    softening : float
        Bounds the gradient of square roots, where the code takes them (`rooted`).
    """

    words: Tensor

    def __init__(self, vocabulary: Vocabulary, levels: tuple[Level, ...], softening: float = 0.0) -> None:
        super().__init__()
        if not isinstance(vocabulary, Vocabulary):
            raise ValueError(f"expected a Vocabulary, got {type(vocabulary).__name__}: learn one with "
                             "Vocabulary.learn, or read one with Vocabulary.load, and pass it as vocabulary=")
        self.vocabulary = vocabulary
        self.levels = tuple(level if isinstance(level, int) else (level[0], level[1]) for level in levels)
        self.grids = [(level, level) if isinstance(level, int) else level for level in self.levels]
        if not self.grids or min(min(grid) for grid in self.grids) < 1:
            raise ValueError(f"levels of a pyramid are positive, such as (1, 2) or (1, (3, 1)); got {levels}")
        if softening < 0:
            raise ValueError(f"softening is not negative, got {softening}")
        self.softening = softening
        self.phi = vocabulary.phi
        self.stride, self.receptive_field = self.phi.stride, self.phi.receptive_field
        self.in_channels, self.centre = self.phi.in_channels, self.phi.centre
        self.blind_to_contrast = self.phi.blind_to_contrast
        self.register_buffer("words", torch.from_numpy(vocabulary.words), persistent=False)

    @property
    def region_dimension(self) -> int:
        """Length of the code of one region."""
        raise NotImplementedError

    @property
    def rooted(self) -> bool:
        """Whether the code takes square roots."""
        return False

    def pool(self, local: Tensor, regions: Sequence[Tensor | slice]) -> Tensor:
        """Statistics (N, R, ...) of R regions, each some positions, of descriptors (N, P, D)."""
        raise NotImplementedError

    def finish(self, statistics: Tensor, count: Tensor) -> Tensor:
        """Code (N, R, region_dimension) from the statistics (N, R, ...) of regions with `count` (R,) descriptors."""
        return statistics

    def normalise(self, code: Tensor) -> Tensor:
        """The normalised code, (N, D) → (N, D)."""
        return code

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        """(D,), D = regions × the length of a region's code; ValueError if a region would hold no descriptor."""
        _, h, w = self.phi.output_shape(height, width)
        rows, columns = max(g[0] for g in self.grids), max(g[1] for g in self.grids)
        if h < rows or w < columns:
            raise ValueError(f"an image of {height} × {width} pixels has {h} × {w} descriptors, too few for a pyramid "
                             f"of {rows} × {columns} regions: give a larger image, a smaller step or fewer levels")
        return (sum(r * c for r, c in self.grids) * self.region_dimension,)

    def forward(self, x: Tensor) -> Tensor:
        """Encode a batch: (N, C, H, W) → (N, D)."""
        dense = self.phi(x)
        local = self.vocabulary.descriptors(dense)
        places = *dense.shape[2:], stacked(self.phi)
        regions = [slice(None) if rows == columns == 1 else kept(_region, (rows, columns, k, *places), x.device)
                   for rows, columns in self.grids for k in range(rows * columns)]
        counts = tuple(local.shape[1] if isinstance(region, slice) else len(region) for region in regions)
        return self.normalise(self.finish(self.pool(local, regions), constant(counts, x)).flatten(1))

    def surrogate(self: Self, softness: float) -> Self:
        """The descriptor's surrogate, softer assignment, and square roots with bounded gradients.

        In place of hard assignment comes the soft one to all words, with σ = softness × their `Vocabulary.spacing`;
        the square of that σ is added to the one of soft assignment; square roots are softened by the softness. A
        code that has none of these is its own surrogate.
        """
        changes = self._softer(softness)
        return self.replace(**changes) if changes else self

    def _softer(self, softness: float) -> dict[str, Any]:
        changes: dict[str, Any] = {"softening": softness} if self.rooted else {}
        inner = self.phi.surrogate(softness)
        return changes if inner is self.phi else changes | {"vocabulary": self.vocabulary.with_phi(inner)}


class AssignedCode(WordCode):
    """A word code whose descriptors are assigned to words hard, softly, or hard with a soft gradient.

    A subclass says which statistics of the shares in a region are summed (`statistics`).
    """

    assignments: tuple[str, ...] = ("hard", "soft", "straight-through")

    def __init__(
        self,
        vocabulary: Vocabulary,
        assignment: str,
        neighbours: int | None,
        sigma: float | None,
        levels: tuple[Level, ...],
        softening: float = 0.0,
    ) -> None:
        super().__init__(vocabulary, levels, softening)
        if assignment not in self.assignments:
            raise ValueError(f"unknown assignment {assignment!r}: one of {', '.join(self.assignments)}")
        if neighbours is not None and not 1 <= neighbours <= len(self.words):
            raise ValueError(f"neighbours lie between 1 and the {len(self.words)} words, got {neighbours}")
        if sigma is not None and sigma <= 0:
            raise ValueError(f"sigma, the width of the Gaussian kernel, is positive, got {sigma}")
        self.assignment, self.neighbours, self.sigma = assignment, neighbours, sigma
        self.width = sigma if sigma is not None else 0.5 * vocabulary.spacing

    def shares(self, local: Tensor) -> Tensor:
        """Shares (N, P, K) of the words in descriptors (N, P, D), which sum to 1."""
        if self.assignment == "hard":
            return nearest(squared_distances(local.detach(), self.words)) + 0 * local[..., :1]
        distances = squared_distances(local, self.words)
        soft = gaussian_shares(distances, self.width, self.neighbours)
        return soft if self.assignment == "soft" else nearest(distances) + (soft - soft.detach())

    @property
    def spreads(self) -> bool:
        """Whether all words have a soft share in each descriptor."""
        return self.assignment == "soft" and self.neighbours in (None, len(self.words))

    def softmax(self) -> tuple[Tensor, Tensor, Tensor]:
        """Centre, offsets and weights by which `moments` knows the soft assignment to all words."""
        centre = self.words.mean(0)
        words = self.words.double() - centre
        return centre, words.square().sum(1) / (-2 * self.width**2), words / self.width**2

    def statistics(self, shares: Tensor, local: Tensor) -> Tensor:
        """Statistics (N, ...) of the descriptors of one region."""
        raise NotImplementedError

    def merge(self, one: Tensor, other: Tensor) -> Tensor:
        """Statistics of two parts of a region as those of both."""
        return one + other

    def pool(self, local: Tensor, regions: Sequence[Tensor | slice]) -> Tensor:
        """Statistics of regions, in blocks of positions where there are many."""
        block = max(1, LARGEST_BLOCK // (len(local) * len(self.words)))
        return self._pool(local, regions) if local.shape[1] <= block else self._pool_in_blocks(local, regions, block)

    def _softer(self, softness: float) -> dict[str, Any]:
        changes, wider = super()._softer(softness), softness * self.vocabulary.spacing
        if self.assignment == "soft":
            return changes | {"sigma": math.hypot(self.width, wider)}
        if self.assignment in ("hard", "straight-through"):
            return changes | {"assignment": "soft", "neighbours": None, "sigma": wider}
        return changes

    def _pool(self, local: Tensor, regions: Sequence[Tensor | slice]) -> Tensor:
        shares = self.shares(local)
        return torch.stack([self.statistics(shares[:, r], local[:, r]) for r in regions], dim=1)

    def _pool_in_blocks(self, local: Tensor, regions: Sequence[Tensor | slice], block: int) -> Tensor:
        """Pool block by block of positions, and compute each again for its gradient: memory stays bounded."""
        parts = []
        for region in regions:
            pooled = []
            for piece in local[:, region].split(block, dim=1):
                pooled.append(checkpoint(self._pool, piece, [slice(None)], use_reentrant=False))
            parts.append(functools.reduce(self.merge, pooled))
        return torch.cat(parts, dim=1)


def _region(rows: int, columns: int, k: int, h: int, w: int, layers: int) -> Tensor:
    """Which positions, of several layers of h·w, lie in the k-th region of a grid."""
    row = (2 * np.arange(h) + 1) * rows // (2 * h)
    column = (2 * np.arange(w) + 1) * columns // (2 * w)
    inside = (row[:, None] * columns + column).ravel() == k
    return torch.from_numpy(np.flatnonzero(np.tile(inside, layers)))


def squared_distances(local: Tensor, words: Tensor) -> Tensor:
    """Squared Euclidean distances (N, P, K) of descriptors (N, P, D) to words (K, D)."""
    words = words.to(local)
    offset = words.square().sum(1) - 2 * (local @ words.T)
    return (local.square().sum(-1, keepdim=True) + offset).clamp_min(0)


def nearest(distances: Tensor) -> Tensor:
    """1 for the nearest word, 0 for the others; of equally near words the first."""
    return torch.zeros_like(distances).scatter_(-1, distances.argmin(-1, keepdim=True), 1.0)


def gaussian_shares(distances: Tensor, sigma: float, neighbours: int | None) -> Tensor:
    r"""Shares exp(−d² / 2σ²), normalised over the nearest words, 0 for the others."""
    if neighbours is None or neighbours == distances.shape[-1]:
        return torch.softmax(distances / (-2 * sigma**2), dim=-1)
    near = distances.topk(neighbours, dim=-1, largest=False)
    shares = torch.softmax(near.values / (-2 * sigma**2), dim=-1)
    return torch.zeros_like(distances).scatter(-1, near.indices, shares)

"""The contract of word codes: local descriptors are assigned to visual words and pooled over a spatial pyramid."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

from ..backend import is_traced
from ..base import Representation
from ..checks import check_choice
from ..device_constants import cached_on_device, constant
from .vocabulary import Vocabulary

Self = TypeVar("Self", bound="WordCode")

Level = int | tuple[int, int]
Region = Tensor | slice
Assignment = Literal["hard", "soft", "straight-through"]

LARGEST_BLOCK = 2**25
TINY = 1e-12


class WordCode(Representation):
    """Base of the encodings of visual words.

    A subclass computes the statistics of regions (`pool`), turns them into the code of each region (`finish`), whose
    length is `region_dimension`, and may normalise the whole code in another way (`normalise`).

    The words (K, D) are the buffer `codebook`; stride, channels and centre are the local descriptor's. A level 2 of
    the pyramid is a grid of 2 × 2 regions, (3, 1) is three rows. Regions divide the descriptor's grid evenly, and a
    position belongs to the region that its centre lies in. The code lists level by level, each row by row.
    `softening` bounds the gradient of square roots, for codes that take them (`square_root`).
    """

    codebook: Tensor
    region_dimension: int
    heavy = True
    square_root: bool = False
    traceable = False
    normalise_code: bool = True

    def __init__(self, words: Vocabulary, levels: tuple[Level, ...], softening: float = 0.0) -> None:
        super().__init__()
        if not isinstance(words, Vocabulary):
            raise ValueError(f"expected a Vocabulary, got {type(words).__name__}: learn one with Vocabulary.learn, or "
                             "read one with Vocabulary.load, and pass it as words=")
        self.words = words
        self.levels = tuple(level if isinstance(level, int) else (level[0], level[1]) for level in levels)
        self.grids = [(level, level) if isinstance(level, int) else level for level in self.levels]
        if not self.grids or min(min(grid) for grid in self.grids) < 1:
            raise ValueError(f"levels of a pyramid are positive, such as (1, 2) or (1, (3, 1)); got {levels}")
        if softening < 0:
            raise ValueError(f"softening is not negative, got {softening}")
        self.softening = softening
        self.phi = words.phi
        self.stride, self.receptive_field = self.phi.stride, self.phi.receptive_field
        self.in_channels, self.centre = self.phi.in_channels, self.phi.centre
        self.contrast_invariant = self.phi.contrast_invariant
        self.register_buffer("codebook", torch.from_numpy(words.words), persistent=False)

    def pool(self, local: Tensor, regions: Sequence[Region]) -> Tensor:
        """Statistics (N, R, ...) of descriptors (N, P, D) in R regions, each a set of positions."""
        raise NotImplementedError

    def finish(self, statistics: Tensor, count: Tensor) -> Tensor:
        """Code (N, R, region_dimension) from the statistics (N, R, ...) of regions with `count` (R,) descriptors."""
        return statistics

    def normalise(self, code: Tensor) -> Tensor:
        """The code (N, D), divided by its Euclidean norm if `normalise_code` is set."""
        return normalize(code, dim=1, eps=TINY) if self.normalise_code else code

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        """(D,), D = regions × the length of a region's code; ValueError if a region would hold no descriptor."""
        _, h, w = self.phi.output_shape(height, width)
        rows, columns = (max(grid[axis] for grid in self.grids) for axis in (0, 1))
        if h < rows or w < columns:
            raise ValueError(f"an image of {height} × {width} pixels has {h} × {w} descriptors, too few for a pyramid "
                             f"of {rows} × {columns} regions: give a larger image, a smaller step or fewer levels")
        return (sum(r * c for r, c in self.grids) * self.region_dimension,)

    def forward(self, x: Tensor) -> Tensor:
        """Encode a batch: (N, C, H, W) → (N, D)."""
        dense = self.phi(x)
        local = self.words.descriptors(dense)
        places = *dense.shape[2:], self.phi.descriptors_per_position
        regions = [slice(None) if rows == columns == 1
                   else cached_on_device(_region, (rows, columns, k, *places), x.device)
                   for rows, columns in self.grids for k in range(rows * columns)]
        counts = tuple(local.shape[1] if isinstance(region, slice) else len(region) for region in regions)
        return self.normalise(self.finish(self.pool(local, regions), constant(counts, x)).flatten(1))

    def surrogate(self: Self, softness: float) -> Self:
        """A code of the descriptor's surrogate, with a softer assignment and bounded gradients of square roots.

        Hard assignment becomes soft assignment to all words with σ = softness × `Vocabulary.spacing`; the variance of
        a soft assignment grows by the square of that σ; softening is the softness. A code that none of this changes
        is its own surrogate.
        """
        changes = self._softer(softness)
        return self.replace(**changes) if changes else self

    def _softer(self, softness: float) -> dict[str, Any]:
        changes: dict[str, Any] = {"softening": softness} if self.square_root else {}
        inner = self.phi.surrogate(softness)
        return changes if inner is self.phi else changes | {"words": self.words.with_phi(inner)}


class AssignedCode(WordCode):
    """A word code with hard assignment, soft assignment, or hard assignment with the gradient of soft.

    A subclass sums statistics of the assignment weights in a region (`statistics`).
    """

    assignments: tuple[str, ...] = get_args(Assignment)

    def __init__(self, words: Vocabulary, assignment: str, neighbours: int | None, sigma: float | None,
                 levels: tuple[Level, ...], softening: float = 0.0) -> None:
        super().__init__(words, levels, softening)
        check_choice("assignment", assignment, self.assignments)
        if neighbours is not None and not 1 <= neighbours <= len(self.codebook):
            raise ValueError(f"neighbours lie between 1 and the {len(self.codebook)} words, got {neighbours}")
        if sigma is not None and sigma <= 0:
            raise ValueError(f"sigma, the width of the Gaussian kernel, is positive, got {sigma}")
        self.assignment, self.neighbours, self.sigma = assignment, neighbours, sigma
        self.width = sigma if sigma is not None else 0.5 * words.spacing

    def assignment_weights(self, local: Tensor) -> Tensor:
        """Weights (N, P, K) of the words for descriptors (N, P, D); they sum to 1 over the words."""
        if self.assignment == "hard":
            return nearest(squared_distances(local.detach(), self.codebook)) + 0 * local[..., :1]
        distances = squared_distances(local, self.codebook)
        soft = gaussian_weights(distances, self.width, self.neighbours)
        return soft if self.assignment == "soft" else nearest(distances) + (soft - soft.detach())

    @property
    def soft_over_all(self) -> bool:
        """Whether the assignment is soft over all words, as `soft_sums` computes it."""
        return self.assignment == "soft" and self.neighbours in (None, len(self.codebook))

    def softmax(self) -> tuple[Tensor, Tensor, Tensor]:
        """Centre, offsets and weights that give `soft_sums` the soft assignment to all words."""
        centre = self.codebook.mean(0)
        words = self.codebook.double() - centre
        return centre, words.square().sum(1) / (-2 * self.width**2), words / self.width**2

    def statistics(self, weights: Tensor, local: Tensor) -> Tensor:
        """Statistics (N, ...) of one region, from its assignment weights (N, P, K) and descriptors (N, P, D)."""
        raise NotImplementedError

    def merge(self, one: Tensor, other: Tensor) -> Tensor:
        """Statistics of the union of two disjoint sets of positions."""
        return one + other

    def pool(self, local: Tensor, regions: Sequence[Region]) -> Tensor:
        """Statistics of regions; many positions are pooled in blocks, recomputed in backward to bound memory."""
        block = max(1, LARGEST_BLOCK // (len(local) * len(self.codebook)))
        if local.shape[1] <= block or is_traced():
            return self._pool(local, regions)
        pooled = ((checkpoint(self._pool, piece, [slice(None)], use_reentrant=False)
                   for piece in local[:, region].split(block, dim=1)) for region in regions)
        return torch.cat([functools.reduce(self.merge, pieces) for pieces in pooled], dim=1)

    def _pool(self, local: Tensor, regions: Sequence[Region]) -> Tensor:
        weights = self.assignment_weights(local)
        return torch.stack([self.statistics(weights[:, r], local[:, r]) for r in regions], dim=1)

    def _softer(self, softness: float) -> dict[str, Any]:
        changes, width = super()._softer(softness), softness * self.words.spacing
        if self.assignment == "soft":
            return changes | {"sigma": math.hypot(self.width, width)}
        if self.assignment in ("hard", "straight-through"):
            return changes | {"assignment": "soft", "neighbours": None, "sigma": width}
        return changes


def _region(rows: int, columns: int, k: int, h: int, w: int, layers: int) -> NDArray[np.int64]:
    """Indices of the positions in the k-th region of a grid, for `layers` stacked maps of h·w positions."""
    row = (2 * np.arange(h) + 1) * rows // (2 * h)
    column = (2 * np.arange(w) + 1) * columns // (2 * w)
    inside = (row[:, None] * columns + column).ravel() == k
    return np.flatnonzero(np.tile(inside, layers))


def squared_distances(local: Tensor, words: Tensor) -> Tensor:
    """Squared Euclidean distances (N, P, K) of descriptors (N, P, D) to words (K, D)."""
    words = words.to(local)
    offset = words.square().sum(1) - 2 * (local @ words.T)
    return (local.square().sum(-1, keepdim=True) + offset).clamp_min(0)


def nearest(distances: Tensor) -> Tensor:
    """1 for the nearest word, 0 for the others; ties go to the first word."""
    return torch.zeros_like(distances).scatter(-1, distances.argmin(-1, keepdim=True), 1.0)


def gaussian_weights(distances: Tensor, sigma: float, neighbours: int | None) -> Tensor:
    """Weights exp(−d² / 2σ²), normalised over the nearest words and 0 for the others."""
    if neighbours is None or neighbours == distances.shape[-1]:
        return torch.softmax(distances / (-2 * sigma**2), dim=-1)
    near = distances.topk(neighbours, dim=-1, largest=False)
    weights = torch.softmax(near.values / (-2 * sigma**2), dim=-1)
    return torch.zeros_like(distances).scatter(-1, near.indices, weights)

"""An image from a bag of visual words: a jigsaw of the words, then a patch for each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from unfeature.features.base import Representation
from unfeature.features.words.word_code import AssignedCode

from .base import Baseline, Images, Learner, Progress, Stream
from .collage import poisson
from .windows import Floats, Windows, spread

ZONES = 8
FINER = 4
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (2, 2), (2, -2))
PROPOSALS = 8000
BLOCKS, LARGEST_BLOCK = 0.2, 6
HOT, COLD = 3.0, 0.3
UNSEEN, UNPLACED = 5.0, 20.0


@dataclass(eq=False, repr=False)
class Jigsaw(Baseline):
    r"""Words laid out so that neighbours fit, and replaced by their mean patches.

    The counts say which words the image has, not where. An arrangement of them on the grid of the local descriptor
    is found that maximises

        Σ log (n_o(a, b) + c) / (e_o(a, b) + c)  over neighbours a, b
        + Σ log (m(a, z) + 20 g(z)) / (m(a) + 20) g(z)  over positions,

    where n_o counts how often the word b was met at the offset o from a (eight offsets, up to two positions away), e_o
    is that number if words were independent, c = 5 min(e_o, 1), m counts a word in each of 8×8 zones of the image, and
    g is the share of a zone: how well neighbours go together, and where words naturally lie. Words, and blocks of up
    to 6×6 of them, are exchanged by simulated annealing, inside the regions of the finest level of the pyramid. Then
    the mean patch of each word is laid where it lies: the image is that whose differences are nearest to the patches',
    averaged under a Gaussian window (Poisson blending), which carries light and dark across the image.

    Attributes
    ----------
    pairs : ndarray (8, K, K)
        Scores of the word b at each offset from the word a.
    zones : ndarray (K, 64)
        Scores of a word in each zone, row by row.
    patches : ndarray (K, side · side · C)
        Mean patch of each word, of zero mean.

    Notes
    -----
    Kato and Harada solve the assignment by hill climbing from a genetic search, and take patches from a regression;
    annealing and blended means stand in for both. Their words are those of objects of 101 kinds, which lie alike in all
    images of a kind. Of photographs at large, a few hundred words do not tell the arrangement: the annealing finds
    arrangements that score higher than the true one. A pyramid of 4×4 regions does tell it, nearly.

    References
    ----------
    H. Kato, T. Harada, "Image reconstruction from bag-of-visual-words", CVPR 2014.
    """

    method: ClassVar[str] = "jigsaw"
    version: ClassVar[int] = 2
    several: ClassVar[bool] = True

    pairs: Floats
    zones: Floats
    patches: Floats

    @classmethod
    def learn(cls, images: Images, phi: Representation, *, seed: int = 0, side: int | None = None,
              memory: str | int = "2GB", output: str | Path | None = None,
              progress: Progress | None = None) -> Jigsaw:
        """Count which words are neighbours, where they lie, and average what they look like.

        Parameters
        ----------
        images : path, or iterable of paths and arrays
        phi : Representation
            A bag of visual words, `BoVW`.
        seed, side, memory, output, progress
            See `Stream`.

        Raises
        ------
        ValueError
            If the descriptor is not a bag of words on one grid, the memory does not suffice, or see `Stream`.
        """
        bag = _bag(phi)
        shape = Windows.of(bag.phi, 1)
        words = len(bag.codebook)
        stream = Stream(images, phi, seed, side, memory, output, progress)
        tables = len(NEIGHBOURS) * words
        stream.rows_within(8 * words * (2 * tables + 2 * shape.patch_length), 8 * shape.patch_length, 1000)
        learner = _NeighbourLearner(bag, shape)
        stream.run(learner, {"method": cls.method}, shape.smallest_image())
        counts = learner.arrays
        pairs = np.stack([_affinity(one) for one in counts["pairs"]])
        patches = counts["patches"] / np.maximum(counts["seen"], 1)[:, None]
        scores = (pairs, _habit(counts["zones"]), patches)
        return stream.finish(cls(phi.to_config(), *(s.astype(np.float32) for s in scores)))

    def reconstruct(self, phi: Representation, code: NDArray[Any], size: tuple[int, int], count: int,
                    seed: int) -> Floats:
        """Images (count, H, W, C) in [0, 1] of a code (D,), from different starts."""
        bag = _bag(phi)
        shape = Windows.of(bag.phi, 1)
        _, height, width = bag.phi.output_shape(*size)
        zone, offsets = _zones(height, width), np.array(NEIGHBOURS)
        images = []
        for attempt in range(count):
            rng = np.random.default_rng([seed, attempt])
            layout, region = _layout(bag, code, (height, width), rng)
            _anneal(layout, region, zone, self.pairs, self.zones, offsets, PROPOSALS * height * width,
                    int(rng.integers(2**31)))
            images.append(spread(poisson(*_slopes(shape, self.patches[layout.ravel()], (height, width), size))))
        return np.stack(images)


class _NeighbourLearner(Learner):
    """Counts of neighbouring words, their zones and sums of their patches."""

    encodes: ClassVar[bool] = False

    def __init__(self, bag: AssignedCode, shape: Windows) -> None:
        self.bag, self.shape = bag, shape
        words = len(bag.codebook)
        extents = {"pairs": (len(NEIGHBOURS), words, words), "zones": (words, ZONES**2),
                   "patches": (words, shape.patch_length), "seen": (words,)}
        self.arrays = {name: np.zeros(extent) for name, extent in extents.items()}

    def see(self, image: NDArray[np.float32], code: NDArray[np.float32], rng: np.random.Generator) -> None:
        """Count the words of one image, on its grid and on grids between."""
        steps = range(0, self.shape.stride, max(1, self.shape.stride // FINER))
        for y, x in product(steps, steps):
            if min(image.shape[0] - y, image.shape[1] - x) >= self.shape.smallest_image():
                self._count(image[y:, x:])

    def _count(self, image: NDArray[np.float32]) -> None:
        words = self.words(image)
        for table, (down, right) in zip(self.arrays["pairs"], NEIGHBOURS, strict=True):
            one = words[: len(words) - down, max(0, -right) : words.shape[1] - max(0, right)]
            other = words[down:, max(0, right) : words.shape[1] + min(0, right)]
            np.add.at(table, (one, other), 1)
        np.add.at(self.arrays["zones"], (words, _zones(*words.shape)), 1)
        places = self.shape.places(words[..., None], image)
        patches = self.shape.patches(image, places)
        chosen = words[places[:, 0], places[:, 1]]
        np.add.at(self.arrays["patches"], chosen, patches - patches.mean(axis=1, keepdims=True))
        np.add.at(self.arrays["seen"], chosen, 1)

    def words(self, image: NDArray[np.float32]) -> NDArray[np.int64]:
        """The word at each position."""
        x = torch.from_numpy(np.ascontiguousarray(np.atleast_3d(image).transpose(2, 0, 1)))[None]
        with torch.no_grad():
            dense = self.bag.phi(x)
            weights = self.bag.assignment_weights(self.bag.words.descriptors(dense))
        return np.asarray(weights.argmax(dim=-1)[0].numpy().reshape(dense.shape[2:]))


def _bag(phi: Representation) -> AssignedCode:
    """The descriptor, if it is a bag of words on one grid."""
    if not isinstance(phi, AssignedCode) or not hasattr(phi, "histograms"):
        raise ValueError(f"the jigsaw inverts bags of visual words (BoVW), not {type(phi).__name__}")
    grid = phi.phi.output_shape(phi.receptive_field + 8 * phi.stride, phi.receptive_field + 8 * phi.stride)
    if grid[0] != phi.codebook.shape[1]:
        raise ValueError("the jigsaw needs one word at each position, but this local descriptor has several sizes")
    return phi


def _affinity(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """log (n + c) / (e + c), e the counts expected of independent neighbours and c = 5 min(e, 1)."""
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / max(counts.sum(), 1)
    prior = UNSEEN * np.minimum(expected, 1) + 0.05
    return np.asarray(np.log((counts + prior) / (expected + prior)))


def _habit(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """log of how much likelier than others a word lies in each zone."""
    share = np.maximum(counts.sum(axis=0), 1) / max(counts.sum(), 1)
    each = counts.sum(axis=1, keepdims=True)
    return np.asarray(np.log((counts + UNPLACED * share) / (each + UNPLACED) / share))


def _zones(height: int, width: int) -> NDArray[np.int64]:
    """Which of the 8×8 zones each position lies in, row by row, (height, width)."""
    return (np.arange(height) * ZONES // height)[:, None] * ZONES + np.arange(width) * ZONES // width


def _layout(bag: AssignedCode, code: NDArray[Any], grid: tuple[int, int],
            rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The words that the code counts, in random places of their regions, and the region of each place."""
    rows, columns = bag.grids[-1]
    row, column = ((2 * np.arange(n) + 1) * k // (2 * n) for n, k in zip(grid, (rows, columns), strict=True))
    region = row[:, None] * columns + column
    histograms = np.maximum(code.reshape(-1, len(bag.codebook))[-rows * columns :], 0).astype(np.float64)
    layout = np.zeros(grid, dtype=np.int64)
    for number, histogram in enumerate(histograms):
        mine = region == number
        share = histogram + 1e-12
        ideal = share / share.sum() * mine.sum()
        counts = np.floor(ideal).astype(np.int64)
        missing = int(mine.sum() - counts.sum())
        counts[np.argsort(counts - ideal, kind="stable")[:missing]] += 1
        layout[mine] = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return layout, region


def _slopes(shape: Windows, patches: Floats, grid: tuple[int, int], size: tuple[int, int]) -> list[Floats]:
    """Mean differences down and right of patches laid on a grid, under a Gaussian window, two of (H, W, C)."""
    places = np.indices(grid).reshape(2, -1).T.astype(np.int64)
    blocks = patches.reshape(-1, shape.side, shape.side, shape.channels)
    bell = shape.bell()[..., None]
    weight, _ = shape.lay(np.tile(np.repeat(bell.ravel(), shape.channels), (len(patches), 1)), places, size)
    slopes = []
    for axis in (1, 2):
        steps = np.diff(blocks, axis=axis, append=blocks.take([-1], axis=axis)) * bell
        total, _ = shape.lay(steps.reshape(patches.shape), places, size)
        slopes.append(np.asarray(total / np.maximum(weight, 1e-3), dtype=np.float32))
    return slopes


@numba.njit(cache=True, nogil=True)
def _fit(layout: Any, zone: Any, pairs: Any, zones: Any, offsets: Any, i: int, j: int) -> float:
    """Score of all terms that one position takes part in."""
    height, width = layout.shape
    word = layout[i, j]
    score: float = zones[word, zone[i, j]]
    for o in range(len(offsets)):
        down, right = offsets[o, 0], offsets[o, 1]
        if i + down < height and 0 <= j + right < width:
            score += pairs[o, word, layout[i + down, j + right]]
        if i - down >= 0 and 0 <= j - right < width:
            score += pairs[o, layout[i - down, j - right], word]
    return score


@numba.njit(cache=True, nogil=True)
def _exchange(layout: Any, zone: Any, pairs: Any, zones: Any, offsets: Any, i: int, j: int, k: int, m: int) -> float:
    """Exchange two words, and say by how much the score rises."""
    before = _fit(layout, zone, pairs, zones, offsets, i, j) + _fit(layout, zone, pairs, zones, offsets, k, m)
    layout[i, j], layout[k, m] = layout[k, m], layout[i, j]
    after = _fit(layout, zone, pairs, zones, offsets, i, j) + _fit(layout, zone, pairs, zones, offsets, k, m)
    gain: float = after - before
    return gain


@numba.njit(cache=True, nogil=True)
def _allowed(region: Any, i: int, j: int, k: int, m: int, tall: int, wide: int) -> bool:
    """Whether two blocks do not overlap and each word would stay in its region."""
    if abs(i - k) < tall and abs(j - m) < wide:
        return False
    for a in range(tall):
        for b in range(wide):
            if region[i + a, j + b] != region[k + a, m + b]:
                return False
    return True


@numba.njit(cache=True, nogil=True)
def _anneal(layout: Any, region: Any, zone: Any, pairs: Any, zones: Any, offsets: Any, total: int, seed: int) -> None:
    """Exchange words, and now and then blocks, inside regions, while the temperature falls."""
    np.random.seed(seed)  # noqa: NPY002
    height, width = layout.shape
    for step in range(total):
        temperature = HOT * (COLD / HOT) ** (step / total)
        tall = wide = 1
        if np.random.random() < BLOCKS:  # noqa: NPY002
            tall = np.random.randint(1, min(LARGEST_BLOCK, height) + 1)  # noqa: NPY002
            wide = np.random.randint(1, min(LARGEST_BLOCK, width) + 1)  # noqa: NPY002
        i, k = np.random.randint(height - tall + 1), np.random.randint(height - tall + 1)  # noqa: NPY002
        j, m = np.random.randint(width - wide + 1), np.random.randint(width - wide + 1)  # noqa: NPY002
        if not _allowed(region, i, j, k, m, tall, wide):
            continue
        gain = 0.0
        for a in range(tall):
            for b in range(wide):
                if layout[i + a, j + b] != layout[k + a, m + b]:
                    gain += _exchange(layout, zone, pairs, zones, offsets, i + a, j + b, k + a, m + b)
        if gain < 0 and np.random.random() >= np.exp(gain / temperature):  # noqa: NPY002
            for a in range(tall):
                for b in range(wide):
                    one, other = layout[i + a, j + b], layout[k + a, m + b]
                    layout[i + a, j + b], layout[k + a, m + b] = other, one

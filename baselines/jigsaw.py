"""An image from a bag of visual words: a jigsaw of the words, then a patch for each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from unfeature.features.jit import kernel, step
from unfeature.features.words.word_code import AssignedCode
from unfeature.io.schema import Field, Schema

from .base import Baseline
from .collage import differences, poisson
from .stream import Encoder, Floats, Learner, Size, Stream
from .windows import Windows, min_max_normalise, small_image

ZONES = 8
FINER = 4
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (2, 2), (2, -2))
PROPOSALS = 8000
BLOCKS, LARGEST_BLOCK = 0.2, 6
HOT, COLD = 3.0, 0.3
UNSEEN, UNPLACED = 5.0, 20.0


@dataclass(eq=False, repr=False)
class Jigsaw(Baseline):
    r"""Adjacency and zones of visual words, for jigsaws.

    The counts say which words the image has, not where. On the grid of the local descriptor, the arrangement of them
    is found that maximises

        Σ log (n_o(a, b) + c) / (e_o(a, b) + c)  over neighbours a, b
        + Σ log (m(a, z) + 20 g(z)) / (m(a) + 20) g(z)  over positions.

    n_o counts how often the word b was met at the offset o from a (eight offsets, up to two positions away), e_o is
    that number if words were independent, c = 5 min(e_o, 1), m counts a word in each of 8×8 zones of the image, and g
    is the share of a zone. Simulated annealing exchanges words, and blocks of up to 6×6 of them, inside the regions of
    the finest level of the pyramid. The image is that whose differences are nearest to those of the words' mean
    patches, averaged under a Gaussian window (Poisson blending), which carries light and dark across the image.

    Attributes
    ----------
    pairs, zones : ndarray (8, K, K), (K, 64)
        Scores of the word b at each offset from the word a, and of a word in each zone, row by row.
    patches : ndarray (K, side · side · C)
        Mean patch of each word, of zero mean.

    Notes
    -----
    Kato and Harada solve the assignment by hill climbing from a genetic search, and take patches from a regression;
    annealing and blended means stand in for both. Their words are those of objects of 101 kinds, which lie alike in all
    images of a kind. Those of photographs at large hardly tell the arrangement; a pyramid of 4×4 regions nearly does.

    References
    ----------
    H. Kato, T. Harada, "Image reconstruction from bag-of-visual-words", CVPR 2014.
    """

    version: ClassVar[int] = 2
    several: ClassVar[bool] = True
    inverted: ClassVar[str] = "bags of visual words (BoVW) with one word at each position"
    feature: ClassVar[str] = "bovw"

    schema: ClassVar[Schema] = {
        "pairs": Field("float32", (len(NEIGHBOURS), "words", "words")),
        "zones": Field("float32", ("words", ZONES * ZONES)), "patches": Field("float32", ("words", "pixels"))}

    pairs: Floats
    zones: Floats
    patches: Floats

    @classmethod
    def learn_from(cls, stream: Stream, phi: AssignedCode) -> Jigsaw:
        """Count which words are neighbours, where they lie, and average what they look like."""
        shape, words = Windows.of(phi.phi, 1), len(phi.codebook)
        fixed = 8 * words * 2 * (len(NEIGHBOURS) * words + shape.patch_length)
        stream.rows_in_memory(fixed, 8 * shape.patch_length, 1000)
        learner = _NeighbourLearner(phi, shape)
        stream.run(learner, shape.smallest_image)
        counts = learner.arrays
        pairs = np.stack([_affinity(one) for one in counts["pairs"]])
        patches = counts["patches"] / np.maximum(counts["seen"], 1)[:, None]
        scores = (s.astype(np.float32) for s in (pairs, _zone_scores(counts["zones"]), patches))
        return cls(phi.to_config(), *scores)

    @classmethod
    def inverts(cls, phi: Encoder) -> bool:
        """Whether it is a bag of words on one grid."""
        if not isinstance(phi, AssignedCode) or not hasattr(phi, "histograms"):
            return False
        return phi.phi.output_shape(*small_image(phi.phi))[0] == phi.codebook.shape[1]

    def dimensions(self, phi: Any) -> dict[str, int]:
        """Words, and values of a patch."""
        return {"words": len(phi.codebook), "pixels": Windows.of(phi.phi, 1).patch_length}

    def reconstruct(self, phi: AssignedCode, code: Floats, size: Size, count: int, seed: int) -> Floats:
        """Images (count, H, W, C) in [0, 1] of a code (D,), from different starts."""
        shape = Windows.of(phi.phi, 1)
        _, *grid = phi.phi.output_shape(*size)
        tables = (_zones(*grid), self.pairs, self.zones, np.array(NEIGHBOURS))
        positions = np.indices(grid).reshape(2, -1).T.astype(np.int64)
        images = []
        for attempt in range(count):
            rng = np.random.default_rng([seed, attempt])
            layout, region = _layout(phi, code, grid, rng)
            _anneal(layout, region, tables, PROPOSALS * layout.size, int(rng.integers(2**31)))
            blocks = self.patches[layout.ravel()].reshape(-1, shape.side, shape.side, shape.channels)
            fields = [shape.blend(differences(blocks, axis).reshape(len(blocks), -1), positions, size)
                      for axis in (1, 2)]
            images.append(min_max_normalise(poisson(*fields)))
        return np.stack(images)


class _NeighbourLearner(Learner):
    """Counts of neighbouring words, their zones and sums of their patches, on the grid and on grids between."""

    encodes: ClassVar[bool] = False

    def __init__(self, bag: AssignedCode, shape: Windows) -> None:
        self.bag, self.shape = bag, shape
        words = len(bag.codebook)
        extents = {"pairs": (len(NEIGHBOURS), words, words), "zones": (words, ZONES**2),
                   "patches": (words, shape.patch_length), "seen": (words,)}
        self.arrays = {name: np.zeros(extent) for name, extent in extents.items()}

    def see(self, image: Floats, code: Floats, rng: np.random.Generator) -> None:
        steps = range(0, self.shape.stride, max(1, self.shape.stride // FINER))
        for y, x in product(steps, steps):
            if min(image.shape[0] - y, image.shape[1] - x) >= self.shape.smallest_image:
                self._count(image[y:, x:])

    def _count(self, image: NDArray[np.float32]) -> None:
        words = self.words(image)
        for table, (down, right) in zip(self.arrays["pairs"], NEIGHBOURS, strict=True):
            one = words[: len(words) - down, max(0, -right) : words.shape[1] - max(0, right)]
            other = words[down:, max(0, right) : words.shape[1] + min(0, right)]
            np.add.at(table, (one, other), 1)
        np.add.at(self.arrays["zones"], (words, _zones(*words.shape)), 1)
        positions = self.shape.positions(words[..., None], image)
        patches = self.shape.patches(image, positions)
        chosen = words[positions[:, 0], positions[:, 1]]
        np.add.at(self.arrays["patches"], chosen, patches - patches.mean(axis=1, keepdims=True))
        np.add.at(self.arrays["seen"], chosen, 1)

    def words(self, image: NDArray[np.float32]) -> NDArray[np.int64]:
        """The word at each position."""
        x = torch.from_numpy(np.ascontiguousarray(np.atleast_3d(image).transpose(2, 0, 1)))[None]
        with torch.no_grad():
            dense = self.bag.phi(x)
            weights = self.bag.assignment_weights(self.bag.words.descriptors(dense))
        return np.asarray(weights.argmax(dim=-1)[0].numpy().reshape(dense.shape[2:]))


def _affinity(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """log (n + c) / (e + c), e the counts expected of independent neighbours and c = 5 min(e, 1)."""
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / max(counts.sum(), 1)
    prior = UNSEEN * np.minimum(expected, 1) + 0.05
    return np.asarray(np.log((counts + prior) / (expected + prior)))


def _zone_scores(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """log of how much likelier than others a word is in each zone."""
    share = np.maximum(counts.sum(axis=0), 1) / max(counts.sum(), 1)
    each = counts.sum(axis=1, keepdims=True)
    return np.asarray(np.log((counts + UNPLACED * share) / (each + UNPLACED) / share))


def _zones(height: int, width: int) -> NDArray[np.int64]:
    """Which of the 8×8 zones each position lies in, row by row, (height, width)."""
    return (np.arange(height) * ZONES // height)[:, None] * ZONES + np.arange(width) * ZONES // width


def _layout(bag: AssignedCode, code: NDArray[Any], grid: list[int],
            rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The words that the code counts, at random positions of their regions, and the region of each position."""
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


@step
def _score(layout: Any, tables: Any, i: int, j: int) -> float:
    """Sum of all terms that one position takes part in."""
    zone, pairs, zones, offsets = tables
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


@step
def _exchange(layout: Any, tables: Any, i: int, j: int, k: int, m: int) -> float:
    """Exchange two words; the rise of the score."""
    before = _score(layout, tables, i, j) + _score(layout, tables, k, m)
    layout[i, j], layout[k, m] = layout[k, m], layout[i, j]
    gain: float = _score(layout, tables, i, j) + _score(layout, tables, k, m) - before
    return gain


@kernel
def _anneal(layout: Any, region: Any, tables: Any, total: int, seed: int) -> None:
    """Exchange words, and now and then blocks, inside regions, while the temperature falls."""
    np.random.seed(seed)  # noqa: NPY002
    height, width = layout.shape
    for trial in range(total):
        temperature = HOT * (COLD / HOT) ** (trial / total)
        tall = wide = 1
        if np.random.random() < BLOCKS:  # noqa: NPY002
            tall = np.random.randint(1, min(LARGEST_BLOCK, height) + 1)  # noqa: NPY002
            wide = np.random.randint(1, min(LARGEST_BLOCK, width) + 1)  # noqa: NPY002
        i, k = np.random.randint(height - tall + 1), np.random.randint(height - tall + 1)  # noqa: NPY002
        j, m = np.random.randint(width - wide + 1), np.random.randint(width - wide + 1)  # noqa: NPY002
        overlap = abs(i - k) < tall and abs(j - m) < wide
        if overlap or (region[i : i + tall, j : j + wide] != region[k : k + tall, m : m + wide]).any():
            continue
        gain = 0.0
        for a in range(tall):
            for b in range(wide):
                if layout[i + a, j + b] != layout[k + a, m + b]:
                    gain += _exchange(layout, tables, i + a, j + b, k + a, m + b)
        if gain < 0 and np.random.random() >= np.exp(gain / temperature):  # noqa: NPY002
            block = layout[i : i + tall, j : j + wide].copy()
            layout[i : i + tall, j : j + wide] = layout[k : k + tall, m : m + wide]
            layout[k : k + tall, m : m + wide] = block

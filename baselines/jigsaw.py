"""An image from a bag of visual words: a jigsaw of the words, then a patch for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from ..features.assignment import AssignedCode
from ..features.base import Representation
from .base import Baseline, Images, Learner, Progress, Stream
from .windows import Floats, Windows, spread

ZONES = 4
PROPOSALS = 4000
HOT, COLD = 2.0, 0.05


@dataclass(eq=False, repr=False)
class Jigsaw(Baseline):
    r"""Words laid out so that neighbours fit, and replaced by their mean patches.

    The counts say which words the image has, not where. An arrangement of them on the grid of the local descriptor
    is found that maximises

        Σ log (n(a, b) + 1) / (e(a, b) + 1)  over neighbours a, b   +   Σ log (m(a, z) + 1) / (m(a)/16 + 1),

    where n counts how often the word b was met to the right of (or below) a, e is that number if words were
    independent, and m counts a word in each of 4×4 zones of the image: how well neighbours go together, and where
    words naturally lie. Words are exchanged by simulated annealing, inside the regions of the finest level of the
    pyramid. Then the mean patch of each word is laid where it lies, under a Gaussian window.

    Attributes
    ----------
    right, below : ndarray (K, K)
        Scores of the word b beside, or under, the word a.
    zones : ndarray (K, 4, 4)
        Scores of a word in each zone.
    patches : ndarray (K, side · side · C)
        Mean patch of each word, of zero mean.

    Notes
    -----
    Kato and Harada solve the assignment by hill climbing from a genetic search, and take patches from a regression;
    annealing and means stand in for both.

    References
    ----------
    H. Kato, T. Harada, "Image reconstruction from bag-of-visual-words", CVPR 2014.
    """

    method: ClassVar[str] = "jigsaw"
    several: ClassVar[bool] = True

    right: Floats
    below: Floats
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
        words = len(bag.words)
        stream = Stream(images, phi, seed, side, memory, output, progress)
        stream.rows_within(8 * words * (4 * words + 2 * shape.patch_length), 8 * shape.patch_length, 1000)
        learner = _NeighbourLearner(bag, shape)
        stream.run(learner, {"method": cls.method}, shape.smallest_image())
        counts = learner.arrays
        each = counts["zones"].sum(axis=(1, 2))
        zones = np.log((counts["zones"] + 1) / (each[:, None, None] / ZONES**2 + 1))
        patches = counts["patches"] / np.maximum(counts["seen"], 1)[:, None]
        scores = (_affinity(counts["right"]), _affinity(counts["below"]), zones, patches)
        return stream.finish(cls(phi.to_config(), *(s.astype(np.float32) for s in scores)))

    def reconstruct(self, phi: Representation, code: NDArray[Any], size: tuple[int, int], count: int,
                    seed: int) -> Floats:
        """Images (count, H, W, C) in [0, 1] of a code (D,), from different starts."""
        bag = _bag(phi)
        shape = Windows.of(bag.phi, 1)
        _, height, width = bag.phi.output_shape(*size)
        zone = _zones(height, width)
        bell = np.repeat(shape.bell(), shape.channels)
        places = np.indices((height, width)).reshape(2, -1).T.astype(np.int64)
        images = []
        for attempt in range(count):
            rng = np.random.default_rng([seed, attempt])
            layout, region = _layout(bag, code, (height, width), rng)
            _anneal(layout, region, zone, self.right, self.below, self.zones.reshape(len(self.zones), -1),
                    PROPOSALS, HOT, COLD, int(rng.integers(2**31)))
            patches = self.patches[layout.ravel()] * bell
            total, _ = shape.lay(patches, places, size)
            weight, _ = shape.lay(np.tile(bell, (len(places), 1)), places, size)
            images.append(spread(total / np.maximum(weight, 1e-3)))
        return np.stack(images)


class _NeighbourLearner(Learner):
    """Counts of neighbouring words, their zones and sums of their patches."""

    def __init__(self, bag: AssignedCode, shape: Windows) -> None:
        self.bag, self.shape = bag, shape
        words = len(bag.words)
        extents = {"right": (words, words), "below": (words, words), "zones": (words, ZONES, ZONES),
                   "patches": (words, shape.patch_length), "seen": (words,)}
        self.arrays = {name: np.zeros(extent) for name, extent in extents.items()}

    def see(self, image: NDArray[np.float32], code: NDArray[np.float32], rng: np.random.Generator) -> None:
        """Count the words of one image."""
        x = torch.from_numpy(np.ascontiguousarray(np.atleast_3d(image).transpose(2, 0, 1)))[None]
        with torch.no_grad():
            dense = self.bag.phi(x)
            local = self.bag.vocabulary.descriptors(dense)
            words = self.bag.shares(local).argmax(dim=-1)[0].numpy().reshape(dense.shape[2:])
        np.add.at(self.arrays["right"], (words[:, :-1], words[:, 1:]), 1)
        np.add.at(self.arrays["below"], (words[:-1], words[1:]), 1)
        np.add.at(self.arrays["zones"].reshape(len(self.bag.words), -1), (words, _zones(*words.shape)), 1)
        places = self.shape.places(words[..., None], image)
        patches = self.shape.patches(image, places)
        chosen = words[places[:, 0], places[:, 1]]
        np.add.at(self.arrays["patches"], chosen, patches - patches.mean(axis=1, keepdims=True))
        np.add.at(self.arrays["seen"], chosen, 1)


def _bag(phi: Representation) -> AssignedCode:
    """The descriptor, if it is a bag of words on one grid."""
    if not isinstance(phi, AssignedCode) or not hasattr(phi, "histograms"):
        raise ValueError(f"the jigsaw inverts bags of visual words (BoVW), not {type(phi).__name__}")
    grid = phi.phi.output_shape(phi.receptive_field + 8 * phi.stride, phi.receptive_field + 8 * phi.stride)
    if grid[0] != phi.words.shape[1]:
        raise ValueError("the jigsaw needs one word at each position, but this local descriptor has several sizes")
    return phi


def _affinity(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """log (n + 1) / (e + 1), e the counts expected of independent neighbours."""
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / max(counts.sum(), 1)
    return np.asarray(np.log((counts + 1) / (expected + 1)))


def _zones(height: int, width: int) -> NDArray[np.int64]:
    """Which of the 4×4 zones each position lies in, row by row, (height, width)."""
    return (np.arange(height) * ZONES // height)[:, None] * ZONES + np.arange(width) * ZONES // width


def _layout(bag: AssignedCode, code: NDArray[Any], grid: tuple[int, int],
            rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The words that the code counts, in random places of their regions, and the region of each place."""
    rows, columns = bag.grids[-1]
    row, column = ((2 * np.arange(n) + 1) * k // (2 * n) for n, k in zip(grid, (rows, columns), strict=True))
    region = row[:, None] * columns + column
    histograms = np.maximum(code.reshape(-1, len(bag.words))[-rows * columns :], 0).astype(np.float64)
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


@numba.njit(cache=True, nogil=True)
def _fit(layout: Any, zone: Any, right: Any, below: Any, zones: Any, i: int, j: int) -> float:
    """Score of all terms that one position takes part in."""
    word = layout[i, j]
    score: float = zones[word, zone[i, j]]
    if j > 0:
        score += right[layout[i, j - 1], word]
    if j + 1 < layout.shape[1]:
        score += right[word, layout[i, j + 1]]
    if i > 0:
        score += below[layout[i - 1, j], word]
    if i + 1 < layout.shape[0]:
        score += below[word, layout[i + 1, j]]
    return score


@numba.njit(cache=True, nogil=True)
def _anneal(layout: Any, region: Any, zone: Any, right: Any, below: Any, zones: Any, proposals: int, hot: float,
            cold: float, seed: int) -> None:
    """Exchange words inside regions, `proposals` times for each position, while the temperature falls."""
    np.random.seed(seed)  # noqa: NPY002
    height, width = layout.shape
    total = proposals * height * width
    for step in range(total):
        temperature = hot * (cold / hot) ** (step / total)
        i, j = np.random.randint(height), np.random.randint(width)  # noqa: NPY002
        k, m = np.random.randint(height), np.random.randint(width)  # noqa: NPY002
        if region[i, j] != region[k, m] or layout[i, j] == layout[k, m]:
            continue
        before = _fit(layout, zone, right, below, zones, i, j) + _fit(layout, zone, right, below, zones, k, m)
        layout[i, j], layout[k, m] = layout[k, m], layout[i, j]
        after = _fit(layout, zone, right, below, zones, i, j) + _fit(layout, zone, right, below, zones, k, m)
        if after < before and np.random.random() >= np.exp((after - before) / temperature):  # noqa: NPY002
            layout[i, j], layout[k, m] = layout[k, m], layout[i, j]

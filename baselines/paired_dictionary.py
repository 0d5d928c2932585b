"""The paired dictionary of HOGgles: one sparse code for a window of the descriptor and for the pixels under it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unfeature.features.base import Representation
from unfeature.features.lasso import lasso
from unfeature.io.schema import Field, Schema, Value

from .base import Baseline, in_half
from .stream import Floats, Learner, Size, Stream
from .windows import CELLS, Windows, min_max_normalise, normalised

BATCH = 400
STORE = 10_000
BLOCK = 64
FORGETTING = 2.0
TOLERANCE = 2e-3
REPULSION = 1.0


@dataclass(eq=False, repr=False)
class PairedDictionary(Baseline):
    r"""The paired dictionary (HOGgles).

    Bases U of patches and V of code windows share sparse, non-negative coefficients.
    Learning: argmin Σ_i ½‖x_i − U a_i‖² + ½‖y_i − V a_i‖² + λ ‖a_i‖₁ with a_i ≥ 0, where x_i is a patch and y_i the
    window of the code above it, both of zero mean and unit norm, and the columns of [U; V] have unit norm.
    Inversion: each window y of the code gives a = argmin ½‖y − V a‖² + λ ‖a‖₁, a ≥ 0; the patches U a, under a
    Gaussian window, are summed where they overlap and divided by their number.

    Several inverses are found one after the other: the next one adds ½ γ Σ_j ⟨U a, U a_j⟩² / ‖U a_j‖² over those
    found before, so that it differs from them in the image while it agrees with the code.

    Attributes
    ----------
    image_atoms : ndarray (K, side · side · C)
        U, a basis vector a row; side is that of a patch in squares of `reduction` pixels.
    code_atoms : ndarray (K, cells · cells · D)
        V, not renormalised by itself.

    Notes
    -----
    The learning is online dictionary learning (Mairal et al. 2010) on batches of 400 windows, drawn at random from a
    store through which they pass. The coefficients come from coordinate descent, not from LARS. The image is min–max
    normalised after cropping; the crop is not off by one pixel, as that of the published implementation is.

    References
    ----------
    C. Vondrick, A. Khosla, T. Malisiewicz, A. Torralba, "HOGgles: Visualizing Object Detection Features", ICCV 2013;
    several inverses: C. Vondrick et al., "Visualizing Object Detection Features", IJCV 119(2), 2016.
    """

    several: ClassVar[bool] = True

    version: ClassVar[int] = 2

    schema: ClassVar[Schema] = {
        "image_atoms": Field("float32", ("atoms", "pixels")), "code_atoms": Field("float32", ("atoms", "code")),
        "cells": CELLS, "penalty": Value(float, 0, 1e9), "reduction": CELLS}

    image_atoms: Floats
    code_atoms: Floats
    cells: int
    penalty: float
    reduction: int = 1

    @classmethod
    def learn_from(cls, stream: Stream, phi: Representation, *, atoms: int = 1024, windows: int = 40_000,
                   penalty: float = 0.02, cells: int = 5, reduction: int = 1, half: bool = False) -> PairedDictionary:
        """Learn from windows of the images.

        Parameters
        ----------
        atoms : int
            Atoms K of the dictionary; the images must give as many windows.
        windows : int
            Windows to learn from, spread evenly over the images.
        penalty : float
            Weight λ of the codes' L1 norm.
        cells : int
            Positions along one side of a window.
        reduction : int
            Pixels along one side of a square that an atom averages.
        half : bool
            Round atoms to half precision, which halves the file.
        """
        if not penalty > 0:
            raise ValueError(f"penalty is a positive number, got {penalty}")
        shape = Windows.of(phi, cells, reduction)
        row = 4 * (shape.patch_length + shape.code_length)
        fixed = 4 * atoms * row + 12 * atoms**2 + 3 * BATCH * row
        store = min(STORE, stream.rows_in_memory(fixed, 2 * row, atoms + BATCH))
        learner = _DictionaryLearner(shape, atoms, penalty, -(-windows // len(stream)), max(store, atoms + BATCH))
        stream.run(learner, shape.smallest_image)
        learner.drain(np.random.default_rng([stream.seed, len(stream)]))
        dictionary = learner.arrays["dictionary"]
        dictionary = in_half(dictionary) if half else dictionary
        image_atoms, code_atoms = (part.copy() for part in np.split(dictionary, [shape.patch_length], axis=1))
        return cls(phi.to_config(), image_atoms, code_atoms, cells, penalty, reduction)

    def reconstruct(self, phi: Representation, code: Floats, size: Size, count: int, seed: int) -> Floats:
        """The images (count, H, W, C) in [0, 1] of a code (h, w, D)."""
        shape = Windows.of(phi, self.cells, self.reduction)
        rows, positions = shape.all_windows(code, self.cells)
        correlations = normalised(rows) @ self.code_atoms.T
        repelled = np.zeros((len(correlations), 0, len(self.code_atoms)), dtype=np.float32)
        images = []
        for _ in range(count):
            found = lasso(self._code_gram, correlations, self.penalty, TOLERANCE, repelled)
            images.append(min_max_normalise(shape.blend(found @ self.image_atoms, positions, size, by_number=True)))
            if len(images) < count:
                patches = found @ self.image_atoms
                patches = patches / np.maximum(np.linalg.norm(patches, axis=1, keepdims=True), 1e-6)
                repulsion = np.sqrt(REPULSION) * patches @ self.image_atoms.T
                repelled = np.concatenate([repelled, repulsion[:, None]], axis=1)
        return np.stack(images)

    @cached_property
    def _code_gram(self) -> Floats:
        return self.code_atoms @ self.code_atoms.T


class _DictionaryLearner(Learner):
    """Online dictionary learning on windows drawn from a store that the images fill; half of it when it is full."""

    def __init__(self, shape: Windows, atoms: int, penalty: float, per_image: int, store: int) -> None:
        length = shape.patch_length + shape.code_length
        self.shape, self.atoms, self.penalty, self.per_image = shape, atoms, penalty, per_image
        shapes = {"store": (store, length), "dictionary": (atoms, length), "codes": (atoms, atoms),
                  "products": (atoms, length)}
        self.arrays = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
        self.arrays |= {name: np.zeros((), dtype=np.int64) for name in ("filled", "steps")}

    def see(self, image: Floats, code: Floats, rng: np.random.Generator) -> None:
        for halves in self.shape.samples(image, code, self.per_image, rng):
            rows = np.hstack(halves)
            while len(rows):
                filled = int(self.arrays["filled"])
                taken = rows[: len(self.arrays["store"]) - filled]
                self.arrays["store"][filled : filled + len(taken)] = taken
                self.arrays["filled"] += len(taken)
                rows = rows[len(taken) :]
                if len(rows):
                    self._consume(max(BATCH, len(self.arrays["store"]) // 2), rng)

    def drain(self, rng: np.random.Generator) -> None:
        """Learn from all that is left in the store."""
        if self.arrays["filled"] < self.atoms and self.arrays["steps"] == 0:
            raise ValueError(f"the images give only {int(self.arrays['filled'])} windows that are not constant, "
                             f"fewer than the {self.atoms} atoms: give more images, or ask for fewer atoms")
        self._consume(int(self.arrays["filled"]), rng)

    def _consume(self, number: int, rng: np.random.Generator) -> None:
        filled, store = int(self.arrays["filled"]), self.arrays["store"]
        store[:filled] = store[rng.permutation(filled)]
        if self.arrays["steps"] == 0:
            self._set_atoms(np.arange(self.atoms), store[: self.atoms])
        kept = filled - number
        for begin in range(kept, filled, BATCH):
            self._step(store[begin : min(begin + BATCH, filled)], rng)
        self.arrays["filled"][...] = kept

    def _step(self, batch: Floats, rng: np.random.Generator) -> None:
        dictionary, codes, products = (self.arrays[n] for n in ("dictionary", "codes", "products"))
        found = lasso(dictionary @ dictionary.T, batch @ dictionary.T, self.penalty, TOLERANCE)
        number = int(self.arrays["steps"]) + 1
        kept = np.float32((1 - 1 / number) ** FORGETTING)
        codes *= kept
        codes += found.T @ found / len(batch)
        products *= kept
        products += found.T @ batch / len(batch)
        self.arrays["steps"][...] = number
        _renew_atoms(dictionary, codes, products)
        idle = np.flatnonzero(np.diag(codes) < 1e-7)
        self._set_atoms(idle, batch[rng.integers(len(batch), size=len(idle))])

    def _set_atoms(self, which: NDArray[np.int64], rows: Floats) -> None:
        self.arrays["dictionary"][which] = rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _renew_atoms(dictionary: Floats, codes: Floats, products: Floats) -> None:
    """One pass of block coordinate descent over the unit-norm atoms, in blocks so that most of it is one product."""
    for begin in range(0, len(dictionary), BLOCK):
        block = slice(begin, begin + BLOCK)
        inner = codes[block, block]
        slope = products[block] - codes[block] @ dictionary
        for j in range(len(inner)):
            if inner[j, j] < 1e-7:
                continue
            atom = dictionary[begin + j] + slope[j] / inner[j, j]
            atom /= max(float(np.linalg.norm(atom)), 1e-9)
            slope -= np.outer(inner[:, j], atom - dictionary[begin + j])
            dictionary[begin + j] = atom

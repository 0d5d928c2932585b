"""A collection of images and their codes, searched window by window."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from unfeature.io.images import to_bytes
from unfeature.io.schema import Field, Schema

from .base import Baseline
from .stream import Floats, Learner, Stream
from .windows import CELLS, Windows


@dataclass(eq=False, repr=False)
class Collected(Baseline):
    """A method that searches a collection of images and codes, which lie one after the other in two flat arrays.

    The rows of `extents` are H, W, C of an image and h, w, D of its code.
    """

    schema: ClassVar[Schema] = {
        "pixels": Field("uint8", ("bytes",)), "codes": Field("float16", ("numbers",)),
        "extents": Field("int64", ("images", 6), 1, 10**6), "cells": CELLS}

    pixels: NDArray[np.uint8]
    codes: NDArray[np.float16]
    extents: NDArray[np.int64]
    cells: int

    def __post_init__(self) -> None:
        for name, columns in (("pixels", slice(3)), ("codes", slice(3, 6))):
            needed = sum(math.prod(row) for row in self.extents[:, columns].tolist())
            if needed != getattr(self, name).size:
                raise ValueError(f"its extents describe {needed} {name}, but there are {getattr(self, name).size}")

    def check(self, phi: Any) -> None:
        """Raise a ValueError unless this was learned for the descriptor."""
        super().check(phi)
        shape = Windows.of(phi, self.cells)
        if (self.extents[:, [2, 5]] != (shape.channels, shape.depth)).any():
            raise ValueError(f"this {self.method} model does not fit: its images have not {shape.channels} channels, "
                             f"or its codes not {shape.depth}")

    @classmethod
    def collect(cls, stream: Stream, shape: Windows) -> dict[str, NDArray[Any]]:
        """The stream's images and codes, as many as fit into its memory; ValueError if not one window."""
        learner = CollectionLearner(stream.memory_bytes)
        stream.run(learner, shape.smallest_image)
        if not any(len(shape.positions(code, image)) for image, code in entries(**learner.arrays)):
            raise ValueError("not one window was kept: give larger images, or allow more memory")
        return learner.arrays

    def nearest(self, shape: Windows, templates: Floats, k: int, metric: str) -> tuple[Floats, Floats]:
        """The k highest scores of windows for each of m templates, descending, and their patches in [0, 1], (m, k, …).

        A window y of a template t scores ⟨t, y⟩ or, if the `metric` is "distance", −‖t − y‖².
        """
        scores = np.full((len(templates), k), -np.inf, dtype=np.float32)
        owners = np.zeros((len(templates), k, 3), dtype=np.int64)
        for number, (image, code) in enumerate(entries(self.pixels, self.codes, self.extents)):
            positions = shape.positions(code, image)
            rows = shape.codes(code, positions)
            found = templates @ rows.T
            if metric == "distance":
                found = 2 * found - (rows**2).sum(axis=1) - (templates**2).sum(axis=1, keepdims=True)
            tagged = np.broadcast_to(np.insert(positions, 0, number, axis=1), (len(scores), len(positions), 3))
            joined = np.concatenate([scores, found], axis=1)
            best = np.argpartition(-joined, k - 1, axis=1)[:, :k]
            order = np.argsort(-np.take_along_axis(joined, best, axis=1), axis=1, kind="stable")
            best = np.take_along_axis(best, order, axis=1)
            scores = np.take_along_axis(joined, best, axis=1)
            owners = np.take_along_axis(np.concatenate([owners, tagged], axis=1), best[..., None], axis=1)
        patches = np.empty((*owners.shape[:2], shape.patch_length), dtype=np.float32)
        for number, (image, _) in enumerate(entries(self.pixels, self.codes, self.extents)):
            mine = owners[..., 0] == number
            patches[mine] = shape.patches(image, owners[mine][:, 1:]) / np.float32(255)
        return scores, patches


class CollectionLearner(Learner):
    """Keeps images and codes until the memory is full; the order being random, what is kept is a fair sample."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.arrays = {"pixels": np.zeros(0, dtype=np.uint8), "codes": np.zeros(0, dtype=np.float16),
                       "extents": np.zeros((0, 6), dtype=np.int64)}

    def see(self, image: Floats, code: Floats, rng: np.random.Generator) -> None:
        """Keep one image, if there is room for it."""
        kept = sum(array.nbytes for array in self.arrays.values())
        if 2 * kept + image.size + 2 * code.size > self.limit:
            return
        image = np.atleast_3d(image)
        self.append(pixels=to_bytes(image).ravel(), codes=code.astype(np.float16).ravel(),
                    extents=np.array([[*image.shape, *code.shape]]))


def entries(pixels: NDArray[Any], codes: NDArray[Any], extents: NDArray[Any]) -> Iterator[tuple[NDArray[Any], Floats]]:
    """Each image (H, W, C) with its code (h, w, D)."""
    at = code_at = 0
    for extent in extents:
        end, code_end = at + int(np.prod(extent[:3])), code_at + int(np.prod(extent[3:]))
        yield pixels[at:end].reshape(extent[:3]), codes[code_at:code_end].reshape(extent[3:]).astype(np.float32)
        at, code_at = end, code_end

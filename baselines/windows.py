"""Windows of a code and the pixels under them: cut out, normalised, added up where they overlap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfeature.features.base import Representation
from unfeature.io.schema import Value

from .stream import Floats, Size

CHUNK = 1000
CELLS = Value(int, 1, 1000)  # in stored models


@dataclass(frozen=True)
class Windows:
    r"""Windows of cells × cells positions of a code, and the square patch of pixels under each.

    Window (i, j) holds the positions i … i + cells − 1 by j … j + cells − 1, flattened as (cells, cells, D); its
    patch covers the rows stride · i + origin … + side − 1, and columns likewise, flattened as (side, side, C). D is
    `depth` and C `channels`; `origin` is negative if the patch of window (0, 0) begins outside the image. Patches are
    kept as means over squares of `reduction` pixels.
    """

    cells: int
    depth: int
    channels: int
    stride: int
    side: int
    origin: int
    reduction: int = 1

    @classmethod
    def of(cls, phi: Representation, cells: int = 5, reduction: int = 1) -> Windows:
        """The windows of a descriptor.

        The patch, centred on the positions, is the smallest image with so many, but reaches at least one stride beyond
        the outer ones (56 pixels for HOG with cells of 8, as in HOGgles). ValueError if `reduction` does not divide it.
        """
        shape = phi.output_shape(*small_image(phi))
        side = (cells + 2) * phi.stride
        try:
            side = max(side, *phi.image_size_for((shape[0], cells, cells)))
        except ValueError:
            side = max(side, phi.receptive_field + (cells - 1) * phi.stride)
        if side % reduction:
            raise ValueError(f"reduction divides the side of a patch, {side} pixels, without remainder; "
                             f"{reduction} does not")
        origin = round(first_centre(phi) + (cells - 1) * phi.stride / 2 - (side - 1) / 2)
        return cls(cells, shape[0], phi.in_channels[0], phi.stride, side, origin, reduction)

    @property
    def code_length(self) -> int:
        """Values in one window of the code."""
        return self.cells * self.cells * self.depth

    @property
    def patch_length(self) -> int:
        """Values in one patch."""
        return (self.side // self.reduction) ** 2 * self.channels

    @property
    def smallest_image(self) -> int:
        """Pixels that an image needs each way to hold one whole window with its patch."""
        return self.side + max(self.origin, -self.origin % self.stride)

    def positions(self, code: NDArray[Any], image: NDArray[Any]) -> NDArray[np.int64]:
        """(i, j) of the windows that lie inside the code (h, w, D) and whose patch lies inside the image, (m, 2)."""
        ranges = []
        for axis in (0, 1):
            i = np.arange(code.shape[axis] - self.cells + 1)
            first = self.stride * i + self.origin
            ranges.append(i[(first >= 0) & (first + self.side <= image.shape[axis])])
        return np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.int64)

    def codes(self, code: NDArray[Any], positions: NDArray[np.int64]) -> Floats:
        """Windows of a code (h, w, D) at the given positions, (m, cells · cells · D)."""
        view = np.lib.stride_tricks.sliding_window_view(code, (self.cells, self.cells), axis=(0, 1))
        chosen = view[positions[:, 0], positions[:, 1]].transpose(0, 2, 3, 1)
        return chosen.reshape(len(positions), self.code_length).astype(np.float32)

    def patches(self, image: NDArray[Any], positions: NDArray[np.int64]) -> Floats:
        """Patches of an image (H, W) or (H, W, C) at the given positions, (m, patch_length)."""
        first = self.stride * positions + self.origin
        cut = [image[y : y + self.side, x : x + self.side] for y, x in first]
        side, block = self.side // self.reduction, self.reduction
        whole = np.array(cut, dtype=np.float32).reshape(len(positions), side, block, side, block, self.channels)
        return np.asarray(whole.mean(axis=(2, 4)).reshape(len(positions), self.patch_length))

    def enlarged(self, patches: Floats) -> Floats:
        """Reduced patches (m, patch_length) with all their pixels, (m, side · side · C), interpolated linearly."""
        if self.reduction == 1:
            return patches
        side = self.side // self.reduction
        places = (np.arange(self.side) + 0.5) / self.reduction - 0.5
        near = np.maximum(0, 1 - np.abs(places.clip(0, side - 1)[:, None] - np.arange(side))).astype(np.float32)
        blocks = patches.reshape(-1, side, side, self.channels)
        large = np.einsum("yi,mijc,xj->myxc", near, blocks, near, optimize=True)
        return np.asarray(large.reshape(len(blocks), -1))

    def samples(self, image: NDArray[Any], code: NDArray[Any], number: int,
                rng: np.random.Generator) -> Iterator[tuple[Floats, Floats]]:
        """Up to `number` random pairs of patches and code windows, normalised, without constant ones, in chunks."""
        positions = rng.permutation(self.positions(code, image))[:number]
        for begin in range(0, len(positions), CHUNK):
            chunk = positions[begin : begin + CHUNK]
            patches, codes = self.patches(image, chunk), self.codes(code, chunk)
            varied = (np.ptp(patches, axis=1) > 0) & (np.ptp(codes, axis=1) > 0)
            yield normalised(patches[varied]), normalised(codes[varied])

    def all_windows(self, code: NDArray[Any], margin: int, step: int = 1) -> tuple[Floats, NDArray[np.int64]]:
        """Windows of a code framed by `margin` zeros, at multiples of `step`, and their positions, maybe negative."""
        framed = np.pad(code, ((margin, margin), (margin, margin), (0, 0)))
        height, width = (n - self.cells + 1 for n in framed.shape[:2])
        if height < 1 or width < 1:
            raise ValueError(f"the code has {code.shape[0]}×{code.shape[1]} positions, "
                             f"but one window needs {self.cells}×{self.cells}")
        positions = np.indices((height, width)).reshape(2, -1).T.astype(np.int64) - margin
        positions = positions[(positions % step == 0).all(axis=1)]
        return self.codes(framed, positions + margin), positions

    def overlap_add(self, patches: Floats, positions: NDArray[np.int64], size: Size) -> Floats:
        """Sum of patches (m, side · side · C), or of a single one at all positions, in an image (height, width, C)."""
        first = self.stride * positions + self.origin
        frame = np.maximum(0, -first.min(axis=0))
        extent = np.maximum((first + frame).max(axis=0) + self.side, frame + size)
        total = np.zeros((*extent, self.channels), dtype=np.float32)
        blocks = patches.reshape(-1, self.side, self.side, self.channels)
        blocks = np.broadcast_to(blocks, (len(positions), *blocks.shape[1:]))
        for block, (y, x) in zip(blocks, first + frame, strict=True):
            total[y : y + self.side, x : x + self.side] += block
        return total[frame[0] : frame[0] + size[0], frame[1] : frame[1] + size[1]]

    def blend(self, patches: Floats, positions: NDArray[np.int64], size: Size, by_number: bool = False) -> Floats:
        """Sum of patches (m, patch_length) under a Gaussian window, divided by that of the weights or their number.

        The number is that of HOGgles. The window's σ is 9 pixels for a side of 56, and in proportion.
        """
        x = np.arange(self.side) - (self.side - 1) / 2
        bell = np.exp(-0.5 * (x / (self.side * 9 / 56)) ** 2)
        weights = np.repeat(bell[:, None] * bell, self.channels).astype(np.float32)
        divisor = self.overlap_add(np.ones_like(weights) if by_number else weights, positions, size)
        total = self.overlap_add(self.enlarged(patches) * weights, positions, size)
        return np.asarray(total / np.maximum(divisor, 1e-3))


def normalised(rows: Floats) -> Floats:
    """Rows with their mean removed, divided by √(Σ² + 2.2e-16); constant rows become zero."""
    centred = np.where(np.ptp(rows, axis=1, keepdims=True) > 0, rows - rows.mean(axis=1, keepdims=True), 0)
    return np.asarray(centred / np.sqrt((centred**2).sum(axis=1, keepdims=True) + 2.2e-16), dtype=np.float32)


def min_max_normalise(image: NDArray[Any]) -> Floats:
    """An image shifted and scaled to span [0, 1]; a constant one becomes 0.5."""
    low, high = float(image.min()), float(image.max())
    if high - low < 1e-12:
        return np.full(image.shape, 0.5, dtype=np.float32)
    return np.asarray((image - low) / (high - low), dtype=np.float32)


def small_image(phi: Representation) -> Size:
    """Height and width of an image with nine positions each way, where the code has positions."""
    extent = phi.receptive_field + 8 * phi.stride
    return extent, extent


def first_centre(phi: Representation) -> float:
    """Row of the centre of position 0, in pixels."""
    return float(phi.position_centres(*small_image(phi))[0][0])

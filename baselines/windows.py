"""Windows of a code and the pixels under them: cut out, normalised, laid back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfeature.features.base import Representation

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Windows:
    r"""Windows of cells × cells positions of a code, and the square patch of pixels under each.

    Window (i, j) holds the positions i … i + cells − 1 by j … j + cells − 1, flattened as (cells, cells, D); its
    patch covers the rows stride · i + origin … + side − 1, and columns likewise, flattened as (side, side, C).

    Attributes
    ----------
    cells : int
        Positions along one side of a window.
    depth : int
        D, values at one position.
    channels : int
        C, of the image.
    stride : int
        Pixels between neighbouring positions.
    side : int
        Pixels along one side of a patch.
    origin : int
        Row and column of the first pixel of the patch of window (0, 0); negative if it begins outside the image.
    """

    cells: int
    depth: int
    channels: int
    stride: int
    side: int
    origin: int

    @classmethod
    def of(cls, phi: Representation, cells: int = 5) -> Windows:
        """Work out the windows of a descriptor.

        The patch is as large as the smallest image of cells × cells positions, but reaches at least one stride
        beyond the outer positions (56 pixels for HOG with cells of 8, as in HOGgles), and lies centred on the
        positions.

        Raises
        ------
        ValueError
            If the code has no positions, or fewer than one position is asked for.
        """
        if cells < 1:
            raise ValueError(f"a window holds at least one position each way, got cells={cells}")
        shape = _shape_with_positions(phi)
        centre = first_centre(phi)
        side = (cells + 2) * phi.stride
        try:
            side = max(side, *phi.image_size_for((shape[0], cells, cells)))
        except ValueError:
            side = max(side, phi.receptive_field + (cells - 1) * phi.stride)
        origin = round(centre + (cells - 1) * phi.stride / 2 - (side - 1) / 2)
        return cls(cells, shape[0], phi.in_channels[0], phi.stride, side, origin)

    @property
    def code_length(self) -> int:
        """Values in one window of the code."""
        return self.cells * self.cells * self.depth

    @property
    def patch_length(self) -> int:
        """Values in one patch."""
        return self.side * self.side * self.channels

    def places(self, code: NDArray[Any], image: NDArray[Any]) -> NDArray[np.int64]:
        """Rows (i, j) of the windows that lie inside the code (h, w, D) and whose patch lies inside the image."""
        ranges = []
        for axis in (0, 1):
            i = np.arange(code.shape[axis] - self.cells + 1)
            first = self.stride * i + self.origin
            ranges.append(i[(first >= 0) & (first + self.side <= image.shape[axis])])
        grid = np.meshgrid(*ranges, indexing="ij")
        return np.stack(grid, axis=-1).reshape(-1, 2).astype(np.int64)

    def smallest_image(self) -> int:
        """Pixels that an image needs each way to hold one whole window with its patch."""
        return self.side + max(self.origin, -self.origin % self.stride)

    def codes(self, code: NDArray[Any], places: NDArray[np.int64]) -> Floats:
        """Windows of a code (h, w, D) at the given places, (m, cells · cells · D)."""
        view = np.lib.stride_tricks.sliding_window_view(code, (self.cells, self.cells), axis=(0, 1))
        chosen = view[places[:, 0], places[:, 1]].transpose(0, 2, 3, 1)
        return chosen.reshape(len(places), self.code_length).astype(np.float32)

    def patches(self, image: NDArray[Any], places: NDArray[np.int64]) -> Floats:
        """Patches of an image (H, W) or (H, W, C) at the given places, (m, side · side · C)."""
        a = image[..., None] if image.ndim == 2 else image
        first = self.stride * places + self.origin
        cut = [a[y : y + self.side, x : x + self.side].reshape(-1) for y, x in first]
        return np.array(cut, dtype=np.float32).reshape(len(places), self.patch_length)

    def every(self, code: NDArray[Any], margin: int) -> tuple[Floats, NDArray[np.int64]]:
        """All windows of a code framed by `margin` zero positions, and their places, which may be negative."""
        framed = np.pad(code, ((margin, margin), (margin, margin), (0, 0)))
        height, width = (n - self.cells + 1 for n in framed.shape[:2])
        if height < 1 or width < 1:
            raise ValueError(f"the code has {code.shape[0]}×{code.shape[1]} positions, "
                             f"but one window needs {self.cells}×{self.cells}")
        places = np.indices((height, width)).reshape(2, -1).T.astype(np.int64)
        return self.codes(framed, places), places - margin

    def bell(self) -> Floats:
        """Gaussian weights of a patch's pixels, (side, side), σ = 9 pixels for a side of 56 and in proportion."""
        x = np.arange(self.side) - (self.side - 1) / 2
        bell = np.exp(-0.5 * (x / (self.side * 9 / 56)) ** 2)
        return np.asarray(bell[:, None] * bell, dtype=np.float32)

    def lay(self, patches: Floats, places: NDArray[np.int64], size: tuple[int, int]) -> tuple[Floats, Floats]:
        """Sum of the patches where they lie in an image of the given size, and how many lie on each pixel.

        Parameters
        ----------
        patches : ndarray (m, side · side · C)
        places : ndarray (m, 2)
        size : tuple of int
            Height and width.

        Returns
        -------
        total : ndarray (height, width, C)
        count : ndarray (height, width, 1)
        """
        first = self.stride * places + self.origin
        frame = np.maximum(0, -first.min(axis=0))
        extent = np.maximum((first + frame).max(axis=0) + self.side, frame + size)
        total = np.zeros((*extent, self.channels), dtype=np.float32)
        count = np.zeros((*extent, 1), dtype=np.float32)
        blocks = patches.reshape(-1, self.side, self.side, self.channels)
        for block, (y, x) in zip(blocks, first + frame, strict=True):
            total[y : y + self.side, x : x + self.side] += block
            count[y : y + self.side, x : x + self.side] += 1
        crop = slice(frame[0], frame[0] + size[0]), slice(frame[1], frame[1] + size[1])
        return total[crop], count[crop]


def normalised(rows: Floats) -> Floats:
    """Rows with their mean removed, divided by √(Σ² + 2.2e-16); constant rows become zero."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).sum(axis=1, keepdims=True) + 2.2e-16), dtype=np.float32)


def spread(image: NDArray[Any]) -> Floats:
    """An image stretched so that its values span [0, 1]; a constant one becomes 0.5."""
    low, high = float(image.min()), float(image.max())
    if high - low < 1e-12:
        return np.full(image.shape, 0.5, dtype=np.float32)
    return np.asarray((image - low) / (high - low), dtype=np.float32)


def _shape_with_positions(phi: Representation) -> tuple[int, ...]:
    extent = phi.receptive_field + 8 * phi.stride
    shape = phi.output_shape(extent, extent)
    if len(shape) != 3:
        raise ValueError(f"{type(phi).__name__} gives a code without positions, {shape}: "
                         "this method needs a grid of them, as HOG and DSIFT give")
    return shape


def first_centre(phi: Representation) -> float:
    """Row of the centre of position 0, in pixels."""
    extent = phi.receptive_field + 8 * phi.stride
    return float(phi.position_centres(extent, extent)[0][0])

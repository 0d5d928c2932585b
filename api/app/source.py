"""What is inverted: a photograph, or a stored code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unfeature.features.code import load_code
from unfeature.io.images import read_image, resize_longer, to_grey
from unfeature.parameters.kinds import LARGEST_SIDE, LONGER_SIDE

if TYPE_CHECKING:
    from unfeature.features.base import Representation

CODES = (".npy", ".npz")
Size = tuple[int, int]


@dataclass(frozen=True)
class Source:
    """A file with a photograph or a code.

    `side` is the longer side to which a photograph is resized, by default only if it is larger. `size` is the height
    and width of the image of a code that does not remember them.
    """

    path: Path
    side: int = LONGER_SIDE
    colour: bool = False
    size: Size | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.side <= LARGEST_SIDE:
            raise ValueError(f"the longer side has 1 to {LARGEST_SIDE} pixels, got {self.side}")

    @property
    def is_code(self) -> bool:
        """Whether the file is named as a code is."""
        return self.path.suffix.lower() in CODES

    def photograph(self) -> NDArray[np.float32] | None:
        """The photograph, as it is in the file; None for a code, which is read, too."""
        if self.is_code:
            load_code(self.path)
            return None
        return read_image(self.path)

    def resized(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """An image with the longer side that it is to have."""
        kept = self.side == LONGER_SIDE and max(image.shape[:2]) <= self.side
        return image if kept else resize_longer(image, self.side)

    def code_of(self, phi: Representation, photograph: NDArray[np.float32] | None
                ) -> tuple[NDArray[Any] | None, NDArray[Any], Size | None]:
        """The photograph as Φ takes it, its code, and the size of the image to find; of a code, None and the code."""
        if photograph is None:
            return None, load_code(self.path, phi), self.size
        channels = 3 if self.colour else phi.in_channels[0]
        if channels not in phi.in_channels:
            raise ValueError(f"{type(phi).__name__} does not take colour: untick “in colour”")
        image = self.resized(to_grey(photograph) if channels == 1 else photograph)
        image = np.repeat(image[..., None], 3, axis=2) if channels == 3 and image.ndim == 2 else image
        try:
            phi.output_shape(*image.shape[:2])
        except ValueError as error:
            here = f"{image.shape[0]} × {image.shape[1]} pixels"
            raise ValueError(f"{error}: the photograph has {here} here; choose a larger size") from error
        return image, phi(image), (image.shape[0], image.shape[1])

"""Photographs as a feature takes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from unfeature.features.base import Representation


def read_photograph(path: Path, phi: Representation, size: int | tuple[int, int] | None, colour: bool = False
                    ) -> NDArray[Any]:
    """Read a photograph with the channels that phi prefers, or in colour, its longer side resized to `size`.

    Raises
    ------
    FileNotFoundError, ValueError
        As `unfeature.read_image`; also for colour that phi does not take, or a size of two numbers.
    """
    from unfeature.io.images import read_image, resize_longer

    if isinstance(size, tuple):
        raise ValueError(f"--size {size[0]}x{size[1]} is for stored codes; for a photograph give its longer side")
    channels = 3 if colour else phi.in_channels[0]
    if channels not in phi.in_channels:
        raise ValueError(f"{type(phi).__name__} does not take colour: leave --colour out")
    image = read_image(path, grey=channels == 1)
    image = image if size is None else resize_longer(image, size)
    return np.repeat(image[..., None], 3, axis=2) if channels == 3 and image.ndim == 2 else image

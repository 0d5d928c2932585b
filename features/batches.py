"""Many images at once: those of equal size in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .base import Representation
from .code import Code

PIXELS_AT_ONCE = 2**18  # more do not stay in a core's cache, and are slower


def encode_each(phi: Representation, images: Sequence[NDArray[Any]]) -> list[Code]:
    """The codes of NumPy images, each exactly that of Φ(image); images of equal size are encoded in batches.

    A descriptor of many operations a pixel (`heavy`) gets them one by one: batches would gain nothing, and its
    matrix products may round differently in a batch. Errors are those of Φ.
    """
    codes: dict[int, Code] = {}
    for shape in dict.fromkeys((image.shape, image.dtype) for image in images):
        alike = [i for i, image in enumerate(images) if (image.shape, image.dtype) == shape]
        count = 1 if phi.heavy else max(1, PIXELS_AT_ONCE // (shape[0][0] * shape[0][1]))
        for begin in range(0, len(alike), count):
            batch = alike[begin : begin + count]
            codes.update(zip(batch, _encoded(phi, [images[i] for i in batch]), strict=True))
    return [codes[i] for i in range(len(images))]


def _encoded(phi: Representation, images: Sequence[NDArray[Any]]) -> list[Code]:
    """The codes of images of one size."""
    with torch.no_grad():
        found = phi(torch.cat([phi.as_batch(image) for image in images])).cpu().numpy()
    if not np.isfinite(found).all():
        return [phi(image) for image in images]  # type: ignore[misc]
    config = phi.to_config()
    return [Code.of(np.ascontiguousarray(np.moveaxis(code, 0, -1)), config, images[0].shape[:2]) for code in found]

"""Uniform samples of local descriptors and their image patches from many images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.io.images import Skipped, list_images, read_image, to_grey

from ..base import Representation

Images = str | Path | Iterable[str | Path | NDArray[Any]]
Progress = Callable[[int, "int | None"], None]

PATCH = 16


@dataclass(frozen=True)
class Sample:
    """Descriptors (n, D) float32 and the grey patches they come from, (n, 16, 16) uint8."""

    descriptors: NDArray[np.float32]
    patches: NDArray[np.uint8]


def sample_descriptors(images: Images, phi: Representation, capacity: int, seed: int = 0, keep_flat: bool = False,
                       progress: Progress | None = None) -> Sample:
    """A uniform sample of at most `capacity` local descriptors, in one pass with one image in memory at a time.

    Arguments are those of `Vocabulary.learn`: phi has positions, and `keep_flat` includes descriptors that are all
    zero, as those of flat or low-contrast patches are. Files that cannot be read, or are too small for a descriptor,
    are left out with a warning. Raises a ValueError if no image is left, an array is no image of phi's, or phi has no
    positions.
    """
    dimension, grey = descriptor_dimension(phi), 3 not in phi.in_channels
    rng = np.random.default_rng(seed)
    kept = Sample(np.empty((capacity, dimension), np.float32), np.empty((capacity, PATCH, PATCH), np.uint8))
    items = list_images(images) if isinstance(images, (str, Path)) else images
    total = len(items) if isinstance(items, Sized) else None
    skipped, candidates, done = Skipped(), 0, 0

    def encoded(source: Path | NDArray[Any]) -> tuple[NDArray[Any], Tensor]:
        image = read_image(source) if isinstance(source, Path) else np.asarray(source)
        image = to_grey(image) if grey and image.ndim == 3 else image
        with torch.no_grad():
            return image, phi(phi.as_batch(image))

    for done, item in enumerate(items, start=1):
        try:
            found = skipped.read(item, encoded) if isinstance(item, (str, Path)) else encoded(item)
        except ValueError as error:
            raise ValueError(f"image {done}: {error}") from error
        if found is not None:
            image, code = found
            flat = local_descriptors(code, phi.descriptors_per_position)[0].float().cpu().numpy()
            usable = np.arange(len(flat)) if keep_flat else np.flatnonzero(np.abs(flat).max(axis=1) > 0)
            chosen, slots = _reservoir(len(usable), candidates, capacity, rng)
            chosen = usable[chosen]
            kept.descriptors[slots] = flat[chosen]
            kept.patches[slots] = _patches(image, phi, tuple(code.shape[1:]), chosen % (code.shape[2] * code.shape[3]))
            candidates += len(usable)
        if progress is not None:
            progress(done, total)
    if done == 0:
        raise ValueError("there are no images to learn from: give a folder, a list of paths or an iterable of arrays")
    skipped.report(done)
    return Sample(kept.descriptors[:candidates], kept.patches[:candidates])


def local_descriptors(code: Tensor, count: int) -> Tensor:
    """Local descriptors (N, count·h·w, D) of a code (N, count·D, h, w): the first of each position, the second …"""
    return code.reshape(len(code), count, code.shape[1] // count, -1).transpose(2, 3).flatten(1, 2)


def descriptor_dimension(phi: Representation) -> int:
    """Length of the local descriptors of phi; ValueError if its codes have no positions."""
    side = max(64, 2 * phi.receptive_field)
    shape = phi.output_shape(side, side)
    if len(shape) != 3:
        raise ValueError(f"visual words need a descriptor with positions, (D, h, w); {phi!r} has one vector per image")
    return shape[0] // phi.descriptors_per_position


def _reservoir(count: int, before: int, capacity: int,
               rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Vitter's algorithm R: which of the next `count` items to keep, and their slots; the last item wins a slot."""
    order = before + np.arange(count)
    slots = np.where(order < capacity, order, rng.integers(0, order + 1))
    chosen = np.flatnonzero(slots < capacity)
    return chosen, slots[chosen]


def _patches(image: NDArray[Any], phi: Representation, shape: tuple[int, ...],
             chosen: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Grey patches the size of the receptive field, shrunk to 16 × 16, around the chosen positions."""
    x = torch.from_numpy(to_grey(image))[None, None].clamp(0, 1)
    scale = PATCH / phi.receptive_field
    size = [max(1, round(n * scale)) for n in x.shape[-2:]]
    small = torch.nn.functional.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)
    pixels: NDArray[np.uint8] = np.rint(np.pad(small[0, 0].numpy(), PATCH, mode="edge") * 255).astype(np.uint8)
    corners = []
    centres = phi.position_centres(*x.shape[-2:])
    for axis, index in enumerate(np.unravel_index(chosen, shape[1:])):
        centre = centres[axis][index] + 0.5
        corner = np.rint(centre * size[axis] / x.shape[-2 + axis] - PATCH / 2).astype(int) + PATCH
        corners.append(np.clip(corner, 0, pixels.shape[axis] - PATCH)[:, None] + np.arange(PATCH))
    return np.asarray(pixels[corners[0][:, :, None], corners[1][:, None, :]])

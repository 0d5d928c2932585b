"""One pass over training images, which a kill only interrupts."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from unfeature.features.checks import check_seed
from unfeature.io.files import digest, load_arrays, save_arrays
from unfeature.io.images import Skipped, list_images, read_image, resize_longer, to_grey
from unfeature.io.memory import bytes_of
from unfeature.io.output import check_output
from unfeature.io.schema import Value

CHECKPOINT = {"identity": Value(str), "digest": Value(str), "next": Value(int, 0), "used": Value(int, 0)}
Images = str | Path | Iterable[str | Path | NDArray[Any]]
Progress = Callable[[int, int], None]
Floats = NDArray[np.float32]
Size = tuple[int, int]


class Encoder(Protocol):
    """What encodes an image: a `Representation`, or `SIFTKeypoints`, whose codes are not arrays of fixed shape."""

    @property
    def in_channels(self) -> tuple[int, ...]:
        """Channel counts that images may have; the first is that of training images."""

    def __call__(self, image: NDArray[Any], /) -> Any:
        """The code of an image."""

    def to_config(self) -> dict[str, Any]:
        """A JSON-able description, equal for descriptors that compute the same code."""


class Learner:
    """The state of learning: nothing but `arrays`, so that it can be stored and restored.

    `encodes` says whether `see` needs the images' codes; if not, it gets empty ones.
    """

    encodes: ClassVar[bool] = True
    arrays: dict[str, NDArray[Any]]

    def see(self, image: Floats, code: Floats, rng: np.random.Generator) -> None:
        """Take in one image (H, W) or (H, W, C) and its code (h, w, D) or (D,)."""
        raise NotImplementedError

    def append(self, **rows: NDArray[Any]) -> None:
        """Append rows to arrays of the state."""
        self.arrays |= {name: np.concatenate([self.arrays[name], added]) for name, added in rows.items()}


class Moments(Learner):
    """Number, sum and products of rows, in double precision: faster and exacter than scikit-learn's IncrementalPCA."""

    def __init__(self, length: int) -> None:
        self.arrays = {"number": np.zeros(()), "total": np.zeros(length), "products": np.zeros((length, length))}

    def add(self, rows: NDArray[Any]) -> None:
        """Take in rows (n, length)."""
        for name, value in (("number", len(rows)), ("total", rows.sum(axis=0)), ("products", rows.T @ rows)):
            self.arrays[name] += value

    def finish(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean (length,) and covariance (length, length) of all rows."""
        mean = self.arrays["total"] / self.arrays["number"]
        return mean, self.arrays["products"] / self.arrays["number"] - np.outer(mean, mean)


@dataclass
class Stream:
    """Training images in a seeded order, and what all methods share while they learn; see `Baseline.learn`.

    The images have as many channels as `phi` takes first. Every `interval` seconds the state is written to
    ``<output>.partial``; the same call, with the same `settings` of the method, goes on from there.
    """

    interval: ClassVar[float] = 60.0

    images: Images
    phi: Encoder
    settings: dict[str, Any]
    seed: int = 0
    side: int | None = None
    memory: str | int = "2GB"
    output: str | Path | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        self.steps, self.sources, self.seed = 0, _sources(self.images), check_seed(self.seed)
        self.skipped = Skipped()
        if self.output is not None:
            check_output(self.output, [source for source in self.sources if isinstance(source, Path)])
        self.order = np.random.default_rng(self.seed).permutation(len(self.sources))
        self.memory_bytes = bytes_of(self.memory)
        self.checkpoint_file = None if self.output is None else Path(f"{self.output}.partial")
        self._identity, self._saved = "", time.monotonic()

    def __len__(self) -> int:
        return len(self.sources)

    def rows_in_memory(self, fixed: int, row: int, least: int) -> int:
        """How many rows of `row` bytes fit into the memory beside `fixed` bytes; ValueError if fewer than `least`."""
        rows = (self.memory_bytes - fixed) // row
        if rows < least:
            raise ValueError(f"learning needs at least {(fixed + least * row) / 1e6:.0f} MB, but "
                             f"memory={self.memory}: allow more, or learn a smaller model")
        return rows

    def run(self, learner: Learner, smallest: int = 1) -> None:
        """Show the learner every image of `smallest` pixels each way; ValueError if none is.

        Files that cannot be read are left out with a warning.
        """

        def pair(source: Path | NDArray[Any]) -> tuple[Floats, Floats] | None:
            image = self._read(source)
            if min(image.shape[:2]) < smallest:
                return None
            return image, np.asarray(self.phi(image) if learner.encodes else [], dtype=np.float32)

        names = [str(s) if isinstance(s, Path) else f"{s.shape} {zlib.crc32(s.tobytes())}" for s in self.sources]
        self._identity = json.dumps(
            [self.settings, self.phi.to_config(), self.seed, self.side, str(self.memory), names], sort_keys=True)
        begin, used = self._resume(learner)
        for number in range(begin, len(self)):
            source = self.sources[self.order[number]]
            found = self.skipped.read(source, pair) if isinstance(source, Path) else pair(source)
            if found is not None:
                learner.see(*found, np.random.default_rng([self.seed, number]))
                used += 1
            self.report(number + 1)
            if self.checkpoint_due:
                self.checkpoint(learner, number + 1, used)
        self.skipped.report(len(self))
        if used == 0:
            raise ValueError(f"all {len(self)} images are smaller than {smallest}×{smallest} pixels, "
                             "which this method needs: give larger images")

    def report(self, done: int) -> None:
        """Say how many images, and steps of training after them, are done."""
        if self.progress is not None:
            self.progress(done, len(self) + self.steps)

    @property
    def checkpoint_due(self) -> bool:
        """Whether the last checkpoint is older than `interval`."""
        return time.monotonic() - self._saved > self.interval

    def checkpoint(self, learner: Learner, seen: int, used: int) -> None:
        """Write the learner's state after so many images, of which some were large enough to be used."""
        if self.checkpoint_file is not None:
            meta = {"identity": self._identity, "next": seen, "used": used}
            meta["digest"] = _digest(meta, learner.arrays)
            save_arrays(self.checkpoint_file, "partial model", meta, **learner.arrays)
        self._saved = time.monotonic()

    def _resume(self, learner: Learner) -> tuple[int, int]:
        """Restore the learner from its checkpoint, if there is one; the numbers of images seen and used."""
        if self.checkpoint_file is None or not self.checkpoint_file.exists():
            return 0, 0
        try:
            meta, arrays = load_arrays(self.checkpoint_file, "partial model", meta=CHECKPOINT)
        except ValueError:
            return 0, 0
        fits = all(name in arrays and (arrays[name].dtype, arrays[name].shape[1:]) == (own.dtype, own.shape[1:])
                   for name, own in learner.arrays.items())  # training after the stream adds arrays of its own
        whole = meta.pop("digest") == _digest(meta, arrays)
        if meta["identity"] != self._identity or not (fits and whole):
            return 0, 0
        learner.arrays.update(arrays)
        return meta["next"], meta["used"]

    def _read(self, source: Path | NDArray[Any]) -> NDArray[np.float32]:
        grey = self.phi.in_channels[0] == 1
        image = read_image(source) if isinstance(source, Path) else source
        image = to_grey(image) if grey else image
        if not grey and image.ndim == 2:
            image = np.repeat(image[..., None], 3, axis=2)
        return image.astype(np.float32) if self.side is None else resize_longer(image, self.side)


def _digest(meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> str:
    """A short text that tells a checkpoint from a changed one."""
    return digest(np.array(json.dumps([meta, {name: digest(array) for name, array in sorted(arrays.items())}])))


def _sources(images: Images) -> list[Path | NDArray[Any]]:
    sources: list[Path | NDArray[Any]] = []
    for item in [images] if isinstance(images, (str, Path)) else images:
        if isinstance(item, np.ndarray):
            sources.append(item)
        else:
            sources.extend([Path(item)] if Path(item).is_file() else list_images(item))
    if not sources:
        raise ValueError("there are no images to learn from: give a folder of images")
    return sources

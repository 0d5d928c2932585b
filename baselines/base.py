"""The contract of the baselines: learned from images in one pass, saved, loaded, applied to a code."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import Representation, code_to_numpy, code_to_tensor
from unfeature.io.files import load_arrays, save_arrays
from unfeature.io.images import list_images, read_image, resize_longer, to_grey
from unfeature.io.memory import bytes_of

if TYPE_CHECKING:
    from unfeature.inversion.result import Result

Self = TypeVar("Self", bound="Baseline")
Images = str | Path | Iterable[str | Path | NDArray[Any]]
Progress = Callable[[int, int], None]


@dataclass(eq=False, repr=False)
class Baseline:
    """One way from a code to an image.

    Subclasses are dataclasses: fields that are arrays are stored as such, the others as JSON. They set `method` and
    `version`, implement `reconstruct`, and, if there is something to learn, ``learn(images, phi, …)``, whose
    arguments `seed`, `side`, `memory`, `output` and `progress` mean the same everywhere (see `Stream`).

    Attributes
    ----------
    learned : bool
        Whether there is anything to learn; where not, ``of(phi)`` makes the method.
    several : bool
        Whether it can give several inverses of one code.
    described : dict
        `Representation.to_config` of the descriptor that this was learned for.
    """

    method: ClassVar[str] = ""
    version: ClassVar[int] = 1
    learned: ClassVar[bool] = True
    several: ClassVar[bool] = False

    described: dict[str, Any]

    @classmethod
    def learn(cls: type[Self], *args: Any, **options: Any) -> Self:
        """Learn from images; see the subclass."""
        raise ValueError(f"{cls.method} learns nothing from images")

    @classmethod
    def of(cls: type[Self], phi: Representation) -> Self:
        """The method for a descriptor, where there is nothing to learn; ValueError where there is."""
        if cls.learned:
            raise ValueError(f"{cls.method} has to be learned from images first")
        return cls(phi.to_config())

    def save(self, path: str | Path) -> None:
        """Write to one file, atomically and without pickle."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        plain = {name: value for name, value in values.items() if name not in arrays}
        save_arrays(path, f"{self.method} model", {"version": self.version, "fields": plain}, **arrays)

    @classmethod
    def load(cls: type[Self], path: str | Path, phi: Representation | None = None) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or Path
        phi : Representation, optional
            Check at once that the model was learned for this descriptor; `invert` checks anyway.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, or holds another method's model, another version, or another descriptor's.
        """
        meta, arrays = load_arrays(path, f"{cls.method} model")
        if meta.get("version") != cls.version:
            raise ValueError(f"{path} has version {meta.get('version')} of the {cls.method} model, "
                             f"this release reads version {cls.version}: learn it again")
        values = {**meta.get("fields", {}), **arrays}
        if set(values) != {field.name for field in fields(cls)}:
            raise ValueError(f"{path} is damaged: it holds {', '.join(sorted(values))}; learn the model again")
        model = cls(**values)
        if phi is not None:
            model.check(phi)
        return model

    def check(self, phi: Representation) -> None:
        """Raise a ValueError unless this was learned for the descriptor."""
        asked = phi.to_config()
        if asked == self.described:
            return
        names = sorted({n for n in {**asked, **self.described} if asked.get(n) != self.described.get(n)})
        names = ["type"] if "type" in names else names
        differences = ", ".join(f"{n} {self.described.get(n)!r} instead of {asked.get(n)!r}" for n in names)
        raise ValueError(f"this {self.method} model was learned for another descriptor ({differences}): "
                         "learn one for yours, or use the model's descriptor")

    def invert(self, phi: Representation, code: NDArray[Any] | Tensor, *, size: tuple[int, int] | None = None,
               count: int = 1, seed: int = 0) -> Result:
        """Find images whose code is near the one given.

        Parameters
        ----------
        phi : Representation
            The descriptor of the code, the same that the model was learned for.
        code : ndarray (h, w, D) or Tensor (1, D, h, w)
        size : tuple of int, optional
            Height and width of the image; the smallest with a code of this shape by default.
        count : int
            How many different inverses; more than one only where `several` is set.
        seed : int
            Of whatever is drawn at random.

        Returns
        -------
        Result
            Images with values in [0, 1]; errors measured with the descriptor.

        Raises
        ------
        ValueError
            If the code is not one of this descriptor's, or the model was learned for another descriptor.
        """
        from unfeature.inversion.result import Result

        self.check(phi)
        tensor = code_to_tensor(code) if isinstance(code, np.ndarray) else code
        if len(tensor) != 1:
            raise ValueError(f"a baseline inverts one code at a time, got {len(tensor)}")
        if count < 1 or (count > 1 and not self.several):
            raise ValueError(f"{self.method} gives one inverse, not {count}")
        size = self.size_for(phi, tuple(tensor.shape[1:])) if size is None else size
        expected = phi.output_shape(*size)
        if tuple(tensor.shape[1:]) != expected:
            raise ValueError(f"the code has the shape {tuple(tensor.shape[1:])} (D, h, w), but that of an image of "
                             f"{size[0]}×{size[1]} pixels is {expected}: give the size that belongs to the code")
        begin = time.perf_counter()
        images = self.reconstruct(phi, code_to_numpy(tensor.detach()), size, count, seed)
        images = images[..., 0] if images.ndim == 4 and images.shape[-1] == 1 else images
        seconds = time.perf_counter() - begin
        codes = np.repeat(code_to_numpy(tensor.detach())[None], len(images), axis=0)
        result = Result.from_images(phi, codes, images, method=self.method, seconds=seconds, seed=seed)
        return replace(result, starts=len(images))

    def size_for(self, phi: Representation, code_shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of an image whose code has the shape (D, h, w) or (D,), where none are given."""
        return phi.image_size_for(code_shape)

    def reconstruct(self, phi: Representation, code: NDArray[Any], size: tuple[int, int], count: int,
                    seed: int) -> NDArray[np.float32]:
        """The images (count, H, W, C) in [0, 1] of a code (h, w, D) or (D,)."""
        raise NotImplementedError


class Savable(Protocol):
    """A model that can be written to a file."""

    def save(self, path: str | Path) -> None:
        """Write to one file."""


Model = TypeVar("Model", bound=Savable)


class Learner:
    """What a pass over images builds up: nothing but arrays, so that it can stop and go on.

    Attributes
    ----------
    arrays : dict of ndarray
        The whole state.
    encodes : bool
        Whether it wants the images' codes; without them `see` gets empty ones.
    """

    encodes: ClassVar[bool] = True
    arrays: dict[str, NDArray[Any]]

    def see(self, image: NDArray[np.float32], code: NDArray[np.float32], rng: np.random.Generator) -> None:
        """Take in one image (H, W) or (H, W, C) and its code (h, w, D) or (D,)."""
        raise NotImplementedError


@dataclass
class Stream:
    """One pass over images in a seeded order, which a kill only interrupts.

    Attributes
    ----------
    images : path, or iterable of paths and arrays
        Folders, image files, or images (H, W) or (H, W, 3) with values in [0, 1].
    phi : Representation, optional
        Encodes the images, which are grey if it takes grey ones; without it they are grey and their codes empty.
    seed : int
        Decides the order of the images and everything drawn at random; the same seed gives the same model.
    side : int, optional
        Resize each image so that its longer side has this many pixels; as they are by default.
    memory : str or int
        Bound on what is held while learning, such as ``"2GB"``. Methods that keep images keep what fits, a fair
        sample; the others say how much they need if it is too little.
    output : path, optional
        The model's file. The state is kept beside it, as ``<output>.partial``, once a minute; the same call finds
        it and goes on from there.
    progress : callable, optional
        Called with the number of images seen and the number of all.
    interval : float
        Seconds between states kept.
    """

    interval: ClassVar[float] = 60.0

    images: Images
    phi: Representation | None
    seed: int = 0
    side: int | None = None
    memory: str | int = "2GB"
    output: str | Path | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.output is not None and Path(self.output).is_dir():
            raise ValueError(f"cannot write {self.output}: it is a folder; give the name of a file")
        self.sources = _sources(self.images)
        self.order = np.random.default_rng(self.seed).permutation(len(self.sources))
        self._saved = time.monotonic()

    def __len__(self) -> int:
        return len(self.sources)

    def run(self, learner: Learner, settings: dict[str, Any], smallest: int = 1) -> None:
        """Show every image to the learner.

        Parameters
        ----------
        learner : Learner
        settings : dict
            What else decides the result; a state kept under other settings is not used.
        smallest : int
            Images narrower or lower than this many pixels are passed over.

        Raises
        ------
        ValueError
            If an image cannot be read, or all are too small.
        """
        identity = self._identity(settings)
        begin, used = self._resume(learner, identity)
        for position in range(begin, len(self)):
            image = self._read(self.sources[self.order[position]])
            if min(image.shape[:2]) >= smallest:
                code = np.asarray(self.phi(image) if self.phi and learner.encodes else [], dtype=np.float32)
                learner.see(image, code, np.random.default_rng([self.seed, position]))
                used += 1
            if self.progress is not None:
                self.progress(position + 1, len(self))
            if self.due:
                self.keep(learner, settings, position + 1, used)
        if used == 0:
            raise ValueError(f"all {len(self)} images are smaller than {smallest}×{smallest} pixels, "
                             "which this method needs: give larger images")

    def keep(self, learner: Learner, settings: dict[str, Any], position: int, used: int) -> None:
        """Write the learner's state beside the output, after so many images, of which some were used."""
        if self.partial is not None:
            meta = {"identity": self._identity(settings), "next": position, "used": used}
            save_arrays(self.partial, "partial model", meta, **learner.arrays)
        self._saved = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to keep the state again."""
        return time.monotonic() - self._saved > self.interval

    def finish(self, model: Model) -> Model:
        """Save the model to `output`, if there is one, remove the state kept beside it, and return the model."""
        if self.output is not None and self.partial is not None:
            model.save(self.output)
            self.partial.unlink(missing_ok=True)
        return model

    @property
    def room(self) -> int:
        """`memory` in bytes."""
        return bytes_of(self.memory)

    def rows_within(self, fixed: int, row: int, least: int) -> int:
        """How many rows of `row` bytes fit into the memory beside `fixed` bytes; ValueError if fewer than `least`."""
        rows = (self.room - fixed) // row
        if rows < least:
            raise ValueError(f"learning needs at least {(fixed + least * row) / 1e6:.0f} MB, but "
                             f"memory={self.memory}: allow more, or learn a smaller model")
        return rows

    @property
    def partial(self) -> Path | None:
        """Where the state is kept."""
        return None if self.output is None else Path(f"{self.output}.partial")

    def _identity(self, settings: dict[str, Any]) -> str:
        names = [str(s) if isinstance(s, Path) else f"{s.shape} {zlib.crc32(s.tobytes())}" for s in self.sources]
        described = None if self.phi is None else self.phi.to_config()
        return json.dumps([settings, described, self.seed, self.side, str(self.memory), names], sort_keys=True)

    def _resume(self, learner: Learner, identity: str) -> tuple[int, int]:
        if self.partial is None or not self.partial.exists():
            return 0, 0
        try:
            meta, arrays = load_arrays(self.partial, "partial model")
        except ValueError:
            return 0, 0
        if meta.get("identity") != identity:
            return 0, 0
        learner.arrays.update(arrays)
        return int(meta["next"]), int(meta["used"])

    def _read(self, source: Path | NDArray[Any]) -> NDArray[np.float32]:
        grey = self.phi is None or self.phi.in_channels[0] == 1
        image = read_image(source) if isinstance(source, Path) else source
        image = to_grey(image) if grey else image
        if not grey and image.ndim == 2:
            image = np.repeat(image[..., None], 3, axis=2)
        return image.astype(np.float32) if self.side is None else resize_longer(image, self.side)


def _sources(images: Images) -> list[Path | NDArray[Any]]:
    given = [images] if isinstance(images, (str, Path)) else images
    sources: list[Path | NDArray[Any]] = []
    for item in given:
        if isinstance(item, np.ndarray):
            sources.append(item)
        elif Path(item).is_file():
            sources.append(Path(item))
        else:
            sources.extend(list_images(item))
    if not sources:
        raise ValueError("there are no images to learn from: give a folder of images")
    return sources

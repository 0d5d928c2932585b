"""The contract of the baselines: learned from images, saved, loaded, applied to a code."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from unfeature.catalogue import command_name
from unfeature.features.base import Representation, code_to_numpy, code_to_tensor, differences
from unfeature.features.checks import check_count, check_seed, check_size
from unfeature.features.code import image_size_of
from unfeature.inversion.decoder import none_ships
from unfeature.inversion.result import Result
from unfeature.io.files import load_arrays, save_arrays
from unfeature.io.schema import Field, Schema, Value, check_fields, check_shapes

from .stream import Encoder, Floats, Images, Progress, Size, Stream
from .windows import Windows

Self = TypeVar("Self", bound="Baseline")

SMALLEST_NORM = 1e-15
WEIGHTS = Path(__file__).parent / "weights"


@dataclass(eq=False, repr=False)
class Baseline:
    """One way from a code to an image.

    Subclasses are dataclasses: fields that are arrays are stored as such, the others as JSON. They implement
    `reconstruct` and, if there is something to learn, `learn_from`. The first line of their docstring names them in
    help texts. The command-line name, `method`, follows from the name of the class.

    Attributes
    ----------
    version : int
        Version of the stored fields; files of another version are refused.
    learned : bool
        Whether there is anything to learn; where not, ``of(phi)`` makes the method.
    several : bool
        Whether it can give several inverses of one code.
    encoder, grid : type, bool
        The class of what makes the codes that it inverts, and whether they need positions.
    inverted, feature : str
        The codes that it inverts, in words, and the command-line name of a descriptor with such codes.
    schema : dict
        What the stored fields are; the dimensions that it names and `dimensions` knows are those of the descriptor.
    described : dict
        ``to_config()`` of the descriptor that this was learned for.
    """

    method: ClassVar[str] = ""
    version: ClassVar[int] = 1
    learned: ClassVar[bool] = True
    several: ClassVar[bool] = False
    encoder: ClassVar[Any] = Representation
    grid: ClassVar[bool] = True
    inverted: ClassVar[str] = "codes with positions, as HOG and DSIFT give"
    feature: ClassVar[str] = "hog"

    schema: ClassVar[Schema] = {}

    described: dict[str, Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.method = command_name(cls.__name__)

    @classmethod
    def inverts(cls, phi: Any) -> bool:
        """Whether this method inverts the codes of a descriptor."""
        return isinstance(phi, cls.encoder) and (not cls.grid or phi.has_positions)

    @classmethod
    def require(cls, phi: Encoder) -> None:
        """Raise a ValueError unless this method inverts the codes of the descriptor."""
        if not cls.inverts(phi):
            raise ValueError(f"{cls.method} inverts {cls.inverted}, not {type(phi).__name__}: choose another method")

    @classmethod
    def learn(cls: type[Self], images: Images, phi: Any, *, seed: int = 0, side: int | None = None,
              memory: str | int = "2GB", output: str | Path | None = None, progress: Progress | None = None,
              **parameters: Any) -> Self:
        """Learn from images, each of which is read once.

        Parameters
        ----------
        images : path, or iterable of paths and arrays
            Folders, image files, or images (H, W) or (H, W, 3) with values in [0, 1].
        phi : Representation
            The descriptor whose codes are to be inverted.
        seed : int
            Seed of the order of the images and of all random numbers; the same seed gives the same model.
        side : int, optional
            Pixels of the longer side, to which each image is resized; as it is by default.
        memory : str or int
            Bound on the memory used while learning, such as ``"2GB"``. Methods that store images keep a fair sample
            of those that fit; the others say how much they need if it is too little.
        output : path, optional
            File to write. Once a minute the state is written to ``<output>.partial``; after a kill, the same call
            resumes from it and writes the same bytes.
        progress : callable, optional
            Called with the number of images seen and the number of all.
        **parameters
            Those of the method, described by its `learn_from`; whole numbers are at least 1.

        Raises
        ------
        FileNotFoundError, ValueError
            If a folder or file is missing; if the method does not invert the descriptor, an image cannot be read, all
            are too small, a parameter is out of range, or the memory does not suffice.
        """
        if not cls.learned:
            raise ValueError(f"{cls.method} learns nothing from images: make it with {cls.__name__}.of(phi)")
        cls.require(phi)
        own = inspect.signature(cls.learn_from).parameters.values()
        settings = {p.name: p.default for p in own if p.kind is p.KEYWORD_ONLY} | parameters
        for parameter in own:
            if type(parameter.default) is int and settings[parameter.name] < 1:
                raise ValueError(f"{parameter.name} is at least 1, got {settings[parameter.name]}")
        stream = Stream(images, phi, {"method": cls.method, **settings}, seed, side, memory, output, progress)
        learn_from: Callable[..., Self] = cls.learn_from
        model = learn_from(stream, phi, **settings)
        if output is not None and stream.checkpoint_file is not None:
            model.save(output)
            stream.checkpoint_file.unlink(missing_ok=True)
        return model

    @classmethod
    def learn_from(cls: type[Self], stream: Stream, phi: Any) -> Self:
        """What a method learns from a stream of images; its keyword parameters are those of `learn`."""
        raise NotImplementedError

    @classmethod
    def of(cls: type[Self], phi: Encoder) -> Self:
        """The method for a descriptor, where there is nothing to learn or a model ships; else ValueError."""
        cls.require(phi)
        if not cls.learned:
            return cls(phi.to_config())
        if not cls.shipped():
            raise ValueError(f"{cls.method} has to be learned from images first")
        return cls.pretrained(phi)

    @classmethod
    def shipped(cls) -> list[dict[str, Any]]:
        """``to_config()`` of the descriptors for which a model ships with the package."""
        return [model.described for model in cls._all_shipped()]

    @classmethod
    def pretrained(cls: type[Self], phi: Any) -> Self:
        """The model that ships with the package for a descriptor; where there is none, a ValueError names the nearest.
        """
        for model in cls._all_shipped():
            if not differences(model.described, phi.to_config()):
                return model
        raise none_ships(cls.method, phi, cls.shipped())

    @classmethod
    def _all_shipped(cls: type[Self]) -> list[Self]:
        return [cls.load(path) for path in sorted(WEIGHTS.glob(f"{cls.method}-*.npz"))]

    def save(self, path: str | Path) -> None:
        """Write to one file, atomically and without pickle; arrays that half precision holds exactly, in that."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: _compact(value) for name, value in values.items() if isinstance(value, np.ndarray)}
        plain = {name: value for name, value in values.items() if name not in arrays}
        save_arrays(path, f"{self.method} model", {"version": self.version, "fields": plain}, **arrays)

    @classmethod
    def load(cls: type[Self], path: str | Path, phi: Encoder | None = None) -> Self:
        """Read what `save` wrote; with `phi`, check at once that it was learned for this descriptor.

        A missing file is a FileNotFoundError; one that is damaged, or holds another method's model, another version or
        another descriptor's, a ValueError.
        """
        meta, arrays = load_arrays(path, f"{cls.method} model", meta={"version": Value(int), "fields": Value(dict)})
        if meta["version"] != cls.version:
            raise ValueError(f"{path} has version {meta['version']} of the {cls.method} model, "
                             f"this release reads version {cls.version}: learn it again")
        kept = [name for name, field in cls.schema.items() if isinstance(field, Field) and field.dtype == "float16"]
        single = {name: array.astype(np.float32) for name, array in arrays.items()
                  if array.dtype == np.float16 and name not in kept}
        values = {**meta["fields"], **arrays, **single}
        if set(values) != {field.name for field in fields(cls)}:
            raise ValueError(f"{path} is damaged: it holds {', '.join(sorted(values))}; learn the model again")
        schema = {"described": Value(dict), **cls.schema}
        check_fields(path, {name: values[name] for name in schema}, schema)
        try:
            model = cls(**values)
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}; learn the model again") from error
        if phi is not None:
            model.check(phi)
        return model

    def dimensions(self, phi: Any) -> dict[str, int]:
        """Dimensions of the schema that follow from a descriptor: of windows of the code and of their patches."""
        if not hasattr(self, "cells"):
            return {}
        shape = Windows.of(phi, self.cells, getattr(self, "reduction", 1))
        return {"code": shape.code_length, "pixels": shape.patch_length}

    def check(self, phi: Encoder) -> None:
        """Raise a ValueError unless this was learned for the descriptor."""
        if found := differences(self.described, phi.to_config()):
            raise ValueError(f"this {self.method} model was learned for another descriptor ({found}): "
                             "learn one for yours, or use the model's descriptor")
        check_shapes(f"this {self.method} model", vars(self), self.schema, self.dimensions(phi))

    def invert(self, phi: Encoder, code: Any, *, size: Size | None = None, count: int = 1, seed: int = 0) -> Result:
        """Find images whose code is near the one given.

        Parameters
        ----------
        phi : Representation
            The descriptor of the code, the same that the model was learned for.
        code : ndarray (h, w, D) or (D,), or Tensor (1, D, h, w) or (1, D)
            What `phi` gives for an image; for `SIFTKeypoints`, a `KeypointSet`.
        size : tuple of int, optional
            Height and width of the image; by default those that a `Code` with positions remembers, or the smallest.
        count : int
            Number of different inverses; more than one only where `several` is set.
        seed : int
            Seed of all random numbers.

        Returns
        -------
        Result
            Images with values in [0, 1]; errors measured with the descriptor.

        Raises
        ------
        ValueError
            If the code is not one of this descriptor's, or the model was learned for another descriptor.
        """
        self.check(phi)
        count, seed = check_count("count", count), check_seed(seed)
        if count > 1 and not self.several:
            raise ValueError(f"{self.method} gives one inverse, not {count}")
        code, size = self.read_code(phi, code, size)
        begin = time.perf_counter()
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            images = self.reconstruct(phi, code, size, count, seed)
        if not np.isfinite(images).all():
            raise ValueError(f"{self.method} finds no finite image for this code, whose values are too large or too "
                             "small: scale it, or choose another method")
        images = images[..., 0] if images.ndim == 4 and images.shape[-1] == 1 else images
        facts = {"method": self.method, "seconds": time.perf_counter() - begin, "seed": seed}
        if isinstance(code, np.ndarray) and not code.any():
            facts["status"] = "finished; the code is zero, so its relative error is not defined"
        return replace(self.measure(phi, code, images, facts), starts=len(images))

    def read_code(self, phi: Any, code: Any, size: Size | None) -> tuple[Any, Size]:
        """One code as an array (h, w, D) or (D,), and the size of its image; ValueError if they do not fit."""
        tensor = code_to_tensor(code) if isinstance(code, np.ndarray) else code
        if len(tensor) != 1:
            raise ValueError(f"a baseline inverts one code at a time, got {len(tensor)}")
        norm = float(tensor.detach().double().norm())
        if norm and not SMALLEST_NORM < norm < 1 / SMALLEST_NORM:
            raise ValueError(f"the norm of the code is {norm:.1g}, too small or too large to be told from zero or "
                             "infinity: scale the code, or check where it comes from")
        shape = tuple(tensor.shape[1:])
        remembered = image_size_of(code, phi) if len(shape) == 3 else None
        size = remembered if size is None else check_size(size)
        size = self.size_for(phi, shape) if size is None else size
        expected = phi.output_shape(*size)
        if shape != expected:
            raise ValueError(f"the code has the shape {shape} (D, h, w), but that of an image of "
                             f"{size[0]}×{size[1]} pixels is {expected}: give the size that belongs to the code")
        return code_to_numpy(tensor.detach()), size

    def size_for(self, phi: Representation, code_shape: tuple[int, ...]) -> Size:
        """Height and width of an image whose code has the shape (D, h, w) or (D,), where none are given."""
        return phi.image_size_for(code_shape)

    def reconstruct(self, phi: Any, code: Any, size: Size, count: int, seed: int) -> Floats:
        """The images (count, H, W, C) in [0, 1] of a code (h, w, D) or (D,)."""
        raise NotImplementedError

    def measure(self, phi: Any, code: Any, images: Floats, facts: dict[str, Any]) -> Result:
        """The result of images of one code, with their errors."""
        return Result.from_images(phi, np.repeat(code[None], len(images), axis=0), images, **facts)


def in_half(values: NDArray[Any]) -> Floats:
    """Values rounded to half precision, in single precision; ValueError if one is too large for that."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16).astype(np.float32)
    if not np.isfinite(rounded).all():
        raise ValueError(f"half precision ends at 65504, but the model has values up to {np.abs(values).max():.3g}: "
                         "leave half out")
    return rounded


def _compact(array: NDArray[Any]) -> NDArray[Any]:
    """In half precision, if that is exact."""
    if array.dtype != np.float32:
        return array
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.array_equal(half, array) else array

"""Codes that know where they come from: the size of their image, and the descriptor that computed them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unfeature.io.files import digest, load_array, load_arrays, read_json, save_array, save_arrays, write_json
from unfeature.io.schema import Field, Value, check_fields

FACTS = {"descriptor": Value(dict, optional=True), "image_size": Value(list, optional=True)}
SIZE = {"height": Value(int, 1, 10**6), "width": Value(int, 1, 10**6)}


class Described(Protocol):
    """What describes itself: a `Representation`."""

    def to_config(self) -> dict[str, Any]:
        """A JSON-able description."""


class Code(np.ndarray[Any, Any]):
    """The code (h, w, D) or (D,) of one NumPy image: an array that remembers its image's size and its descriptor.

    Arrays computed from it remember them as long as they have its shape, and `numpy.asarray` forgets them.

    Attributes
    ----------
    image_size : tuple of int or None
        Height and width of the image.
    descriptor : dict or None
        `Representation.to_config` of the descriptor.
    """

    image_size: tuple[int, int] | None
    descriptor: dict[str, Any] | None

    @classmethod
    def of(cls, array: NDArray[Any], descriptor: dict[str, Any] | None, image_size: tuple[int, int] | None) -> Code:
        """An array as a code."""
        code = np.asarray(array).view(cls)
        code.image_size, code.descriptor = image_size, descriptor
        return code

    def __array_finalize__(self, obj: Any) -> None:
        same = getattr(obj, "shape", None) == self.shape
        self.image_size, self.descriptor = (getattr(obj, name, None) if same else None
                                            for name in ("image_size", "descriptor"))

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if array.shape == () else super().__array_wrap__(array, context)

    def __reduce__(self) -> Any:
        return Code.of, (np.asarray(self), self.descriptor, self.image_size)


def image_size_of(code: Any, phi: Described) -> tuple[int, int] | None:
    """Height and width of the image of a code, if the code remembers them and is one of Φ."""
    return code.image_size if isinstance(code, Code) and code.descriptor == phi.to_config() else None


def save_code(path: str | Path, code: NDArray[Any]) -> None:
    """Write a code as .npz, or as a plain .npy whose descriptor and image size follow in ``<path>.json``."""
    path = Path(path)
    known = {name: getattr(code, name, None) for name in FACTS}
    facts = {name: value for name, value in known.items() if value is not None}
    if path.suffix == ".npz":
        return save_arrays(path, "code", facts, code=np.asarray(code))
    if facts:
        write_json(path.with_name(f"{path.name}.json"), {**facts, "digest": digest(code)})
    return save_array(path, np.asarray(code))


def load_code(path: str | Path, phi: Described | None = None) -> Code:
    """Read what `save_code` wrote, or any other .npy of numbers, which remembers nothing.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or is known to be a code of another descriptor than Φ.
    """
    path = Path(path)
    if path.suffix == ".npz":
        facts, arrays = load_arrays(path, "code", {"code": Field()}, FACTS)
        array = arrays["code"]
    else:
        array = load_array(path)
        facts = _facts_beside(path, array)
    array = array[0] if array.ndim in (2, 4) and len(array) == 1 else array
    described, size = facts.get("descriptor"), facts.get("image_size")
    if phi is not None and described and (found := differences(described, phi.to_config())):
        raise ValueError(f"{path} is a code of another descriptor ({found}): give the options that it was made with")
    if size is not None:
        check_fields(path, {"height": size[0] if size else 0, "width": size[-1] if size else 0}, SIZE)
    return Code.of(array, described, None if size is None else (size[0], size[-1]))


def _facts_beside(path: Path, array: NDArray[Any]) -> dict[str, Any]:
    """What the files beside a .npy tell of the array, unless it was written again since."""
    for source in (path.with_name(f"{path.name}.json"), path.with_name("result.json")):
        try:
            facts = read_json(source)
            if facts.get("digest") == digest(array):
                check_fields(source, facts, {**FACTS, "digest": Value(str)})
                return dict(facts)
            if facts.get("digests", {}).get(path.name) == digest(array):
                size = load_array(path.with_name("image.npy")).shape[1:3]
                return {"descriptor": facts["provenance"].get("descriptor"), "image_size": list(size)}
        except (FileNotFoundError, ValueError, AttributeError, TypeError, KeyError):
            continue
    return {}


def differences(config: Mapping[str, Any], other: Mapping[str, Any], ignored: Set[str] = frozenset()) -> str:
    """How two descriptions (`to_config`) differ, as "cell_size 6 instead of 8, …"; the type alone if that differs."""
    names = sorted({*config, *other} - ignored) if config.get("type") == other.get("type") else ["type"]
    pairs = ((name, config.get(name), other.get(name)) for name in names)
    return ", ".join(f"{name} {a!r} instead of {b!r}" for name, a, b in pairs if a != b)

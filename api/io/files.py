"""Files that are either whole or not there, and arrays in files without pickle."""

from __future__ import annotations

import json
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER = "__unfeature__"


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a hidden, empty file beside `path`, with its suffix; rename it to `path` when the block ends.

    A missing folder is created. If the block raises, the file is removed and `path` stays as it was. A ValueError says
    that the folder cannot be made or written to, or that `path` is a folder.
    """
    path = Path(path)
    make_folder(path.parent)
    if path.is_dir():
        raise ValueError(f"cannot write {path}: it is a folder; give the name of a file")
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        temporary.touch()
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(folder: str | Path) -> Path:
    """Create a folder with its parents if it is missing; ValueError if that cannot be."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = ("a file of that name is in the way" if isinstance(error, FileExistsError)
                  else f"{error.strerror or error}; choose another place")
        raise ValueError(f"cannot make the folder {folder}: {reason}") from error
    return folder


@contextmanager
def folder_for_results(folder: str | Path) -> Iterator[Path]:
    """Create a folder before long work starts; if the work fails, remove the new folders that are still empty."""
    folder = Path(folder)
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    make_folder(folder)
    try:
        yield folder
    except BaseException:
        for path in made:
            if any(path.iterdir()):
                break
            path.rmdir()
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as JSON, atomically and indented; arrays become lists, NaN and infinity null."""
    finite = json.loads(json.dumps(value, default=lambda array: array.tolist()), parse_constant=lambda name: None)
    write_text(path, json.dumps(finite, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; FileNotFoundError if it is missing, ValueError if it is not JSON."""
    path = existing_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file, or it is truncated: {error}") from error


def save_array(path: str | Path, array: NDArray[Any]) -> None:
    """Write one array of numbers as .npy, atomically."""
    with atomic(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, _plain("the array", array), allow_pickle=False)


def load_array(path: str | Path) -> NDArray[Any]:
    """Read one array from a .npy file; errors as those of `load_arrays`."""
    path = existing_file(path)
    try:
        with path.open("rb") as stream:
            return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
    except (ValueError, EOFError, OSError, MemoryError) as error:
        raise ValueError(f"{path} is not a whole .npy file of numbers: {_reason(error)}") from error


def save_arrays(path: str | Path, kind: str, meta: dict[str, Any], **arrays: Any) -> None:
    """Write named arrays of numbers or strings as one .npz file of a `kind`, atomically and without pickle.

    Equal contents give equal bytes. Python objects, and a description `meta` that is not JSON, are ValueErrors.
    """
    plain = {name: _plain(f"array {name!r}", array) for name, array in arrays.items()}
    try:
        header = json.dumps({"kind": kind, "meta": meta})
    except (TypeError, ValueError) as error:
        raise ValueError(f"the description of a {kind} file must be JSON: {error}") from error
    plain = {HEADER: np.frombuffer(header.encode(), dtype=np.uint8), **plain}
    with atomic(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **plain)  # type: ignore[arg-type]


def load_arrays(path: str | Path, kind: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what `save_arrays` wrote: the description and the arrays.

    A file that is foreign, damaged, of another kind, or holds a pickle, which is never loaded, is a ValueError.
    """
    path = existing_file(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(arrays.pop(HEADER).tobytes())
        found, meta = header["kind"], header["meta"]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} was not written by unfeature; a {kind} file is expected") from error
    except (ValueError, EOFError, OSError, MemoryError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise ValueError(f"{path} is not a whole {kind} file of unfeature: {_reason(error)}") from error
    if found != kind:
        raise ValueError(f"{path} is a file of kind {found!r}: give one of kind {kind!r}")
    return meta, arrays


def existing_file(path: str | Path, kind: str = "file") -> Path:
    """The path; FileNotFoundError if there is no such file, ValueError if it is a folder."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file")
    if not path.exists():
        raise FileNotFoundError(f"there is no {kind} {path}")
    return path


def _plain(name: str, array: Any) -> NDArray[Any]:
    a = np.asarray(array)
    if a.dtype.hasobject:
        raise ValueError(f"{name} holds Python objects (dtype {a.dtype}), which would need a pickle")
    return a


def _reason(error: Exception) -> str:
    text = str(error)
    if "pickle" in text or "Object arrays" in text:
        return "it may be a pickle, and pickles are never loaded"
    return text.splitlines()[0] if text else "it is truncated"

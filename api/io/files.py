"""Files that are either whole or not there, and arrays in files without pickle."""

from __future__ import annotations

import hashlib
import json
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .locks import UNFINISHED, locked
from .npy import parse_npy, read_npz
from .schema import Schema, check_fields

HEADER = "__unfeature__"


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a hidden, empty file beside `path`, with its suffix; rename it to `path` when the block ends.

    A missing folder is created. If the block raises, the file is removed and `path` stays as it was. A ValueError says
    that the folder cannot be made or written to, that `path` is a folder, or that the disk is full.
    """
    path = Path(path)
    make_folder(path.parent)
    if path.is_dir():
        raise ValueError(f"cannot write {path}: it is a folder; give the name of a file")
    temporary = path.with_name(f"{UNFINISHED}{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        temporary.touch()
        with locked(temporary):
            yield temporary
        temporary.replace(path)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    finally:
        with suppress(OSError):
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


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, in UTF-8; what a file name holds beside UTF-8 is escaped, as in JSON."""
    with atomic(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as JSON, atomically and indented; arrays become lists, NaN and infinity null."""
    write_text(path, json.dumps(as_json(value), indent=2, ensure_ascii=False) + "\n")


def as_json(value: Any) -> Any:
    """A value as it will be read again: arrays become lists, NaN and infinity None."""
    return json.loads(json.dumps(value, default=lambda array: array.tolist()), parse_constant=lambda name: None)


def read_json(path: str | Path, schema: Schema | None = None) -> Any:
    """Read a JSON file; FileNotFoundError if it is missing, ValueError if it is not JSON or does not fit the schema."""
    path = existing_file(path)
    try:
        value = _parse_json(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise ValueError(f"{path} is not a JSON file, or it is truncated: {_reason(error)}") from error
    if schema is not None:
        check_fields(path, value, schema)
    return value


def _parse_json(data: bytes) -> Any:
    """The value of JSON text, which has no NaN and no infinity."""

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is not JSON")

    return json.loads(data.decode("utf-8"), parse_constant=refuse)


def save_array(path: str | Path, array: NDArray[Any]) -> None:
    """Write one array of numbers as .npy, atomically."""
    with atomic(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, _plain("the array", array), allow_pickle=False)


def load_array(path: str | Path) -> NDArray[Any]:
    """Read one array of numbers from a .npy file; errors as those of `load_arrays`."""
    path = existing_file(path)
    try:
        array = parse_npy(path.read_bytes())
        if array.dtype.kind == "U":
            raise ValueError("it holds text")
    except (ValueError, OSError, MemoryError) as error:
        raise ValueError(f"{path} is not a whole .npy file of numbers: {_reason(error)}") from error
    return array


def digest(array: NDArray[Any]) -> str:
    """A short text that two arrays share if their dtypes, shapes and values are equal."""
    a = np.ascontiguousarray(array)
    return hashlib.sha256(f"{a.dtype.str} {np.shape(array)} ".encode() + a.tobytes()).hexdigest()[:16]


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


def load_arrays(path: str | Path, kind: str, arrays: Schema | None = None, meta: Schema | None = None
                ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what `save_arrays` wrote: the description and the arrays.

    A file that is foreign, damaged, of another kind, or holds a pickle, which is never loaded, is a ValueError; so is
    one whose arrays or description do not fit the schema, if there is one.
    """
    path = existing_file(path)
    try:
        found = read_npz(path)
        header = found.pop(HEADER, None)
        facts = None if header is None else _parse_json(header.tobytes())
    except Exception as error:  # zipfile's parser raises errors of any type
        raise ValueError(f"{path} is not a whole {kind} file of unfeature: {_reason(error)}") from error
    if not isinstance(facts, dict) or set(facts) != {"kind", "meta"} or not isinstance(facts["meta"], dict):
        raise ValueError(f"{path} was not written by unfeature; a {kind} file is expected")
    if facts["kind"] != kind:
        raise ValueError(f"{path} is a file of kind {str(facts['kind'])[:40]!r}: give one of kind {kind!r}")
    for values, schema in ((facts["meta"], meta), (found, arrays)):
        if schema is not None:
            check_fields(path, values, schema)
    return facts["meta"], found


def existing_file(path: str | Path, kind: str = "file") -> Path:
    """The path; FileNotFoundError if there is no such file, ValueError if it is a folder, a pipe or a device."""
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"there is no {kind} {path}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISDIR(mode):
        raise ValueError(f"{path} is a folder; give a file")
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is a pipe or a device; give a file")
    return path


def _plain(name: str, array: Any) -> NDArray[Any]:
    a = np.asarray(array)
    if a.dtype.hasobject:
        raise ValueError(f"{name} holds Python objects (dtype {a.dtype}), which would need a pickle")
    return a


def _reason(error: BaseException) -> str:
    if isinstance(error, (RecursionError, MemoryError)):
        return "it is nested too deeply, or too large"
    text = str(error)
    return text.splitlines()[0][:200] if text.strip() else "it is truncated"

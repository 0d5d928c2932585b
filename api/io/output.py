"""Outputs that destroy nothing: no input, no file of others, no whole result by half of another."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from .files import atomic, make_folder, read_json, write_json, write_text
from .interrupts import uninterrupted
from .locks import UNFINISHED, locked, remove_unfinished

MARK = "result.json"
SUFFIXES = (".csv", ".gif", ".html", ".json", ".npy", ".npz", ".png")
USUAL = ("preimage.png", "original.png", "glyph.png", "image.npy", "code.npy", "report.html", MARK)
MAGIC = (b"\x93NUM", b"PK\x03\x04")
SAFETENSORS = b'{"'  # after eight bytes of length

Paths = Iterable[str | Path]


@contextmanager
def result_folder(folder: str | Path, inputs: Paths = (), names: Sequence[str] = USUAL, mark: str = MARK
                  ) -> Iterator[Path]:
    """Yield an empty folder for the files of one result; they appear in `folder` together when the block ends.

    Enter it before the work, so that what would go wrong at the end is said at once; `names` are those that will be
    written. Files that `mark`, the ``result.json`` of an earlier result, lists are replaced or removed, all others
    stay. If the block raises, everything stays as it was.

    Raises
    ------
    ValueError
        If the folder cannot be written to, an input or a file of others would be overwritten, or the disk is full.
    """
    folder, inputs = Path(folder), list(inputs)
    _refuse_losses(folder, names, inputs, mark)
    missing = [p for p in (folder, *folder.parents) if not os.path.lexists(p)]
    with ExitStack() as stack:
        stack.callback(_remove_empty, missing[1:])
        new = missing and missing[-1].parent.is_dir()
        staging = stack.enter_context(_staging(make_folder(folder.parent if new else folder), folder))
        try:
            yield staging
            _commit(staging, folder, inputs, mark)
        except OSError as error:
            raise ValueError(f"cannot write the result into {folder}: {error.strerror or error}; choose another place, "
                             "or free some room") from error


def write_beside_result(folder: Path, name: str, text: str) -> Path:
    """Write a text file into the folder of a result, and list it there; ValueError if it is a file of others."""
    _refuse_losses(folder, [name], (), MARK)
    write_text(folder / name, text)
    facts = read_json(folder / MARK)
    write_json(folder / MARK, {**facts, "files": sorted(_files_of(folder, MARK) | {name})})
    return folder / name


def check_output(path: str | Path, inputs: Paths = (), begins: bytes = b"") -> Path:
    """The path of a file to write, .npy, .npz, .safetensors or one that `begins` so, checked before the work.

    ValueError if it is one of the inputs, through links also, an existing file of another kind, or cannot be written.
    """
    path = Path(path)
    _refuse_inputs(path, inputs)
    remove_unfinished(path.parent)
    missing = [p for p in path.parents if not p.exists()]
    try:
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as stream:
                start = stream.read(10)
                if not (start.startswith(begins) if begins else start[:4] in MAGIC or start[8:] == SAFETENSORS):
                    raise ValueError(f"{path} is not a file that unfeature wrote: give another name")
        with suppress(_Tried), atomic(path):
            raise _Tried
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    finally:
        _remove_empty(missing)
    return path


class _Tried(Exception):
    """Ends a trial of writing."""


@contextmanager
def _staging(place: Path, folder: Path) -> Iterator[Path]:
    """A locked, hidden folder, which goes again; those of processes that were killed go, too."""
    remove_unfinished(place)
    staging = place / f"{UNFINISHED}{uuid.uuid4().hex[:12]}"
    try:
        staging.mkdir()
    except OSError as error:
        raise ValueError(f"cannot write into {folder}: {error.strerror or error}; choose another place") from error
    try:
        with locked(staging):
            yield staging
    finally:
        with uninterrupted():
            shutil.rmtree(staging, ignore_errors=True)


def _commit(staging: Path, folder: Path, inputs: Paths, mark: str) -> None:
    """Move the files of a result to their folder; a kill in between leaves a result that is marked as incomplete."""
    facts = read_json(staging / mark) if (staging / mark).exists() else {}
    names = sorted({mark, *(path.name for path in staging.iterdir())})
    write_json(staging / mark, {**facts, "files": names})
    with suppress(OSError):
        staging.rename(folder)  # where there is no folder, or an empty one
        return
    # staging has a lock of its own
    with uninterrupted(), nullcontext() if folder.name.startswith(UNFINISHED) else locked(folder):
        _refuse_losses(folder, names, inputs, mark)
        old = _files_of(folder, mark)
        write_json(folder / mark, {"incomplete": True, "files": sorted(old.union(names))})
        names.remove(mark)
        for name in names:
            (staging / name).replace(folder / name)
        for name in old.difference(names, [mark]):
            (folder / name).unlink(missing_ok=True)
        (staging / mark).replace(folder / mark)


def _refuse_losses(folder: Path, names: Iterable[str], inputs: Paths, mark: str) -> None:
    """ValueError if one of these files, or of those of an earlier result, is an input, or if it is of others."""
    names = set(names)
    before = {name for name in names if os.path.lexists(folder / name)}
    ours = _files_of(folder, mark)  # read after the look at the files, as another writer lists a file before it appears
    for name in sorted(names | ours):
        _refuse_inputs(folder / name, inputs)
        if name in before - ours and os.path.lexists(folder / name):
            raise ValueError(f"{folder / name} would be overwritten, but belongs to no result of unfeature: "
                             "choose another folder, or move the file")


def _refuse_inputs(path: Path, inputs: Paths) -> None:
    for one in inputs:
        with suppress(OSError):
            if os.path.samefile(path, one):
                raise ValueError(f"{path} is an input, and would be overwritten: choose another output")


def _files_of(folder: Path, mark: str) -> set[str]:
    """Names of the files of the result in a folder, as its mark lists them."""
    try:
        names: Any = read_json(folder / mark)["files"]
    except (ValueError, KeyError, TypeError, FileNotFoundError):
        return set()
    return {name for name in (names if isinstance(names, list) else ())
            if isinstance(name, str) and name == Path(name).name and name.endswith(SUFFIXES)}


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()

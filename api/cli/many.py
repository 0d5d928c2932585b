"""Commands on many photographs: an output for each, made in several processes; a second run goes on."""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from unfeature.io.files import make_folder, read_json, write_json
from unfeature.io.locks import remove_unfinished
from unfeature.io.processes import cores, fresh_processes, on_cluster, prepare_processes

from .common import progress_bar, say_warnings

if TYPE_CHECKING:
    from unfeature.features.code import Code

Photographs = Sequence[tuple[str, Path]]
Failures = dict[str, str]
Work = Callable[[Photographs], Failures]
"""Makes the outputs of some photographs, and returns why it could not, by name; other processes can import it."""

SETTINGS = "run.json"
AT_ONCE = 16  # photographs that a process takes at a time
PART = ".part-"
IMPORTED = f"{__package__}.prepared"  # what the processes need


class Outputs(Protocol):
    """Where the outputs go, one for each name."""

    @property
    def place(self) -> Path:
        """The folder, or the store."""

    def has(self, name: str) -> bool:
        """Whether the output of a photograph is there, and whole."""

    def check(self, settings: dict[str, Any]) -> None:
        """Raise a ValueError if what is there was made with other settings."""

    def begin(self, settings: dict[str, Any]) -> None:
        """Note the settings, and remove what killed processes left."""

    def abandon(self) -> None:
        """Remove what `begin` wrote, if there is nothing else."""


@dataclass(frozen=True)
class Folder:
    """A folder with a file, or a folder, for each photograph, and run.json, which holds the settings."""

    place: Path
    ending: str

    def has(self, name: str) -> bool:
        """Whether the file is there; of a result's folder, whether it is whole, and nobody stopped the search."""
        path = self.place / f"{name}{self.ending}"
        if path.name != "result.json":
            return path.is_file()
        with suppress(ValueError, FileNotFoundError, AttributeError, KeyError):
            from unfeature.inversion.result import STOPPED

            facts = read_json(path)
            return not (facts.get("incomplete") or facts["status"].startswith(STOPPED))
        return False

    def check(self, settings: dict[str, Any]) -> None:
        """ValueError for other settings."""
        with suppress(FileNotFoundError):
            _refuse_others(self.place, read_json(self.place / SETTINGS), settings)

    def begin(self, settings: dict[str, Any]) -> None:
        """Write run.json, and remove the files that a killed run left."""
        write_json(make_folder(self.place) / SETTINGS, settings)
        for path in (self.place, *self.place.rglob("*")):
            if path.is_dir():
                remove_unfinished(path)

    def abandon(self) -> None:
        """Remove run.json, and the folder."""
        if [path.name for path in self.place.iterdir()] == [SETTINGS]:
            shutil.rmtree(self.place)

    def write(self, codes: Mapping[str, Code]) -> None:
        """Write codes as .npy; the descriptor and the image's size follow in a .json beside each."""
        from unfeature.features.code import save_code

        for name, code in codes.items():
            save_code(self.place / f"{name}{self.ending}", code)


@dataclass(frozen=True)
class Store:
    """A Zarr group with an array for each photograph, whose attributes hold the settings."""

    place: Path

    @property
    def group(self) -> Any:
        """The group."""
        try:
            import zarr
        except ModuleNotFoundError as error:
            raise ValueError("a .zarr store needs zarr: install unfeature[zarr], or name a folder") from error
        return zarr.open_group(self.place, mode="a")

    def has(self, name: str) -> bool:
        """Whether the array is there; it appears when it is whole."""
        return (self.place / name / "zarr.json").is_file()

    def check(self, settings: dict[str, Any]) -> None:
        """ValueError for other settings."""
        if (self.place / "zarr.json").is_file() and ((found := dict(self.group.attrs)) or not self._is_empty):
            _refuse_others(self.place, found, settings)

    def begin(self, settings: dict[str, Any]) -> None:
        """Write the attributes, and remove the parts that a killed run left."""
        self.group.attrs.put(settings)
        for part in self.place.glob(f"{PART}*"):
            shutil.rmtree(part)

    def abandon(self) -> None:
        """Remove the empty group."""
        if self._is_empty:
            shutil.rmtree(self.place)

    @property
    def _is_empty(self) -> bool:
        """Whether there is nothing but the group; a run that is killed as it begins leaves one without attributes."""
        return [path.name for path in self.place.iterdir()] == ["zarr.json"]

    def write(self, codes: Mapping[str, Code]) -> None:
        """Write an array for each code, whose attributes hold the size of the image."""
        parts = {f"{PART}{uuid.uuid4().hex[:12]}": name for name in codes}
        asyncio.run(_create_arrays(self.place, {part: codes[name] for part, name in parts.items()}))
        for part, name in parts.items():
            (self.place / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                (self.place / part).rename(self.place / name)
            except OSError:  # a worker that was thought lost has written it
                shutil.rmtree(self.place / part)
                if not self.has(name):
                    raise


async def _create_arrays(place: Path, codes: Mapping[str, Code]) -> None:
    """Create the arrays of a Zarr group together, which takes half as long as one by one."""
    import numpy as np
    from zarr.api.asynchronous import create_array
    from zarr.storage import LocalStore

    store = LocalStore(place)
    await asyncio.gather(*(create_array(store, name=name, data=np.asarray(code), chunks=code.shape,
                                        attributes={"image_size": list(code.image_size or ())})
                           for name, code in codes.items()))


def on_each(work: Work, photographs: Photographs, outputs: Outputs, settings: dict[str, Any], *, jobs: int | None,
            scheduler: str | None, quiet: bool, at_once: int = AT_ONCE) -> None:
    """Do the work of all photographs whose outputs are missing, and say which failed.

    It is done in so many processes, or on the Dask cluster of a scheduler, whose workers have the same files.
    ClickException if some did, ValueError if all did.
    """
    outputs.check(settings)
    missing = [one for one in photographs if not outputs.has(one[0])]
    before = len(photographs) - len(missing)
    if not quiet:
        click.echo(f"{len(photographs)} photographs, {before} done before", err=True)
    if missing:
        outputs.begin(settings)
    done, failures = before, Failures()
    jobs = max(1, min(jobs or cores(), -(-len(missing) // at_once)))
    parts = [missing[begin : begin + at_once] for begin in range(0, len(missing), at_once)]
    try:
        with progress_bar("photograph", quiet) as tell:
            tell(done, len(photographs), 0)
            for count, failed in _outcomes(work, parts, jobs, scheduler):
                done, failures = done + count, failures | failed
                tell(done, len(photographs), len(failures))
        if failures and len(failures) == len(photographs):
            raise ValueError(f"not one of {len(failures)} photographs can be used; {next(iter(failures.values()))}")
    except ValueError:
        outputs.abandon()
        raise
    if missing and scheduler is not None:
        outputs.begin(settings)  # which removes what lost workers left
    for name, reason in list(failures.items())[:20]:
        click.echo(f"{name}: {reason}", err=True)
    click.echo(outputs.place)
    if failures:
        raise click.ClickException(f"{len(failures)} of {len(photographs)} photographs failed; run the command again "
                                   "to try them again")


def expect_many(jobs: str | None, scheduler: str | None) -> None:
    """Begin to import what the processes of `on_each` need, while this one reads the values of its options."""
    if scheduler is None and jobs != "1" and cores() > 1:
        prepare_processes(IMPORTED)


def attempt(one: Callable[[str, Path], object], photographs: Photographs) -> Failures:
    """Do the work of some photographs; what can go wrong with one does not end the others."""
    failures = Failures()
    for name, path in photographs:
        try:
            one(name, path)
        except (ValueError, OSError) as error:
            failures[name] = " ".join(str(error).split())
    return failures


def _outcomes(work: Work, parts: Sequence[Photographs], jobs: int, scheduler: str | None
              ) -> Iterator[tuple[int, Failures]]:
    """The number of photographs and the failures of each part, as they come."""
    if scheduler is not None:
        for part, found in on_cluster(scheduler, work, parts) if parts else ():
            lost = {name: f"its worker was lost: {found}" for name, _ in part}
            yield len(part), found if isinstance(found, dict) else lost
    elif jobs == 1:
        yield from ((len(part), work(part)) for part in parts)
    else:
        yield from _in_processes(work, parts, jobs)


def _in_processes(work: Work, parts: Sequence[Photographs], jobs: int) -> Iterator[tuple[int, Failures]]:
    """The outcomes as they come; no more parts are under way than the processes need."""
    waiting, under_way = list(reversed(parts)), dict[Future[Failures], int]()
    pool = fresh_processes(jobs, say_warnings, IMPORTED)
    try:
        while waiting or under_way:
            while waiting and len(under_way) < 2 * jobs:
                part = waiting.pop()
                under_way[pool.submit(work, part)] = len(part)
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                yield under_way.pop(future), future.result()
    except BrokenProcessPool:
        raise ValueError("a process ended, perhaps for lack of memory: run the command again, which goes on, with "
                         "fewer --jobs") from None
    finally:
        for process in multiprocessing.active_children() if under_way else ():  # of a run that was stopped
            process.kill()
        pool.shutdown(cancel_futures=True)


def _refuse_others(place: Path, found: Any, settings: dict[str, Any]) -> None:
    """ValueError if settings differ."""
    if not isinstance(found, dict):
        raise ValueError(f"{place} was not written by unfeature: choose another place")
    names = [name for name in settings if found.get(name) != settings[name]]
    if names:
        raise ValueError(f"{place} was begun with another {names[0].replace('_', ' ')} ({found.get(names[0])}): give "
                         "the same options to go on, or choose another place")

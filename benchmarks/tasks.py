"""A task is one image, one method, one setting; its row and pictures are kept in a folder of its own."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unfeature.inversion.result import DIVERGED
from unfeature.io.files import as_json, atomic, read_json, write_json
from unfeature.io.images import encode_webp
from unfeature.io.processes import cores
from unfeature.io.schema import Value

Settings = dict[str, Any]
Inputs = dict[str, str]
ROW = {"settings": Value(dict), "values": Value(dict), "machine": Value(dict), "pictures": Value(list),
       "digest": Value(str, optional=True)}
DAMAGED = (FileNotFoundError, ValueError, KeyError, TypeError)
"""What reading a file that is missing, or not whole, raises."""


class Outcome(NamedTuple):
    """What a task's work returns: values for the row, and pictures in [0, 1] by name."""

    values: dict[str, Any]
    pictures: dict[str, NDArray[Any]] = {}  # noqa: RUF012


@dataclass(frozen=True)
class Task:
    """What to do, and where its files are.

    `kind` is the name of its table or preparation; `work` is a function that other processes can import. The settings,
    JSON, decide the outcome: tasks with equal ones are the same. The inputs, paths of files, do not: the settings hold
    the digests of the files. `output` is a file that the task writes beside its record.
    """

    kind: str
    work: Work
    settings: Settings
    inputs: Inputs = field(default_factory=dict)
    output: str | None = None
    device: str = "cpu"
    threads: int = 1

    @property
    def key(self) -> str:
        """The name of its folder: readable, and different for different settings."""
        identity = json.dumps([self.kind, self.settings, self.device, self.threads], sort_keys=True)
        parts = (str(self.settings[name]) for name in ("feature", "method", "image", "name") if name in self.settings)
        words = re.sub(r"[^A-Za-z0-9]+", "-", "-".join((self.kind, *parts)))[:80].strip("-")
        return f"{words}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


Work = Callable[[Task], Outcome]


class Plan(NamedTuple):
    """The tasks of a run: those that make the rows, and what is needed beside or before them."""

    tasks: tuple[Task, ...]
    preparations: tuple[Task, ...] = ()

    def stages(self) -> Iterator[list[Task]]:
        """Tasks that can run side by side: visual words, then models, then the others."""
        for kind in ("words", "model"):
            yield [task for task in self.preparations if task.kind == kind]
        yield [task for task in (*self.preparations, *self.tasks) if task.kind not in ("words", "model")]


@dataclass(frozen=True)
class Record:
    """The result of a task: its values, the machine's facts, WebP files by name, or the reason of its failure."""

    task: Task
    values: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    failure: str = ""


def execute(task: Task) -> Record:
    """Do a task in this process; whatever goes wrong becomes the record's failure."""
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        with thread_limit(task.threads):
            outcome = task.work(task)
        pictures = {name: encode_webp(image) for name, image in outcome.pictures.items()}
    except Exception as error:  # a benchmark goes on without the tasks that fail, and says why
        return Record(task, failure=f"{type(error).__name__}: {' '.join(str(error).split())}")
    spent = {"task_seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    return Record(task, {**outcome.values, **spent}, facts(task.threads, task.device), pictures)


@contextmanager
def thread_limit(threads: int) -> Iterator[None]:
    """Let every library of this process compute with so many threads inside the block."""
    import cv2
    import numba
    import torch
    from threadpoolctl import threadpool_limits

    setters = torch.set_num_threads, numba.set_num_threads, cv2.setNumThreads
    before = torch.get_num_threads(), numba.get_num_threads(), cv2.getNumThreads()
    within = threads, min(threads, numba.config.NUMBA_NUM_THREADS), threads
    try:
        with threadpool_limits(threads):
            for limit, number in zip(setters, within, strict=True):
                limit(number)
            yield
    finally:  # after threadpoolctl, which restores a number of OpenMP threads that torch does not use
        for limit, number in zip(setters, before, strict=True):
            limit(number)


def facts(threads: int, device: str = "cpu") -> dict[str, Any]:
    """Version, commit, hardware in words and threads of this process, for a row."""
    return {"version": version("unfeature"), "commit": commit(), "hardware": hardware(device), "threads": threads}


@cache
def commit() -> str:
    """The commit of the checkout that runs, its date, and whether it was changed since; "release" if installed."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return "release"
    git = ["git", "-C", str(root)]
    calls = ([*git, "describe", "--always", "--abbrev=10", "--exclude=*", "--dirty= with changes"],
             [*git, "log", "-1", "--format=%cs"])
    try:
        found = [subprocess.run(call, capture_output=True, text=True, timeout=10, check=True) for call in calls]
        return ", ".join(done.stdout.strip() for done in found)
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def hardware(device: str) -> str:
    """The processor's name and the usable cores, or the GPU's name."""
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name())
    return f"{cores()} cores of {_processor()}"


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


@dataclass(frozen=True)
class Row:
    """A finished task: settings and values, and where its pictures are."""

    key: str
    settings: Settings
    values: dict[str, Any]
    machine: dict[str, Any]
    pictures: dict[str, Path]

    def __getitem__(self, name: str) -> Any:
        return self.settings[name] if name in self.settings else self.values.get(name)

    @property
    def diverged(self) -> bool:
        """Whether the search left the finite numbers, so that the pictures are the last finite images."""
        return str(self["status"]).startswith(DIVERGED)

    @property
    def flat(self) -> dict[str, Any]:
        """All of it but the pictures."""
        return {"key": self.key, **self.settings, **self.values, **self.machine}


class Store:
    """The folder of a run; a task is finished when its row.json is there, which is written last."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def place(self, task: Task) -> Path:
        """The folder of a task."""
        return self.folder / "tasks" / task.key

    def load(self, task: Task) -> Row | None:
        """The row of a finished task; None if it is not finished, or its files are damaged."""
        place = self.place(task)
        try:
            stored = read_json(place / "row.json", ROW)
            if stored.get("digest", "") not in ("", digest_of(stored)):
                return None
            pictures = {name: place / f"{name}.webp" for name in stored["pictures"]}
            row = Row(task.key, task.settings, stored["values"], stored["machine"], pictures)
        except DAMAGED:
            return None
        needed = [*pictures.values(), *([] if task.output is None else [Path(task.output)])]
        return row if all(path.is_file() for path in needed) else None

    def failure(self, task: Task) -> str | None:
        """Why a task failed the last time."""
        try:
            return str(read_json(self.place(task) / "failure.json")["reason"])
        except DAMAGED:
            return None

    def save(self, record: Record) -> None:
        """Write the files of a task, after removing what an earlier attempt may have left."""
        task, place = record.task, self.place(record.task)
        shutil.rmtree(place, ignore_errors=True)
        if record.failure:
            facts = {name: value for name, value in vars(task).items() if name != "work"}
            write_json(place / "failure.json", {**facts, "reason": record.failure})
            return
        for name, data in record.pictures.items():
            with atomic(place / f"{name}.webp") as temporary:
                temporary.write_bytes(data)
        row = {"settings": task.settings, "values": record.values, "machine": record.machine,
               "pictures": sorted(record.pictures)}
        write_json(place / "row.json", {**row, "digest": digest_of(as_json(row))})


def digest_of(row: dict[str, Any]) -> str:
    """The first digits of the SHA-256 of a stored row, without its digest."""
    told = json.dumps({name: value for name, value in row.items() if name != "digest"}, sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def digest(path: str | Path) -> str:
    """The first digits of a file's SHA-256."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def rounded(value: float, digits: int = 10) -> float:
    """A float to so many significant digits; NaN and infinity stay."""
    return float(f"{value:.{digits}g}") if np.isfinite(value) else float(value)

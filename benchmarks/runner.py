"""Run the tasks of a table: only the missing ones, in this process, in others, or on a Dask cluster."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

from unfeature.io.files import make_folder
from unfeature.io.interrupts import ending_all, inherited_by_none, uninterrupted
from unfeature.io.output import result_folder
from unfeature.io.processes import ATTEMPTS, cores, end_with_parent, on_cluster

from . import TABLES
from .report import FILES, write
from .tasks import Record, Row, Store, Task, execute

Pool = Callable[[Sequence[Task]], Iterable[Record]]
"""Executes tasks: a record for each, as they finish, in any order."""
Progress = Callable[[int, int, int], None]
"""Told how many tasks are done, of how many, and how many of them failed."""


def bench(table: str, jobs: int | None = None, scheduler: str | None = None,
          progress: Progress | None = None, **options: Any) -> tuple[Path, dict[str, str]]:
    """Make one table, going on from what its folder holds; the options are those of the table's class.

    Returned are the HTML page, with CSV and JSON files beside it, and the reasons of the tasks that failed, by key. A
    ValueError or FileNotFoundError, for options that do not fit the table, comes before anything runs.
    """
    study = TABLES.find(table)(**options)
    plan = study.plan()
    for folder in (study.images, *getattr(study, "train", ())):
        if study.out.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{study.out} lies in {folder}, whose photographs are read: choose a folder outside")
    store = Store(make_folder(study.out))
    rows: list[Row] = []
    failures: dict[str, str] = {}
    with result_folder(study.out, study.files, FILES, FILES[0]) as place:
        for tasks in plan.stages():
            found, failed = run(tasks, store, pool_for(tasks, 1 if study.alone else jobs, scheduler), progress)
            rows, failures = rows + found, failures | failed
        keys = {task.key for task in plan.tasks}
        prepared = [row for row in rows if row.key not in keys]
        write(table, study.page([row for row in rows if row.key in keys], prepared), failures, study, place)
    return study.out / "report.html", failures


def run(tasks: Iterable[Task], store: Store, pool: Pool, progress: Progress | None = None
        ) -> tuple[list[Row], dict[str, str]]:
    """Do the tasks that the store does not hold yet; equal ones once.

    Each record is written at once, so that a kill loses only the tasks under way. The rows of the finished tasks are
    returned in the order given, and the reasons of the others by key; the next run tries these again.
    """
    tell = progress or (lambda *_: None)
    wanted = {task.key: task for task in tasks}
    missing = [task for task in wanted.values() if store.load(task) is None]
    done, failed = len(wanted) - len(missing), 0
    tell(done, len(wanted), failed)
    for record in pool(missing) if missing else ():
        store.save(record)
        done, failed = done + 1, failed + bool(record.failure)
        tell(done, len(wanted), failed)
    loaded = {task.key: store.load(task) for task in wanted.values()}
    failures = {key: store.failure(wanted[key]) or "no record" for key, row in loaded.items() if row is None}
    return [row for row in loaded.values() if row is not None], failures


def pool_for(tasks: Sequence[Task], jobs: int | None, scheduler: str | None) -> Pool:
    """The cluster of a scheduler, or else as many processes as `jobs`, the cores (for a GPU: one) and tasks allow.

    With one job it is this process, where tables, descriptors and baselines added at run time are known.
    """
    if scheduler is not None:
        return partial(on_dask, scheduler)
    if jobs == 1:
        return in_this_process
    if jobs is None:
        threads = max((task.threads for task in tasks), default=1)
        jobs = 1 if any(task.device == "cuda" for task in tasks) else max(1, cores() // threads)
    return partial(in_processes, max(1, min(jobs, len(tasks))))


def in_this_process(tasks: Sequence[Task]) -> Iterator[Record]:
    """Execute tasks one after the other; Ctrl-C ends them all, not only the search under way."""
    for task in tasks:
        with ending_all():
            record = execute(task)
        yield record


class Worker:
    """A fresh process of this machine, which executes tasks; Ctrl-C does not reach it."""

    def __init__(self, context: SpawnContext) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,))
        with inherited_by_none():
            self.process.start()
        theirs.close()

    def kill(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def in_processes(jobs: int, tasks: Sequence[Task]) -> Iterator[Record]:
    """Execute tasks in fresh processes on this machine; one that dies is replaced, its task tried three times in all.

    Dask's LocalCluster was measured in their place, on 2 cores: as quick once it runs, but 1.3 s slower to the first
    record and 3 s slower to stop.
    """
    context = multiprocessing.get_context("spawn")
    waiting, attempts = list(tasks), Counter[str]()
    idle: list[Worker] = []
    busy: dict[Connection, tuple[Worker, Task]] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < jobs:
                worker, task = idle.pop() if idle else Worker(context), waiting.pop(0)
                busy[worker.connection] = worker, task
                with suppress(BrokenPipeError):  # its death is seen below
                    worker.connection.send(task)
            for connection in wait(list(busy)):
                worker, task = busy.pop(connection)  # type: ignore[call-overload]
                try:
                    record = worker.connection.recv()
                except (EOFError, ConnectionResetError):
                    worker.kill()
                    attempts[task.key] += 1
                    if attempts[task.key] < ATTEMPTS:
                        waiting.insert(0, task)
                        continue
                    record = Record(task, failure="its process died each time it was tried")
                else:
                    idle.append(worker)
                yield record
    finally:
        with uninterrupted():
            for worker in (*idle, *(worker for worker, _ in busy.values())):
                worker.kill()


def serve(connection: Connection) -> None:
    """Execute the tasks that come, until the process that sends them ends, however it does."""
    end_with_parent()
    with suppress(EOFError, OSError):
        while True:
            connection.send(execute(connection.recv()))


def on_dask(scheduler: str, tasks: Sequence[Task]) -> Iterator[Record]:
    """Execute tasks on a Dask cluster; those for a GPU go to workers started with ``--resources GPU=1``."""
    for task, found in on_cluster(scheduler, execute, tasks, _settings):
        yield found if isinstance(found, Record) else Record(task, failure=f"{type(found).__name__}: {found}")


def _settings(task: Task) -> dict[str, Any]:
    return {"key": task.key, "resources": {"GPU": 1} if task.device == "cuda" else None}

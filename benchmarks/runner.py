"""Run the tasks of a table: only the missing ones, in this process, in others, or on a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from unfeature.io.files import make_folder

from . import TABLES
from .machine import cores
from .report import write
from .tasks import Record, Row, Store, Task, execute

ATTEMPTS = 3


class Progress(NamedTuple):
    """How far a run is: tasks done, of them failed, of all; seconds left by the pace so far, None at first."""

    done: int
    failed: int
    total: int
    seconds_left: float | None


def bench(table: str, jobs: int | None = None, scheduler: str | None = None,
          progress: Callable[[Progress], None] | None = None, **options: Any) -> tuple[Path, dict[str, str]]:
    """Make one table, going on from what its folder holds.

    Parameters
    ----------
    table : str
        A name of `TABLES`.
    jobs : int, optional
        Processes, by default as many as there are cores; 1 is this process.
    scheduler : str, optional
        Address of a Dask scheduler to use instead.
    progress : callable, optional
        Called with a `Progress` after each task.
    **options
        Those of the table, see its class.

    Returns
    -------
    page : Path
        The HTML page; CSV and JSON files are beside it.
    failures : dict of str
        The reasons of the tasks that failed, by key.

    Raises
    ------
    ValueError, FileNotFoundError
        For options that do not fit the table, before anything runs.
    """
    study = TABLES.find(table)(**options)
    plan = study.plan()
    store = Store(make_folder(study.out))
    rows: list[Row] = []
    failures: dict[str, str] = {}
    for tasks in plan.stages():
        found, failed = run(tasks, store, pool_for(tasks, 1 if study.alone else jobs, scheduler), progress)
        rows, failures = rows + found, failures | failed
    keys = {task.key for task in plan.tasks}
    prepared = [row for row in rows if row.key not in keys]
    page = study.page([row for row in rows if row.key in keys], prepared)
    return write(table, page, failures, study), failures


def run(tasks: Iterable[Task], store: Store, pool: Pool,
        progress: Callable[[Progress], None] | None = None) -> tuple[list[Row], dict[str, str]]:
    """Do the tasks that the store does not hold yet.

    Equal tasks are done once. Each record is written at once, so that a kill loses only the tasks under way. The rows
    of the finished tasks are returned in the order given, and the reasons of the others by key; the next run tries
    these again.
    """
    wanted = {task.key: task for task in tasks}
    missing = [task for task in wanted.values() if store.load(task) is None]
    done, failed, begin = len(wanted) - len(missing), 0, time.monotonic()

    def tell(left: float | None) -> None:
        if progress is not None:
            progress(Progress(done, failed, len(wanted), left))

    tell(None)
    for finished, record in enumerate(pool.records(missing) if missing else (), start=1):
        store.save(record)
        done, failed = done + 1, failed + bool(record.failure)
        tell((time.monotonic() - begin) / finished * (len(missing) - finished))
    loaded = {task.key: store.load(task) for task in wanted.values()}
    failures = {key: store.failure(wanted[key]) or "no record" for key, row in loaded.items() if row is None}
    return [row for row in loaded.values() if row is not None], failures


class Pool(Protocol):
    """Something that executes tasks, in any order."""

    def records(self, tasks: Sequence[Task]) -> Iterator[Record]:
        """One record for each task, as they finish."""
        ...


def pool_for(tasks: Sequence[Task], jobs: int | None, scheduler: str | None) -> Pool:
    """The cluster of a scheduler, or else as many processes as `jobs`, the cores (for a GPU: one) and tasks allow."""
    if scheduler is not None:
        return Dask(scheduler)
    if jobs is None:
        threads = max((task.threads for task in tasks), default=1)
        jobs = 1 if any(task.device == "cuda" for task in tasks) else max(1, cores() // threads)
    elif jobs == 1:
        return ThisProcess()
    return Processes(max(1, min(jobs, len(tasks))))


class ThisProcess:
    """This process, one task after the other; tables, descriptors and baselines added at run time are known here."""

    def records(self, tasks: Sequence[Task]) -> Iterator[Record]:
        """One record for each task, in order."""
        return map(execute, tasks)


@dataclass(frozen=True)
class Processes:
    """Processes on this machine, freshly started, each with the task's threads.

    A process that dies is replaced and its task tried again, three times in all. Dask's LocalCluster was measured in
    its place, on 2 cores: as quick once it runs, but 1.3 s slower to the first record and 3 s slower to stop.
    """

    jobs: int

    def records(self, tasks: Sequence[Task]) -> Iterator[Record]:
        """One record for each task, as they finish."""
        waiting, attempts = list(tasks), Counter[str]()
        while waiting:
            under_way: dict[Future[Record], Task] = {}
            with ProcessPoolExecutor(self.jobs, multiprocessing.get_context("spawn"), end_with_parent) as pool:
                try:
                    while waiting or under_way:
                        while waiting and len(under_way) < self.jobs:
                            task = waiting.pop(0)
                            under_way[pool.submit(execute, task)] = task
                        for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                            record = future.result()
                            del under_way[future]
                            yield record
                except BrokenProcessPool:
                    lost = list(under_way.values())
            if under_way:
                attempts.update(task.key for task in lost)
                waiting = [task for task in lost if attempts[task.key] < ATTEMPTS] + waiting
                yield from (Record(task, failure="its process died each time it was tried")
                            for task in lost if attempts[task.key] >= ATTEMPTS)


def end_with_parent() -> None:
    """Let this process end when the one that started it does, however that ends; Ctrl-C is for that one alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(process: BaseProcess) -> None:
    process.join()
    os._exit(1)


@dataclass(frozen=True)
class Dask:
    """A Dask cluster, whose workers read the same files under the same paths.

    Tasks for a GPU go to workers started with ``--resources GPU=1``. The scheduler, ``tcp://host:8786``, gives the
    task of a lost worker to another.
    """

    scheduler: str

    def records(self, tasks: Sequence[Task]) -> Iterator[Record]:
        """One record for each task, as they finish."""
        try:
            from distributed import Client, as_completed
        except ModuleNotFoundError as error:
            raise ValueError("--scheduler needs Dask: install unfeature[bench]") from error
        try:
            client = Client(self.scheduler, timeout=5)
        except (OSError, ValueError) as error:
            raise ValueError(f"there is no Dask scheduler at {self.scheduler}: start one with `dask scheduler`, and "
                             "workers with `dask worker ADDRESS`") from error
        with client:
            futures = [self._submit(client, task) for task in tasks]
            owners = {future.key: task for future, task in zip(futures, tasks, strict=True)}
            for future in as_completed(futures):
                lost = future.exception()
                task = owners[future.key]
                yield future.result() if lost is None else Record(task, failure=f"{type(lost).__name__}: {lost}")
                future.release()

    @staticmethod
    def _submit(client: Any, task: Task) -> Any:
        needs = {"GPU": 1} if task.device == "cuda" else None
        return client.submit(execute, task, key=task.key, pure=False, retries=ATTEMPTS, resources=needs)

"""Run the tasks of a table: only the missing ones, in this process, in others, or on a Dask cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

from unfeature.io.files import make_folder
from unfeature.io.processes import cores, fresh_processes

from . import TABLES
from .report import write
from .tasks import Record, Row, Store, Task, execute

ATTEMPTS = 3
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
        return partial(on_cluster, scheduler)
    if jobs == 1:
        return partial(map, execute)
    if jobs is None:
        threads = max((task.threads for task in tasks), default=1)
        jobs = 1 if any(task.device == "cuda" for task in tasks) else max(1, cores() // threads)
    return partial(in_processes, max(1, min(jobs, len(tasks))))


def in_processes(jobs: int, tasks: Sequence[Task]) -> Iterator[Record]:
    """Execute tasks in fresh processes on this machine; one that dies is replaced, its task tried three times in all.

    Dask's LocalCluster was measured in their place, on 2 cores: as quick once it runs, but 1.3 s slower to the first
    record and 3 s slower to stop.
    """
    waiting, attempts = list(tasks), Counter[str]()
    while waiting:
        under_way: dict[Future[Record], Task] = {}
        with fresh_processes(jobs) as pool:
            try:
                while waiting or under_way:
                    while waiting and len(under_way) < jobs:
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


def on_cluster(scheduler: str, tasks: Sequence[Task]) -> Iterator[Record]:
    """Execute tasks on a Dask cluster, whose workers read the same files under the same paths.

    Tasks for a GPU go to workers started with ``--resources GPU=1``. The scheduler, ``tcp://host:8786``, gives the
    task of a lost worker to another.
    """
    try:
        from distributed import Client, as_completed
    except ModuleNotFoundError as error:
        raise ValueError("--scheduler needs Dask: install unfeature[bench]") from error
    try:
        client = Client(scheduler, timeout=5)
    except (OSError, ValueError) as error:
        raise ValueError(f"there is no Dask scheduler at {scheduler}: start one with `dask scheduler`, and workers "
                         "with `dask worker ADDRESS`") from error
    with client:
        owners = {client.submit(execute, task, key=task.key, pure=False, retries=ATTEMPTS,
                                resources={"GPU": 1} if task.device == "cuda" else None): task for task in tasks}
        for future in as_completed(owners):
            lost = future.exception()
            yield future.result() if lost is None else Record(owners[future], failure=f"{type(lost).__name__}: {lost}")
            future.release()

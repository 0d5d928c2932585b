"""Run the tasks of a table: only the missing ones, in this process, in others, or on a Dask cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unfeature.io.files import make_folder

from . import TABLES
from .pools import Pool, pool_for
from .report import write
from .tasks import Row, Store, Task


@dataclass(frozen=True)
class Progress:
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

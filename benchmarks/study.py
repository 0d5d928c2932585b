"""One command, one table: plan it, do what is missing, write the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from unfeature.io.files import make_folder

from .page import Plan
from .protocol import Options
from .report import write
from .runner import Dask, Local, Pool, Progress, run
from .tasks import Row, Store, Task

TABLES = ("hog", "cnn", "regularizers", "starts", "groups", "templates", "speed")
ALONE = ("speed",)
"""Tables whose tasks must not run beside each other."""


def bench(
    table: str,
    options: Options,
    jobs: int | None = None,
    scheduler: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> tuple[Path, dict[str, str]]:
    """Make one table, going on from whatever its folder holds.

    Parameters
    ----------
    table : str
        One of `TABLES`.
    options : Options
    jobs : int, optional
        Processes; by default as many as there are cores.
    scheduler : str, optional
        Address of a Dask scheduler to use instead.
    progress : callable, optional
        Called with a `Progress` after each task.

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
    module = import_module(f".tables.{table}", __package__)
    plan: Plan = module.plan(options)
    store = Store(make_folder(options.out))
    first = [[task for task in plan.preparations if task.kind == kind] for kind in ("words", "model")]
    others = [task for task in plan.preparations if task.kind not in ("words", "model")]
    rows: list[Row] = []
    failures: dict[str, str] = {}
    for tasks in (*first, [*others, *plan.tasks]):
        found, failed = run(tasks, store, _pool(tasks, 1 if table in ALONE else jobs, scheduler), progress)
        rows, failures = rows + found, failures | failed
    keys = {task.key for task in plan.tasks}
    prepared = [row for row in rows if row.key not in keys]
    rows = [row for row in rows if row.key in keys]
    page = module.page(rows, prepared, options)
    return write(table, page, failures, options), failures


def _pool(tasks: Sequence[Task], jobs: int | None, scheduler: str | None) -> Pool:
    return Local.sized(jobs, tasks) if scheduler is None else Dask(scheduler)

"""What does the tasks: this process, others on this machine, or a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from .machine import cores
from .tasks import Record, Task, execute

ATTEMPTS = 3


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

    A process that dies is replaced and its task tried again, three times in all.

    Attributes
    ----------
    jobs : int
        Their number.

    Notes
    -----
    Dask's LocalCluster was measured in its place, on 2 cores: as quick once it runs, but 1.3 s slower to the first
    record and 3 s slower to stop.
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

    Tasks for a GPU go to workers started with ``--resources GPU=1``. The scheduler gives the task of a lost worker
    to another.

    Attributes
    ----------
    scheduler : str
        ``tcp://host:8786``.
    """

    scheduler: str

    def records(self, tasks: Sequence[Task]) -> Iterator[Record]:
        """One record for each task, as they finish."""
        try:
            from distributed import Client, as_completed
        except ModuleNotFoundError as error:
            raise ValueError("--scheduler needs Dask: install unfeature[cluster]") from error
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

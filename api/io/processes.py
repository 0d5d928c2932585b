"""Work elsewhere: in processes that end with the one that started them, or on a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from typing import Any, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
ATTEMPTS = 3


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


FORKS = sys.platform == "linux"  # elsewhere, system libraries start threads that a fork does not survive


def prepare_processes(module: str) -> None:
    """Begin to import a module for `fresh_processes`, once for all of them, while this process goes on."""
    if FORKS:
        multiprocessing.set_forkserver_preload([module])
        forkserver.ensure_running()


def fresh_processes(count: int, begin: Callable[[], None], module: str) -> ProcessPoolExecutor:
    """Processes with one thread each that call a function first, and have imported a module where they can fork.

    They inherit nothing from this process, not even Ctrl-C, which is for this one alone.
    """
    prepare_processes(module)
    context = multiprocessing.get_context("forkserver" if FORKS else "spawn")
    return ProcessPoolExecutor(count, context, _begin, (begin,))


def _begin(begin: Callable[[], None]) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    torch.set_num_threads(1)
    begin()


def end_with_parent() -> None:
    """Let this process end when the one that started it does, however that ends."""
    parent = multiprocessing.parent_process()

    def end_after() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end_after, daemon=True).start()


def on_cluster(scheduler: str, work: Callable[[Item], Outcome], items: Sequence[Item],
               settings: Callable[[Item], dict[str, Any]] = lambda item: {}
               ) -> Iterator[tuple[Item, Outcome | BaseException]]:
    """Do the work of each item on a Dask cluster; yield its outcome, or why it was lost, as they come.

    The workers read and write the same files under the same paths. The scheduler, ``tcp://host:8786``, gives the item
    of a lost worker to another, three times in all. The settings of an item are those of ``Client.submit``.
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
        owners = {client.submit(work, item, pure=False, retries=ATTEMPTS, **settings(item)): item for item in items}
        for future in as_completed(owners):
            lost = future.exception()
            yield owners[future], future.result() if lost is None else lost
            future.release()

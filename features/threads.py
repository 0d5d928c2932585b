"""How many threads a computation gets: as many as its work is worth, of those that the caller allows."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch

IMAGE_PER_THREAD = 500_000  # pixels of one image that are worth a thread
PIXELS_PER_THREAD = 50_000  # pixels of a batch: its samples need not wait for each other
SMALLEST = 4096  # of fewer pixels, torch makes no parallel work

_allowed: ContextVar[int | None] = ContextVar("allowed_threads", default=None)


@contextmanager
def limited_torch(samples: int, pixels: int) -> Iterator[None]:
    """Limit torch's threads, in the calling thread alone, to what images of so many pixels are worth.

    That is at most one for each sample, if there are `IMAGE_PER_THREAD` pixels a thread, else one: threads that wait
    for each other at every small operation cost more than they gain. `in_parallel` keeps the caller's limit.
    """
    before = torch.get_num_threads()
    wanted = max(1, min(samples, samples * pixels // IMAGE_PER_THREAD))
    if wanted >= before or samples * pixels < SMALLEST:
        yield
        return
    token = _allowed.set(before)
    torch.set_num_threads(wanted)
    # The call above also sets the number with which new threads start; another thread sets that back.
    restored = _pool(1).submit(torch.set_num_threads, before)
    try:
        yield
    finally:
        restored.result()
        torch.set_num_threads(before)
        _allowed.reset(token)


def in_parallel(kernel: Callable[..., None], samples: int, rows: int, work: int, *arguments: Any) -> None:
    """Run a kernel over all samples, in bands of rows if there are fewer samples than threads.

    There are as many threads as torch.set_num_threads and NUMBA_NUM_THREADS both allow, and as the work, counted in
    pixels of all samples, is worth. (numba.get_num_threads would start OpenMP and change torch's setting.)
    """
    import numba

    worth = max(min(samples, work // PIXELS_PER_THREAD), work // samples // IMAGE_PER_THREAD * samples, 1)
    threads = min(_allowed.get() or torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS, worth)
    bands = min(rows, math.ceil(threads / samples))
    tasks = samples * bands
    threads = min(threads, tasks)
    if threads <= 1:
        kernel(*arguments, 0, tasks, bands)
        return
    remaining = iter(range(tasks))

    def take_tasks() -> None:
        for task in remaining:
            kernel(*arguments, task, task + 1, bands)

    others = [_pool(threads - 1).submit(take_tasks) for _ in range(threads - 1)]
    take_tasks()
    for other in others:
        other.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that wait for work: to start some for each call takes as long as a small image."""
    return ThreadPoolExecutor(threads, thread_name_prefix="unfeature")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)

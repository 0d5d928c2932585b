"""Runs a compiled pass, which releases the interpreter's lock, on several threads."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import torch

PIXELS_PER_THREAD = 50_000


def in_parallel(kernel: Callable[..., None], samples: int, rows: int, work: int, *arguments: Any) -> None:
    """Run a kernel over all samples, in bands of rows if there are fewer samples than threads.

    There are as many threads as torch.set_num_threads and NUMBA_NUM_THREADS both allow, and as the work, counted in
    pixels, is worth. (numba.get_num_threads would start OpenMP and change torch's setting.)
    """
    threads = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS, max(1, work // PIXELS_PER_THREAD))
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

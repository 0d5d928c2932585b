"""Worker processes that end with the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fresh_processes(count: int) -> ProcessPoolExecutor:
    """Processes with one thread each that inherit nothing, not even Ctrl-C, which is for this one alone."""
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin)


def _begin() -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    torch.set_num_threads(1)


def end_with_parent() -> None:
    """Let this process end when the one that started it does, however that ends."""
    parent = multiprocessing.parent_process()

    def end_after() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end_after, daemon=True).start()

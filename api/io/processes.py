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
    """Processes that inherit nothing, not even Ctrl-C, which is for this one alone."""
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), end_with_parent)


def end_with_parent() -> None:
    """Let this process end when the one that started it does, however that ends; Ctrl-C is for that one alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end_after() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end_after, daemon=True).start()

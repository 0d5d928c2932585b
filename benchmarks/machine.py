"""Where a row was made: version, commit, hardware in words, threads."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any


@contextmanager
def thread_limit(threads: int) -> Iterator[None]:
    """Let every library of this process compute with so many threads inside the block."""
    import cv2
    import numba
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads(), numba.get_num_threads(), cv2.getNumThreads()

    def limit(for_torch: int, for_numba: int, for_cv2: int) -> None:
        torch.set_num_threads(for_torch)
        numba.set_num_threads(min(for_numba, numba.config.NUMBA_NUM_THREADS))
        cv2.setNumThreads(for_cv2)

    try:
        with threadpool_limits(threads):
            limit(threads, threads, threads)
            yield
    finally:  # after threadpoolctl, which restores a number of OpenMP threads that torch does not use
        limit(*before)


def facts(threads: int, device: str = "cpu") -> dict[str, Any]:
    """Version, commit, hardware and threads of this process, for a row."""
    return {"version": version("unfeature"), "commit": commit(), "hardware": hardware(device), "threads": threads}


@cache
def commit() -> str:
    """The commit of the checkout that runs, "+" for changes since; "release" for an installed package."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return "release"
    call = ["git", "-C", str(root), "describe", "--always", "--abbrev=10", "--exclude=*", "--dirty=+"]
    try:
        return subprocess.run(call, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


@cache
def hardware(device: str = "cpu") -> str:
    """Processor family and usable cores, or the GPU's name."""
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name())
    return f"{cores()} cores, {platform.machine()}"


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

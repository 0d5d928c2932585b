"""Where a row was made: version, commit, hardware in words, threads."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any


def limit_threads(threads: int) -> None:
    """Let every library of this process compute with so many threads."""
    import cv2
    import numba
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    cv2.setNumThreads(threads)
    threadpool_limits(threads)


def facts(threads: int, device: str = "cpu") -> dict[str, Any]:
    """Version, commit, hardware and threads of this process, for a row."""
    return {"version": version("unfeature"), "commit": commit(), "hardware": hardware(device), "threads": threads}


@lru_cache(maxsize=1)
def commit() -> str:
    """The commit of the checkout that runs, "+" for changes since; "release" for an installed package."""
    room = Path(__file__).resolve().parent
    if not (room.parent / ".git").exists():
        return "release"
    try:
        described = subprocess.run(["git", "-C", str(room), "describe", "--always", "--abbrev=10", "--exclude=*",
                                    "--dirty=+"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()


@lru_cache(maxsize=2)
def hardware(device: str = "cpu") -> str:
    """Processor family and usable cores, or the GPU's name."""
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name())
    return f"{cores()} cores, {platform.machine()}"


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

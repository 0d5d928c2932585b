"""Timing calls side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

REPEATS, WARM, LEAST, SECONDS = 15, 1, 3, 12.0
"""Repeats, one more to warm up, and fewer, but three at least, once a comparison has taken so long."""
Call = Callable[[], Any]


def interleaved(calls: dict[str, Call], device: str = "cpu") -> dict[str, list[tuple[float, float]]]:
    """Seconds, and seconds of the processor, of each call, repeats of all in turn, after calls that warm up."""
    import torch

    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    start = time.perf_counter()
    for repeat in range(-WARM, REPEATS):
        if repeat >= LEAST and time.perf_counter() - start > SECONDS:
            break
        for name, call in calls.items():
            begin, busy = time.perf_counter(), time.process_time()
            call()
            if device == "cuda":
                torch.cuda.synchronize()
            if repeat >= 0:
                seconds[name].append((time.perf_counter() - begin, time.process_time() - busy))
    return seconds

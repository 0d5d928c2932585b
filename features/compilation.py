"""How long code is compiled, and when: known without importing Numba, which runs on plain torch do not need."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

listening: list[Compilation] = []
"""Those that `jit` tells of what is compiled."""


class Compilation:
    """What is compiled while this listens: `seconds` so far; `begin` is called before, `end` with the seconds after."""

    def __init__(self, begin: Callable[[], None] | None, end: Callable[[float], None] | None) -> None:
        self.begin, self.end, self.seconds = begin, end, 0.0
        self.under_way, self.since = 0, 0.0

    def started(self) -> None:
        """Compilation begins; that of a step is inside that of its kernel."""
        self.under_way += 1
        if self.under_way == 1:
            self.since = time.perf_counter()
            if self.begin is not None:
                self.begin()

    def ended(self) -> None:
        """Compilation ends."""
        self.under_way = max(self.under_way - 1, 0)  # one that another thread began before is not counted
        if self.under_way == 0 and self.since:
            seconds, self.since = time.perf_counter() - self.since, 0.0
            self.seconds += seconds
            if self.end is not None:
                self.end(seconds)


@contextmanager
def compilation(begin: Callable[[], None] | None = None, end: Callable[[float], None] | None = None
                ) -> Iterator[Compilation]:
    """Listen to what is compiled inside the block, in any thread."""
    listener = Compilation(begin, end)
    listening.append(listener)
    try:
        yield listener
    finally:
        listening.remove(listener)

"""How passes are compiled: kept between runs where a folder can be written, and anew in each run elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import njit
from numba.core import event
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys

from .compilation import listening

OPTIONS = {"nogil": True, "error_model": "numpy"}
STEP = {**OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

# The newest Numba whose cache is known to need no more than `_Cache.load_overload` does.
NEWEST_KNOWN = 0, 68
# For what only compiled functions call: it has no entry from Python.
step = njit(**STEP)


def kernel(function: Callable[..., None]) -> Any:
    """Compile a function that Python calls, when it is first called. Its machine code is kept for later runs."""
    dispatcher = njit(**OPTIONS)(function)
    try:
        dispatcher._cache = _Cache(function)
    except RuntimeError:  # Numba finds no folder to write to
        _say_uncached()
    return dispatcher


class _Heard(event.Listener):
    """Tells those that listen of what Numba compiles."""

    def on_start(self, event: Any) -> None:
        """Compilation begins."""
        for listener in tuple(listening):
            listener.started()

    def on_end(self, event: Any) -> None:
        """Compilation ends."""
        for listener in tuple(listening):
            listener.ended()


event.register("numba:compile", _Heard())


class _Cache(FunctionCache):
    """Numba's cache, which knows the files that a kernel's steps are in, and fails without ending the run."""

    def load_overload(self, signature: Any, context: Any) -> Any:
        try:
            if numba.version_info.short > NEWEST_KNOWN:
                return super().load_overload(signature, context)
            rtsys.initialize(context)  # what machine code needs; Numba's own method prepares for compilation too
            return self._load_overload(signature, context)
        except Exception:  # whatever unpickling a damaged file may raise
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, *arguments: Any) -> None:
        try:
            super().save_overload(*arguments)
        except OSError:  # a full disk, or a folder that can no longer be written
            _say_uncached()

    def _index_key(self, *arguments: Any) -> tuple[Any, ...]:
        return *super()._index_key(*arguments), _sources(Path(self._py_func.__code__.co_filename).parent)


@cache
def _sources(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, times and sizes of a folder's files: Numba looks at the kernel's own file only."""
    states = ((path.name, path.stat()) for path in sorted(folder.glob("*.py")))
    return tuple((name, state.st_mtime_ns, state.st_size) for name, state in states)


@cache
def _say_uncached() -> None:
    logging.getLogger("unfeature").warning(
        "unfeature: compiled code cannot be kept, so that each run compiles it anew: set NUMBA_CACHE_DIR to a folder "
        "that can be written")

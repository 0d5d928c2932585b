"""Locks on files and folders that are being written, by which those of killed processes are told."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

UNFINISHED = ".unfeature-"
YOUNG = 1.0  # seconds that a process may take to lock what it has made


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """Keep other processes out, where the system and the disk have locks."""
    with ExitStack() as stack:
        with suppress(ImportError, OSError):
            import fcntl

            handle = os.open(place, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes have left unfinished in a folder."""
    for orphan in folder.glob(f"{UNFINISHED}*"):
        with suppress(OSError, ImportError):
            if time.time() - orphan.stat().st_mtime > YOUNG and _unlocked(orphan):
                shutil.rmtree(orphan) if orphan.is_dir() else orphan.unlink()


def _unlocked(place: Path) -> bool:
    """Whether no process holds the lock."""
    import fcntl

    handle = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True

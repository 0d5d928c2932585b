"""Ctrl-C: held back where half of something would be left, or ending all of a work that would take it as its own."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends."""
    held: list[tuple[Any, ...]] = []
    with _handled_by(lambda *call: held.append(call)) as before:
        yield
    if held:
        before(*held[0])


@contextmanager
def ending_all() -> Iterator[None]:
    """Let Ctrl-C end the block by a KeyboardInterrupt, also where a search in it would stop early and go on."""

    def end(*call: Any) -> None:
        raise _End

    try:
        with _handled_by(end):
            yield
    except _End:
        raise KeyboardInterrupt from None


@contextmanager
def inherited_by_none() -> Iterator[None]:
    """Let processes of `multiprocessing` that start in the block never see Ctrl-C, which a terminal sends to all."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # which else starts in the block, and lets Ctrl-C through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Interruptible:
    """Code of one thread that another thread can interrupt, as Ctrl-C interrupts that of the main thread.

    It gets a KeyboardInterrupt at its next step in Python, and none once the block has ended.
    """

    def __init__(self) -> None:
        self._guard, self._thread = threading.Lock(), 0

    @contextmanager
    def here(self) -> Iterator[None]:
        """Let the block, in this thread, be interrupted."""
        with self._guard:
            self._thread = threading.get_ident()
        try:
            yield
        finally:
            with self._guard:
                _raise_in(self._thread, None)
                self._thread = 0

    def interrupt(self) -> None:
        """Interrupt the block, if it is under way."""
        with self._guard:
            if self._thread:
                _raise_in(self._thread, KeyboardInterrupt)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raise an error in a thread; None takes back one that was not raised yet."""
    thrown = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), thrown)


class _End(BaseException):
    """Ctrl-C, in a form that nothing takes as its own."""


@contextmanager
def _handled_by(handler: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Give Ctrl-C to a handler, in the main thread, where there is one already; yield the one before."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield lambda *call: None
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield before
    finally:
        signal.signal(signal.SIGINT, before)

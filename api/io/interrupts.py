"""Ctrl-C: held back where half of something would be left, or ending all of a work that would take it as its own."""

from __future__ import annotations

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

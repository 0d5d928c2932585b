"""The command line. Nothing is imported before Ctrl-C is attended to."""

from __future__ import annotations

import _thread
import gc
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

STOPPED = 130
OBJECTS = 20_000
"""New objects after which Python looks for garbage. Imports and compilation make half a million, hardly any garbage."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    The status is 0 if all went well, 2 with one line for a mistake, 130 if stopped by the user, and 1 for what nobody
    foresaw.
    """
    if arguments is None:
        gc.set_threshold(OBJECTS)
    with _interrupts() as interrupted:
        try:
            from .commands import run

            status = run(arguments)
        except BaseException as error:  # imports turn an interrupt into errors of their own
            if not (interrupted or isinstance(error, KeyboardInterrupt)):
                raise
            status = STOPPED
        if status == STOPPED:
            sys.stderr.write("unfeature: stopped\n")
        if arguments is None:
            _leave(status)
    sys.exit(status)


def _leave(status: int) -> None:
    """End the process at once: to take apart what was imported takes a fifth of a short command's time."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt on Ctrl-C, note it, and raise it again where a destructor or a callback has lost it."""
    caught: list[int] = []
    hook = sys.unraisablehook

    def interrupt(number: int, frame: Any) -> None:
        caught.append(number)
        raise KeyboardInterrupt

    def unraisable(lost: Any) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            _thread.interrupt_main()
        else:
            hook(lost)

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        signal.signal(signal.SIGINT, interrupt if ours else signal.getsignal(signal.SIGINT))
    except ValueError:  # this is not the main thread, which alone is interrupted
        ours = False
    sys.unraisablehook = unraisable
    try:
        yield caught
    finally:
        sys.unraisablehook = hook
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

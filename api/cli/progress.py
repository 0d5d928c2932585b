"""Progress bars, on a terminal only, as the callbacks that the library takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def _bar(unit: str, quiet: bool) -> Iterator[Callable[[int, int | None, str], None]]:
    from tqdm import tqdm

    with tqdm(unit=unit, dynamic_ncols=True, disable=True if quiet else None) as bar:

        def show(done: int, total: int | None, note: str = "") -> None:
            bar.total = total
            bar.set_postfix_str(note, refresh=False)
            bar.update(done - bar.n)

        yield show


@contextmanager
def step_bar(quiet: bool = False) -> Iterator[Callable[[Any], None]]:
    """The steps of an inversion, its current error and the time left."""
    with _bar("step", quiet) as show:
        yield lambda progress: show(progress.step, progress.steps, f"error {progress.error:.4f}")


@contextmanager
def image_bar() -> Iterator[Callable[[int, int | None], None]]:
    """The images that a model has learned from, and the time left."""
    with _bar("image", False) as show:
        yield lambda done, total: show(done, total, "")

"""Progress bars, on a terminal only, as the callbacks that the library takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def step_bar(quiet: bool = False) -> Iterator[Callable[[Any], None]]:
    """Of an inversion: the steps done, the current error and the time left."""
    from tqdm import tqdm

    with tqdm(unit="step", dynamic_ncols=True, disable=True if quiet else None) as bar:

        def show(progress: Any) -> None:
            bar.total = progress.steps
            bar.set_postfix_str(f"error {progress.error:.4f}", refresh=False)
            bar.update(progress.step - bar.n)

        yield show


@contextmanager
def image_bar() -> Iterator[Callable[[int, int | None], None]]:
    """Of learning: the images seen, and the time left."""
    from tqdm import tqdm

    with tqdm(unit="image", dynamic_ncols=True, disable=None) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show

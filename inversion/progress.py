"""``progress=True``: a bar that counts gradient evaluations."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unfeature.features.compilation import compilation

from .engine import Progress, Report


@contextmanager
def reporting(progress: Report | bool | None) -> Iterator[Report | None]:
    """A callback as it is; for True, one that moves a bar of tqdm.auto; for False and None, none."""
    if progress is not True:
        yield progress or None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without ipywidgets has a bar of text
        from tqdm.auto import tqdm
    with tqdm(unit="step", dynamic_ncols=True) as bar, noted(bar):
        yield lambda state: advance(bar, state)


def advance(bar: Any, state: Progress) -> None:
    """Move a bar to the state of a search."""
    if bar.total != state.steps or bar.n > state.step:
        bar.reset(state.steps)
    bar.set_postfix_str(f"error {state.error:.4f}", refresh=False)
    bar.update(state.step - bar.n)


@contextmanager
def noted(bar: Any) -> Iterator[None]:
    """Let a bar say when code is compiled, and leave that out of its times."""

    if bar.disable:
        yield
        return

    def begin() -> None:
        bar.set_description_str("compiling, once")

    def end(seconds: float) -> None:
        bar.start_t += seconds
        bar.last_print_t += seconds
        bar.set_description_str("")

    with compilation(begin, end):
        yield

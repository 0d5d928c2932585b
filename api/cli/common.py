"""What the commands share: photographs as a feature takes them, progress bars, and results with their facts."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from unfeature.baselines.stream import Encoder
    from unfeature.inversion.result import Result

LONGER_SIDE = 256


def read_photograph(path: Path, phi: Encoder, size: int | tuple[int, int] | None, colour: bool = False) -> NDArray[Any]:
    """A photograph with the channels that phi prefers, or in colour, its longer side resized to `size`."""
    from unfeature.io.images import read_image, resize_longer

    if isinstance(size, tuple):
        raise ValueError(f"--size {size[0]}x{size[1]} is for stored codes; for a photograph give its longer side")
    channels = 3 if colour else phi.in_channels[0]
    if channels not in phi.in_channels:
        raise ValueError(f"{type(phi).__name__} does not take colour: leave --colour out")
    image = read_image(path, grey=channels == 1)
    image = image if size is None else resize_longer(image, size)
    return np.repeat(image[..., None], 3, axis=2) if channels == 3 and image.ndim == 2 else image


@contextmanager
def progress_bar(unit: str, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """A progress bar, on a terminal only.

    Its callback takes how many of all are done and how many of these failed. What was done before the first call does
    not count for the time left.
    """
    from tqdm import tqdm

    with tqdm(unit=unit, dynamic_ncols=True, disable=True if quiet else None) as bar:

        def show(done: int, total: int | None = None, failed: int | None = None) -> None:
            if failed is not None:
                bar.set_postfix_str(f"{failed} failed", refresh=False)
            if bar.total != total or bar.n > done:
                bar.reset(total)
                bar.initial = bar.n = bar.last_print_n = done
            bar.update(done - bar.n)

        yield show


def run(search: Callable[[Callable[[Any], None]], Result], quiet: bool) -> Result:
    """Run a search, given its progress callback; a bar shows it on a terminal."""
    from tqdm import tqdm

    from unfeature.inversion.progress import advance, noted

    with tqdm(unit="step", dynamic_ncols=True, disable=True if quiet else None) as bar, noted(bar):
        return search(partial(advance, bar))


def command_line(arguments: Sequence[str]) -> str:
    """A command as a shell takes it."""
    return shlex.join(["unfeature", *arguments])


def with_command(result: Result) -> Result:
    """The result with the command that made it."""
    command = click.get_current_context().obj
    return replace(result, provenance={**result.provenance, **({"command": command} if command else {})})


def with_photograph(result: Result, source: Path, photograph: NDArray[Any] | None) -> Result:
    """The result with its command, and facts about the photograph: name, size, correlation with the image found."""
    result = with_command(result)
    if photograph is None:
        return result
    facts = {"name": source.name, "height": photograph.shape[0], "width": photograph.shape[1]}
    if photograph.shape == result.image.shape and photograph.std() > 0 and result.image.std() > 0:
        facts["correlation"] = float(np.corrcoef(photograph.ravel(), result.image.ravel())[0, 1])
    return replace(result, provenance={**result.provenance, "photograph": facts})

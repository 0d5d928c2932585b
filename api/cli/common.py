"""What the commands share: photographs as a feature takes them, progress bars, and results with their facts."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from unfeature.io.interrupts import uninterrupted
from unfeature.io.output import USUAL, result_folder
from unfeature.parameters.kinds import LONGER_SIDE, OWN_SIZE

from . import STOPPED
from .options import inputs

if TYPE_CHECKING:
    from unfeature.baselines.stream import Encoder
    from unfeature.inversion.result import Result


def read_photograph(path: Path, phi: Encoder, size: int | tuple[int, int] | None, colour: bool = False) -> NDArray[Any]:
    """A photograph with the channels that phi prefers, or in colour, its longer side resized to `size`.

    By default a longer side above 256 pixels is reduced to them. ValueError, which names --size, if it is too small.
    """
    from unfeature.io.images import read_image, resize_longer

    if isinstance(size, tuple):
        raise ValueError(f"--size {size[0]}x{size[1]} is for stored codes; for a photograph give its longer side")
    channels = 3 if colour else phi.in_channels[0]
    if channels not in phi.in_channels:
        raise ValueError(f"{type(phi).__name__} does not take colour: leave --colour out")
    image = read_image(path, grey=channels == 1)
    own = max(image.shape[:2])
    if size != OWN_SIZE and (size is not None or own > LONGER_SIDE):
        image = resize_longer(image, size or LONGER_SIDE)
    check = getattr(phi, "output_shape", None) if size != OWN_SIZE else None
    try:
        if check is not None:
            check(*image.shape[:2])
    except ValueError as error:
        raise ValueError(f"{error}: {path} has {image.shape[0]} × {image.shape[1]} pixels here; give a larger "
                         f"--size, its own longer side is {own}") from error
    return np.repeat(image[..., None], 3, axis=2) if channels == 3 and image.ndim == 2 else image


def filling(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """The middle of an image that is resized to cover a height and width."""
    from unfeature.io.images import resize_longer

    scale = max(wanted / own for wanted, own in zip(size, image.shape, strict=False))
    resized = resize_longer(image, ceil(scale * max(image.shape[:2]) - 1e-9))
    top, left = ((own - wanted) // 2 for own, wanted in zip(resized.shape, size, strict=False))
    return resized[top : top + size[0], left : left + size[1]]


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


@contextmanager
def searched(search: Callable[[Callable[[Any], None]], Result], quiet: bool, output: Path,
             names: Sequence[str] = USUAL, read: Sequence[Path] | None = None, command: str | None = None
             ) -> Iterator[tuple[Result, Path]]:
    """Run a search, given its progress callback; yield its result and a folder, whose files will appear in `output`.

    Their `names` are those of `result_folder`. Ctrl-C ends the search early, and nothing that comes after.
    """
    from tqdm import tqdm

    from unfeature.inversion.progress import advance, noted

    command = given_command() if command is None else command
    with ExitStack() as saved, result_folder(output, inputs() if read is None else read, names) as place:
        with tqdm(unit="step", dynamic_ncols=True, disable=True if quiet else None) as bar, noted(bar):
            result = search(partial(advance, bar))
            saved.enter_context(uninterrupted())
        yield with_command(result, command), place


def exit_status(result: Result) -> int:
    """130 for a search that the user stopped, 2 for one that found no finite minimum, else 0."""
    if result.diverged:
        click.echo(f"unfeature: {result.status}: take a smaller weight of the data term, or another preset", err=True)
    return STOPPED if result.interrupted else 2 if result.diverged else 0


@contextmanager
def compilation_said() -> Iterator[None]:
    """Say on a terminal, once, that code is compiled."""
    from unfeature.features.compilation import compilation

    said = not sys.stderr.isatty()

    def say() -> None:
        nonlocal said
        if not said:
            click.echo("compiling, once: later runs start at once", err=True)
        said = True

    with compilation(say):
        yield


def say_warnings() -> None:
    """Say what concerns the user in one line, and each thing once; warnings to programmers are none of theirs."""
    said: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        text = " ".join(str(message).split())
        if category is UserWarning and text not in said:
            said.add(text)
            click.echo(f"unfeature: {text}", err=True)

    warnings.showwarning = show  # type: ignore[assignment]
    warnings.simplefilter("always", UserWarning)


def command_line(arguments: Sequence[str]) -> str:
    """A command as a shell takes it."""
    return shlex.join(["unfeature", *arguments])


def given_command() -> str | None:
    """The command under way, if there is one."""
    context = click.get_current_context(silent=True)
    return None if context is None else context.obj


def with_command(result: Result, command: str | None) -> Result:
    """The result with the command that made it."""
    return replace(result, provenance={**result.provenance, **({"command": command} if command else {})})

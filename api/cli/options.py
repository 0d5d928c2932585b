"""Options, kinds of options, and a kind of group that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click

from unfeature.catalogue import suggestion

INPUTS = "unfeature.inputs"
LARGEST, LARGEST_SIDE, LARGEST_FLOAT = 10**6, 2**13, 1e30
OWN_SIZE = 10**9
"""A longer side that no photograph has: each keeps its own size."""


class Whole(click.types.IntParamType):
    """A whole number, none so large that nothing could be done with it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or a usage error."""
        number = super().convert(value, param, ctx)
        if abs(number) > LARGEST:
            self.fail(f"it is not between {-LARGEST} and {LARGEST}.", param, ctx)
        return number


class Number(click.types.FloatParamType):
    """A number, neither NaN nor infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or a usage error."""
        number = super().convert(value, param, ctx)
        if not abs(number) <= LARGEST_FLOAT:
            self.fail(f"{value!r} is not a finite number, or it is too large.", param, ctx)
        return number


class File(click.Path):
    """A path, which is not empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, or a usage error."""
        if not str(value).strip() or "\0" in str(value):
            self.fail("the name is empty, or no name of a file.", param, ctx)
        path = Path(str(super().convert(value, param, ctx)))
        if param is None or param.name not in ("output", "out"):
            note_input(ctx, Path(str(path)))
        return path


def note_input(ctx: click.Context | None, path: Path) -> None:
    """Remember a file that a command line names as an input."""
    if ctx is not None:
        ctx.meta.setdefault(INPUTS, []).append(path)


def inputs() -> list[Path]:
    """The files that the command line names, without the output."""
    found: list[Path] = click.get_current_context().meta.get(INPUTS, [])
    return [path for path in found if path.exists()]


SEED = click.IntRange(0, 2**32 - 1)
COUNT = click.IntRange(1, LARGEST)
PIXELS = click.IntRange(1, LARGEST_SIDE)
FILE = File(path_type=Path)


class Commands(click.Group):
    """A group that suggests the nearest command for an unknown one, and lists a catalogue's without importing them."""

    def entries(self) -> dict[str, str]:
        """The commands of a catalogue, and a sentence about each."""
        return {}

    def get_entry(self, name: str) -> click.Command | None:
        """A command of the catalogue."""
        return None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands of the catalogue and the others, in order."""
        return sorted({*self.entries(), *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command of its own or of the catalogue."""
        return self.commands.get(cmd_name) or self.get_entry(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with a sentence each."""
        about = self.entries() | {name: own.get_short_help_str(200) for name, own in self.commands.items()}
        with formatter.section("Commands"):
            formatter.write_dl(sorted(about.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """The command that the first argument names."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            ctx.fail(f"there is no command {args[0]!r}: one of {', '.join(known)}{suggestion(args[0], known)}")
        return super().resolve_command(ctx, args)


class Name(click.ParamType):  # type: ignore[type-arg]
    """One of several names, which are read when they are needed."""

    name = "name"

    def __init__(self, known: Iterable[str]) -> None:
        self.known = known

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """``[a|b|c]``."""
        return f"[{'|'.join(self.known)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name, or a usage error that suggests the nearest one."""
        if value not in self.known:
            self.fail(f"unknown name {value!r}: one of {', '.join(self.known)}{suggestion(str(value), self.known)}",
                      param, ctx)
        return value


class Parsed(click.ParamType):  # type: ignore[type-arg]
    """Values of a kind, such as ``"file"``, given by the function that reads their text."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name, self.read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value of a text; a default passes through."""
        if self.name == "file" and isinstance(value, str):
            note_input(ctx, Path(value))
        return self.read(value) if isinstance(value, str) else value


def _size(text: str) -> int | tuple[int, ...]:
    if text.strip() == "own":
        return OWN_SIZE
    match = re.fullmatch(r"(\d{1,9})(?:[x×,](\d{1,9}))?", text.strip())
    numbers = tuple(int(n) for n in match.groups() if n) if match else ()
    if not numbers or not all(0 < n <= LARGEST_SIDE for n in numbers):
        raise click.BadParameter(f"{text[:40]!r} is not a size: give the longer side, as 256, or height and width, as "
                                 f"192x256, up to {LARGEST_SIDE} pixels")
    return numbers[0] if len(numbers) == 1 else numbers


def values(element: Callable[[str], Any] = int, pairs: bool = False) -> Parsed:
    """The kind of ``0,5,7``, a tuple of values; where pairs are allowed, also of ``1,3x1``."""

    def read(text: str) -> tuple[Any, ...]:
        try:
            parts = [part.split("x") if pairs else [part] for part in text.split(",")]
            return tuple(_sensible(element(part[0])) if len(part) == 1 else
                         (_sensible(int(part[0])), _sensible(int(part[1]))) for part in parts)
        except ValueError:
            what, example = ("names", "a,b") if element is str else ("numbers", "1,2 or 1,3x1" if pairs else "0,5,7")
            raise click.BadParameter(f"{text[:40]!r} is not a list of {what}: separate them by commas, as {example}"
                                     f"{'' if element is str else f'; none is beyond {LARGEST}'}") from None

    return Parsed("a,b,…", read)


def _sensible(value: Any) -> Any:
    """The value; ValueError for an empty text, and for a number that is too large or none."""
    largest = LARGEST if isinstance(value, int) else LARGEST_FLOAT
    if not value.strip() if isinstance(value, str) else not abs(value) <= largest:
        raise ValueError
    return value


SHARED: dict[str, Callable[..., Any]] = {
    "steps": partial(click.option, "--steps", type=COUNT, help="Gradient evaluations [the preset's]."),
    "data_weight": partial(click.option, "--data-weight", "--C", "data_weight", type=click.FloatRange(0, min_open=True),
                           help="Weight of the response against the priors [the feature's]."),
    "seed": partial(click.option, "--seed", type=SEED, default=0, show_default=True,
                    help="Seed of the noise to start from."),
    "starts": partial(click.option, "--starts", type=click.IntRange(1, 1000), default=1, show_default=True,
                      help="Number of starts, each from other noise."),
    "memory": partial(click.option, "--memory", metavar="AMOUNT", help="Memory budget, as 2GB [all starts at once]."),
    "size": partial(click.option, "--size", type=Parsed("pixels", _size)),
    "snapshots": partial(click.option, "--snapshots", type=click.IntRange(0), metavar="NUMBER",
                         help="Images of the way to keep, for the page's slider [0; 24 with --animate]."),
    "animate": partial(click.option, "--animate", is_flag=True, help="Also write the film of the way, run.gif."),
    "jobs": partial(click.option, "--jobs", type=click.IntRange(1), metavar="NUMBER",
                    help="Processes, for several files [the cores]."),
    "scheduler": partial(click.option, "--scheduler", metavar="tcp://HOST:PORT",
                         help="Run on a Dask cluster with the same files."),
    "output": partial(click.option, "-o", "--output", type=FILE, default="out", show_default=True,
                      help="Folder of the results."),
    "quiet": partial(click.option, "--quiet", is_flag=True, help="Show no progress bar."),
}


def shared(*names: str, **help_texts: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add options of `SHARED` to a command, some with another help text."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            function = SHARED[name](**({"help": help_texts[name]} if name in help_texts else {}))(function)
        return function

    return decorate

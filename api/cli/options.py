"""Options, kinds of options, and a kind of group that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click

from unfeature.catalogue import suggestion

OWN_SIZE = 10**9
"""A longer side that no photograph has: each keeps its own size."""
SEED = click.IntRange(0, 2**32 - 1)
FILE = click.Path(path_type=Path)


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
        return self.read(value) if isinstance(value, str) else value


def _size(text: str) -> int | tuple[int, ...]:
    if text.strip() == "own":
        return OWN_SIZE
    match = re.fullmatch(r"(\d+)(?:[x×,](\d+))?", text.strip())
    if match is None or 0 in (numbers := tuple(int(n) for n in match.groups() if n)):
        raise click.BadParameter(f"{text!r} is not a size: give the longer side, as 256, "
                                 "or height and width, as 192x256")
    return numbers[0] if len(numbers) == 1 else numbers


def values(element: Callable[[str], Any] = int, pairs: bool = False) -> Parsed:
    """The kind of ``0,5,7``, a tuple of values; where pairs are allowed, also of ``1,3x1``."""

    def read(text: str) -> tuple[Any, ...]:
        try:
            parts = [part.split("x") if pairs else [part] for part in text.split(",")]
            return tuple(element(part[0]) if len(part) == 1 else (int(part[0]), int(part[1])) for part in parts)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not a list of numbers: separate them by commas, as "
                                     f"{'1,2 or 1,3x1' if pairs else '0,5,7'}") from None

    return Parsed("a,b,…", read)


SHARED: dict[str, Callable[..., Any]] = {
    "steps": partial(click.option, "--steps", type=click.IntRange(1), help="Gradient evaluations [the preset's]."),
    "data_weight": partial(click.option, "--data-weight", "--C", "data_weight", type=click.FloatRange(0, min_open=True),
                           help="Weight of the response against the priors [the feature's]."),
    "seed": partial(click.option, "--seed", type=SEED, default=0, show_default=True,
                    help="Seed of the noise to start from."),
    "starts": partial(click.option, "--starts", type=click.IntRange(1), default=1, show_default=True,
                      help="Number of starts, each from other noise."),
    "memory": partial(click.option, "--memory", metavar="AMOUNT", help="Memory budget, as 2GB [all starts at once]."),
    "size": partial(click.option, "--size", type=Parsed("pixels", _size)),
    "snapshots": partial(click.option, "--snapshots", type=click.IntRange(0), metavar="NUMBER",
                         help="Images of the way to keep, for the page's slider [0; 24 with --animate]."),
    "animate": partial(click.option, "--animate", is_flag=True, help="Also write the film of the way, run.gif."),
    "jobs": partial(click.option, "--jobs", type=click.IntRange(1), metavar="NUMBER",
                    help="Processes, for several photographs [as many as cores]."),
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

"""Options, and a kind of group, that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from unfeature.catalogue import suggestion
from unfeature.parameters.kinds import COUNT, FILE, INPUTS, SEED, SIZE


def inputs() -> list[Path]:
    """The files that the command line names, without the output."""
    found: list[Path] = click.get_current_context().meta.get(INPUTS, [])
    return [path for path in found if path.exists()]


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


SHARED: dict[str, Callable[..., Any]] = {
    "steps": partial(click.option, "--steps", type=COUNT, help="Gradient evaluations [the preset's]."),
    "data_weight": partial(click.option, "--data-weight", "--C", "data_weight", type=click.FloatRange(0, min_open=True),
                           help="Weight of the response against the priors [the feature's]."),
    "seed": partial(click.option, "--seed", type=SEED, default=0, show_default=True,
                    help="Seed of the noise to start from."),
    "starts": partial(click.option, "--starts", type=click.IntRange(1, 1000), default=1, show_default=True,
                      help="Starts, each from other noise."),
    "memory": partial(click.option, "--memory", metavar="AMOUNT", help="Memory budget, as 2GB [all starts at once]."),
    "size": partial(click.option, "--size", type=SIZE),
    "snapshots": partial(click.option, "--snapshots", type=click.IntRange(0), metavar="NUMBER",
                         help="Images of the way [0; with --animate 24]."),
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

"""Options, kinds of options, and a kind of group that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from unfeature.catalogue import suggestion

LONGER_SIDE = 256
SEED = click.IntRange(0, 2**32 - 1)
FILE = click.Path(path_type=Path)


class Commands(click.Group):
    """A group that suggests the nearest command for an unknown one."""

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


class Size(click.ParamType):  # type: ignore[type-arg]
    """``256``, the longer side in pixels, or ``192x256``, height and width."""

    name = "pixels"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """An int, or a tuple of two."""
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"(\d+)(?:[x×,](\d+))?", value.strip())
        if match is None or 0 in (numbers := tuple(int(n) for n in match.groups() if n)):
            self.fail(f"{value!r} is not a size: give the longer side, as 256, or height and width, as 192x256")
        return numbers[0] if len(numbers) == 1 else numbers


class Values(click.ParamType):  # type: ignore[type-arg]
    """``0,5,7``: values separated by commas; where pairs are allowed, also ``1,3x1``."""

    name = "a,b,…"

    def __init__(self, element: Callable[[str], Any] = int, pairs: bool = False) -> None:
        self.element, self.pairs = element, pairs

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A tuple of values, or of values and pairs."""
        if not isinstance(value, str):
            return value
        try:
            return tuple(self._read(part) for part in value.split(","))
        except ValueError:
            example = "1,2 or 1,3x1" if self.pairs else "0,5,7"
            return self.fail(f"{value!r} is not a list of numbers: separate them by commas, as {example}", param, ctx)

    def _read(self, part: str) -> Any:
        if self.pairs and "x" in part:
            rows, columns = part.split("x")
            return int(rows), int(columns)
        return self.element(part)


SHARED: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "preset": (("--preset",), {"help": "Published settings [best]."}),
    "steps": (("--steps",), {"type": click.IntRange(1), "help": "Gradient evaluations [the preset's]."}),
    "data_weight": (("--data-weight", "--C", "data_weight"), {"type": click.FloatRange(0, min_open=True)}),
    "seed": (("--seed",), {"type": SEED, "default": 0, "show_default": True,
                           "help": "Seed of the noise to start from."}),
    "starts": (("--starts",), {"type": click.IntRange(1), "default": 1, "show_default": True,
                               "help": "Number of starts, each from other noise."}),
    "memory": (("--memory",), {"metavar": "AMOUNT", "help": "Memory budget, as 2GB [all starts at once]."}),
    "size": (("--size",), {"type": Size()}),
    "output": (("-o", "--output"), {"type": FILE, "default": "out", "show_default": True,
                                    "help": "Folder of the results."}),
    "quiet": (("--quiet",), {"is_flag": True, "help": "Show no progress bar."}),
}
"""The options of the searches: flags and settings, by parameter."""


def shared(*names: str, **help_texts: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add options of `SHARED` to a command, some with another help text."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            flags, settings = SHARED[name]
            function = click.option(*flags, **settings | {"help": help_texts.get(name, settings.get("help"))})(function)
        return function

    return decorate

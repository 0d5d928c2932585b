"""Kinds of values that parameters take, each read from its text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from unfeature.catalogue import suggestion

INPUTS = "unfeature.inputs"
LARGEST, LARGEST_SIDE, LARGEST_FLOAT = 10**6, 2**13, 1e30
LONGER_SIDE = 256
"""To which a longer side of a photograph is reduced, if it is larger, unless one is given."""
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


FILE = File(path_type=Path)
SEED = click.IntRange(0, 2**32 - 1)
COUNT = click.IntRange(1, LARGEST)
PIXELS = click.IntRange(1, LARGEST_SIDE)


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


def _size(text: str) -> int | tuple[int, ...]:
    if text.strip() == "own":
        return OWN_SIZE
    match = re.fullmatch(r"(\d{1,9})(?:[x×,](\d{1,9}))?", text.strip())
    numbers = tuple(int(n) for n in match.groups() if n) if match else ()
    if not numbers or not all(0 < n <= LARGEST_SIDE for n in numbers):
        raise click.BadParameter(f"{text[:40]!r} is not a size: give the longer side, as 256, or height and width, as "
                                 f"192x256, up to {LARGEST_SIDE} pixels")
    return numbers[0] if len(numbers) == 1 else numbers


SIZE = Parsed("pixels", _size)

"""Kinds of options that several commands share."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

import click

SEED = click.IntRange(0, 2**32 - 1)


def suggestion(name: str, known: Iterable[str]) -> str:
    """What to add to a message about an unknown name: the nearest known one, and all of them."""
    names = list(known)
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.4)
    return (f"; did you mean {near[0]!r}?" if near else ";") + f" One of {', '.join(names)}"


class Name(click.Choice[str]):
    """One of several names; a wrong one is answered with the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name, or a usage error."""
        if value not in self.choices:
            what = param.name.replace("_", "-") if param is not None and param.name else "name"
            self.fail(f"there is no {what} {value!r}{suggestion(str(value), self.choices)}", param, ctx)
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


class Levels(click.ParamType):  # type: ignore[type-arg]
    """``1,2,3x1``: the grids of a spatial pyramid."""

    name = "grids"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A tuple of ints and pairs of ints."""
        if not isinstance(value, str):
            return value
        if not re.fullmatch(r"\d+(x\d+)?(,\d+(x\d+)?)*", value):
            self.fail(f"{value!r} is not a pyramid: list its grids, as 1,2 for the whole and 2x2 regions")
        grids = [tuple(int(n) for n in grid.split("x")) for grid in value.split(",")]
        return tuple(grid if len(grid) == 2 else grid[0] for grid in grids)


class Indices(click.ParamType):  # type: ignore[type-arg]
    """``3`` or ``0,5,7``: numbers counted from 0."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A tuple of ints."""
        if not isinstance(value, str):
            return value
        if not re.fullmatch(r"\d+(,\d+)*", value):
            self.fail(f"{value!r} is not a list of numbers: separate them by commas, as 0,5,7")
        return tuple(int(n) for n in value.split(","))

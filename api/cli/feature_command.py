"""Commands that take a feature by name: ``--feature NAME``, then the options of that feature, and only those."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unfeature.catalogue import suggestion
from unfeature.features import DESCRIPTORS
from unfeature.parameters.kinds import Name
from unfeature.parameters.signatures import ParameterOption, options_of, take_values

from .common import compilation_said
from .many import expect_many
from .options import SHARED

if TYPE_CHECKING:
    from unfeature.features.base import Representation

BOUNDS = re.compile(r"\s*\[[-\d.]*<?=?x[<>]=?[-\d.]+\]|; [-\d.]*<?=?x[<>]=?[-\d.]+(?=\])")
"""Of a range, as click notes them: the error of a value outside says them, too."""
CHOSEN, NAMED = "unfeature.feature", "unfeature.named_feature"


class FeatureCommand(click.Command):
    """A command whose function receives the descriptor `phi`, built from the options of its signature.

    Without a default `feature`, one must be named, or the values of the command's own options tell the descriptor: it
    is what `implied` makes of them, unless that is None. Options that are not given and have no default are not passed
    on.
    """

    def __init__(self, *args: Any, feature: str | None = None,
                 implied: Callable[[dict[str, Any]], Representation | None] | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        usual = {"required": implied is None} if feature is None else {"default": feature, "show_default": True}
        self.usual, self.implied = feature, implied
        self.feature = click.Option(["--feature"], type=Name(DESCRIPTORS), help="Kind of feature.", **usual)
        self.params.insert(0, self.feature)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters, and those of the feature that is named."""
        return [*super().get_params(ctx), *_chosen(ctx)[1]]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look for ``--feature NAME`` first, then parse with that feature's options."""
        self._check_early(ctx, args)
        found = _given("--feature", args)
        name = found or self.usual
        if name is not None:
            entry = DESCRIPTORS[self.feature.type.convert(name, self.feature, ctx)]
            taken = {*SHARED, *(p.name for p in self.params)}
            ctx.meta[CHOSEN] = name, options_of(entry.__init__, entry.__mro__, taken)
        ctx.meta[NAMED] = found
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(self._foreign(ctx, error.option_name), ctx) from error

    def _check_early(self, ctx: click.Context, args: list[str]) -> None:
        """Notice unknown names, and missing files among the first arguments, before anything is imported."""
        for option in self.params:
            if isinstance(option.type, Name) and (given := _given(option.opts[0], args)) is not None:
                option.type.convert(given, option, ctx)
        takes_images = any(isinstance(p, click.Argument) and p.name in ("sources", "photograph") for p in self.params)
        named = [*takewhile(lambda text: takes_images and not text.startswith("-"), args)]
        for path in named:
            with suppress(PermissionError):
                if not Path(path).exists():
                    kind = "file" if path.endswith((".npy", ".npz")) else "image"
                    raise FileNotFoundError(f"there is no {kind} {path}")
        if any(p.name == "jobs" for p in self.params) and (len(named) > 1 or any(map(os.path.isdir, named))):
            expect_many(_given("--jobs", args), _given("--scheduler", args))

    def invoke(self, ctx: click.Context) -> Any:
        """Build the descriptor and call the function."""
        phi = self._descriptor(ctx)
        ctx.params = {"phi": phi, **{name: value for name, value in ctx.params.items() if value not in (None, ())}}
        with compilation_said():
            return super().invoke(ctx)

    def _descriptor(self, ctx: click.Context) -> Representation:
        """The descriptor that the parameters tell, which are taken out of them."""
        named, (name, options) = ctx.params.pop("feature"), _chosen(ctx)
        if named is None:
            if self.implied is None or (phi := self.implied(ctx.params)) is None:
                raise click.MissingParameter(ctx=ctx, param=self.feature)
            return phi
        if named != name:
            raise ValueError(f"is {named!r} the feature, or the value of another option? Give --feature NAME once")
        given = take_values(options, ctx.params, name)
        flags = {option.parameter: option.opts[0] for option in options}
        try:
            return DESCRIPTORS[name](**given)
        except ValueError as error:
            raise ValueError(re.sub(r"^\w+(?= is )", lambda word: flags.get(word[0], word[0]), str(error))) from error

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What the command does, or what the feature is that ``--feature NAME --help`` names."""
        if ctx.meta.get(NAMED):
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(DESCRIPTORS.outline(ctx.meta[NAMED])[0])
        else:
            super().format_help_text(ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the command's own options, or those of the feature that is named."""
        name, options = _chosen(ctx)
        own, named = super().get_params(ctx), ctx.meta.get(NAMED)
        records = [record for option in (options if named else own) if isinstance(option, click.Option)
                   and (record := option.get_help_record(ctx)) is not None]
        if records:
            with formatter.section(f"Options of {name}" if named else "Options"):
                formatter.write_dl([(left.replace(" RANGE", ""), BOUNDS.sub("", right)) for left, right in records],
                                   col_max=26)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say where the other options are listed."""
        feature = self.usual or "hog"
        formatter.write_paragraph()
        formatter.write_text(f"`{ctx.command_path} --help` lists the other options." if ctx.meta.get(NAMED) else
                             f"`{ctx.command_path} --feature {feature} --help` lists {feature}'s options.")

    def _foreign(self, ctx: click.Context, option: str) -> str:
        """The message for an option that neither the command nor the feature has."""
        flags = [flag for p in self.get_params(ctx) for flag in (*p.opts, *p.secondary_opts) if flag.startswith("--")]
        name, options = _chosen(ctx)
        if not name:
            return (f"{option} is not an option of {ctx.info_name}; options of a feature need --feature NAME, one of "
                    f"{', '.join(DESCRIPTORS)}{suggestion(option, flags)}")
        takes = ", ".join(o.opts[0] for o in options) or "no options"
        return f"{option} is not an option of {name}, which takes {takes}{suggestion(option, flags)}"


def _given(option: str, args: list[str]) -> str | None:
    """The value of an option, the last one, on a command line that is not parsed yet."""
    found = re.findall(rf"^{option}[=\n](.+)", "\n".join(args), re.MULTILINE)
    return found[-1] if found else None


def _chosen(ctx: click.Context) -> tuple[str, list[ParameterOption]]:
    """The feature that a command line names, or that is usual, and its options."""
    chosen: tuple[str, list[ParameterOption]] = ctx.meta.get(CHOSEN, ("", []))
    return chosen

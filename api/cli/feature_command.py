"""Commands that take a feature by name: ``--feature NAME``, then the options of that feature, and only those."""

from __future__ import annotations

import re
from typing import Any

import click

from unfeature.catalogue import suggestion
from unfeature.features import DESCRIPTORS

from .options import SHARED, Name
from .signatures import ParameterOption, options_of, take_values

CHOSEN = "unfeature.feature"


class FeatureCommand(click.Command):
    """A command whose function receives the descriptor `phi`, built from the options of its signature.

    Without a default `feature`, one must be named. Options that are not given and have no default are not passed on.
    """

    def __init__(self, *args: Any, feature: str | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        usual = {"required": True} if feature is None else {"default": feature, "show_default": True}
        self.usual = feature
        self.feature = click.Option(["--feature"], type=Name(DESCRIPTORS), help="Kind of feature.", **usual)
        self.params.insert(0, self.feature)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters, and those of the feature that is named."""
        return [*super().get_params(ctx), *_chosen(ctx)[1]]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look for ``--feature NAME`` first, then parse with that feature's options."""
        found = re.findall(r"^--feature[=\n](.+)", "\n".join(args), re.MULTILINE)
        name = found[-1] if found else self.usual
        if name is not None:
            entry = DESCRIPTORS[self.feature.type.convert(name, self.feature, ctx)]
            taken = {*SHARED, *(p.name for p in self.params)}
            ctx.meta[CHOSEN] = name, options_of(entry.__init__, entry.__mro__, taken)
        if not found:
            example = "dsift" if self.usual == "hog" else "hog"
            self.epilog = f"`{ctx.command_path} --feature {example} --help` lists {example}'s options."
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(self._foreign(ctx, error.option_name), ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Build the descriptor and call the function."""
        name, options = _chosen(ctx)
        if ctx.params.pop("feature") != name:
            raise ValueError(f"is {name!r} the feature, or the value of another option? Give --feature NAME once")
        given = take_values(options, ctx.params, name)
        flags = {option.parameter: option.opts[0] for option in options}
        try:
            phi = DESCRIPTORS[name](**given)
        except ValueError as error:
            raise ValueError(re.sub(r"^\w+(?= is )", lambda word: flags.get(word[0], word[0]), str(error))) from error
        ctx.params = {"phi": phi, **{name: value for name, value in ctx.params.items() if value is not None}}
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the command's own options, then those of the feature."""
        name, options = _chosen(ctx)
        for heading, part in (("Options", super().get_params(ctx)), (f"Options of {name}", options)):
            records = [record for option in part if (record := option.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)

    def _foreign(self, ctx: click.Context, option: str) -> str:
        """The message for an option that neither the command nor the feature has."""
        flags = [flag for p in self.get_params(ctx) for flag in (*p.opts, *p.secondary_opts) if flag.startswith("--")]
        name, options = _chosen(ctx)
        if not name:
            return (f"{option} is not an option of {ctx.info_name}; options of a feature need --feature NAME, one of "
                    f"{', '.join(DESCRIPTORS)}{suggestion(option, flags)}")
        takes = ", ".join(o.opts[0] for o in options) or "no options"
        return f"{option} is not an option of {name}, which takes {takes}{suggestion(option, flags)}"


def _chosen(ctx: click.Context) -> tuple[str, list[ParameterOption]]:
    """The feature that a command line names, or that is usual, and its options."""
    chosen: tuple[str, list[ParameterOption]] = ctx.meta.get(CHOSEN, ("", []))
    return chosen

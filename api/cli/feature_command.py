"""Commands that take a feature by name: ``--feature NAME``, then the options of that feature, and only those."""

from __future__ import annotations

from typing import Any

import click

from unfeature.catalogue import suggestion
from unfeature.features import DESCRIPTORS

from .options import SHARED, Name
from .signatures import ParameterOption, options_of, take_values

CHOSEN = "unfeature.feature"


class FeatureCommand(click.Command):
    """A command whose function receives the descriptor `phi`, built from the options of its signature.

    Parameters
    ----------
    feature : str, optional
        The feature if none is named; without it, one must be named.
    """

    def __init__(self, *args: Any, feature: str | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        usual = {"required": True} if feature is None else {"default": feature, "show_default": True}
        self.usual = feature
        self.feature = click.Option(["--feature"], type=Name(DESCRIPTORS), help="Kind of feature.", **usual)
        self.params.insert(0, self.feature)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters, and those of the feature that is named."""
        return [*super().get_params(ctx), *ctx.meta.get(CHOSEN, {}).get("options", ())]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look for ``--feature NAME`` first, then parse with that feature's options."""
        name = _named(args, "--feature") or self.usual
        if name is not None:
            entry = DESCRIPTORS[self.feature.type.convert(name, self.feature, ctx)]
            taken = {*SHARED, *(p.name for p in self.params)}
            options = options_of(entry.__init__, entry.__mro__, taken)
            ctx.meta[CHOSEN] = {"name": name, "options": options}
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(self._foreign(ctx, error.option_name), ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Build the descriptor and call the function."""
        name, options = ctx.params.pop("feature"), ctx.meta[CHOSEN]["options"]
        given = take_values(options, ctx.params, name)
        try:
            ctx.params["phi"] = DESCRIPTORS[name](**given)
        except ValueError as error:
            raise ValueError(_with_flag(str(error), options)) from error
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the command's own options, then those of the feature."""
        chosen = ctx.meta.get(CHOSEN, {"name": "", "options": []})
        own = [p for p in super().get_params(ctx) if isinstance(p, click.Option)]
        for heading, options in (("Options", own), (f"Options of {chosen['name']}", chosen["options"])):
            records = [record for option in options if (record := option.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
        if chosen["name"] != "hog":
            formatter.write_paragraph()
            formatter.write_text(f"`{ctx.command_path} --feature hog --help` lists hog's options.")

    def _foreign(self, ctx: click.Context, option: str) -> str:
        """The message for an option that neither the command nor the feature has."""
        flags = [flag for p in self.get_params(ctx) for flag in (*p.opts, *p.secondary_opts) if flag.startswith("--")]
        chosen = ctx.meta.get(CHOSEN)
        if chosen is None:
            return (f"{option} is not an option of {ctx.info_name}; options of a feature need --feature NAME, one of "
                    f"{', '.join(DESCRIPTORS)}{suggestion(option, flags)}")
        takes = ", ".join(o.opts[0] for o in chosen["options"]) or "no options"
        return f"{option} is not an option of {chosen['name']}, which takes {takes}{suggestion(option, flags)}"


def _named(args: list[str], flag: str) -> str | None:
    """The value of a flag among arguments that are not parsed yet."""
    for argument, following in zip(args, [*args[1:], None], strict=True):
        if argument == flag:
            return following
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
    return None


def _with_flag(message: str, options: list[ParameterOption]) -> str:
    """A constructor's message about a parameter, with the flag in place of the parameter's name."""
    for option in options:
        if message.startswith(f"{option.parameter} is "):
            return option.opts[0] + message.removeprefix(option.parameter)
    return message

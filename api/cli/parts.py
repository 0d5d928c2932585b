"""Parts of a recipe as options: ``--prior hyper-laplacian,weight=2`` names an entry of a catalogue and its settings."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from unfeature.catalogue import Catalogue, suggestion
from unfeature.inversion.parameterizations import PARAMETERIZATIONS
from unfeature.inversion.priors import PRIORS
from unfeature.inversion.solvers import SOLVERS
from unfeature.parameters.signatures import PLAIN, evaluated

if TYPE_CHECKING:
    from unfeature.features.base import Representation

NONE = "none"


class Part(click.ParamType):  # type: ignore[type-arg]
    """The maker of an entry of a catalogue: its name, then its settings, as ``adam,step=0.02``.

    Parameters
    ----------
    catalogue : Catalogue
    none : bool
        Whether the name may also be "none", whose value is "none".
    """

    name = "part"

    def __init__(self, catalogue: Catalogue[Any], none: bool = False) -> None:
        self.catalogue, self.none = catalogue, none

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What is given; a name that there is not is answered by those that there are."""
        return "PART"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The maker, or a usage error for a name or a setting that there is not."""
        if not isinstance(value, str) or (self.none and value == NONE):
            return value
        name, *given = value.split(",")
        try:
            maker = self.catalogue.find(name)
            settings = dict(self._setting(name, maker, text, param, ctx) for text in given)
            if all(p.name in settings or p.default is not p.empty for p in _parameters(maker)):
                maker(**settings)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return partial(maker, **settings)

    def _setting(self, name: str, maker: Callable[..., Any], text: str, param: click.Parameter | None,
                 ctx: click.Context | None) -> tuple[str, Any]:
        """The name and the value of one setting."""
        kinds = _kinds(maker)
        known = {setting.replace("_", "-"): setting for setting in kinds}
        setting, _, value = text.partition("=")
        if setting not in known or not value:
            takes = ", ".join(f"{one}=…" for one in known) or "no settings"
            raise ValueError(f"{text!r} is no setting of {name}, which takes {takes}{suggestion(setting, known)}")
        return known[setting], kinds[known[setting]].convert(value, param, ctx)


def _parameters(maker: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(maker).parameters.values())


def _kinds(maker: Callable[..., Any]) -> dict[str, click.ParamType]:  # type: ignore[type-arg]
    """The types of the settings that a command line can give: numbers, switches and words."""
    names = vars(sys.modules[maker.__module__])
    found = {}
    for parameter in _parameters(maker):
        annotation = evaluated(parameter.annotation, names)
        kinds = [PLAIN[kind] for kind in (annotation, *getattr(annotation, "__args__", ())) if kind in PLAIN]
        if kinds and getattr(annotation, "__origin__", None) is not tuple:
            found[parameter.name] = kinds[0]
    return found


def parts(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--parameterization``, ``--solver`` and ``--prior`` to a command."""
    options = (
        click.option("--parameterization", type=Part(PARAMETERIZATIONS),
                     help="What to optimise, as fourier or pixels."),
        click.option("--solver", type=Part(SOLVERS), help="How to descend, as lbfgs or adam,step=0.02."),
        click.option("--prior", type=Part(PRIORS, none=True), multiple=True,
                     help="A prior, as total-variation,weight=2; or none."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def with_given_parts(phi: Representation, settings: dict[str, Any], presets: Any) -> dict[str, Any]:
    """Settings whose preset is a recipe with the parts that they name, which are taken out."""
    from unfeature.inversion.recipes import recipe_for, with_parts

    given = {name: settings[name] for name in ("parameterization", "solver", "prior") if name in settings}
    if not given:
        return settings
    makers = given.pop("prior", None)
    priors = None if makers is None else tuple(maker() for maker in makers if maker != NONE)
    recipe = recipe_for(phi, settings.get("preset", "best"), presets)
    others = {name: value for name, value in settings.items() if name not in ("prior", *given)}
    return {**others, "preset": with_parts(recipe, priors=priors, **given)}

"""The features that commands take by name: for each its options, and how it is built from those that were given."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from .options import Name

if TYPE_CHECKING:
    from ..features.base import Representation


@dataclass(frozen=True)
class Family:
    """A kind of feature.

    Attributes
    ----------
    build : callable
        Takes the options that were given, by keyword, and returns the descriptor; what is not given keeps the
        default of the descriptor's own signature.
    options : tuple of str
        The options, keys of `OPTIONS`, that it takes.
    """

    build: Callable[..., Representation]
    options: tuple[str, ...]


def _hog(**given: Any) -> Representation:
    from ..features.hog import HOG

    return HOG(**given)


def _dsift(**given: Any) -> Representation:
    from ..features.dsift import DSIFT

    return DSIFT(**given)


def _phow(**given: Any) -> Representation:
    from ..features.phow import PHOW

    return PHOW(**{"colour" if name == "colour_space" else name: value for name, value in given.items()})


FAMILIES: dict[str, Family] = {
    "hog": Family(_hog, ("variant", "cell_size", "orientations", "bilinear", "texture", "scale")),
    "dsift": Family(_dsift, ("variant", "bin_size", "step", "window", "scale")),
    "phow": Family(_phow, ("variant", "step", "window", "colour_space", "contrast_threshold")),
}

OPTIONS: dict[str, dict[str, Any]] = {
    "variant": {
        "type": Name(("uoctti", "dpm", "dalal-triggs", "vlfeat", "network", "cyvlfeat")),
        "help": "Whose definition to follow: hog uoctti, dpm, dalal-triggs; dsift vlfeat, network; phow cyvlfeat, "
                "vlfeat [the first].",
    },
    "cell_size": {"type": click.IntRange(1), "metavar": "PIXELS", "help": "Side of a cell [8]."},
    "orientations": {"type": click.IntRange(1), "metavar": "N", "help": "Undirected orientation bins [9]."},
    "bilinear": {"names": "--bilinear/--hard", "help": "Share gradients between the two nearest bins, or not [hard]."},
    "texture": {"names": "--texture/--no-texture", "help": "Keep the channels beyond the histograms [kept]."},
    "bin_size": {"type": click.IntRange(1), "metavar": "PIXELS", "help": "Side of a spatial bin [8]."},
    "step": {
        "type": click.IntRange(1), "metavar": "PIXELS",
        "help": "Between descriptors [dsift: one bin, network three; phow: 2].",
    },
    "window": {"type": Name(("gaussian", "flat")), "help": "[dsift: gaussian, network flat; phow: flat]."},
    "colour_space": {"type": Name(("gray", "rgb", "hsv", "opponent")), "help": "What to describe [gray]."},
    "contrast_threshold": {"type": click.FloatRange(0), "help": "Norm below which descriptors are zero [0.005]."},
    "scale": {"type": click.FloatRange(0, min_open=True), "help": "Factor for images in [0, 1] [255]."},
}


def takes_feature(function: Callable[..., None]) -> Callable[..., None]:
    """Add --feature and the options of all families to a command, whose function receives `phi` in their place."""

    @functools.wraps(function)
    def with_phi(feature: str, **arguments: Any) -> None:
        given = {name: value for name in OPTIONS if (value := arguments.pop(name)) is not None}
        function(phi=build(feature, given), **arguments)

    for name, settings in reversed(OPTIONS.items()):
        settings = dict(settings)
        flags = settings.pop("names", f"--{name.replace('_', '-')}")
        owners = ", ".join(family for family, value in FAMILIES.items() if name in value.options)
        settings["help"] = f"({owners}) {settings['help']}"
        with_phi = click.option(flags, name, default=None, **settings)(with_phi)
    return click.option("--feature", type=Name(tuple(FAMILIES)), required=True, help="The kind of feature.")(with_phi)


def build(feature: str, given: dict[str, Any]) -> Representation:
    """The descriptor of a family with the options given; ValueError for an option that belongs to another."""
    family = FAMILIES[feature]
    foreign = [name for name in given if name not in family.options]
    if foreign:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in family.options)
        raise ValueError(f"--{foreign[0].replace('_', '-')} is not an option of {feature}, which takes {flags}")
    return family.build(**given)

"""The features that commands take by name: for each its options, and how it is built from those that were given."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import Levels, Name

if TYPE_CHECKING:
    from unfeature.features.base import Representation


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
    required : tuple of str
        Those of them that must be given.
    """

    build: Callable[..., Representation]
    options: tuple[str, ...]
    required: tuple[str, ...] = ()


def _hog(**given: Any) -> Representation:
    from unfeature.features.gradients.hog import HOG

    return HOG(**given)


def _dsift(**given: Any) -> Representation:
    from unfeature.features.gradients.dsift import DSIFT

    return DSIFT(**given)


def _phow(**given: Any) -> Representation:
    from unfeature.features.gradients.phow import PHOW

    return PHOW(**{"colour" if name == "colour_space" else name: value for name, value in given.items()})


def _lbp(**given: Any) -> Representation:
    from unfeature.features.patterns.lbp import LBP

    return LBP(**given)


def _brief(**given: Any) -> Representation:
    from unfeature.features.patterns.brief import BRIEF

    return BRIEF(**given)


def _bovw(words: Path, **given: Any) -> Representation:
    from unfeature.features.words.bovw import BoVW
    from unfeature.features.words.vocabulary import Vocabulary

    return BoVW(Vocabulary.load(words), **given)


def _vlad(words: Path, **given: Any) -> Representation:
    from unfeature.features.words.encodings import VLAD
    from unfeature.features.words.vocabulary import Vocabulary

    return VLAD(Vocabulary.load(words), **given)


def _super_vector(words: Path, **given: Any) -> Representation:
    from unfeature.features.words.encodings import SuperVector
    from unfeature.features.words.vocabulary import Vocabulary

    return SuperVector(Vocabulary.load(words), **given)


def _fisher(words: Path, **given: Any) -> Representation:
    from unfeature.features.words.encodings import Fisher
    from unfeature.features.words.vocabulary import Mixture, Vocabulary

    mixture = Vocabulary.load(words)
    if not isinstance(mixture, Mixture):
        raise ValueError(f"{words} holds words of k-means, but a Fisher vector needs a mixture: learn one with --gmm")
    return Fisher(mixture, **given)


def _cnn(net: str, layer: str, **given: Any) -> Representation:
    from unfeature.features.networks.cnn import CNN

    return CNN(net, layer, **given)


FAMILIES: dict[str, Family] = {
    "hog": Family(_hog, ("variant", "cell_size", "orientations", "bilinear", "texture", "scale")),
    "dsift": Family(_dsift, ("variant", "bin_size", "step", "window", "scale")),
    "phow": Family(_phow, ("variant", "step", "window", "colour_space", "contrast_threshold")),
    "lbp": Family(_lbp, ("points", "radius", "cell_size", "rotation_invariant")),
    "brief": Family(_brief, ("bits", "patch_size", "step")),
    "bovw": Family(_bovw, ("words", "assignment", "neighbours", "levels", "pooling", "normalisation"), ("words",)),
    "vlad": Family(_vlad, ("words", "assignment", "neighbours", "levels"), ("words",)),
    "super-vector": Family(_super_vector, ("words", "assignment", "neighbours", "levels"), ("words",)),
    "fisher": Family(_fisher, ("words", "levels"), ("words",)),
    "cnn": Family(_cnn, ("net", "layer", "weights", "leak", "precision"), ("net", "layer")),
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
    "points": {"type": click.IntRange(2, 24), "metavar": "N", "help": "Neighbours that a pixel is compared with [8]."},
    "radius": {"type": click.FloatRange(0, min_open=True), "metavar": "PIXELS", "help": "Of their circle [1]."},
    "rotation_invariant": {
        "names": "--rotation-invariant/--oriented",
        "help": "Whether patterns that turn into one another are one, or know directions [rotation-invariant].",
    },
    "bits": {"type": click.IntRange(1), "metavar": "N", "help": "Comparisons in a patch [256]."},
    "patch_size": {"type": click.IntRange(2), "metavar": "PIXELS", "help": "Side of a patch [32]."},
    "words": {
        "type": click.Path(path_type=Path), "metavar": "FILE",
        "help": "Visual words, with the descriptor they are of; `unfeature learn words` makes the file.",
    },
    "assignment": {"type": Name(("hard", "soft", "llc")), "help": "Of descriptors to words [hard]."},
    "neighbours": {"type": click.IntRange(1), "metavar": "N", "help": "Words that share a descriptor [the default]."},
    "levels": {"type": Levels(), "help": "Grids of a spatial pyramid, as 1,2 or 1,3x1 [bovw: 1,2; others: 1]."},
    "pooling": {"type": Name(("sum", "max")), "help": "Of the shares of a region [sum]."},
    "normalisation": {"type": Name(("l1", "l2", "power", "none")), "help": "Of the histogram [l1]."},
    "net": {"metavar": "NAME", "help": "A network, such as alexnet, vgg-m, vgg16 or squeezenet1_0."},
    "layer": {"metavar": "NAME", "help": "Its layer, such as conv5; a wrong one is answered with the right ones."},
    "weights": {
        "type": click.Path(path_type=Path), "metavar": "FILE", "help": "Its weights: .mat, .pth or .safetensors.",
    },
    "precision": {"type": Name(("bfloat16",)), "help": "Of the network's sums: faster, 0.5 to 2 % off [exact]."},
    "leak": {"type": click.FloatRange(0, 1), "help": "Slope of the gradient through dead ReLUs; 0.05 to maximise [0]."},
    "scale": {"type": click.FloatRange(0, min_open=True), "help": "Factor for images in [0, 1] [255]."},
}


class FeatureCommand(click.Command):
    """A command whose help lists the features' options after its own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write both lists."""
        own: list[tuple[str, str]] = []
        features: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                (features if parameter.name in OPTIONS else own).append(record)
        for heading, records in (("Options", own), ("Options of the features in brackets", features)):
            with formatter.section(heading):
                formatter.write_dl(records)


def takes_feature(default: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add --feature and the options of all families to a command, whose function receives `phi` in their place."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
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
        kind: dict[str, Any] = {"required": True} if default is None else {"default": default, "show_default": True}
        return click.option("--feature", type=Name(tuple(FAMILIES)), help="The kind of feature.", **kind)(with_phi)

    return decorate


def build(feature: str, given: dict[str, Any]) -> Representation:
    """The descriptor of a family with the options given; ValueError for a foreign option, or a missing one."""
    family = FAMILIES[feature]
    foreign = [name for name in given if name not in family.options]
    if foreign:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in family.options)
        raise ValueError(f"--{foreign[0].replace('_', '-')} is not an option of {feature}, which takes {flags}")
    missing = [name for name in family.required if name not in given]
    if missing:
        raise ValueError(f"{feature} needs --{missing[0].replace('_', '-')}: {OPTIONS[missing[0]]['help']}")
    return family.build(**given)

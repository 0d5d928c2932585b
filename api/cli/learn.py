"""``unfeature learn``: from folders of images to a model in one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .families import FeatureCommand, takes_feature
from .options import SEED
from .progress import image_bar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from unfeature.features.base import Representation

MODELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "dictionary": ("the paired dictionary (HOGgles)", ("atoms", "windows", "penalty", "cells")),
    "ridge": ("the joint Gaussian of windows and codes", ("windows", "cells")),
    "elda": ("exemplar LDA: images, codes and background statistics", ("cells",)),
    "basis": ("the principal components of patches, for direct descent", ("components", "cells")),
    "collage": ("a database of patches and descriptors", ("cells",)),
    "jigsaw": ("adjacency and naturalness of words, for jigsaws", ()),
    "upconv": (
        "an up-convolutional network from codes to images",
        ("crop", "crops", "zoom", "width", "steps", "batch", "device"),
    ),
}
"""What can be learned for `unfeature.baselines`: a line about each, and its own options, keys of `OPTIONS`."""

OPTIONS: dict[str, dict[str, Any]] = {
    "atoms": {"type": click.IntRange(1), "metavar": "K", "help": "Atoms of the dictionary [1024]."},
    "windows": {"type": click.IntRange(1), "metavar": "N", "help": "Windows to learn from."},
    "penalty": {"type": click.FloatRange(0, min_open=True), "help": "Of the codes' L1 norm."},
    "cells": {"type": click.IntRange(1), "metavar": "N", "help": "Positions along one side of a window."},
    "crop": {"type": click.IntRange(1), "metavar": "PIXELS", "help": "Side of the crops to train on."},
    "crops": {"type": click.IntRange(1), "metavar": "N", "help": "Of each image."},
    "zoom": {"type": click.FloatRange(1), "metavar": "TIMES", "help": "Cut crops up to so much larger [1]."},
    "width": {"type": click.IntRange(1), "metavar": "N", "help": "Channels of the network."},
    "steps": {"type": click.IntRange(1), "metavar": "N", "help": "Batches to train on."},
    "batch": {"type": click.IntRange(1), "metavar": "N", "help": "Crops in a batch."},
    "device": {"metavar": "NAME", "help": "cpu or cuda [cuda where there is one]."},
    "components": {"type": click.IntRange(1), "metavar": "N", "help": "Principal components."},
}


SIDE = click.option("--side", type=click.IntRange(1), metavar="PIXELS", help="Longer side to resize to [as they are].")
IMAGES = click.argument("images", metavar="IMAGES...", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.group()
def learn() -> None:
    """Learn a model from images.

    \b
    Examples:
      unfeature learn words photographs/ --count 1000 -o words.npz
      unfeature learn dictionary train/ val/ --feature hog -o pd.npz
      unfeature invert photo.jpg --feature hog --method paired-dictionary --model pd.npz
    """


def _shared(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--memory", default="2GB", show_default=True, help="Bound on what is held while learning."),
        click.option("--seed", type=SEED, default=0, show_default=True, help="The same, the same model."),
        click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The .npz file to write."),
        IMAGES,
    ):
        function = option(function)
    return function


def _files(given: tuple[Path, ...]) -> list[Path]:
    """The images that are given, those of folders by name."""
    from unfeature.io.images import list_images

    return [file for path in given for file in ([path] if path.is_file() else list_images(path))]


def _model_command(kind: str, summary: str, options: tuple[str, ...]) -> click.Command:
    @SIDE
    @_shared
    @takes_feature("hog")
    def command(images: tuple[Path, ...], phi: Representation, output: Path, **settings: Any) -> None:
        from unfeature.baselines import find

        given = {name: value for name, value in settings.items() if value is not None}
        with image_bar() as progress:
            find(kind).learn(_files(images), phi, output=output, progress=progress, **given)
        click.echo(output)

    for name in reversed(options):
        command = click.option(f"--{name}", default=None, **OPTIONS[name])(command)
    return click.command(kind, cls=FeatureCommand, help=f"Learn {summary}, from folders of images.")(command)


for _kind, (_summary, _options) in MODELS.items():
    learn.add_command(_model_command(_kind, _summary, _options))


@learn.command("keypoints")
@click.option("--per-image", type=click.IntRange(1), default=500, show_default=True, help="The strongest of each.")
@SIDE
@_shared
def keypoints(images: tuple[Path, ...], output: Path, **settings: Any) -> None:
    """Learn a database of patches at interest points, for `unfeature keypoints`, from folders of images."""
    from unfeature.baselines.keypoints import Keypoints, SIFTKeypoints

    with image_bar() as progress:
        Keypoints.learn(_files(images), SIFTKeypoints(), output=output, progress=progress, **settings)
    click.echo(output)


@learn.command("words", cls=FeatureCommand)
@click.option("--count", type=click.IntRange(1), default=1000, show_default=True, help="Words, or components.")
@click.option("--gmm", is_flag=True, help="A mixture of Gaussians, as Fisher vectors need, instead of k-means.")
@click.option("--root", is_flag=True, help="Words of root-SIFT.")
@click.option("--samples", type=click.IntRange(1), metavar="N", help="Descriptors to cluster [400 a word].")
@_shared
@takes_feature("dsift")
def words(images: tuple[Path, ...], phi: Representation, output: Path, count: int, gmm: bool, **settings: Any) -> None:
    """Learn visual words of a feature, from folders of images."""
    from unfeature.features.words.vocabulary import Vocabulary

    kind = "gmm" if gmm else "kmeans"
    with image_bar() as progress:
        Vocabulary.learn(_files(images), phi, words=count, kind=kind, progress=progress, **settings).save(output)
    click.echo(output)


@learn.command("statistics", cls=FeatureCommand)
@click.option("--size", type=click.IntRange(1), metavar="PIXELS", help="Longer side to resize to [as they are].")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The .npz file to write.")
@IMAGES
@takes_feature("cnn")
def statistics(images: tuple[Path, ...], phi: Representation, output: Path, size: int | None) -> None:
    """Collect the mean, deviation and maximum of each channel of a layer, over folders of images."""
    from unfeature.features.channel_statistics import statistics as collect

    with image_bar() as progress:
        collect(phi, _photographs(_files(images), phi, size, progress)).save(output)
    click.echo(output)


def _photographs(
    paths: list[Path], phi: Representation, size: int | None, progress: Callable[[int, int | None], None]
) -> Iterator[NDArray[np.float32]]:
    from .photographs import read_photograph

    for done, path in enumerate(paths, start=1):
        yield read_photograph(path, phi, size)
        progress(done, len(paths))

"""``unfeature learn``: from folders of images to a model in one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unfeature.baselines import LEARNED_AS, METHODS
from unfeature.io.images import list_images

from .feature_command import FeatureCommand
from .options import FILE, SEED, Commands
from .photographs import read_photograph
from .progress import image_bar
from .signatures import options_of, take_values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from unfeature.features.base import Representation

STREAM = ("images", "phi", "seed", "side", "memory", "output", "progress")
IMAGES = click.argument("images", metavar="IMAGES...", nargs=-1, required=True, type=FILE)
SIDE = click.option("--side", type=click.IntRange(1), metavar="PIXELS", help="Longer side to resize to [as they are].")
OUTPUT = click.option("-o", "--output", type=FILE, required=True, help="The .npz file to write.")


class Learn(Commands):
    """A group with a command for each method that learns, made from its signature when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The methods that learn, by the names of their models, and the commands of their own."""
        models = {method: model for model, method in LEARNED_AS.items()}
        methods = [models.get(name, name) for name in METHODS if "learn" in METHODS.outline(name)[1]]
        return sorted({*methods, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a model or method."""
        if cmd_name in self.commands or LEARNED_AS.get(cmd_name, cmd_name) not in METHODS:
            return self.commands.get(cmd_name)
        return _model_command(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the models without importing their methods."""
        with formatter.section("Models"):
            formatter.write_dl([
                (name, self.commands[name].get_short_help_str(200) if name in self.commands else _summary(name))
                for name in self.list_commands(ctx)
            ])


@click.group(cls=Learn)
def learn() -> None:
    """Learn a model from folders of images; their sub-folders count, too.

    \b
    Examples:
      unfeature learn words photographs/ --count 1000 -o words.npz
      unfeature learn dictionary train/ val/ --feature hog -o pd.npz
      unfeature invert photo.jpg --feature hog --method paired-dictionary --model pd.npz
    """


def _summary(name: str) -> str:
    return METHODS.outline(LEARNED_AS.get(name, name))[0].split("\n\n")[0].replace("\n", " ")


def _files(given: tuple[Path, ...]) -> list[Path]:
    """The images that are given, and those of the folders that are given."""
    return [file for path in given for file in ([path] if path.is_file() else list_images(path))]


def _stream(function: Callable[..., None]) -> Callable[..., None]:
    """Add what all models are learned with."""
    for option in (
        click.option("--memory", default="2GB", show_default=True, help="Memory budget of learning."),
        click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of all that is drawn at random."),
        OUTPUT,
        IMAGES,
    ):
        function = option(function)
    return function


def _model_command(name: str) -> click.Command:
    """The command that learns a model, with the options of its method's ``learn``."""
    method = METHODS[LEARNED_AS.get(name, name)]
    options = options_of(method.learn, [method.learn], without=STREAM)

    @click.command(name, cls=FeatureCommand, feature="hog", help=f"Learn from images: {_summary(name)}")
    @SIDE
    @_stream
    def command(images: tuple[Path, ...], phi: Representation, output: Path, **settings: Any) -> None:
        given = take_values(options, settings, name) | {k: v for k, v in settings.items() if v is not None}
        with image_bar() as progress:
            method.learn(_files(images), phi, output=output, progress=progress, **given)
        click.echo(output)

    command.params[1:1] = options
    return command


@learn.command("keypoints")
@click.option("--per-image", type=click.IntRange(1), default=500, show_default=True,
              help="Keypoints of each image, the strongest.")
@SIDE
@_stream
def keypoints(images: tuple[Path, ...], output: Path, **settings: Any) -> None:
    """Learn a database of patches at SIFT keypoints, for `unfeature keypoints`."""
    from unfeature.baselines.keypoints import Keypoints, SIFTKeypoints

    with image_bar() as progress:
        Keypoints.learn(_files(images), SIFTKeypoints(), output=output, progress=progress, **settings)
    click.echo(output)


@learn.command("words", cls=FeatureCommand, feature="dsift")
@click.option("--count", type=click.IntRange(1), default=1000, show_default=True, help="Words, or components.")
@click.option("--gmm", is_flag=True, help="Learn a mixture of Gaussians, for Fisher vectors, instead of k-means.")
@click.option("--root", is_flag=True, help="Learn words of root-SIFT.")
@click.option("--samples", type=click.IntRange(1), metavar="N", help="Descriptors to cluster [400 for each word].")
@_stream
def words(images: tuple[Path, ...], phi: Representation, output: Path, count: int, gmm: bool, **settings: Any) -> None:
    """Learn visual words of a feature."""
    from unfeature.features.words.vocabulary import Vocabulary

    with image_bar() as progress:
        Vocabulary.learn(_files(images), phi, words=count, kind="gmm" if gmm else "kmeans", progress=progress,
                         **settings).save(output)
    click.echo(output)


@learn.command("statistics", cls=FeatureCommand, feature="cnn")
@click.option("--size", type=click.IntRange(1), metavar="PIXELS", help="Longer side to resize to [as they are].")
@OUTPUT
@IMAGES
def statistics(images: tuple[Path, ...], phi: Representation, output: Path, size: int | None) -> None:
    """Collect the mean, standard deviation and maximum of each channel of a layer over images."""
    from unfeature.features.channel_statistics import statistics as collect

    files = _files(images)
    with image_bar() as progress:

        def photographs() -> Iterator[NDArray[np.float32]]:
            for done, path in enumerate(files, start=1):
                yield read_photograph(path, phi, size)
                progress(done, len(files))

        collect(phi, photographs()).save(output)
    click.echo(output)

"""``unfeature learn``: from folders of images to a model in one file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unfeature.baselines import LEARNED_AS, METHODS
from unfeature.features import DESCRIPTORS
from unfeature.io.images import list_images, read_each
from unfeature.io.output import check_output
from unfeature.parameters.kinds import COUNT, FILE, OWN_SIZE, PIXELS, SEED, Number
from unfeature.parameters.signatures import options_of, take_values

from .common import progress_bar, read_photograph
from .feature_command import FeatureCommand
from .options import Commands, inputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unfeature.features.base import Representation

SIDE, SIZE = (click.Option([flag], type=PIXELS, metavar="PIXELS",
                           help="Longer side to resize to [as they are].") for flag in ("--side", "--size"))
OUTPUT = click.Option(["-o", "--output"], type=FILE, required=True, help="The file to write.")
IMAGES = click.Argument(["images"], metavar="IMAGES...", nargs=-1, required=True, type=FILE)
STREAM = [
    OUTPUT,
    click.Option(["--seed"], type=SEED, default=0, show_default=True, help="Seed of all that is drawn at random."),
    click.Option(["--memory"], default="2GB", show_default=True, help="Memory budget of learning."),
]
WORDS = [
    click.Option(["--count", "words"], type=COUNT, default=1000, show_default=True,
                 help="Words, or components."),
    click.Option(["--gmm", "kind"], flag_value="gmm",
                 help="Learn a mixture of Gaussians, for Fisher vectors, instead of k-means."),
    click.Option(["--root"], is_flag=True, help="Learn words of root-SIFT."),
    click.Option(["--samples"], type=COUNT, metavar="N",
                 help="Descriptors to cluster [400 for each word]."),
]


UNCERTAINTY = [
    click.Option(["--decoder"], type=FILE, metavar="FILE", help="The decoder [the one that ships for the feature]."),
    click.Option(["--steps"], type=click.IntRange(1), default=1000, show_default=True, help="Steps of Adam."),
    click.Option(["--crop"], type=COUNT, default=192, show_default=True, help="Pixels along one side of a crop."),
    click.Option(["--whole"], type=Number(), default=0.0, show_default=True,
                 help="Share of the batches that show photographs nearly whole."),
]


class Learn(Commands):
    """The commands of other models, and one for each method that learns, from its signature when called."""

    def entries(self) -> dict[str, str]:
        """The methods that learn, by the names of their models."""
        models = {method: model for model, method in LEARNED_AS.items()}
        outlines = {models.get(name, name): METHODS.outline(name) for name in METHODS}
        return {name: about for name, (about, methods) in outlines.items() if "learn_from" in methods}

    def get_entry(self, name: str) -> click.Command | None:
        """The command of a model or method."""
        return _model_command(name) if LEARNED_AS.get(name, name) in METHODS else None


@click.group(cls=Learn)
def learn() -> None:
    """Learn a model from folders of images; their sub-folders count, too.

    \b
    Examples:
      unfeature learn words photographs/ --count 1000 -o words.npz
      unfeature learn dictionary train/ val/ --feature hog -o pd.npz
      unfeature invert photo.jpg --feature hog --method paired-dictionary --model pd.npz
    """


def _command(name: str, feature: str, text: str, options: Sequence[click.Parameter], function: Callable[..., Any]
             ) -> click.Command:
    """The command that calls ``function(images, phi, output=…, progress=…)`` with the values of the options."""

    def command(images: tuple[Path, ...], output: Path, phi: Any = None, **settings: Any) -> None:
        files = [file for path in images for file in ([path] if path.is_file() else list_images(path))]
        check_output(output, [*files, *inputs()])
        with progress_bar("image") as progress:
            function(files, phi, output=output, progress=progress, **settings)
        click.echo(output)

    parts: dict[str, Any] = {"callback": command, "help": text, "params": [*options, IMAGES]}
    return FeatureCommand(name, feature=feature, **parts) if feature in DESCRIPTORS else click.Command(name, **parts)


def _model_command(name: str) -> click.Command:
    """The command that learns a model, with the options of its method's ``learn_from``."""
    method = METHODS[LEARNED_AS.get(name, name)]
    about = METHODS.outline(LEARNED_AS.get(name, name))[0]
    options = options_of(method.learn_from, [method.learn_from], without=("stream", "phi"))

    def function(images: list[Path], phi: Any, **settings: Any) -> None:
        from unfeature.baselines.keypoints import SIFTKeypoints

        if "report" in inspect.signature(method.learn_from).parameters:
            settings["report"] = partial(click.echo, err=True)
        method.learn(images, phi or SIFTKeypoints(), **take_values(options, settings, name), **settings)

    return _command(name, method.feature, f"Learn from images: {about}", [*options, SIDE, *STREAM], function)


def _words(images: list[Path], phi: Representation, output: Path, **settings: Any) -> None:
    from unfeature.features.words.vocabulary import Vocabulary

    Vocabulary.learn(images, phi, **settings).save(output)


def _statistics(images: list[Path], phi: Representation, output: Path, progress: Callable[[int, int], None],
                size: int | None = None) -> None:
    from unfeature.features.channel_statistics import statistics

    def read(path: Path) -> NDArray[Any]:
        image = read_photograph(path, phi, OWN_SIZE if size is None else size)
        phi.check_batch(phi.as_batch(image))
        return image

    statistics(phi, read_each(images, read, progress)).save(output)


def _uncertainty(images: list[Path], phi: Representation, output: Path, decoder: Path | None = None, **settings: Any
                 ) -> None:
    from unfeature.baselines.uncertainty import learn_uncertainty
    from unfeature.inversion.decoder import DecoderModel

    model = None if decoder is None else DecoderModel.load(decoder)
    learn_uncertainty(images, phi, decoder=model, output=output, report=partial(click.echo, err=True), **settings)


learn.add_command(_command("words", "dsift", "Learn visual words of a feature.", [*WORDS, *STREAM], _words))
learn.add_command(_command(
    "statistics", "cnn", "Collect the mean, standard deviation and maximum of each channel of a layer over images.",
    [SIZE, OUTPUT], _statistics))
learn.add_command(_command("uncertainty", "hog", "Learn how far a decoder's images are from photographs.",
                           [*UNCERTAINTY, *STREAM], _uncertainty))

"""``unfeature maximize`` and ``unfeature caricature``: images to which a feature responds more."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unfeature.display.folder import with_photograph
from unfeature.io.files import load_array
from unfeature.parameters.kinds import FILE, LONGER_SIDE, Name, values

from .common import exit_status, read_photograph, searched
from .feature_command import FeatureCommand
from .options import shared
from .parts import parts, with_given_parts

if TYPE_CHECKING:
    from unfeature.features.base import Representation
    from unfeature.inversion.result import Result

INDICES, PRESETS = values(), ("best", "ijcv2016", "yosinski2015", "maco")


@click.command("maximize", cls=FeatureCommand, feature="cnn")
@click.option("--channel", type=INDICES, help="Channels, as 3 or 0,5,7: the mean response of each, one image each.")
@click.option("--neuron", type=INDICES, help="CHANNEL at the middle of the code, or CHANNEL,ROW,COLUMN.")
@click.option("--class", "class_", type=INDICES, help="Classes of a layer of scores, as 130 or 130,963.")
@click.option("--mosaic", type=INDICES, help="Channels to show in one image, as 0,1,2,3.")
@click.option("--template", metavar="FILE", type=FILE, help="A direction in the space of codes, .npy.")
@click.option("--statistics", metavar="FILE", type=FILE,
              help="Statistics of the channels, from `unfeature learn statistics` [responses to noise].")
@click.option("--preset", type=Name(PRESETS), help="How to search [best].")
@parts
@shared("steps", "data_weight", "seed", "starts", "memory", "snapshots", "size", "output", "quiet",
        snapshots="Images of the way to keep [0].",
        size="Side of the image, or HEIGHTxWIDTH [as large as the response needs].")
def maximize(phi: Representation, output: Path, quiet: bool, size: int | tuple[int, int] | None = None,
             statistics: Path | None = None, template: Path | None = None, **settings: Any) -> int:
    """Find images to which a channel, a neuron, a class or a template responds most.

    The folder receives preimage.png (or one for each image), image.npy, result.json and report.html.

    \b
    Examples:
      unfeature maximize --net squeezenet1_0 --weights w.safetensors --layer pool_final --leak 0.05 --class 130
      unfeature maximize --net vgg-m --weights vgg-m.mat --layer conv3 --mosaic 0,1,2,3,4,5,6,7,8
      unfeature maximize --feature hog --variant dpm --template person.npy
    """
    from unfeature.display.pictures import glyph
    from unfeature.display.report import write_report
    from unfeature.features.channel_statistics import Statistics
    from unfeature.inversion.maximize import maximize as find
    from unfeature.inversion.recipes import MAXIMIZATION_PRESETS
    from unfeature.io.images import write_png

    known = None if statistics is None else Statistics.load(statistics, phi)
    direction = None if template is None else load_array(template)
    sides = (size, size) if isinstance(size, int) else size
    settings = with_given_parts(phi, settings, MAXIMIZATION_PRESETS)
    search = partial(find, phi, direction=direction, statistics=known, size=sides, **settings)
    with searched(lambda progress: search(progress=progress), quiet, output) as (result, place):
        if direction is not None and direction.ndim == 3:
            write_png(place / "glyph.png", glyph(phi, direction))
        result.save(place)
        write_report(place)
    return _report(result, output)


@click.command("caricature", cls=FeatureCommand, feature="cnn")
@click.argument("photograph", type=FILE)
@click.option("--octaves", type=click.IntRange(1, 64), default=1, show_default=True,
              help="Number of image sizes, from small to large.")
@click.option("--octave-scale", type=click.FloatRange(1, 1000, min_open=True), default=1.4, show_default=True,
              help="Ratio of one size to the next.")
@click.option("--preset", type=Name(PRESETS[:2]), help="How to search [best].")
@parts
@shared("steps", "data_weight", "seed", "starts", "memory", "snapshots", "size", "output", "quiet",
        snapshots="Images of the way to keep [0].",
        steps="Gradient evaluations at each size [the preset's].",
        seed="Seed of the jitter.", starts="Number of attempts, each under other jitter.",
        size=f"Longer side to resize the photograph to, or own [{LONGER_SIDE}, if it is larger].")
def caricature(photograph: Path, phi: Representation, output: Path, quiet: bool,
               size: int | tuple[int, int] | None = None, **settings: Any) -> int:
    """Change a photograph so that the responses of a feature grow.

    The folder receives original.png, preimage.png, image.npy, result.json and report.html.

    \b
    Examples:
      unfeature caricature photo.jpg --net squeezenet1_0 --weights w.safetensors --layer fire6
      unfeature caricature photo.jpg --net squeezenet1_0 --weights w.safetensors --layer fire9 --octaves 4
    """
    from unfeature.display.report import write_report
    from unfeature.inversion.caricature import caricature as find
    from unfeature.inversion.recipes import CARICATURE_PRESETS
    from unfeature.io.images import write_png

    image = read_photograph(photograph, phi, size)
    search = partial(find, phi, image, **with_given_parts(phi, settings, CARICATURE_PRESETS))
    with searched(lambda progress: search(progress=progress), quiet, output) as (found, place):
        result = with_photograph(found, photograph.name, image)
        write_png(place / "original.png", image)
        result.save(place)
        write_report(place)
    return _report(result, output)


def _report(result: Result, folder: Path) -> int:
    """Print how strongly the images respond; the exit status."""
    responses = ", ".join(f"{response:.4g}" for response in result.provenance["responses"])
    click.echo(f"response {responses}, {result.provenance['seconds']:.1f} s: {result.status}\n"
               f"{folder / 'report.html'}")
    return exit_status(result)

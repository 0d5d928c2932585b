"""``unfeature saliency``: which pixels of a photograph a response depends on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from unfeature.display.folder import with_photograph
from unfeature.io.output import USUAL
from unfeature.parameters.kinds import FILE, LONGER_SIDE, Name, values

from .common import read_photograph, searched
from .feature_command import FeatureCommand
from .options import shared

if TYPE_CHECKING:
    from unfeature.features.base import Representation

INDICES = values()


@click.command("saliency", cls=FeatureCommand, feature="cnn")
@click.argument("photograph", type=FILE)
@click.option("--channel", type=INDICES, help="Channels, as 3 or 0,5,7 [the one with the largest mean response].")
@click.option("--neuron", type=INDICES, help="CHANNEL where it responds most, or CHANNEL,ROW,COLUMN.")
@click.option("--class", "class_", type=INDICES, help="Classes of a layer of scores, as 130 or 130,963.")
@click.option("--method", type=Name(("gradient", "guided", "deconvnet")),
              help="How the gradient passes ReLUs [gradient].")
@shared("size", "output", size=f"Longer side to resize the photograph to, or own [{LONGER_SIDE}, if it is larger].")
def saliency(photograph: Path, phi: Representation, output: Path, size: int | tuple[int, int] | None = None,
             **settings: Any) -> None:
    """Show which pixels of a photograph a response depends on.

    The folder receives preimage.png (the map, about grey; one for each response), magnitude.png (its largest magnitude
    over the colours), original.png, image.npy, result.json and report.html.

    \b
    Examples:
      unfeature saliency photo.jpg --net squeezenet1_0 --weights w.safetensors --layer pool_final --method guided
      unfeature saliency photo.jpg --net squeezenet1_0 --weights w.safetensors --layer fire5 --neuron 7 \\
        --method deconvnet
    """
    from unfeature.display.report import write_report
    from unfeature.inversion.saliency import saliency as find
    from unfeature.io.images import write_png

    image = read_photograph(photograph, phi, size)
    names = (*USUAL, "magnitude.png")
    with searched(lambda progress: find(phi, image, **settings), True, output, names) as (found, place):
        result = with_photograph(found, photograph.name, image)
        write_png(place / "original.png", image)
        largest = 2 * np.abs(result.images[0] - 0.5)
        write_png(place / "magnitude.png", largest.max(-1) if largest.ndim == 3 else largest)
        result.save(place)
        write_report(place)
    responses = ", ".join(f"{channel}: {response:.4g}" for channel, response in zip(
        result.provenance["saliency"]["channels"], result.provenance["responses"], strict=True))
    click.echo(f"response of channel {responses}\n{output / 'report.html'}")

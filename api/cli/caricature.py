"""``unfeature caricature``: a photograph, exaggerated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unfeature.io.files import folder_for_results

from .feature_command import FeatureCommand
from .maximize import save
from .options import FILE, LONGER_SIDE, shared
from .photographs import read_photograph
from .progress import step_bar

if TYPE_CHECKING:
    from unfeature.features.base import Representation


@click.command("caricature", cls=FeatureCommand, feature="cnn")
@click.argument("photograph", type=FILE)
@click.option("--octaves", type=click.IntRange(1), default=1, show_default=True,
              help="Number of image sizes, from small to large.")
@click.option("--octave-scale", type=click.FloatRange(1, min_open=True), default=1.4, show_default=True,
              help="Ratio of one size to the next.")
@shared("preset", "steps", "data_weight", "seed", "size", "output", "quiet", preset="best or ijcv2016 [best].",
        steps="Gradient evaluations at each size [the preset's].", seed="Seed of the jitter.",
        data_weight="Weight of the response against the priors [the feature's].",
        size=f"Longer side to reduce the photograph to [{LONGER_SIDE}].")
def caricature(photograph: Path, phi: Representation, output: Path, quiet: bool, size: int | tuple[int, int] | None,
               **settings: Any) -> None:
    """Change a photograph so that the responses of a feature grow.

    \b
    Examples:
      unfeature caricature photo.jpg --net squeezenet1_0 --weights w.safetensors --layer fire6
      unfeature caricature photo.jpg --net squeezenet1_0 --weights w.safetensors --layer fire9 --octaves 4
    """
    from unfeature.inversion.caricature import caricature as find

    image = read_photograph(photograph, phi, size or LONGER_SIDE)
    given = {name: value for name, value in settings.items() if value is not None}
    with folder_for_results(output), step_bar(quiet) as progress:
        result = find(phi, image, progress=progress, **given)
    save(result, output)

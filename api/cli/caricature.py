"""``unfeature caricature``: a photograph, exaggerated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .feature_command import FeatureCommand, takes_feature
from .invert import LONGER_SIDE
from .maximize import save
from .options import SEED, Size
from .photographs import read_photograph
from .progress import step_bar

if TYPE_CHECKING:
    from unfeature.features.base import Representation


@click.command("caricature", cls=FeatureCommand)
@click.argument("photograph", type=click.Path(path_type=Path))
@takes_feature("cnn")
@click.option("--octaves", type=click.IntRange(1), default=1, show_default=True, help="Sizes to change it at.")
@click.option("--octave-scale", type=click.FloatRange(1, min_open=True), default=1.4, show_default=True,
              help="Ratio of one size to the next.")
@click.option("--preset", default="best", show_default=True, help="best or ijcv2016.")
@click.option("--steps", type=click.IntRange(1), help="Gradient evaluations at each size [the preset's].")
@click.option("--data-weight", "--C", "data_weight", type=click.FloatRange(0, min_open=True),
              help="Weight of the response.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the jitter.")
@click.option("--size", type=Size(), help=f"Longer side that the photograph is reduced to [{LONGER_SIDE}].")
@click.option("-o", "--output", type=click.Path(path_type=Path), default="out", show_default=True, help="Folder.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def caricature(photograph: Path, phi: Representation, output: Path, quiet: bool, preset: str, steps: int | None,
               size: int | tuple[int, int] | None, **settings: Any) -> None:
    """Change a photograph until what a feature finds in it stands out more.

    \b
    Examples:
      unfeature caricature photo.jpg --net squeezenet1_0 --weights w.safetensors --layer fire6
      unfeature caricature photo.jpg --net squeezenet1_0 --weights w.safetensors --layer fire9 --octaves 4
    """
    from unfeature.inversion.caricature import caricature as find
    from unfeature.io.files import folder_for_results

    image = read_photograph(photograph, phi, size or LONGER_SIDE)
    with folder_for_results(output), step_bar(quiet) as progress:
        result = find(phi, image, preset=preset, steps=steps, progress=progress, **settings)
    save(result, output)

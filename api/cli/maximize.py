"""``unfeature maximize``: images to which a part of a feature responds most."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .feature_command import FeatureCommand, takes_feature
from .options import SEED, Indices, Size
from .progress import step_bar

if TYPE_CHECKING:
    from unfeature.features.base import Representation
    from unfeature.inversion.result import Result


@click.command("maximize", cls=FeatureCommand)
@takes_feature("cnn")
@click.option("--channel", type=Indices(), help="Channels, as 3 or 0,5,7: the mean response of each, one image each.")
@click.option("--neuron", type=Indices(), help="CHANNEL, in the middle of the code, or CHANNEL,ROW,COLUMN.")
@click.option("--class", "class_", type=Indices(), help="Classes, for a layer of scores, as 130 or 130,963.")
@click.option("--mosaic", type=Indices(), help="Channels to show in one image, as 0,1,2,3.")
@click.option("--template", metavar="FILE", type=click.Path(path_type=Path), help="A direction, .npy, as a code.")
@click.option("--statistics", metavar="FILE", type=click.Path(path_type=Path),
              help="What `unfeature learn statistics` wrote [responses to noise].")
@click.option("--preset", default="best", show_default=True, help="best or ijcv2016.")
@click.option("--steps", type=click.IntRange(1), help="Gradient evaluations [the preset's].")
@click.option("--data-weight", "--C", "data_weight", type=click.FloatRange(0, min_open=True),
              help="Weight of the response.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the noise to start from.")
@click.option("--starts", type=click.IntRange(1), default=1, show_default=True, help="Attempts from different noise.")
@click.option("--memory", metavar="AMOUNT", help="For the images sought at once, as 2GB; the others follow [all].")
@click.option("--size", type=Size(), help="Side of the image, or HEIGHTxWIDTH [as the request tells].")
@click.option("-o", "--output", type=click.Path(path_type=Path), default="out", show_default=True, help="Folder.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def maximize(phi: Representation, output: Path, quiet: bool, preset: str, steps: int | None,
             size: int | tuple[int, int] | None, statistics: Path | None, template: Path | None,
             neuron: tuple[int, ...] | None, **settings: Any) -> None:
    """Find images to which a channel, a neuron, a class or a template responds most.

    The folder receives preimage.png (or one a request and start), image.npy and result.json.

    \b
    Examples:
      unfeature maximize --net squeezenet1_0 --weights w.safetensors --layer pool_final --leak 0.05 --class 130
      unfeature maximize --net vgg-m --weights vgg-m.mat --layer conv3 --mosaic 0,1,2,3,4,5,6,7,8
      unfeature maximize --feature hog --variant dpm --template person.npy
    """
    from unfeature.features.channel_statistics import Statistics
    from unfeature.inversion.maximize import maximize as find
    from unfeature.io.files import folder_for_results, load_array

    known = None if statistics is None else Statistics.load(statistics, phi)
    direction = None if template is None else load_array(template)
    with folder_for_results(output), step_bar(quiet) as progress:
        result = find(phi, direction=direction, neuron=neuron, statistics=known, preset=preset, steps=steps,
                      size=(size, size) if isinstance(size, int) else size, progress=progress, **settings)
    save(result, output)


def save(result: Result, folder: Path) -> None:
    """Write the images, and say how strongly they respond."""
    for stale in folder.glob("preimage*.png"):
        stale.unlink()
    result.save(folder)
    responses = ", ".join(f"{response:.4g}" for response in result.provenance["responses"])
    click.echo(f"response {responses}, {result.provenance['seconds']:.1f} s: {result.status}\n{folder}")

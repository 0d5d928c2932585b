"""``unfeature keypoints``: the image of SIFT keypoints, each with its own position, scale and orientation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .invert import with_photograph
from .options import FILE, LONGER_SIDE, shared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unfeature.baselines.keypoints import KeypointSet


@click.command("keypoints")
@click.argument("source", metavar="PHOTOGRAPH|KEYPOINTS.npz", type=FILE)
@click.option("--model", metavar="FILE", type=FILE, required=True,
              help="A database, from `unfeature learn keypoints`.")
@click.option("--size", type=click.IntRange(1), metavar="PIXELS",
              help=f"Longer side to reduce a photograph to [{LONGER_SIDE}].")
@click.option("--most", type=click.IntRange(0), default=0, help="Largest number of keypoints, the strongest [all].")
@shared("output")
def keypoints(source: Path, model: Path, size: int | None, most: int, output: Path) -> None:
    """Find an image with the SIFT keypoints of a photograph, or with stored ones.

    The folder receives preimage.png, image.npy, result.json, report.html and keypoints.npz, which the command also
    takes in place of a photograph; for a photograph also original.png.

    \b
    Examples:
      unfeature learn keypoints photographs/ -o database.npz
      unfeature keypoints photo.jpg --model database.npz -o out/
    """
    from unfeature.baselines.keypoints import Keypoints, SIFTKeypoints
    from unfeature.io.images import write_png
    from unfeature.show.report import write_report

    photograph, found = _read(source, size, most)
    phi = SIFTKeypoints(most)
    result = with_photograph(Keypoints.load(model).invert(phi, found), source, photograph)
    if photograph is not None:
        write_png(output / "original.png", photograph)
    found.save(output / "keypoints.npz")
    result.save(output)
    click.echo(f"{len(found)} keypoints, {result.provenance['seconds']:.1f} s\n{write_report(output)}")


def _read(source: Path, size: int | None, most: int) -> tuple[NDArray[Any] | None, KeypointSet]:
    """The photograph if there is one, and its keypoints, or those stored."""
    from unfeature.baselines.keypoints import KeypointSet, SIFTKeypoints
    from unfeature.io.images import read_image, resize_longer

    if source.suffix == ".npz":
        return None, KeypointSet.load(source)
    photograph = resize_longer(read_image(source, grey=True), size or LONGER_SIDE)
    return photograph, SIFTKeypoints(most)(photograph)

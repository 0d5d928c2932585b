"""``unfeature features``: the code of a photograph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from unfeature.io.files import save_array

from .feature_command import FeatureCommand
from .options import FILE, shared
from .photographs import read_photograph

if TYPE_CHECKING:
    from unfeature.features.base import Representation


@click.command("features", cls=FeatureCommand)
@click.argument("photograph", type=FILE)
@shared("size", size="Longer side to resize the photograph to [its own].")
@click.option("--colour", is_flag=True, help="Encode in colour, if the feature takes colour.")
@click.option("-o", "--output", type=FILE, required=True, help="The .npy file to write.")
def encode(photograph: Path, phi: Representation, size: int | tuple[int, int] | None, colour: bool, output: Path
           ) -> None:
    """Write the feature of a photograph as a .npy file, positions first and channels last.

    \b
    Examples:
      unfeature features photo.jpg --feature hog -o code.npy
      unfeature features photo.jpg --feature hog --variant dpm --colour --size 256 -o code.npy
    """
    code = phi(read_photograph(photograph, phi, size, colour))
    save_array(output, code)
    click.echo(f"{phi!r}: {' × '.join(map(str, code.shape))} in {output}")

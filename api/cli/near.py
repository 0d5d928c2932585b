"""``unfeature metamer``, ``adversarial`` and ``fooling``: images near a photograph or noise, with another feature."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from unfeature.display.folder import with_photograph
from unfeature.io.files import load_array
from unfeature.io.output import USUAL
from unfeature.parameters.kinds import FILE, LONGER_SIDE, OWN_SIZE, Name, Parsed, note_input

from .common import exit_status, filling, read_photograph, searched
from .feature_command import FeatureCommand
from .options import shared

if TYPE_CHECKING:
    from unfeature.features.base import Representation
    from unfeature.inversion.result import Result

PROBABILITY = click.FloatRange(0, 1, max_open=True)


def _fraction(text: str) -> float:
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise click.BadParameter(f"{text!r} is not a number: give one as 4/255 or 0.016") from None


@click.command("metamer", cls=FeatureCommand, feature="hog")
@click.argument("photograph", type=FILE)
@click.option("--like", type=FILE, required=True, metavar="PHOTOGRAPH",
              help="What the image is to look like; its middle is taken, in the size of the first photograph.")
@click.option("--weight", type=click.FloatRange(0), help="Weight of the likeness against the code [5].")
@click.option("--cutoff", type=click.FloatRange(0, min_open=True),
              help="Frequencies up to this many cycles a pixel are held near those of --like [0.03].")
@click.option("--preset", type=Name(("best", "fast")), help="How to search [best].")
@shared("steps", "data_weight", "seed", "starts", "memory", "size", "output", "quiet",
        data_weight="Weight of the code against the priors [the feature's].",
        size=f"Longer side to resize the photograph to, or own [{LONGER_SIDE}, if it is larger].")
def metamer(photograph: Path, like: Path, phi: Representation, output: Path, quiet: bool,
            size: int | tuple[int, int] | None = None, **settings: Any) -> int:
    """Find an image that has the feature of one photograph and looks like another.

    The folder receives preimage.png, image.npy, code.npy, original.png (the photograph), like.png, result.json and
    report.html.

    \b
    Examples:
      unfeature metamer a.jpg --like b.jpg -o out/
      unfeature metamer a.jpg --like b.jpg --feature hog --variant dpm --weight 10
    """
    from unfeature.inversion.metamer import metamer as find

    original = read_photograph(photograph, phi, size)
    wanted = filling(read_photograph(like, phi, OWN_SIZE), (original.shape[0], original.shape[1]))
    search = partial(find, phi, phi(original), like=wanted, **settings)
    with searched(lambda progress: search(progress=progress), quiet, output, (*USUAL, "like.png")) as (found, place):
        result = with_photograph(found, photograph.name, original)
        _save(place, result, original=original, like=wanted)
    likeness = ", ".join(f"{one:.3f}" for one in result.provenance["likeness"])
    click.echo(f"relative error {result.error:.4f}, likeness {likeness}, {result.provenance['seconds']:.1f} s: "
               f"{result.status}\n{output / 'report.html'}")
    return exit_status(result)


@click.command("adversarial", cls=FeatureCommand, feature="cnn")
@click.argument("photograph", type=FILE)
@click.option("--target", metavar="LABEL|PHOTOGRAPH|CODE.npy",
              help="The label to give it, or the feature of another photograph, or a stored one [the second label].")
@click.option("--norm", type=Name(("inf", "2")), help="inf: the largest change of a value; 2: of all together [inf].")
@click.option("--bound", type=Parsed("number", _fraction),
              help="The largest change allowed, as 4/255 [the smallest that reaches the target].")
@click.option("--tolerance", type=click.FloatRange(0, min_open=True),
              help="Relative error of a feature that counts as reached [0.3].")
@click.option("--probability", type=PROBABILITY,
              help="Softmax of the label that counts as reached [it is enough that the label is first].")
@shared("steps", "size", "output", "quiet", steps="Gradient evaluations for each bound that is tried [40].",
        size=f"Longer side to resize the photograph to, or own [{LONGER_SIDE}, if it is larger].")
def adversarial(photograph: Path, phi: Representation, output: Path, quiet: bool, target: str | None = None,
                size: int | tuple[int, int] | None = None, **settings: Any) -> int:
    """Change a photograph as little as possible so that it gets another label, or another feature.

    The folder receives preimage.png, image.npy, original.png, change.png (enlarged, about grey), result.json and
    report.html.

    \b
    Examples:
      unfeature adversarial photo.jpg --net squeezenet1_0 --weights w.safetensors --layer pool_final
      unfeature adversarial photo.jpg --net squeezenet1_0 --weights w.safetensors --layer pool_final --target 130
      unfeature adversarial photo.jpg --feature hog --target other.jpg --bound 10/255
    """
    from unfeature.inversion.adversarial import adversarial as find

    original = read_photograph(photograph, phi, size)
    search = partial(find, phi, original, _target(target, phi, original), **settings)
    with searched(lambda progress: search(progress=progress), quiet, output, (*USUAL, "change.png")) as (found, place):
        result = with_photograph(found, photograph.name, original)
        _save(place, result, original=original, change=_enlarged(result.image - original))
    return _said(result, output, "bound" not in settings)


@click.command("fooling", cls=FeatureCommand, feature="cnn")
@click.option("--label", type=click.IntRange(0), required=True, help="The label that the noise is to get.")
@click.option("--probability", type=PROBABILITY, help="Softmax of the label at which the search ends [0.99].")
@click.option("--noise", type=Name(("natural", "white")),
              help="natural: with the spectrum of photographs; white: each value by itself [natural].")
@click.option("--bound", type=Parsed("number", _fraction),
              help="The largest change of a value, as 8/255 [8/255, doubled until the probability is reached].")
@shared("steps", "seed", "size", "output", "quiet", steps="Gradient evaluations for each bound that is tried [40].",
        seed="Seed of the noise.", size="Side of the image, or HEIGHTxWIDTH [that of the network].")
def fooling(phi: Representation, output: Path, quiet: bool, size: int | tuple[int, int] | None = None,
            **settings: Any) -> int:
    """Find noise that a network gives a label with near certainty.

    The folder receives preimage.png, image.npy, change.png (enlarged, about grey), result.json and report.html.

    \b
    Examples:
      unfeature fooling --label 281 --net squeezenet1_0 --weights w.safetensors --layer pool_final
      unfeature fooling --label 817 --noise white --net squeezenet1_0 --weights w.safetensors --layer pool_final
    """
    from unfeature.inversion.fooling import fooling as find
    from unfeature.inversion.fooling import noise_image
    from unfeature.inversion.result import images_of

    search = partial(find, phi, size=(size, size) if isinstance(size, int) else size, **settings)
    with searched(lambda progress: search(progress=progress), quiet, output, (*USUAL, "change.png")) as (result, place):
        kind, seed = (result.provenance["noise"][name] for name in ("kind", "seed"))
        noise = images_of(noise_image(phi, (result.image.shape[0], result.image.shape[1]), kind, seed))[0]
        _save(place, result, change=_enlarged(result.image - noise))
    return _said(result, output, True)


def _enlarged(change: NDArray[Any]) -> NDArray[Any]:
    """A change as a picture, about grey."""
    return 0.5 + 0.5 * change / max(float(np.abs(change).max()), 1e-12)


def _said(result: Result, output: Path, wanted: bool) -> int:
    """Print how large the change is and what it reaches; whether that was wanted; the exit status."""
    facts = result.provenance["change"]
    said = f"‖Δ‖∞ {255 * facts['largest']:.3g}/255, ‖Δ‖₂ {facts['length']:.3g}"
    label = result.provenance.get("label")
    reached = (f"relative error {result.error:.4f}" if label is None else
               f"label {label['before']} → {label['after']} ({label['probability after']:.1%})")
    missed = ", the target is not reached" if (wanted or label is not None) and not facts["reached"] else ""
    click.echo(f"{reached}, {said}{missed}\n{output / 'report.html'}")
    return exit_status(result)


def _target(text: str | None, phi: Representation, original: NDArray[Any]) -> Any:
    """The label or code that a text names."""
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    path = Path(text)
    note_input(click.get_current_context(), path)
    if path.suffix == ".npy":
        return load_array(path)
    return phi(filling(read_photograph(path, phi, OWN_SIZE), (original.shape[0], original.shape[1])))


def _save(folder: Path, result: Result, **pictures: NDArray[Any]) -> None:
    """Write the result, pictures by name, and the page."""
    from unfeature.display.report import write_report
    from unfeature.io.images import write_png

    for name, image in pictures.items():
        write_png(folder / f"{name}.png", image)
    result.save(folder)
    write_report(folder)

"""``unfeature invert``: the image of a photograph's feature, or of a stored code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from unfeature.baselines import METHODS
from unfeature.baselines import find as find_method

from .feature_command import FeatureCommand, takes_feature
from .options import SEED, Name, Size
from .photographs import read_photograph
from .progress import step_bar

if TYPE_CHECKING:
    from unfeature.baselines.base import Baseline
    from unfeature.features.base import Representation
    from unfeature.inversion.result import Result

LONGER_SIDE = 256


@click.command("invert", cls=FeatureCommand)
@click.argument("source", metavar="PHOTOGRAPH|CODE.npy", type=click.Path(path_type=Path))
@takes_feature()
@click.option("--preset", help="best, fast, ijcv2016 or cvpr2015 [best].")
@click.option("--steps", type=click.IntRange(1), help="Gradient evaluations [the preset's].")
@click.option("--data-weight", "--C", "data_weight", type=click.FloatRange(0, min_open=True),
              help="Weight of the code against the priors.")
@click.option("--init", metavar="FILE", type=click.Path(path_type=Path),
              help="Start from this: a picture, image.npy, or what `unfeature learn upconv` made, .npz.")
@click.option("--method", type=Name(tuple(METHODS)), help="Not the pre-image, but this method, with its --model.")
@click.option("--model", metavar="FILE", type=click.Path(path_type=Path), help="What `unfeature learn` made for it.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the noise to start from.")
@click.option("--starts", type=click.IntRange(1), default=1, show_default=True, help="Attempts from different noise.")
@click.option("--memory", metavar="AMOUNT", help="For the images sought at once, as 2GB; the others follow [all].")
@click.option(
    "--size",
    type=Size(),
    help=f"Longer side that a photograph is reduced to [{LONGER_SIDE}]; for a code, HEIGHTxWIDTH [as the code tells].",
)
@click.option("--colour", is_flag=True, help="Encode the photograph in colour, where the feature takes it.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default="out", show_default=True, help="Folder.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def invert(source: Path, phi: Representation, output: Path, quiet: bool, **settings: Any) -> None:
    """Find an image whose feature is that of a photograph, or a code stored as .npy.

    The folder receives preimage.png, image.npy (the exact values), code.npy, result.json and report.html; for a
    photograph also original.png, and a picture of the code, glyph.png. Ctrl-C stops early and keeps what there is.

    \b
    Examples:
      unfeature invert photo.jpg --feature hog -o out/
      unfeature invert photo.jpg --feature hog --bilinear --preset fast --size 192
      unfeature invert code.npy --feature hog --variant dpm --starts 4
    """
    from unfeature.io.files import folder_for_results

    photograph, code, size = _read(source, phi, settings.pop("size"), settings.pop("colour"))
    find = _finder(phi, size, **settings)
    with folder_for_results(output), step_bar(quiet) as progress:
        result = find(code, progress)
    result = with_photograph(result, source, photograph)
    page = save(output, phi, code, result, photograph)
    click.echo(f"{summary(result)}\n{page}")


def _finder(
    phi: Representation,
    size: tuple[int, int] | None,
    method: str | None,
    model: Path | None,
    seed: int,
    starts: int,
    **settings: Any,
) -> Callable[[NDArray[Any], Callable[[Any], None]], Result]:
    """The function that inverts a code, its files read and its settings checked before anything is written."""
    if method is None:
        if model is not None:
            raise ValueError("--model belongs to --method: name the method that it was learned for")
        from unfeature.inversion.invert import invert as find_image

        start = _start(settings.pop("init"), phi, size, seed)
        settings |= {"preset": settings.pop("preset") or "best", "size": size, "starts": starts, "seed": seed}
        return lambda code, progress: find_image(phi, code, start=start(code), progress=progress, **settings)
    given = [name for name, value in settings.items() if value is not None]
    if given:
        raise ValueError(f"--{given[0].replace('_', '-')} belongs to pre-images, not to --method {method}")
    chosen = _model(method, model, phi)
    return lambda code, progress: chosen.invert(phi, code, size=size, count=starts, seed=seed)


def _model(method: str, path: Path | None, phi: Representation) -> Baseline:
    kind = find_method(method)
    if kind.learned and path is None:
        raise ValueError(f"--method {method} needs --model, a file that `unfeature learn` made")
    return kind.of(phi) if path is None else kind.load(path, phi)


def _start(
    path: Path | None, phi: Representation, size: tuple[int, int] | None, seed: int
) -> Callable[[NDArray[Any]], NDArray[Any] | None]:
    """The image to start from, which may depend on the code."""
    if path is None:
        return lambda code: None
    if path.suffix == ".npz":
        from unfeature.baselines.upconv import Upconv

        model = Upconv.load(path, phi)
        return lambda code: model.start(phi, code, size=size, seed=seed)
    image = _image(path, phi, size)
    return lambda code: image


def _image(path: Path, phi: Representation, size: tuple[int, int] | None) -> NDArray[Any]:
    """The image in a file, of the size asked for."""
    if path.suffix == ".npy":
        from unfeature.io.files import load_array

        stored = load_array(path)
        image = stored[0] if len(stored) == 1 else stored
    else:
        image = read_photograph(path, phi, None)
    if size is not None and image.shape[:2] != size:
        given, wanted = (f"{shape[0]}x{shape[1]}" for shape in (image.shape, size))
        raise ValueError(f"{path} has {given} pixels, but the image to find {wanted}: resize it")
    return image


def _read(
    source: Path, phi: Representation, size: int | tuple[int, int] | None, colour: bool
) -> tuple[NDArray[Any] | None, NDArray[Any], tuple[int, int] | None]:
    """The photograph if there is one, the code, and the size of the image to find if it is known."""
    if source.suffix != ".npy":
        photograph = read_photograph(source, phi, size or LONGER_SIDE, colour)
        return photograph, phi(photograph), (photograph.shape[0], photograph.shape[1])
    from unfeature.io.files import load_array

    if isinstance(size, int):
        raise ValueError(f"--size {size} does not tell the size of a code's image: give HEIGHTxWIDTH, or leave it out")
    code = load_array(source)
    return None, code[0] if code.ndim in (2, 4) and len(code) == 1 else code, size


def with_photograph(result: Result, source: Path, photograph: NDArray[Any] | None) -> Result:
    """The result, remembering the photograph and the correlation of the image with it."""
    if photograph is None:
        return result
    facts = {"name": source.name, "height": photograph.shape[0], "width": photograph.shape[1]}
    if photograph.shape == result.image.shape and photograph.std() > 0 and result.image.std() > 0:
        facts["correlation"] = float(np.corrcoef(photograph.ravel(), result.image.ravel())[0, 1])
    return replace(result, provenance={**result.provenance, "photograph": facts})


def save(
    folder: Path, phi: Representation, code: NDArray[Any], result: Result, photograph: NDArray[Any] | None
) -> Path:
    """Write the result, the pictures about it and the page, whose path is returned."""
    from unfeature.io.images import write_png
    from unfeature.show.pictures import glyph, present_words
    from unfeature.show.report import write_report

    for stale in [folder / "original.png", folder / "words.png", *folder.glob("preimage*.png")]:
        stale.unlink(missing_ok=True)
    if photograph is not None:
        write_png(folder / "original.png", photograph)
    write_png(folder / "glyph.png", glyph(phi, code))
    words = present_words(phi, code)
    if words is not None:
        write_png(folder / "words.png", words)
    result.save(folder)
    return write_report(folder)


def summary(result: Result) -> str:
    """One line: error, correlation, time, and how it ended."""
    parts = [f"relative error {result.error:.4f}"]
    correlation = result.provenance.get("photograph", {}).get("correlation")
    if correlation is not None:
        parts.append(f"correlation {correlation:.3f}")
    return ", ".join([*parts, f"{result.provenance['seconds']:.1f} s: {result.status}"])

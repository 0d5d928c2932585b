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
from unfeature.inversion import PRESETS
from unfeature.io.files import folder_for_results, load_array

from .feature_command import FeatureCommand
from .options import FILE, LONGER_SIDE, Name, shared
from .photographs import read_photograph
from .progress import step_bar

if TYPE_CHECKING:
    from unfeature.features.base import Representation
    from unfeature.inversion.result import Result


@click.command("invert", cls=FeatureCommand)
@click.argument("source", metavar="PHOTOGRAPH|CODE.npy", type=FILE)
@shared("preset", "steps", "data_weight", preset=f"{', '.join(PRESETS)} [best].",
        data_weight="Weight of the code against the priors [the feature's].")
@click.option("--init", metavar="FILE", type=FILE,
              help="Start from a picture, an image.npy, or a model of `unfeature learn upconv`, .npz.")
@click.option("--method", type=Name(METHODS), help="Invert with this baseline instead.")
@click.option("--model", metavar="FILE", type=FILE, help="The baseline's model, from `unfeature learn`.")
@shared("seed", "starts", "memory", "size", "output", "quiet",
        size=f"Longer side to reduce a photograph to [{LONGER_SIDE}]; HEIGHTxWIDTH of a code's image [the smallest].")
@click.option("--colour", is_flag=True, help="Encode the photograph in colour, if the feature takes colour.")
def invert(source: Path, phi: Representation, output: Path, quiet: bool, **settings: Any) -> None:
    """Find an image whose feature equals that of a photograph, or a code stored as .npy.

    The folder receives preimage.png, image.npy (the exact values), code.npy, glyph.png (a picture of the code),
    result.json and report.html; for a photograph also original.png. Ctrl-C stops early and saves the image so far.

    \b
    Examples:
      unfeature invert photo.jpg --feature hog -o out/
      unfeature invert photo.jpg --feature hog --bilinear --preset fast --size 192
      unfeature invert code.npy --feature hog --variant dpm --starts 4
    """
    photograph, code, size = _read(source, phi, settings.pop("size"), settings.pop("colour"))
    find = _finder(phi, size, **settings)
    with folder_for_results(output), step_bar(quiet) as progress:
        result = find(code, progress)
    result = with_photograph(result, source, photograph)
    page = save(output, phi, code, result, photograph)
    click.echo(f"{summary(result)}\n{page}")


def _finder(phi: Representation, size: tuple[int, int] | None, method: str | None, model: Path | None, seed: int,
            starts: int, init: Path | None, **settings: Any) -> Callable[[NDArray[Any], Callable[[Any], None]], Result]:
    """The function that inverts a code; files are read and settings checked before anything is written."""
    settings = {name: value for name, value in settings.items() if value is not None}
    if method is None:
        if model is not None:
            raise ValueError("--model belongs to --method: name the method that it was learned for")
        from unfeature.inversion.invert import invert as find_image

        start = _start(init, phi, size, seed)
        settings |= {"size": size, "starts": starts, "seed": seed}
        return lambda code, progress: find_image(phi, code, start=start(code), progress=progress, **settings)
    given = [*settings, *(["init"] if init is not None else [])]
    if given:
        raise ValueError(f"--{given[0].replace('_', '-')} belongs to pre-images: leave it out with --method {method}")
    kind = METHODS[method]
    if kind.learned and model is None:
        raise ValueError(f"--method {method} needs --model: learn one with `unfeature learn`")
    baseline = kind.of(phi) if model is None else kind.load(model, phi)
    return lambda code, progress: baseline.invert(phi, code, size=size, count=starts, seed=seed)


def _start(path: Path | None, phi: Representation, size: tuple[int, int] | None, seed: int
           ) -> Callable[[NDArray[Any]], NDArray[Any] | None]:
    """The image to start from, as a function of the code."""
    if path is None:
        return lambda code: None
    if path.suffix == ".npz":
        from unfeature.baselines.upconv import Upconv

        model = Upconv.load(path, phi)
        return lambda code: model.start(phi, code, size=size, seed=seed)
    stored = load_array(path) if path.suffix == ".npy" else read_photograph(path, phi, None)[None]
    image = stored[0] if len(stored) == 1 else stored
    if size is not None and image.shape[:2] != size:
        raise ValueError(f"{path} has {image.shape[0]}x{image.shape[1]} pixels, but the image to find has "
                         f"{size[0]}x{size[1]}: resize it")
    return lambda code: image


def _read(source: Path, phi: Representation, size: int | tuple[int, int] | None, colour: bool
          ) -> tuple[NDArray[Any] | None, NDArray[Any], tuple[int, int] | None]:
    """The photograph if there is one, the code, and the size of the image to find if it is known."""
    if source.suffix != ".npy":
        photograph = read_photograph(source, phi, size or LONGER_SIDE, colour)
        return photograph, phi(photograph), (photograph.shape[0], photograph.shape[1])
    if isinstance(size, int):
        raise ValueError(f"--size {size} does not tell the size of a code's image: give HEIGHTxWIDTH, or leave it out")
    code = load_array(source)
    return None, code[0] if code.ndim in (2, 4) and len(code) == 1 else code, size


def with_photograph(result: Result, source: Path, photograph: NDArray[Any] | None) -> Result:
    """The result with facts about the photograph: its name, size, and correlation with the image found."""
    if photograph is None:
        return result
    facts = {"name": source.name, "height": photograph.shape[0], "width": photograph.shape[1]}
    if photograph.shape == result.image.shape and photograph.std() > 0 and result.image.std() > 0:
        facts["correlation"] = float(np.corrcoef(photograph.ravel(), result.image.ravel())[0, 1])
    return replace(result, provenance={**result.provenance, "photograph": facts})


def save(folder: Path, phi: Representation, code: NDArray[Any], result: Result, photograph: NDArray[Any] | None
         ) -> Path:
    """Write the result, its pictures and its page; return the page."""
    from unfeature.io.images import write_png
    from unfeature.show.pictures import glyph, present_words
    from unfeature.show.report import write_report

    for stale in [folder / "original.png", folder / "words.png", *folder.glob("preimage*.png")]:
        stale.unlink(missing_ok=True)
    pictures = {"original": photograph, "glyph": glyph(phi, code), "words": present_words(phi, code)}
    for name, image in pictures.items():
        if image is not None:
            write_png(folder / f"{name}.png", image)
    result.save(folder)
    return write_report(folder)


def summary(result: Result) -> str:
    """One line: error, correlation, time and status."""
    correlation = result.provenance.get("photograph", {}).get("correlation")
    correlated = "" if correlation is None else f"correlation {correlation:.3f}, "
    return f"relative error {result.error:.4f}, {correlated}{result.provenance['seconds']:.1f} s: {result.status}"

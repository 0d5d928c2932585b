"""``unfeature features``, ``invert`` and ``keypoints``: from a photograph to its feature, and back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from numpy.typing import NDArray

from unfeature.baselines import METHODS
from unfeature.display.folder import with_photograph, write_inversion
from unfeature.features import DESCRIPTORS
from unfeature.inversion import PRESETS
from unfeature.io.files import load_array, save_array
from unfeature.io.images import named_images
from unfeature.io.output import USUAL, check_output, result_folder
from unfeature.io.processes import cores
from unfeature.parameters.kinds import FILE, LARGEST, LARGEST_SIDE, LONGER_SIDE, OWN_SIZE, PIXELS, Name

from .common import exit_status, given_command, read_photograph, searched
from .feature_command import FeatureCommand
from .many import AT_ONCE, Failures, Folder, Photographs, Store, attempt, on_each
from .options import inputs, shared
from .parts import parts, with_given_parts

if TYPE_CHECKING:
    from unfeature.features.base import Representation
    from unfeature.features.code import Code
    from unfeature.inversion.result import Result

Size = tuple[int, int]
Read = tuple[NDArray[Any] | None, NDArray[Any], Size | None]
"""The photograph if there is one, the code, and the size of the image to find if it is known."""
FILM, FRAMES = "run.gif", 24
HELD_VALUES = 2**22  # of photographs and codes
TOGETHER, PIXELS_TOGETHER = 4, 2**18  # photographs that are inverted at once, and their pixels
OF_PREIMAGES = ("preset", "parameterization", "solver", "prior", "steps", "data_weight", "memory", "start", "snapshots")


@click.command("features", cls=FeatureCommand)
@click.argument("sources", metavar="PHOTOGRAPH...", type=FILE, nargs=-1, required=True)
@shared("size", size=f"Longer side to resize to, or own [{LONGER_SIDE}, if it is larger].")
@click.option("--colour", is_flag=True, help="Encode in colour, if the feature takes colour.")
@click.option("-o", "--output", type=FILE, required=True, help="The .npy file to write; of several, a folder or .zarr.")
@shared("jobs", "scheduler", "quiet")
def features(sources: tuple[Path, ...], phi: Representation, colour: bool, output: Path, quiet: bool,
             size: int | Size | None = None, jobs: int | None = None, scheduler: str | None = None) -> None:
    """Write the feature of a photograph as a .npy file, positions first and channels last.

    Of several photographs, or folders of them, each has a file of its own, or an array of one Zarr store. A second run
    does only what is missing.

    \b
    Examples:
      unfeature features photo.jpg --feature hog -o code.npy
      unfeature features photo.jpg --feature hog --variant dpm --colour --size own -o code.npy
      unfeature features photographs/ --feature hog -o codes.zarr
    """
    if len(sources) == 1 and not sources[0].is_dir():
        _refuse(scheduler)
        check_output(output, inputs())
        code = _encoded(sources[0], phi, size, colour)
        save_array(output, code)
        click.echo(f"{phi!r}: {' × '.join(map(str, code.shape))} in {output}")
        return
    if output.suffix in (".npy", ".npz"):
        raise ValueError(f"the codes of several photographs go into a folder, or a .zarr store: {output} names a file")
    photographs, output = named_images(*map(Path.absolute, sources)), output.absolute()
    outputs = Store(output) if output.suffix == ".zarr" else Folder(output, ".npy")
    work = partial(_encode_some, outputs, phi, size, colour)
    settings = {"descriptor": phi.to_config(), "size": _as_given(size), "colour": colour}
    on_each(work, photographs, outputs, settings, jobs=jobs, scheduler=scheduler, quiet=quiet,
            at_once=_photographs_at_once(phi, size))


def _as_given(size: int | Size | None) -> int | Size | str:
    """A size as the command line has it."""
    return "own" if size == OWN_SIZE else size or LONGER_SIDE


def _encoded(path: Path, phi: Representation, size: int | Size | None, colour: bool) -> Code:
    return phi(read_photograph(path, phi, size, colour))  # type: ignore[return-value]


def _encode_some(outputs: Folder | Store, phi: Representation, size: int | Size | None, colour: bool,
                 photographs: Photographs) -> Failures:
    """Write the codes of some photographs, those of equal size encoded together."""
    from unfeature.features.batches import encode_each

    images: dict[str, NDArray[Any]] = {}
    failures = attempt(lambda name, path: images.update({name: read_photograph(path, phi, size, colour)}), photographs)
    try:
        outputs.write(dict(zip(images, encode_each(phi, list(images.values())), strict=True)))
    except (ValueError, OSError):  # of one of them
        paths = dict(photographs)
        failures |= attempt(lambda name, path: outputs.write({name: phi(images[name])}),  # type: ignore[dict-item]
                            [(name, paths[name]) for name in images if not outputs.has(name)])
    return failures


def _photographs_at_once(phi: Representation, size: int | Size | None) -> int:
    """How many photographs, with their codes, one process holds at a time."""
    side = min(size, LARGEST_SIDE) if isinstance(size, int) else LONGER_SIDE
    try:
        values = side * side * 3 + prod(phi.output_shape(side, side))
    except ValueError:
        return 1
    return max(1, min(AT_ONCE, HELD_VALUES // values))


def _of_method(settings: dict[str, Any]) -> Representation | None:
    """The descriptor for which the named method ships a model, that of its usual feature first; None without one."""
    from unfeature.features.base import Representation

    if settings["method"] is None or settings["model"] is not None:
        return None
    kind = METHODS[settings["method"]]
    configs = kind.shipped()
    if not configs:
        return None
    usual = DESCRIPTORS[kind.feature]()
    return usual if usual.to_config() in configs else Representation.from_config(configs[0])


@click.command("invert", cls=FeatureCommand, implied=_of_method)
@click.argument("sources", metavar="PHOTOGRAPH|CODE.npy...", type=FILE, nargs=-1, required=True)
@click.option("--preset", type=Name(PRESETS), help="How to search [best].")
@parts
@shared("steps", "data_weight", data_weight="Weight of the code [the feature's].")
@click.option("--start", "--init", "start", metavar="auto|noise|FILE",
              help="Start from noise, a picture, an image.npy, or a model of `unfeature learn decoder` or `upconv` "
                   "[auto: the decoder that ships for the feature].")
@click.option("--method", type=Name(METHODS), help="Invert with this baseline instead.")
@click.option("--model", metavar="FILE", type=FILE, help="The baseline's model, from `unfeature learn`.")
@shared("seed", "starts", "memory", "size", "output", "quiet",
        size=f"Longer side to reduce a photograph to [{LONGER_SIDE}]; HEIGHTxWIDTH of a code's image [the smallest].")
@click.option("--colour", is_flag=True, help="Encode in colour, if the feature takes colour.")
@shared("snapshots", "animate", "jobs", "scheduler")
def invert(sources: tuple[Path, ...], phi: Representation, output: Path, quiet: bool, colour: bool, animate: bool,
           size: int | Size | None = None, jobs: int | None = None, scheduler: str | None = None,
           **settings: Any) -> int:
    """Find an image whose feature equals that of a photograph, or a code stored as .npy.

    The folder receives preimage.png, image.npy (exact), code.npy, glyph.png, result.json, report.html, original.png.
    Ctrl-C saves the image so far. Of several photographs, or folders, each has a folder; a second run does what is
    missing.

    \b
    Examples:
      unfeature invert photo.jpg --feature hog -o out/
      unfeature invert photo.jpg --feature hog --bilinear --preset fast --size 192
      unfeature invert code.npy --feature hog --variant dpm --starts 4
      unfeature invert photo.jpg --method paired-dictionary
    """
    inversion = Inversion(phi, size, colour, animate, settings, given_command())
    if len(sources) == 1 and not sources[0].is_dir():
        _refuse(scheduler)
        result = inversion.one(sources[0], output, quiet)
        correlation = result.provenance.get("photograph", {}).get("correlation")
        correlated = "" if correlation is None else f"correlation {correlation:.3f}, "
        click.echo(f"relative error {result.error:.4f}, {correlated}{result.provenance['seconds']:.1f} s: "
                   f"{result.status}\n{output / 'report.html'}")
        return exit_status(result)
    photographs, output = named_images(*map(Path.absolute, sources)), output.absolute()
    facts = {"descriptor": phi.to_config(), "size": _as_given(size), "colour": colour,
             "settings": {name: str(value) for name, value in sorted(settings.items())}}
    found = {name: Path(value).absolute() if _is_file(name, value) else value for name, value in settings.items()}
    together = max(1, min(TOGETHER, len(photographs) // (jobs or cores())))
    on_each(partial(replace(inversion, settings=found).several, output), photographs, Folder(output, "/result.json"),
            facts, jobs=jobs, scheduler=scheduler, quiet=quiet, at_once=together)
    return 0


def _is_file(name: str, value: Any) -> bool:
    """Whether a setting of `invert` is a file."""
    return isinstance(value, Path) or (name == "start" and value not in ("auto", "noise"))


def _refuse(scheduler: str | None) -> None:
    """ValueError for a scheduler, where there is one photograph."""
    if scheduler is not None:
        raise ValueError("--scheduler is for several photographs, or a folder of them: leave it out")


@dataclass(frozen=True)
class Inversion:
    """What `invert` does with each of its sources."""

    phi: Representation
    size: int | Size | None
    colour: bool
    animate: bool
    settings: dict[str, Any]
    command: str | None

    def several(self, output: Path, photographs: Photographs) -> Failures:
        """Write the results of some photographs; after Ctrl-C, those of the searches that it stopped."""
        read: dict[str, Read] = {}
        failures = attempt(lambda name, path: read.update({name: self._read(path)}), photographs)
        found = self._together(read)
        stopped = any(result.interrupted for result in found.values())

        def write(name: str, path: Path) -> None:
            if self._write(path, output / name, True, read[name], found.get(name)).interrupted and not stopped:
                raise KeyboardInterrupt

        failures |= attempt(write, [one for one in photographs if one[0] in (found if stopped else read)])
        if stopped:
            raise KeyboardInterrupt
        return failures

    def one(self, source: Path, output: Path, quiet: bool) -> Result:
        """Invert one source, and write its folder."""
        return self._write(source, output, quiet, self._read(source))

    def _read(self, source: Path) -> Read:
        return _read(source, self.phi, self.size, self.colour)

    def _write(self, source: Path, output: Path, quiet: bool, read: Read, known: Result | None = None) -> Result:
        """Write the folder of a source, whose image is searched for if its result is not known."""
        photograph, code, size = read
        names = (*USUAL, FILM) if self.animate else USUAL
        search = self._search(code, size) if known is None else lambda progress: known
        with searched(search, quiet, output, names, [source], self.command) as (found, place):
            result = with_photograph(found, source.name, photograph)
            write_inversion(place, self.phi, code, result, photograph)
            if self.animate:
                result[result.best].animate(place / FILM)
        return result

    def _search(self, code: NDArray[Any], size: Size | None) -> Callable[[Callable[[Any], None]], Result]:
        film = {"snapshots": FRAMES} if self.animate and "snapshots" not in self.settings else {}
        return _search(self.phi, code, size, **{**self.settings, **film})

    def _together(self, read: dict[str, Read]) -> dict[str, Result]:
        """Results of photographs of equal size, the same as one by one; of others none."""
        if self.phi.heavy or self.settings.get("method") is not None or self.settings["starts"] > 1:
            return {}
        import numpy as np

        codes: dict[tuple[Size, tuple[int, ...]], dict[str, NDArray[Any]]] = {}
        for name, (_, code, size) in read.items():
            if size is not None:
                codes.setdefault((size, code.shape), {})[name] = code
        found: dict[str, Result] = {}
        for (size, _), alike in codes.items():
            if 1 < len(alike) <= PIXELS_TOGETHER // prod(size):
                with suppress(ValueError, OSError):
                    found |= zip(alike, _shared(self._search(np.stack(list(alike.values())), size)), strict=True)
        return found


def _shared(search: Callable[[Callable[[Any], None]], Result]) -> list[Result]:
    """The results of a search for several codes, each with its share of the seconds."""
    whole = search(lambda progress: None)
    provenance = {**whole.provenance, "seconds": round(whole.provenance["seconds"] / len(whole), 3)}
    return [replace(whole[i], provenance=provenance) for i in range(len(whole))]


def _read(source: Path, phi: Representation, size: int | Size | None, colour: bool) -> Read:
    """The photograph if there is one, the code, and the size of the image to find if it is known."""
    if source.suffix != ".npy":
        photograph = read_photograph(source, phi, size, colour)
        return photograph, phi(photograph), (photograph.shape[0], photograph.shape[1])
    if isinstance(size, int):
        raise ValueError(f"--size {size} does not tell the size of a code's image: give HEIGHTxWIDTH, or leave it out")
    code = load_array(source)
    return None, code[0] if code.ndim in (2, 4) and len(code) == 1 else code, size


def _search(phi: Representation, code: NDArray[Any], size: Size | None, seed: int, starts: int,
            method: str | None = None, model: Path | None = None, **settings: Any
            ) -> Callable[[Callable[[Any], None]], Result]:
    """The search for the image of a code; files are read and settings checked before anything is written."""
    if method is None:
        if model is not None:
            raise ValueError("--model belongs to --method: name the method that it was learned for")
        from unfeature.inversion.invert import invert as find

        start = _start(settings.pop("start", "auto"), phi, code, size, seed)
        settings = with_given_parts(phi, settings, PRESETS)
        found = partial(find, phi, code, size=size, start=start, starts=starts, seed=seed, **settings)
        return lambda progress: found(progress=progress)
    if settings:
        first = min(settings, key=OF_PREIMAGES.index)
        raise ValueError(f"--{first.replace('_', '-')} belongs to pre-images: leave it out with --method {method}")
    kind = METHODS[method]
    if kind.learned and model is None and not kind.shipped():
        raise ValueError(f"--method {method} needs --model: learn one with `unfeature learn`")
    baseline = kind.of(phi) if model is None else kind.load(model, phi)
    return lambda progress: baseline.invert(phi, code, size=size, count=starts, seed=seed)


def _start(text: str | Path, phi: Representation, code: NDArray[Any], size: Size | None, seed: int) -> Any:
    """What `unfeature.invert` takes as its start."""
    if text in ("auto", "noise"):
        return text
    path = Path(text)
    if path.suffix == ".safetensors":
        from unfeature.inversion.decoder import DecoderModel

        decoder = DecoderModel.load(path)
        decoder.which(phi)
        return decoder
    if path.suffix == ".npz":
        from unfeature.baselines.upconv import Upconv

        return Upconv.load(path, phi).start(phi, code, size=size, seed=seed)
    stored = load_array(path) if path.suffix == ".npy" else read_photograph(path, phi, OWN_SIZE)[None]
    image = stored[0] if len(stored) == 1 else stored
    if size is not None and image.shape[:2] != size:
        raise ValueError(f"{path} has {image.shape[0]}x{image.shape[1]} pixels, but the image to find has "
                         f"{size[0]}x{size[1]}: resize it")
    return image


@click.command("keypoints")
@click.argument("source", metavar="PHOTOGRAPH|KEYPOINTS.npz", type=FILE)
@click.option("--model", metavar="FILE", type=FILE, required=True,
              help="A database, from `unfeature learn keypoints`.")
@click.option("--size", type=PIXELS, metavar="PIXELS", default=LONGER_SIDE,
              help=f"Longer side to reduce a photograph to [{LONGER_SIDE}].")
@click.option("--most", type=click.IntRange(0, LARGEST), default=0,
              help="Largest number of keypoints, the strongest [all].")
@shared("output")
def keypoints(source: Path, model: Path, size: int, most: int, output: Path) -> None:
    """Find an image with the SIFT keypoints of a photograph, or with stored ones.

    The folder receives preimage.png, image.npy, result.json, report.html and keypoints.npz, which the command also
    takes in place of a photograph; for a photograph also original.png.

    \b
    Examples:
      unfeature learn keypoints photographs/ -o database.npz
      unfeature keypoints photo.jpg --model database.npz -o out/
    """
    from unfeature.baselines.keypoints import Keypoints, KeypointSet, SIFTKeypoints
    from unfeature.display.report import write_report
    from unfeature.io.images import write_png

    phi = SIFTKeypoints(most)
    photograph = None if source.suffix == ".npz" else read_photograph(source, phi, size)
    found = KeypointSet.load(source) if photograph is None else phi(photograph)
    with result_folder(output, inputs(), (*USUAL, "keypoints.npz")) as place:
        result = with_photograph(Keypoints.load(model).invert(phi, found), source.name, photograph)
        if photograph is not None:
            write_png(place / "original.png", photograph)
        found.save(place / "keypoints.npz")
        result.save(place)
        page = write_report(place)
    click.echo(f"{len(found)} keypoints, {result.provenance['seconds']:.1f} s\n{output / page.name}")

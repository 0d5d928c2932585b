"""Images: reading, writing, grey values, sizes."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .files import atomic, existing_file
from .resizing import resized

T = TypeVar("T")
AnyImage = Any  # an array, a Pillow image, a path, or nested lists of numbers

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
HEIC = (".heic", ".heif")
BUNDLED = ("astronaut", "camera", "chelsea", "coffee", "rocket")
FILMS = (".gif", ".webp", ".png")
GREY_MODES = ("1", "L", "LA", "La")
GREY_WEIGHTS = (0.2989, 0.5870, 0.1140)


def read_image(path: str | Path, grey: bool = False) -> NDArray[np.float32]:
    """Read an image file as floats in [0, 1].

    The camera's orientation is applied, and palettes are resolved. A transparent image is laid on white, with a
    warning. Colour images with 16 bits a channel are read with 8.

    Parameters
    ----------
    path : str or Path
        PNG, JPEG, TIFF, WebP, BMP or another format that Pillow reads.
    grey : bool
        Convert colour to grey with `to_grey`.

    Returns
    -------
    ndarray (H, W, 3), or (H, W) for a grey file, float32

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file; if it is not an image, is truncated, or holds floats outside [0, 1].
    """
    from PIL import Image, ImageOps

    path = existing_file(path, "image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of large files and of damaged descriptions
            with Image.open(path) as opened:
                picture = ImageOps.exif_transpose(opened)
                opaque = _on_white(picture)
                image = _pixels(opaque)
    except Exception as error:  # Pillow's parsers raise errors of any type
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if path.suffix.lower() in HEIC:
            raise ValueError(f"{path} is a HEIC image, which Pillow cannot read: convert it to JPEG or PNG") from error
        raise ValueError(f"{path} cannot be read as an image, or it is truncated: {reason}") from error
    if opaque is not picture:
        warnings.warn("an image is transparent in places: it is laid on white", stacklevel=2)
    return to_grey(image) if grey else image


def image_of(image: Any) -> NDArray[Any]:
    """An image as an array: an array as it is, a Pillow image or a path as `read_image` reads it, lists of numbers."""
    if isinstance(image, np.ndarray):
        return image
    if isinstance(image, (str, os.PathLike)):
        return read_image(Path(image))
    if hasattr(image, "getbands") and hasattr(image, "convert"):
        return _pixels(_on_white(image))
    try:
        array = np.asarray(image)
    except ValueError:
        array = np.empty(0, object)
    if not isinstance(image, (list, tuple)) or array.dtype.kind not in "biuf":
        raise ValueError(f"expected a torch tensor, a NumPy array, a Pillow image or the path of an image, got "
                         f"{type(image).__name__}")
    return array.astype(np.float64) if array.dtype.kind == "i" and array.max(initial=0) <= 1 else array


def with_channels(image: NDArray[Any], channels: Sequence[int]) -> NDArray[Any]:
    """An image (H, W) or (H, W, C) in grey, or with three equal channels, where these numbers of channels need it."""
    given = 1 if image.ndim == 2 else image.shape[-1]
    if given == 3 and 3 not in channels:
        return to_grey(image)
    return np.repeat(np.atleast_3d(image), 3, axis=2) if given == 1 and 1 not in channels else image


class Skipped:
    """Files that could not be read and were left out, with their reasons.

    One bad file does not end the work on a folder: `read` returns None for it, and `report` warns once at the end.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def read(self, path: str | Path, read: Callable[[Path], T]) -> T | None:
        """What a function reads from a file; None, with a note, if that raises a ValueError or an OSError."""
        try:
            return read(Path(path))
        except (ValueError, OSError) as error:
            self.reasons[str(path)] = str(error) or type(error).__name__
            return None

    def report(self, total: int | None = None) -> None:
        """Warn about the files that were left out, by number and name; ValueError if they are all there were."""
        if not self.reasons:
            return
        count, first = len(self.reasons), next(iter(self.reasons.values()))
        if count == total:
            raise ValueError(f"not one of {count} images can be used; {first}" if count > 1 else first)
        names = f"{', '.join(list(self.reasons)[:8])}{', …' if count > 8 else ''}"
        of = "" if total is None else f" of {total}"
        warnings.warn(f"left out {count}{of} images that cannot be used: {names} ({first})", stacklevel=2)


def read_each(paths: Sequence[str | Path], read: Callable[[Path], T], progress: Callable[[int, int], None] | None = None
              ) -> Iterator[T]:
    """What a function reads from each file; bad files are left out with one warning at the end, as by `Skipped`."""
    skipped = Skipped()
    for done, path in enumerate(paths, start=1):
        value = skipped.read(path, read)
        if value is not None:
            yield value
        if progress is not None:
            progress(done, len(paths))
    skipped.report(len(paths))


def _on_white(picture: Any) -> Any:
    """A Pillow image that is transparent in places, laid on white, in grey or colour; others as they are."""
    from PIL import Image

    if not picture.has_transparency_data or picture.mode.startswith("I"):
        return picture
    layer = picture.convert("RGBA")
    if layer.getchannel("A").getextrema()[0] == 255:
        return picture
    laid = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return laid.convert("L" if picture.mode in GREY_MODES else "RGB")


def _pixels(picture: Any) -> NDArray[np.float32]:
    if picture.mode.startswith("I"):
        a = np.asarray(picture).astype(np.float32) / np.float32(65535)
    else:
        picture = picture.convert("RGBA") if picture.mode == "P" else picture
        grey = picture.mode in GREY_MODES
        a = as_floats(picture if picture.mode == "F" else picture.convert("L" if grey else "RGB"))
    if not (np.isfinite(a).all() and a.min() >= 0 and a.max() <= 1):
        raise ValueError("its pixels are neither 8 nor 16 bits, nor floats in [0, 1]: convert it first")
    return a


def as_floats(image: Any) -> NDArray[np.float32]:
    """An image as floats; uint8 and uint16 are divided by their largest value."""
    a = np.asarray(image)
    if a.dtype in (np.uint8, np.uint16):
        return (a / np.float32(np.iinfo(a.dtype).max)).astype(np.float32)
    return a.astype(np.float32)


def to_grey(image: NDArray[Any]) -> NDArray[np.float32]:
    """Grey values Y = 0.2989 R + 0.5870 G + 0.1140 B.

    Parameters
    ----------
    image : ndarray (H, W), (H, W, 1) or (H, W, 3)
        Floats in [0, 1]; uint8 and uint16 are divided by their largest value.

    Returns
    -------
    ndarray (H, W), float32

    Raises
    ------
    ValueError
        For another number of axes or channels.

    Examples
    --------
    >>> import unfeature as uf
    >>> uf.to_grey(uf.bundled("coffee")).shape
    (400, 600)
    """
    a = _one_channel_as_grey(as_floats(image))
    return a if a.ndim == 2 else np.asarray(a @ np.array(GREY_WEIGHTS, dtype=np.float32))


def resize_longer(image: NDArray[Any], side: int) -> NDArray[np.float32]:
    """Resize so that the longer side has `side` pixels, linearly and anti-aliased; the aspect ratio is kept.

    The image (H, W) or (H, W, C) holds floats; uint8 and uint16 are divided by their largest value.

    Examples
    --------
    >>> import unfeature as uf
    >>> uf.resize_longer(uf.bundled("coffee"), 96).shape
    (64, 96, 3)
    """
    if side < 1:
        raise ValueError(f"the longer side must have at least one pixel, got {side}")
    a = as_floats(image)
    if a.ndim not in (2, 3) or a.size == 0:
        raise ValueError(f"an image has shape (H, W) or (H, W, C), got {a.shape}")
    scale = side / max(a.shape[:2])
    height, width = (max(1, round(length * scale)) for length in a.shape[:2])
    return a if (height, width) == a.shape[:2] else resized(a, height, width)


def list_images(folder: str | Path) -> list[Path]:
    """Paths of the image files in a folder and its sub-folders, sorted.

    Hidden files and folders are left out; links to folders are followed, but each folder is read once. A folder that
    is missing is a FileNotFoundError; one that cannot be read, or holds no images, is a ValueError.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; give a folder of images")
    try:
        files, folders = _visible_files(folder)
    except OSError as error:
        raise ValueError(f"the folder {error.filename or folder} cannot be read: {error.strerror or error}") from error
    found = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not found:
        raise ValueError(f"the folder {folder} holds no images ({', '.join(SUFFIXES)}): "
                         f"{len(files)} other files in {folders} folders")
    return found


def named_images(*places: str | Path) -> list[tuple[str, Path]]:
    """Image files and those of folders, with their paths below the places' common folder as names.

    Names are without the ending where that is unambiguous. Errors are those of `list_images` and `existing_file`.
    """
    paths = [Path(place) for place in places]
    found = [list_images(path) if path.is_dir() else [existing_file(path, "image")] for path in paths]
    files = dict.fromkeys(file for part in found for file in part)
    base = os.path.commonpath([os.path.abspath(path if path.is_dir() else path.parent) for path in paths])
    inside = {file: Path(os.path.relpath(os.path.abspath(file), base)) for file in files}
    stems = Counter(name.with_suffix("") for name in inside.values())
    return [((name if stems[name.with_suffix("")] > 1 else name.with_suffix("")).as_posix(), path)
            for path, name in inside.items()]


def _visible_files(folder: Path) -> tuple[list[Path], int]:
    """The files below a folder, sorted, and the number of folders."""

    def fail(error: OSError) -> None:
        raise error

    files: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
        else:
            files += (Path(place, name) for name in names if not name.startswith("."))
        seen.add(real)
    return sorted(files), len(seen)


def to_bytes(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Values clipped to [0, 1], scaled to 0–255 and rounded; uint8 passes through."""
    a = np.asarray(image)
    return a if a.dtype == np.uint8 else np.rint(np.clip(np.nan_to_num(a), 0, 1) * 255).astype(np.uint8)


def write_png(path: str | Path, image: NDArray[Any]) -> None:
    """Write an image (H, W), (H, W, 1) or (H, W, 3) as an 8-bit PNG, atomically; values as in `to_bytes`."""
    with atomic(path) as temporary:
        temporary.write_bytes(encode_png(image))


def encode_png(image: NDArray[Any]) -> bytes:
    """The bytes of `write_png`'s file."""
    stream = BytesIO()
    _picture(image).save(stream, format="PNG")
    return stream.getvalue()


def encode_webp(image: NDArray[Any], side: int = 256, quality: int = 82) -> bytes:
    """An image in [0, 1] as a WebP file, its longer side reduced to `side` pixels if it is larger."""
    picture = _picture(image)
    picture.thumbnail((side, side))
    stream = BytesIO()
    picture.save(stream, format="WEBP", quality=quality, method=4)
    return stream.getvalue()


def write_film(path: str | Path, images: Sequence[NDArray[Any]] | NDArray[Any], seconds: float) -> Path:
    """Write images (H, W) or (H, W, 3) in [0, 1] as an endless .gif, .webp or .png, atomically.

    All together last so many seconds; the last one is shown 1.5 s longer.
    """
    path = Path(path)
    if path.suffix.lower() not in FILMS:
        raise ValueError(f"a film is a {', '.join(FILMS[:-1])} or {FILMS[-1]} file, got {path.name}")
    if not 0 < seconds < 3600:
        raise ValueError(f"the seconds of a film are positive and below an hour, got {seconds}")
    first, *others = [_picture(image) for image in images]
    each = max(20, round(1000 * seconds / len(images)))
    times = [each] * len(others) + [each + 1500]
    settings = {"lossless": False, "quality": 82} if path.suffix.lower() == ".webp" else {}
    with atomic(path) as temporary:
        first.save(temporary, save_all=True, append_images=others, duration=times, loop=0, **settings)
    return path


def _picture(image: NDArray[Any]) -> Any:
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(_one_channel_as_grey(to_bytes(image))))


def _one_channel_as_grey(a: NDArray[Any]) -> NDArray[Any]:
    """(H, W, 1) as (H, W); a ValueError for what is no image."""
    if a.size == 0 or a.ndim not in (2, 3) or (a.ndim == 3 and a.shape[2] not in (1, 3)):
        raise ValueError(f"an image has shape (H, W), (H, W, 1) or (H, W, 3), got {a.shape}")
    return a[..., 0] if a.ndim == 3 and a.shape[2] == 1 else a


def bundled(name: str) -> NDArray[np.float32]:
    """One of scikit-image's photographs, as `read_image` reads it; nothing is downloaded.

    Parameters
    ----------
    name : {"astronaut", "camera", "chelsea", "coffee", "rocket"}
    """
    return read_image(bundled_path(name))


def bundled_path(name: str) -> Path:
    """The file of one of scikit-image's photographs."""
    import skimage

    if name not in BUNDLED:
        raise ValueError(f"there is no bundled photograph {name!r}: one of {', '.join(BUNDLED)}")
    found = sorted((Path(skimage.__file__).parent / "data").glob(f"{name}.*"))
    if not found:
        raise FileNotFoundError(f"this scikit-image does not ship {name}: give a photograph of your own")
    return found[0]

"""Pictures of codes (glyphs), and sheets of labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfeature.features.base import Representation
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.gradients.hog import HOG
from unfeature.features.gradients.phow import PHOW
from unfeature.features.words.bovw import BoVW
from unfeature.inversion.result import Result
from unfeature.io.images import image_of, to_bytes

Picture = NDArray[np.float32]

LONGEST_SIDE = 768
GAP = 8
PLAIN = {0x2013: "-", 0x2014: "-", 0x2212: "-", 0xD7: "x"}  # what the font of the sheets lacks


def glyph(phi: Representation, code: NDArray[Any]) -> Picture:
    """Draw a code.

    HOG: in each cell one line for each orientation, along the edge (perpendicular to the gradient), as bright as the
    sum of its channels; negative weights, as of a linear template, follow in a second panel on the right. SIFT: in each
    spatial bin a star, whose rays point along the gradient and are as long as their channels. Other codes: the norm at
    each position, or their first principal component, where all norms are equal, or bars.

    Parameters
    ----------
    phi : Representation
    code : ndarray (h, w, D) or (D,)

    Returns
    -------
    ndarray (H, W), float32
        Values in [0, 1].

    Raises
    ------
    ValueError
        For a code whose depth is not the descriptor's, or with non-finite values.
    """
    code = np.asarray(code, dtype=np.float32)
    if code.ndim not in (1, 3) or code.size == 0:
        raise ValueError(f"a code has shape (h, w, D) or (D,), got {code.shape}")
    if not np.isfinite(code).all():
        raise ValueError(f"the code has {int((~np.isfinite(code)).sum())} non-finite values and cannot be drawn")
    return _drawn(phi, code)


@singledispatch
def _drawn(phi: Representation, code: NDArray[np.float32]) -> Picture:
    """The drawing of a kind of descriptor; this one is for those that register none."""
    if code.ndim == 1:
        return bars(code)
    shown = np.linalg.norm(code, axis=2)
    if shown.min() > 0.999 * shown.max():
        shown = _principal_component(code)
    repeats = max(1, LONGEST_SIDE // 2 // max(shown.shape))
    bright = np.clip(shown / _brightest(shown), 0, 1).repeat(repeats, 0).repeat(repeats, 1)
    return np.asarray(bright, dtype=np.float32)


@_drawn.register
def _hog(phi: HOG, code: NDArray[np.float32]) -> Picture:
    groups, orientations = phi.groups, phi.orientations
    if code.ndim != 3 or code.shape[2] < groups * orientations:
        raise ValueError(f"a code of {phi!r} has at least {groups * orientations} channels, got shape {code.shape}")
    channels = code[..., : groups * orientations].reshape(*code.shape[:2], groups, orientations)
    angles = (np.arange(orientations) + phi.first_angle) * np.pi / orientations
    lines = oriented_lines(angles + np.pi / 2, tile_size(code.shape[:2]))
    panels = [np.maximum(sign * channels, 0).sum(axis=2) for sign in (1, -1)]
    brightest = _brightest(np.stack(panels))
    drawn = [draw_tiles(np.minimum(p / brightest, 1), lines) for p in panels if p is panels[0] or p.any()]
    gap = np.ones((drawn[0].shape[0], GAP), dtype=np.float32)
    return drawn[0] if len(drawn) == 1 else np.hstack([drawn[0], gap, drawn[1]])


@_drawn.register
def _dsift(phi: DSIFT, code: NDArray[np.float32]) -> Picture:
    return _apart(phi, code, phi.geometry, phi.bin_size, int(np.prod(phi.geometry)))


@_drawn.register
def _phow(phi: PHOW, code: NDArray[np.float32]) -> Picture:
    """The first channel at the largest bin size."""
    length, layer = phi.channels * 128, int(np.argmax(phi.sizes))
    return _apart(phi, code, (4, 4, 8), phi.sizes[layer], length * len(phi.sizes), layer * length)


def _apart(phi: DSIFT | PHOW, code: NDArray[np.float32], bins: tuple[int, int, int], bin_size: int, depth: int,
           first: int = 0) -> Picture:
    """The stars of SIFT descriptors that lie so far apart that they hardly overlap."""
    if code.ndim != 3 or code.shape[2] != depth:
        raise ValueError(f"a code of {phi!r} has shape (h, w, {depth}), got {code.shape}")
    down, across = (max(1, round(n * bin_size / phi.step)) for n in bins[:2])
    apart = code[::down, ::across, first : first + int(np.prod(bins))]
    return stars(np.maximum(apart, 0).reshape(*apart.shape[:2], *bins))


def stars(rays: NDArray[np.float32]) -> Picture:
    """Descriptors (h, w, NY, NX, NO) as stars, each descriptor's bins together, with a frame around them."""
    h, w, ny, nx, directions = rays.shape
    rays = rays.transpose(0, 2, 1, 3, 4).reshape(h * ny, w * nx, directions)
    rays = np.minimum(rays / _brightest(rays), 1)
    size = tile_size((h * ny, w * nx))
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    distance = np.hypot(x, y) / (size / 2)
    lines = oriented_lines(np.arange(directions) * 2 * np.pi / directions, size, half=True)
    picture = np.zeros((h * ny, size, w * nx, size), dtype=np.float32)
    for length, line in zip(np.moveaxis(rays, 2, 0), lines, strict=True):
        inside = np.clip((length[:, None, :, None] - distance[:, None]) * size / 2 + 0.5, 0, 1)
        np.maximum(picture, inside * line[:, None], out=picture)
    framed = np.pad(picture.reshape(h, ny * size, w, nx * size), ((0, 0), (1, 1), (0, 0), (1, 1)), constant_values=0.25)
    return framed.reshape(h * (ny * size + 2), w * (nx * size + 2))


def tile_size(cells: tuple[int, ...]) -> int:
    """Side of one cell's tile, an odd number of pixels, so that the longer side of the picture stays readable."""
    return int(np.clip(LONGEST_SIDE // max(cells), 9, 63)) | 1


def oriented_lines(angles: NDArray[Any], size: int, half: bool = False) -> Picture:
    """Anti-aliased lines (O, size, size) through the middle of a tile, one for each angle.

    Angles (O,) are in radians, clockwise from +x with y pointing down; a `half` line runs from the middle outwards
    only, for directions instead of orientations.
    """
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    cosine, sine = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    along, across = x * cosine + y * sine, np.abs(y * cosine - x * sine)
    length, width = 0.5 * size - 0.75, max(0.5, size / 24)
    ends = np.clip(length + 0.5 - np.abs(along), 0, 1)
    ends = ends * np.clip(along + 0.5, 0, 1) if half else ends
    return np.asarray(ends * np.clip(width + 0.5 - across, 0, 1), dtype=np.float32)


def draw_tiles(weights: NDArray[Any], tiles: Picture) -> Picture:
    """The brightest of each position's weighted tiles: (h, w, O) and (O, s, s) give (h·s, w·s)."""
    h, w, _ = weights.shape
    size = tiles.shape[1]
    picture = np.zeros((h, size, w, size), dtype=np.float32)
    for weight, tile in zip(np.moveaxis(weights, 2, 0), tiles, strict=True):
        np.maximum(picture, weight[:, None, :, None] * tile[:, None, :], out=picture)
    return picture.reshape(h * size, w * size)


def bars(code: NDArray[Any], height: int = 160) -> Picture:
    """A vector as bars from a base line, negative ones downwards; long vectors are shown by their extremes."""
    columns = min(len(code), LONGEST_SIDE)
    pieces = np.array_split(code, columns)
    top = np.array([max(float(p.max()), 0.0) for p in pieces])
    bottom = np.array([min(float(p.min()), 0.0) for p in pieces])
    span = float(top.max() - bottom.min()) or 1.0
    level = top.max() - np.linspace(0, 1, height)[:, None] * span
    inside = ((level >= 0) & (level <= top)) | ((level <= 0) & (level >= bottom))
    return np.asarray(inside.repeat(max(1, LONGEST_SIDE // columns), 1), dtype=np.float32)


def _principal_component(code: NDArray[np.float32]) -> NDArray[np.float32]:
    """The coordinate of each position along which a code (h, w, D) varies most, from 0 on; 1 for a constant code."""
    centred = code - code.mean((0, 1))
    flat = centred.reshape(-1, code.shape[2])
    _, vectors = np.linalg.eigh(flat.T @ flat)
    vector = vectors[:, -1]
    found = centred @ (vector * np.sign(vector[np.argmax(np.abs(vector))]))
    return np.asarray(found - found.min() if np.ptp(found) > 0 else np.ones_like(found), np.float32)


def _brightest(picture: NDArray[Any]) -> float:
    positive = picture[picture > 0]
    return float(np.quantile(positive, 0.995)) if positive.size else 1.0


def present_words(phi: Any, code: NDArray[Any], most: int = 36) -> NDArray[np.uint8] | None:
    """The mean patches of the most frequent words of a histogram, with their shares; None for other codes.

    One min–max stretch serves all patches.
    """
    patches = phi.words.patches if isinstance(phi, BoVW) else None
    if patches is None:
        return None
    total = np.maximum(phi.histograms(np.asarray(code)).sum(axis=0), 0)
    present = [int(i) for i in np.argsort(-total, kind="stable")[:most] if total[i] > 0]
    if not present:
        return None
    shares = total / total.sum()
    lowest, highest = patches[present].min(), patches[present].max()
    stretched = (patches - lowest) / max(highest - lowest, 1e-6)
    return sheet([stretched[i] for i in present], [f"{100 * shares[i]:.1f} %" for i in present], side=64)


def sheet(
    images: Sequence[NDArray[Any]], labels: Sequence[str], columns: int | None = None, side: int = 256
) -> NDArray[np.uint8]:
    """Arrange images in a grid, each with its label below.

    Parameters
    ----------
    images : sequence of ndarray (H, W) or (H, W, 3)
        Values in [0, 1], or uint8; each is scaled to fit side × side pixels, its aspect ratio kept.
    labels : sequence of str
        One for each image.
    columns : int, optional
        By default the sheet is about square.
    side : int
        Pixels.

    Returns
    -------
    ndarray (H, W, 3), uint8

    Raises
    ------
    ValueError
        If there is no image, or not one label for each.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not images or len(images) != len(labels):
        raise ValueError(f"a sheet takes one label for each image, got {len(images)} images and {len(labels)} labels")
    columns = columns or int(np.ceil(np.sqrt(len(images))))
    letter = max(11, side // 18)
    line, margin = int(1.9 * letter), max(4, side // 24)
    places = [_fit(image, side) for image in images]
    rows = [range(i, min(i + columns, len(places))) for i in range(0, len(places), columns)]
    heights = [max(places[i].height for i in row) for row in rows]
    size = (columns * (side + margin) + margin, sum(heights) + len(rows) * line + margin)
    page = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(letter)
    bottom = margin
    for row, height in zip(rows, heights, strict=True):
        bottom += height
        for column, i in enumerate(row):
            x = margin + column * (side + margin)
            page.paste(places[i], (x + (side - places[i].width) // 2, bottom - places[i].height))
            middle = (x + side / 2, bottom + line / 2 - margin / 4)
            pen.text(middle, labels[i].translate(PLAIN), fill="#222", font=font, anchor="mm")
        bottom += line
    return np.asarray(page)


def show(*images: Any, labels: Sequence[str] | None = None, columns: int | None = None, side: int = 256) -> Any:
    """Images side by side as a Pillow image, which a notebook displays and ``.save(path)`` writes.

    Parameters
    ----------
    *images : ndarray (H, W) or (H, W, 3), Pillow image, path, or Result
        Values in [0, 1], or uint8; a result stands for its images.
    labels : sequence of str, optional
        One for each image; by default results have their errors.
    columns, side : int
        As for `sheet`; by default four columns at most.

    Returns
    -------
    PIL.Image.Image

    Raises
    ------
    ValueError
        If there is no image, or not one label for each.

    Examples
    --------
    >>> import unfeature as uf
    >>> coffee, camera = uf.bundled("coffee"), uf.bundled("camera")
    >>> uf.show(coffee, camera, labels=["coffee", "camera"], side=128).size
    (271, 153)
    """
    from PIL import Image

    shown: list[tuple[NDArray[Any], str]] = []
    for one in images:
        if isinstance(one, Result):
            said = ("" if np.isnan(error) else f"error {error:.4f}" for error in one.errors)
            shown += zip(one.images, said, strict=True)
        else:
            shown.append((image_of(one), ""))
    names = [label for _, label in shown] if labels is None else labels
    return Image.fromarray(sheet([image for image, _ in shown], names, columns or min(4, max(len(shown), 1)), side))


def _fit(image: NDArray[Any], side: int) -> Any:
    from PIL import Image

    a = to_bytes(image)
    picture = Image.fromarray(a[..., 0] if a.ndim == 3 and a.shape[2] == 1 else a).convert("RGB")
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)

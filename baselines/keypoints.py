"""A collage from SIFT descriptors at interest points, each with its own place, scale and orientation."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from unfeature.io.files import load_arrays, save_arrays
from unfeature.io.images import to_bytes, to_grey

from .base import Images, Learner, Progress, Stream
from .collage import poisson
from .windows import Floats, spread

if TYPE_CHECKING:
    from unfeature.inversion.result import Result

SIDE = 32
SUPPORT = 6.0
SMALLEST = 32
CHUNK = 256
KIND = "keypoint collage"
STORED = "set of keypoints"
VERSION = 1


def detect(image: NDArray[Any], most: int = 0) -> tuple[Floats, NDArray[np.uint8]]:
    """SIFT at interest points, by OpenCV.

    Parameters
    ----------
    image : ndarray (H, W) or (H, W, 3)
        Values in [0, 1], or uint8.
    most : int
        Keep this many of the strongest; all if 0.

    Returns
    -------
    frames : ndarray (n, 4)
        x, y, diameter in pixels, and angle in degrees, clockwise from +x.
    descriptors : ndarray (n, 128), uint8
    """
    points, found = cv2.SIFT.create(nfeatures=most).detectAndCompute(to_bytes(to_grey(image)), None)
    if not points:
        return np.zeros((0, 4), dtype=np.float32), np.zeros((0, 128), dtype=np.uint8)
    frames = np.array([(*p.pt, p.size, p.angle) for p in points], dtype=np.float32)
    return frames, np.clip(np.rint(found), 0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Keypoints:
    """SIFT at interest points of one image.

    Attributes
    ----------
    frames : ndarray (n, 4)
        x, y, diameter in pixels, and angle in degrees, clockwise from +x.
    descriptors : ndarray (n, 128), uint8
    size : tuple of int
        Height and width of the image.
    """

    frames: Floats
    descriptors: NDArray[np.uint8]
    size: tuple[int, int]

    @classmethod
    def of(cls, image: NDArray[Any], most: int = 0) -> Keypoints:
        """The keypoints of an image; see `detect`."""
        return cls(*detect(image, most), (image.shape[0], image.shape[1]))

    def save(self, path: str | Path) -> None:
        """Write to one file, atomically and without pickle."""
        save_arrays(path, STORED, {"size": self.size}, frames=self.frames, descriptors=self.descriptors)

    @classmethod
    def load(cls, path: str | Path) -> Keypoints:
        """Read what `save` wrote; ValueError if it is damaged or of another kind."""
        meta, arrays = load_arrays(path, STORED)
        if set(arrays) != {"frames", "descriptors"} or len(meta.get("size", ())) != 2:
            raise ValueError(f"{path} is damaged: detect the keypoints again")
        height, width = meta["size"]
        return cls(arrays["frames"], arrays["descriptors"], (height, width))


@dataclass(eq=False, repr=False)
class KeypointCollage:
    r"""The image of a set of SIFT keypoints: the nearest patches, turned and scaled, blended by Poisson's equation.

    Each keypoint finds the descriptor at the least Euclidean distance in a database; its patch, which covers the
    descriptor's support (6 diameters), is turned and scaled to the keypoint and pasted into a field of gradients,
    large keypoints first, so that small ones lie on top. The image is that whose gradient is nearest to the field;
    where nothing was pasted, the gradient is zero, which interpolates smoothly.

    Attributes
    ----------
    descriptors : ndarray (n, 128), uint8
    patches : ndarray (n, 32, 32), uint8
        Upright, at unit scale.

    Notes
    -----
    The paper crops an elliptic patch and blends sequentially; here patches are discs and blended at once.

    References
    ----------
    P. Weinzaepfel, H. Jégou, P. Pérez, "Reconstructing an image from its local descriptors", CVPR 2011.
    """

    descriptors: NDArray[np.uint8]
    patches: NDArray[np.uint8]

    @classmethod
    def learn(cls, images: Images, *, per_image: int = 500, seed: int = 0, side: int | None = None,
              memory: str | int = "2GB", output: str | Path | None = None,
              progress: Progress | None = None) -> KeypointCollage:
        """Collect descriptors and patches at the interest points of images.

        Parameters
        ----------
        images : path, or iterable of paths and arrays
        per_image : int
            The strongest points of each image.
        seed, side, memory, output, progress
            See `Stream`.

        Raises
        ------
        ValueError
            If no interest point is kept; see also `Stream`.
        """
        stream = Stream(images, None, seed, side, memory, output, progress)
        learner = _PointLearner(per_image, stream.room)
        stream.run(learner, {"method": KIND, "per_image": per_image}, SMALLEST)
        if not len(learner.arrays["descriptors"]):
            raise ValueError("not one interest point was kept: give larger or more detailed images, "
                             "or allow more memory")
        return stream.finish(cls(learner.arrays["descriptors"], learner.arrays["patches"]))

    def save(self, path: str | Path) -> None:
        """Write to one file, atomically and without pickle."""
        save_arrays(path, KIND, {"version": VERSION}, descriptors=self.descriptors, patches=self.patches)

    @classmethod
    def load(cls, path: str | Path) -> KeypointCollage:
        """Read what `save` wrote; ValueError if it is damaged or of another kind or version."""
        meta, arrays = load_arrays(path, KIND)
        if meta.get("version") != VERSION or set(arrays) != {"descriptors", "patches"}:
            raise ValueError(f"{path} is damaged or of another version: learn it again")
        return cls(**arrays)

    def invert(self, frames: NDArray[Any], descriptors: NDArray[Any], size: tuple[int, int]) -> Result:
        """The image of keypoints.

        Parameters
        ----------
        frames : ndarray (n, 4)
            x, y, diameter, angle, as `detect` gives.
        descriptors : ndarray (n, 128)
        size : tuple of int
            Height and width of the image.

        Returns
        -------
        Result
            One image in [0, 1]; its errors are NaN, since keypoints are not a code of fixed shape.

        Raises
        ------
        ValueError
            If the shapes do not fit together.
        """
        from unfeature.inversion.result import Result

        frames, descriptors = np.asarray(frames, dtype=np.float64), np.asarray(descriptors)
        if frames.ndim != 2 or frames.shape[1] != 4 or descriptors.shape != (len(frames), 128):
            raise ValueError(f"keypoints are frames (n, 4) and descriptors (n, 128), "
                             f"got {frames.shape} and {descriptors.shape}")
        begin = time.perf_counter()
        nearest = self._nearest(descriptors.astype(np.float32))
        below, beside = (np.zeros((*size, 1)) for _ in range(2))
        for k in np.argsort(-frames[:, 2], kind="stable"):
            _paste(self.patches[nearest[k]], frames[k], below, beside)
        image = spread(poisson(below, beside))[None, ..., 0]
        unknown = np.full(1, np.nan)
        facts = {"method": KIND, "descriptor": {"type": "SIFT keypoints"}, "keypoints": len(frames),
                 "seconds": time.perf_counter() - begin}
        return Result(image, unknown, unknown, "finished", provenance=facts)

    def _nearest(self, wanted: Floats) -> NDArray[np.int64]:
        known = self.descriptors.astype(np.float32)
        norms = (known**2).sum(axis=1)
        parts = [np.argmin(norms - 2 * (wanted[i : i + CHUNK] @ known.T), axis=1) for i in range(0, len(wanted), CHUNK)]
        return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


class _PointLearner(Learner):
    """Keeps descriptors and patches while there is room."""

    encodes: ClassVar[bool] = False

    def __init__(self, per_image: int, limit: int) -> None:
        self.per_image, self.limit = per_image, limit
        self.arrays = {"descriptors": np.zeros((0, 128), dtype=np.uint8),
                       "patches": np.zeros((0, SIDE, SIDE), dtype=np.uint8)}

    def see(self, image: NDArray[np.float32], code: NDArray[np.float32], rng: np.random.Generator) -> None:
        """Keep the strongest points of one image."""
        frames, descriptors = detect(image, self.per_image)
        added = len(frames) * (128 + SIDE * SIDE)
        if len(frames) == 0 or 2 * sum(a.nbytes for a in self.arrays.values()) + added > self.limit:
            return
        upright = [cv2.warpAffine(image, _to_frame(f), (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                                  borderMode=cv2.BORDER_REPLICATE) for f in frames]
        new = {"descriptors": descriptors, "patches": to_bytes(np.stack(upright))}
        self.arrays = {name: np.concatenate([self.arrays[name], values]) for name, values in new.items()}


def _to_frame(frame: NDArray[Any]) -> NDArray[np.float64]:
    """The affine map (2, 3) from pixels of an upright patch to pixels of the image."""
    x, y, diameter, degrees = (float(v) for v in frame)
    scale = SUPPORT * diameter / SIDE
    c, s = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    middle = (SIDE - 1) / 2
    return np.array([[c, -s, x - (c - s) * middle], [s, c, y - (s + c) * middle]])


def _paste(patch: NDArray[np.uint8], frame: NDArray[Any], below: NDArray[Any], beside: NDArray[Any]) -> None:
    """Put the gradients of a patch, turned and scaled to its frame, into the field, inside a disc."""
    height, width = below.shape[:2]
    reach = SUPPORT * frame[2] / 2
    top, left = (max(int(np.floor(v - reach)), 0) for v in (frame[1], frame[0]))
    bottom, right = min(int(frame[1] + reach) + 2, height), min(int(frame[0] + reach) + 2, width)
    if bottom - top < 2 or right - left < 2:
        return
    matrix = _to_frame(frame)
    matrix[:, 2] -= (left, top)
    extent = (right - left, bottom - top)
    values = cv2.warpAffine(patch.astype(np.float32) / 255, matrix, extent, borderMode=cv2.BORDER_REPLICATE)
    y, x = np.mgrid[top:bottom, left:right]
    disc = (x - frame[0]) ** 2 + (y - frame[1]) ** 2 <= reach**2
    below[top:bottom, left:right, 0][disc] = np.diff(values, axis=0, append=values[-1:])[disc]
    beside[top:bottom, left:right, 0][disc] = np.diff(values, axis=1, append=values[:, -1:])[disc]

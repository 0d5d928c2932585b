"""A collage from SIFT descriptors at interest points, each with its own location, scale and orientation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances_argmin

from unfeature.inversion.result import Result
from unfeature.io.files import load_arrays, save_arrays
from unfeature.io.images import to_bytes, to_grey
from unfeature.io.schema import Field, Schema, Value, check_fields

from .base import Baseline
from .collage import differences, poisson
from .stream import Floats, Learner, Size, Stream
from .windows import min_max_normalise

SIDE = 32
SUPPORT = 6.0
SMALLEST = 32
STORED = "set of keypoints"
POINTS = {"frames": Field("float32", ("points", 4), -1e6, 1e6), "descriptors": Field("uint8", ("points", 128))}


@dataclass(frozen=True, eq=False)
class KeypointSet:
    """SIFT at interest points of one image of a `size` (height, width); ValueError if the shapes do not fit together.

    A row of `frames` (n, 4) is x, y, diameter in pixels, and angle in degrees, clockwise from +x; a row of
    `descriptors` (n, 128) is uint8.
    """

    frames: Floats
    descriptors: NDArray[np.uint8]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        shapes = self.frames.shape, self.descriptors.shape
        if shapes != ((len(self), 4), (len(self), 128)):
            raise ValueError(f"keypoints are frames (n, 4) and descriptors (n, 128), got {shapes[0]} and {shapes[1]}")

    def __len__(self) -> int:
        return len(self.frames)

    def save(self, path: str | Path) -> None:
        """Write to one file, atomically and without pickle."""
        save_arrays(path, STORED, {"size": self.size}, frames=self.frames, descriptors=self.descriptors)

    @classmethod
    def load(cls, path: str | Path) -> KeypointSet:
        """Read what `save` wrote; ValueError if it is damaged or of another kind."""
        meta, arrays = load_arrays(path, STORED, POINTS, {"size": Value(list)})
        check_fields(path, {"size": np.array(meta["size"])}, {"size": Field("int64", (2,), 1, 10**5)})
        height, width = meta["size"]
        return cls(arrays["frames"], arrays["descriptors"], (height, width))


@dataclass(frozen=True)
class SIFTKeypoints:
    """The descriptor of `Keypoints`: SIFT at the `most` strongest interest points, all if 0, by OpenCV."""

    most: int = 0
    in_channels: ClassVar[tuple[int, ...]] = (1,)

    def __call__(self, image: NDArray[Any]) -> KeypointSet:
        """The keypoints of an image (H, W) or (H, W, 3), with values in [0, 1] or uint8."""
        points, found = cv2.SIFT.create(nfeatures=self.most).detectAndCompute(to_bytes(to_grey(image)), None)
        frames = np.array([(*p.pt, p.size, p.angle) for p in points], dtype=np.float32).reshape(-1, 4)
        descriptors = np.zeros((0, 128)) if found is None else np.clip(np.rint(found), 0, 255)
        return KeypointSet(frames, descriptors.astype(np.uint8), (image.shape[0], image.shape[1]))

    def to_config(self) -> dict[str, Any]:
        """Its type alone: a database serves any number of keypoints."""
        return {"type": type(self).__name__}


@dataclass(eq=False, repr=False)
class Keypoints(Baseline):
    r"""A database of patches at interest points.

    Each keypoint finds the descriptor at the least Euclidean distance in the database; its patch, which covers the
    descriptor's support (6 diameters), is turned and scaled to the keypoint and pasted into a field of gradients,
    large keypoints first, so that small ones lie on top. The image is that whose gradient is nearest to the field
    (Poisson blending); where nothing was pasted, the gradient is zero, which interpolates smoothly.

    Its descriptor is `SIFTKeypoints`, its codes are `KeypointSet`; the errors of its results are NaN, since
    keypoints are not a code of fixed shape. The database holds `descriptors` (n, 128) and upright `patches` (n, 32, 32)
    at unit scale, both uint8.

    Notes
    -----
    The paper crops an elliptic patch and blends sequentially; here patches are discs and blended at once.

    References
    ----------
    P. Weinzaepfel, H. Jégou, P. Pérez, "Reconstructing an image from its local descriptors", CVPR 2011.
    """

    encoder: ClassVar[Any] = SIFTKeypoints
    grid: ClassVar[bool] = False
    inverted: ClassVar[str] = "sets of SIFT keypoints"
    feature: ClassVar[str] = "keypoints"

    schema: ClassVar[Schema] = {"descriptors": Field("uint8", ("points", 128)),
                                "patches": Field("uint8", ("points", SIDE, SIDE))}

    descriptors: NDArray[np.uint8]
    patches: NDArray[np.uint8]

    @classmethod
    def learn_from(cls, stream: Stream, phi: SIFTKeypoints, *, per_image: int = 500) -> Keypoints:
        """Collect descriptors and patches at the interest points of images.

        Parameters
        ----------
        per_image : int
            Interest points of each image; the strongest are kept.
        """
        learner = _PointLearner(per_image, stream.memory_bytes)
        stream.run(learner, SMALLEST)
        if not len(learner.arrays["descriptors"]):
            raise ValueError("not one interest point was kept: give larger or more detailed images, or more memory")
        return cls(phi.to_config(), **learner.arrays)

    def read_code(self, phi: SIFTKeypoints, code: KeypointSet, size: Size | None) -> tuple[KeypointSet, Size]:
        """The keypoints, and the size of their image."""
        if not isinstance(code, KeypointSet):
            raise ValueError(f"{self.method} inverts a KeypointSet, as SIFTKeypoints gives, not {type(code).__name__}")
        return code, code.size if size is None else size

    def reconstruct(self, phi: SIFTKeypoints, code: KeypointSet, size: Size, count: int, seed: int) -> Floats:
        """The image (1, H, W, 1) in [0, 1] of keypoints."""
        vertical, horizontal = (np.zeros((*size, 1)) for _ in range(2))
        if len(code):
            nearest = pairwise_distances_argmin(*(d.astype(np.float32) for d in (code.descriptors, self.descriptors)))
            frames = code.frames.astype(np.float64)
            for k in np.argsort(-frames[:, 2], kind="stable"):
                _paste(self.patches[nearest[k]], frames[k], vertical, horizontal)
        return min_max_normalise(poisson(vertical, horizontal))[None]

    def measure(self, phi: SIFTKeypoints, code: KeypointSet, images: Floats, facts: dict[str, Any]) -> Result:
        """The result of one image, without errors."""
        unknown = np.full(1, np.nan)
        return Result(images, unknown, unknown, "finished",
                      provenance={"descriptor": phi.to_config(), "keypoints": len(code), **facts})


class _PointLearner(Learner):
    """Keeps descriptors and patches until the memory is full."""

    encodes: ClassVar[bool] = False

    def __init__(self, per_image: int, limit: int) -> None:
        self.phi, self.limit = SIFTKeypoints(per_image), limit
        self.arrays = {"descriptors": np.zeros((0, 128), dtype=np.uint8),
                       "patches": np.zeros((0, SIDE, SIDE), dtype=np.uint8)}

    def see(self, image: Floats, code: Floats, rng: np.random.Generator) -> None:
        found = self.phi(image)
        added = len(found) * (128 + SIDE * SIDE)
        if len(found) == 0 or 2 * sum(a.nbytes for a in self.arrays.values()) + added > self.limit:
            return
        upright = [cv2.warpAffine(image, _to_frame(f), (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                                  borderMode=cv2.BORDER_REPLICATE) for f in found.frames]
        self.append(descriptors=found.descriptors, patches=to_bytes(np.stack(upright)))


def _to_frame(frame: NDArray[Any]) -> NDArray[np.float64]:
    """The affine map (2, 3) from pixels of an upright patch to pixels of the image."""
    x, y, diameter, degrees = (float(v) for v in frame)
    scale = SUPPORT * diameter / SIDE
    c, s = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    middle = (SIDE - 1) / 2
    return np.array([[c, -s, x - (c - s) * middle], [s, c, y - (s + c) * middle]])


def _paste(patch: NDArray[np.uint8], frame: NDArray[Any], vertical: NDArray[Any], horizontal: NDArray[Any]) -> None:
    """Put the gradients of a patch, turned and scaled to its frame, into the field, inside a disc."""
    height, width = vertical.shape[:2]
    radius = SUPPORT * frame[2] / 2
    top, left = (max(int(np.floor(v - radius)), 0) for v in (frame[1], frame[0]))
    bottom, right = min(int(frame[1] + radius) + 2, height), min(int(frame[0] + radius) + 2, width)
    if bottom - top < 2 or right - left < 2:
        return
    matrix = _to_frame(frame)
    matrix[:, 2] -= (left, top)
    extent = (right - left, bottom - top)
    values = cv2.warpAffine(patch.astype(np.float32) / 255, matrix, extent, borderMode=cv2.BORDER_REPLICATE)
    y, x = np.mgrid[top:bottom, left:right]
    disc = (x - frame[0]) ** 2 + (y - frame[1]) ** 2 <= radius**2
    for field, axis in ((vertical, 0), (horizontal, 1)):
        field[top:bottom, left:right, 0][disc] = differences(values, axis)[disc]

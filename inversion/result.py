"""What an inversion returns: the images, how well they match, and how they came about."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import Representation, code_to_numpy, differences
from unfeature.io.files import digest, load_array, read_json, save_array, write_json
from unfeature.io.images import write_png
from unfeature.io.output import result_folder
from unfeature.io.schema import Field, Value, check_fields

from .measures import relative_errors
from .shown import Shown

FORMAT = 2
FACTS = {"format": Value(int, choices=(FORMAT,)), "status": Value(str), "starts": Value(int, low=1),
         "errors": Value(list), "errors_centred": Value(list), "provenance": Value(dict), "history": Value(dict),
         "digests": Value(dict), "files": Value(list), "snapshot_steps": Value(list, optional=True)}
ARRAYS = {"image.npy": Field("float32"), "code.npy": Field(optional=True),
          "uncertainty.npy": Field("float32", low=0, optional=True), "snapshots.npy": Field("float32", optional=True)}
ERRORS = Field("float64", ("images",), low=0, finite=False)
COLUMN = Field("float64", ("steps", "images"), finite=False)
STOPPED, DIVERGED = "stopped by the user", "non-finite values"
COMPARED = ("images", "errors", "errors_centred", "codes", "uncertainties", "snapshots")
WHITE = 0.2  # standard deviation that is white in a picture: that of a photograph of which nothing is known


@dataclass(frozen=True, eq=False, repr=False)
class Result(Shown):
    r"""Pre-images of one or several codes.

    Attributes
    ----------
    images : ndarray (N, H, W) or (N, H, W, C)
        The pre-images, float32, exactly as found: values may leave [0, 1] a little.
    errors, errors_centred : ndarray (N,)
        ‖Φ(x) − Φ₀‖ / ‖Φ₀‖ and ‖Φ(x) − Φ₀‖ / ‖Φ₀ − its mean cell‖, with the descriptor itself. NaN without a target
        code; the second also for codes without positions.
    status : str
        How the run ended, as a sentence.
    codes : ndarray (N, h, w, D) or (N, D), or None
        The target codes.
    history : dict of ndarray (steps, N), or (steps,) for one image
        "objective", "data" (the weighted data term), one entry a prior, and "error", NaN where it was not measured.
        That of one image makes the columns of a table: ``pandas.DataFrame(result[0].history)``.
    starts : int
        How many of the images are attempts at the same code, in a row.
    provenance : dict
        Method, descriptor, recipe, seed, evaluations, seconds (without compilation), date, versions.
    guess : ndarray (N, H, W) or (N, H, W, C), or None
        The images that a decoder predicted and that guided the search; not saved.
    uncertainties : ndarray (N, H, W), or None
        Standard deviation of each pixel, of colours the root mean square: of the photograph about the decoder's image,
        as a network beside the decoder predicts it, else of the starts at the same code, if there are several. Starts
        agree on more than the code tells: see docs/near.md.
    snapshots : ndarray (S, N, H, W) or (S, N, H, W, C), or None
        Images of the way, float32, the last of which are `images`.
    snapshot_steps : tuple of int (S,)
        The gradient evaluations after which they were taken.
    """

    images: NDArray[np.float32]
    errors: NDArray[np.float64]
    errors_centred: NDArray[np.float64]
    status: str
    codes: NDArray[Any] | None = None
    history: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    starts: int = 1
    provenance: dict[str, Any] = field(default_factory=dict)
    guess: NDArray[np.float32] | None = None
    uncertainties: NDArray[np.float32] | None = None
    snapshots: NDArray[np.float32] | None = None
    snapshot_steps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.images) == 1:
            object.__setattr__(self, "history", {name: values.reshape(-1) for name, values in self.history.items()})

    @classmethod
    def from_images(cls, phi: Representation, codes: NDArray[Any], images: NDArray[Any], **provenance: Any) -> Result:
        """Measure images (N, H, W) or (N, H, W, C), in [0, 1], that any method made for codes (N, h, w, D) or (N, D).

        The provenance is what to remember of the method: ``method="ridge"``, ``seconds=0.2``; ``status`` becomes the
        status.
        """
        if len(codes) != len(images):
            raise ValueError(f"{len(codes)} codes but {len(images)} images: give one image a code")
        status = str(provenance.pop("status", "finished"))
        errors = relative_errors(np.stack([encode(phi, image) for image in images]), np.asarray(codes))
        facts = {"descriptor": phi.to_config(), **provenance, "date": now()}
        return cls(np.asarray(images, np.float32), *errors, status, np.asarray(codes), provenance=facts)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Result:
        row = slice(i, i + 1 or None)
        if len(self.images[row]) == 0:
            raise IndexError(f"this result holds {len(self)} images, there is no image {i}")
        codes = None if self.codes is None else self.codes[row]
        guess, uncertainties = (None if maps is None else maps[row] for maps in (self.guess, self.uncertainties))
        snapshots = None if self.snapshots is None else self.snapshots[:, row]
        history = {name: values[:, row] for name, values in self._columns.items()}
        return replace(self, images=self.images[row], errors=self.errors[row], codes=codes, history=history, starts=1,
                       errors_centred=self.errors_centred[row], guess=guess, uncertainties=uncertainties,
                       snapshots=snapshots)

    def __eq__(self, other: object) -> bool:
        """Whether all images, errors, codes and facts are the same; NaN equals NaN."""
        if not isinstance(other, Result):
            return NotImplemented
        pairs = [(getattr(self, name), getattr(other, name)) for name in COMPARED]
        pairs += [(self.history.get(name), other.history.get(name)) for name in {*self.history, *other.history}]
        return self._facts == other._facts and all(_equal(a, b) for a, b in pairs)

    def __repr__(self) -> str:
        height, width = self.images.shape[1:3]
        errors = [f"{bound(self.errors):.4f}" for bound in (np.min, np.max)] if len(self) else []
        count = "1 image" if len(self) == 1 else f"{len(self)} images"
        return (f"<Result: {count} of {height} × {width} pixels, relative error {' to '.join(dict.fromkeys(errors))}; "
                f"{self.status}>")

    @property
    def _columns(self) -> dict[str, NDArray[np.float64]]:
        """The history, (steps, N) also for one image."""
        return {name: values.reshape(len(values), len(self)) for name, values in self.history.items()}

    @property
    def _facts(self) -> Any:
        """Status, starts and provenance, as JSON has them."""
        facts = [self.status, self.starts, self.provenance, self.snapshot_steps]
        return json.loads(json.dumps(facts, default=lambda array: array.tolist()))

    @property
    def interrupted(self) -> bool:
        """Whether a keyboard interrupt ended the search early."""
        return self.status.startswith(STOPPED)

    @property
    def diverged(self) -> bool:
        """Whether the search left the finite numbers, so that the images are the last finite ones."""
        return self.status.startswith(DIVERGED)

    @property
    def best(self) -> int:
        """Index of the best of several starts: least error, or least objective where there is no code."""
        if len(self) != self.starts:
            raise ValueError(f"this result holds images of {len(self) // self.starts} codes: choose one with result[i]")
        scores = self._columns["objective"][-1] if np.isnan(self.errors).all() and self.history else self.errors
        return int(np.argmin(np.nan_to_num(scores, nan=np.inf)))

    @property
    def image(self) -> NDArray[np.float32]:
        """The pre-image, of several starts the best, (H, W) or (H, W, C)."""
        image: NDArray[np.float32] = self.images[self.best]
        return image

    @property
    def uncertainty(self) -> NDArray[np.float32] | None:
        """Standard deviation of each pixel of `image`, (H, W); None if it is not known."""
        return None if self.uncertainties is None else self.uncertainties[self.best]

    @property
    def error(self) -> float:
        """Relative error of `image`."""
        return float(self.errors[self.best])

    @property
    def error_centred(self) -> float:
        """Centred relative error of `image`."""
        return float(self.errors_centred[self.best])

    def save(self, folder: str | Path) -> None:
        """Write preimage.png (or preimage-00.png …), image.npy (exact), code.npy and result.json into a folder.

        If they are known, uncertainty.npy and, for each code, uncertainty.png (or uncertainty-00.png …), where white is
        0.2 and more. Snapshots are in snapshots.npy.

        The files appear together, in place of all files of an earlier result; other files stay. A ValueError says that
        the folder cannot be written to, that the disk is full, or that a file of others would be overwritten.
        """
        pictures = _numbered("preimage", self.images)
        if self.uncertainties is not None:
            pictures |= _numbered("uncertainty", self.uncertainties[:: self.starts] / WHITE)
        arrays = {"image.npy": self.images, "code.npy": self.codes, "uncertainty.npy": self.uncertainties,
                  "snapshots.npy": self.snapshots}
        stored = {name: array for name, array in arrays.items() if array is not None}
        facts = {name: getattr(self, name) for name in ("status", "starts", "errors", "errors_centred", "provenance",
                                                        "snapshot_steps")}
        with result_folder(folder, names=[*pictures, *stored, "result.json"]) as place:
            for name, image in pictures.items():
                write_png(place / name, image)
            for name, array in stored.items():
                save_array(place / name, array)
            digests = {name: digest(array) for name, array in stored.items()}
            write_json(place / "result.json",
                       {"format": FORMAT, **facts, "history": self._columns, "digests": digests})

    @classmethod
    def load(cls, folder: str | Path, phi: Representation | None = None) -> Result:
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
            If the folder holds no result.
        ValueError
            If a file is damaged or of another result, or the result belongs to another descriptor than phi.
        """
        folder = Path(folder)
        if not (folder / "result.json").is_file():
            raise FileNotFoundError(f"no result.json in {folder}: name a folder that `unfeature invert -o` wrote")
        try:
            result = cls._read(folder)
        except (ValueError, TypeError, OverflowError, FileNotFoundError) as error:
            raise ValueError(f"the result in {folder} is damaged ({error}): run the inversion again") from error
        stored = result.provenance.get("descriptor") or {}
        if phi is not None and (found := differences(stored, phi.to_config())):
            raise ValueError(f"the result in {folder} belongs to another descriptor ({found})")
        return result

    @classmethod
    def _read(cls, folder: Path) -> Result:
        facts = read_json(folder / "result.json", FACTS)
        arrays = {name: load_array(folder / name) for name in ARRAYS if name in facts["digests"]}
        for name, array in arrays.items():
            if facts["digests"][name] != digest(array):
                raise ValueError(f"{name} belongs to another result")
        columns = {name: np.array(values, np.float64) for name, values in facts["history"].items()}
        errors = {name: np.array(facts[name], np.float64) for name in ("errors", "errors_centred")}
        check_fields(folder, arrays, ARRAYS)
        images, codes = arrays["image.npy"], arrays.get("code.npy")
        if images.ndim not in (3, 4):
            raise ValueError(f"image.npy has the shape {images.shape}")
        sizes = check_fields(folder, errors, dict.fromkeys(errors, ERRORS), {"images": len(images)})
        check_fields(folder, columns, dict.fromkeys(columns, COLUMN), sizes)
        if len(images) % facts["starts"] or (codes is not None and codes.shape[:1] != images.shape[:1]):
            raise ValueError(f"{len(images)} images do not belong to its codes, or to {facts['starts']} starts each")
        uncertainties = arrays.get("uncertainty.npy")
        if uncertainties is not None and uncertainties.shape != images.shape[:3]:
            raise ValueError(f"uncertainty.npy has the shape {uncertainties.shape}, the images {images.shape}")
        snapshots, steps = arrays.get("snapshots.npy"), tuple(map(int, facts.get("snapshot_steps", ())))
        if (() if snapshots is None else snapshots.shape) != ((len(steps), *images.shape) if steps else ()):
            raise ValueError(f"snapshots.npy does not hold images of the {len(steps)} steps that result.json lists")
        return cls(images, errors["errors"], errors["errors_centred"], facts["status"], codes, columns, facts["starts"],
                   facts["provenance"], uncertainties=uncertainties, snapshots=snapshots, snapshot_steps=steps)


def now() -> str:
    """Date and time, UTC, in ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _numbered(name: str, images: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Images (N, …) by the names of their PNG files."""
    return dict(zip([f"{name}.png"] if len(images) == 1 else [f"{name}-{i:02d}.png" for i in range(len(images))],
                    images, strict=True))


def _equal(a: NDArray[Any] | None, b: NDArray[Any] | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)


def images_of(x: Tensor) -> NDArray[np.float32]:
    """A batch (N, C, H, W) as images (N, H, W) or (N, H, W, C)."""
    images = x.permute(0, 2, 3, 1).float().cpu().numpy()
    return np.ascontiguousarray(images[..., 0] if images.shape[-1] == 1 else images)


def encode(phi: Representation, image: NDArray[Any]) -> NDArray[Any]:
    """Φ of one image that may leave [0, 1] a little, such as a pre-image."""
    x = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
    x = x[None, None] if x.ndim == 2 else x.permute(2, 0, 1)[None]
    with torch.no_grad():
        return code_to_numpy(phi(x))

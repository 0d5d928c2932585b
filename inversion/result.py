"""What an inversion returns: the images, how well they match, and how they came about."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unfeature.features.base import Representation, code_to_numpy, differences
from unfeature.io.files import load_array, read_json, save_array, write_json
from unfeature.io.images import write_png

FORMAT = 1


@dataclass(frozen=True)
class Result:
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
    history : dict of ndarray (steps, N)
        "objective", "data" (the weighted data term), one entry a prior, and "error", NaN where it was not measured.
    starts : int
        How many of the images are attempts at the same code, in a row.
    provenance : dict
        Method, descriptor, recipe, seed, evaluations, seconds, versions.
    """

    images: NDArray[np.float32]
    errors: NDArray[np.float64]
    errors_centred: NDArray[np.float64]
    status: str
    codes: NDArray[Any] | None = None
    history: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    starts: int = 1
    provenance: dict[str, Any] = field(default_factory=dict)

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
        facts = {"descriptor": phi.to_config(), **provenance}
        return cls(np.asarray(images, np.float32), *errors, status, np.asarray(codes), provenance=facts)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Result:
        row = slice(i, i + 1 or None)
        if len(self.images[row]) == 0:
            raise IndexError(f"this result holds {len(self)} images, there is no image {i}")
        codes = None if self.codes is None else self.codes[row]
        return replace(self, images=self.images[row], errors=self.errors[row], errors_centred=self.errors_centred[row],
                       codes=codes, history={name: values[:, row] for name, values in self.history.items()}, starts=1)

    @property
    def best(self) -> int:
        """Index of the best of several starts: least error, or least objective where there is no code."""
        if len(self) != self.starts:
            raise ValueError(f"this result holds images of {len(self) // self.starts} codes: choose one with result[i]")
        scores = self.history["objective"][-1] if np.isnan(self.errors).all() and self.history else self.errors
        return int(np.argmin(np.nan_to_num(scores, nan=np.inf)))

    @property
    def image(self) -> NDArray[np.float32]:
        """The pre-image, of several starts the best, (H, W) or (H, W, C)."""
        image: NDArray[np.float32] = self.images[self.best]
        return image

    @property
    def error(self) -> float:
        """Relative error of `image`."""
        return float(self.errors[self.best])

    @property
    def error_centred(self) -> float:
        """Centred relative error of `image`."""
        return float(self.errors_centred[self.best])

    def error_cvpr15(self, normaliser: float) -> float:
        """‖Φ(x) − Φ₀‖² / N, N the mean squared distance between the codes of two photographs (CVPR 2015)."""
        if self.codes is None:
            raise ValueError("there is no target code, so there is no error")
        return float(self.error**2 * np.sum(np.square(self.codes[self.best], dtype=np.float64)) / normaliser)

    def save(self, folder: str | Path) -> None:
        """Write preimage.png (or preimage-00.png …), image.npy (exact), code.npy and result.json into a folder.

        Each file is written under a temporary name and renamed, so none is ever half-written.
        """
        folder = Path(folder)
        for i, image in enumerate(self.images):
            write_png(folder / ("preimage.png" if len(self) == 1 else f"preimage-{i:02d}.png"), image)
        save_array(folder / "image.npy", self.images)
        if self.codes is not None:
            save_array(folder / "code.npy", self.codes)
        names = ("status", "starts", "errors", "errors_centred", "provenance", "history")
        write_json(folder / "result.json", {"format": FORMAT} | {name: getattr(self, name) for name in names})

    @classmethod
    def load(cls, folder: str | Path, phi: Representation | None = None) -> Result:
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
            If the folder holds no result.
        ValueError
            If a file is damaged, or the result belongs to another descriptor than phi.
        """
        folder = Path(folder)
        if not (folder / "result.json").is_file():
            raise FileNotFoundError(f"no result.json in {folder}: name a folder that `unfeature invert -o` wrote")
        try:
            facts = read_json(folder / "result.json")
            errors, centred = (np.array(facts[name], np.float64) for name in ("errors", "errors_centred"))
            codes = load_array(folder / "code.npy") if (folder / "code.npy").exists() else None
            history = {name: np.array(values, np.float64) for name, values in facts["history"].items()}
            result = cls(load_array(folder / "image.npy"), errors, centred, facts["status"], codes, history,
                         facts["starts"], facts["provenance"])
        except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
            raise ValueError(f"the result in {folder} is damaged ({error}): run the inversion again") from error
        stored = result.provenance.get("descriptor") or {}
        if phi is not None and (found := differences(stored, phi.to_config())):
            raise ValueError(f"the result in {folder} belongs to another descriptor ({found})")
        return result


def encode(phi: Representation, image: NDArray[Any]) -> NDArray[Any]:
    """Φ of one image that may leave [0, 1] a little, such as a pre-image."""
    x = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
    x = x[None, None] if x.ndim == 2 else x.permute(2, 0, 1)[None]
    with torch.no_grad():
        return code_to_numpy(phi(x))


def relative_errors(found: NDArray[Any], codes: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Relative and centred relative errors of codes (N, h, w, D) or (N, D); NaN where the divisor is zero."""
    axes = tuple(range(1, codes.ndim))
    target = codes.astype(np.float64)
    distance = np.sqrt(np.square(found - target).sum(axes))
    centred = np.zeros_like(target) if codes.ndim == 2 else target - target.mean(axis=(1, 2), keepdims=True)
    norms = (np.sqrt(np.square(values).sum(axes)) for values in (target, centred))
    relative, relative_centred = (np.where(n > 0, distance / np.where(n > 0, n, 1), np.nan) for n in norms)
    return relative, relative_centred

"""The protocol of all tables: data, sizes, descriptors, seeds, and what is measured."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unfeature.features.base import Representation, code_to_tensor
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.gradients.hog import HOG
from unfeature.features.networks.cnn import CNN
from unfeature.features.patterns.brief import BRIEF
from unfeature.features.patterns.lbp import LBP
from unfeature.inversion.result import Result
from unfeature.io.images import list_images, read_image, resize_longer, to_grey

from .tasks import digest

Image = NDArray[np.float32]

SIDE = 256
"""Photographs are grey, their longer side has so many pixels (linear, anti-aliased), …"""
MULTIPLE = 8
"""… and they are cut at the lower right so that both sides are a multiple of this."""
NETWORK_SHORTER, NETWORK_SIDE = 256, 227
"""For networks, in colour: the shorter side is reduced to the first, and the central square of the second is cut."""
SEED = 0
"""Of the noise that inversions start from, and of everything learned."""
DIRECTIONS = 18
"""Bins of the histogram of gradient directions that tells naturalness."""

DESCRIPTORS: dict[str, Callable[[], Representation]] = {
    "hog": lambda: HOG(texture=False),
    "hogb": lambda: HOG(bilinear=True, texture=False),
    "dpm": lambda: HOG("dpm"),
    "dalal-triggs": lambda: HOG("dalal-triggs"),
    "dsift": lambda: DSIFT(variant="network"),
    "dsift-dense": lambda: DSIFT(variant="network", step=8),
    "dsift-vlfeat": lambda: DSIFT(window="flat"),
    "lbp": LBP,
    "lbp-oriented": lambda: LBP(rotation_invariant=False),
    "brief": lambda: BRIEF(step=8),
}
"""HOG is scored on its histogram channels, as published (27 of 31); cells and bins of 8 pixels."""

LEARNED: dict[str, dict[str, Any]] = {
    "paired-dictionary": {},
    "ridge": {},
    "elda": {},
    "direct": {},
    "collage": {},
    "upconv": {},
    "jigsaw": {},
    "keypoints": {},
}
"""The methods that learn from the training photographs, at the same scale, and what differs from their defaults."""
UNLEARNED = ("primal-dual",)
"""The methods that are neither presets nor learn anything."""
BAGS: dict[str, tuple[int, ...]] = {"bovw": (1, 2), "bovw-pyramid": (1, 2, 4)}
"""Bags of visual words, with the levels of their pyramids."""
ONLY = {"jigsaw": tuple(BAGS), "primal-dual": ("brief",), "keypoints": ("keypoints",)}
"""Methods for these descriptors alone. All others are for `DESCRIPTORS`, and presets for bags of words as well."""
WORDS = 500
"""Visual words that are learned where a bag of them is asked for, of `DESCRIPTORS` "dsift-vlfeat"."""


@dataclass(frozen=True)
class Options:
    """What a run was asked for.

    Attributes
    ----------
    images : Path
        Folder of the test photographs; for templates, of the filters.
    out : Path
    methods, features, layers : tuple of str, optional
        The table's own by default.
    count : int, optional
        The first so many photographs, by name.
    train : tuple of Path
        Folders of photographs to learn from.
    models : Path, optional
        Models learned before, as ``METHOD-FEATURE.npz``.
    net, weights : str, Path, optional
        A network of `CNN` and its weights.
    data_weights : tuple of float, optional
        Values of C.
    starts : int
    side : int
        Longer side of the photographs.
    steps : int, optional
        Gradient evaluations in place of the presets' own.
    seed : int
    device : {"cpu", "cuda"}
    """

    images: Path
    out: Path
    methods: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    layers: tuple[str, ...] | None = None
    count: int | None = None
    train: tuple[Path, ...] = ()
    models: Path | None = None
    net: str | None = None
    weights: Path | None = None
    data_weights: tuple[float, ...] | None = None
    starts: int = 4
    side: int = SIDE
    steps: int | None = None
    seed: int = SEED
    device: str = "cpu"

    @property
    def photographs(self) -> list[Path]:
        """The test photographs, by name."""
        return list_images(self.images)[: self.count]

    def chosen(self, given: tuple[str, ...] | None, usual: Sequence[str], known: Iterable[str], what: str) -> list[str]:
        """What was asked for of what is known; ValueError for an unknown name."""
        known = list(known)
        names = list(usual if given is None else dict.fromkeys(given))
        for name in names:
            if name not in known:
                raise ValueError(f"unknown {what} {name!r}: one of {', '.join(known)}")
        return names


def image_settings(path: Path, options: Options) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings and inputs of a task on a photograph."""
    settings = {"image": path.stem, "image_digest": digest(path), "side": options.side, "seed": options.seed}
    return settings, {"image": str(path.resolve())}


def collection_digest(folders: Iterable[Path]) -> str:
    """A fingerprint of the photographs in folders: their names and sizes."""
    paths = (path for folder in folders for path in list_images(folder))
    listed = "\n".join(f"{path.name} {path.stat().st_size}" for path in paths)
    return hashlib.sha256(listed.encode()).hexdigest()[:16]


def photograph(path: str | Path, side: int = SIDE) -> Image:
    """A grey test photograph (H, W)."""
    image = resize_longer(to_grey(read_image(path)), side)
    height, width = (max(MULTIPLE, extent // MULTIPLE * MULTIPLE) for extent in image.shape)
    return np.ascontiguousarray(image[:height, :width])


def network_photograph(path: str | Path) -> Image:
    """A test photograph (227, 227, 3) for networks."""
    image = read_image(path)
    image = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    height, width = image.shape[:2]
    image = resize_longer(image, round(NETWORK_SHORTER * max(height, width) / min(height, width)))
    top, left = ((extent - NETWORK_SIDE) // 2 for extent in image.shape[:2])
    return np.ascontiguousarray(image[top : top + NETWORK_SIDE, left : left + NETWORK_SIDE])


def image_for(settings: dict[str, Any], inputs: dict[str, str]) -> Image:
    """The photograph of a task: in colour and square for networks, else grey."""
    return network_photograph(inputs["image"]) if "net" in settings else photograph(inputs["image"], settings["side"])


def descriptor(settings: dict[str, Any], inputs: dict[str, str]) -> Representation:
    """The descriptor of a task."""
    if "net" in settings:
        return CNN(settings["net"], settings["feature"], weights=inputs.get("weights"))
    if settings["feature"] in BAGS:
        from unfeature.features.words.bovw import BoVW
        from unfeature.features.words.vocabulary import Vocabulary

        return BoVW(Vocabulary.load(inputs["words"]), levels=BAGS[settings["feature"]])
    return DESCRIPTORS[settings["feature"]]()


def code_on(phi: Representation, image: Image, device: str) -> torch.Tensor:
    """The code (1, D, h, w) or (1, D) of a photograph, on a device to which the descriptor is moved."""
    code = code_to_tensor(phi(image)).to(device)
    phi.to(device)
    return code


def measures(result: Result, original: Image) -> dict[str, Any]:
    """What is said of one inversion: errors of the code, likeness of the image, effort."""
    codes = result.codes
    if codes is None:
        raise ValueError("a result without a code cannot be measured")
    image = np.clip(result.image, 0, 1)
    norm = float(np.sum(np.square(codes[result.best], dtype=np.float64)))
    return {
        "error": result.error,
        "error_centred": result.error_centred,
        "squared_error": result.error**2 * norm,
        "positions": int(np.prod(codes.shape[1:-1])),
        **likeness(original, image),
        "seconds": result.provenance["seconds"],
        "evaluations": result.provenance.get("evaluations"),
        "status": result.status,
    }


def likeness(original: Image, image: Image) -> dict[str, float]:
    """Correlation, SSIM of both stretched to [0, 1], PSNR in dB as they are, and naturalness of two images."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    axis = 2 if original.ndim == 3 else None
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = float(np.corrcoef(original.ravel(), image.ravel())[0, 1])
        psnr = float(peak_signal_noise_ratio(original, image, data_range=1.0))
    ssim = structural_similarity(stretched(original), stretched(image), data_range=1.0, channel_axis=axis)
    return {"correlation": correlation, "ssim": float(ssim), "psnr": psnr, "naturalness": naturalness(original, image)}


def stretched(image: Image) -> Image:
    """Min–max to [0, 1]; a constant image becomes zero."""
    low, high = float(image.min()), float(image.max())
    return np.asarray((image - low) / max(high - low, 1e-12), dtype=np.float32)


def naturalness(original: Image, image: Image) -> float:
    """Intersection of two images' histograms of gradient directions: 18 directions, weighted by magnitude, sum 1."""
    return float(np.minimum(direction_histogram(original), direction_histogram(image)).sum())


def direction_histogram(image: Image) -> NDArray[np.float64]:
    """Magnitude-weighted histogram of the gradient's directions over an image, of sum 1."""
    grey = to_grey(image).astype(np.float64)
    dy, dx = np.gradient(grey)
    angle = np.mod(np.arctan2(dy, dx), 2 * np.pi)
    counts, _ = np.histogram(angle, bins=DIRECTIONS, range=(0, 2 * np.pi), weights=np.hypot(dx, dy))
    return np.asarray(counts / max(counts.sum(), 1e-12))


def normaliser(codes: Sequence[NDArray[Any]]) -> float:
    r"""N of the CVPR 2015 error: mean over pairs of photographs of ‖Φ(x_i) − Φ(x_j)‖², for one position of the code.

    Photographs differ in size, so a pair is compared on the positions that both have, and the result is for one
    position: an image's error is ‖Φ(x) − Φ₀‖² / (positions · N). Of codes without positions there is one.
    """
    if len(codes) < 2:
        raise ValueError(f"the CVPR 2015 error needs two photographs or more, got {len(codes)}")
    total, pairs = 0.0, 0
    for i, a in enumerate(codes):
        for b in codes[:i]:
            common = tuple(slice(0, min(m, n)) for m, n in zip(a.shape[:-1], b.shape[:-1], strict=True))
            difference = np.square(a[common] - b[common], dtype=np.float64)
            total += float(difference.sum(axis=-1).mean())
            pairs += 1
    return total / pairs


def interval(values: Iterable[float | None]) -> tuple[float, float]:
    """Mean and 1.96 standard errors of the finite values; NaN where there are too few."""
    a = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    a = a[np.isfinite(a)]
    if a.size == 0:
        return float("nan"), float("nan")
    return float(a.mean()), float(1.96 * a.std(ddof=1) / np.sqrt(a.size)) if a.size > 1 else float("nan")


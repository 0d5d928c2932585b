"""Other libraries' descriptors, where they are installed, on the same image; all on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from unfeature.io.images import to_bytes

from .measures import Image

Call = Callable[[], Any]
LIBRARIES = ("cyvlfeat", "scikit-image", "opencv-python", "kornia")


def installed() -> str:
    """Names and versions of the libraries to compare with."""
    found = []
    for package in LIBRARIES:
        with suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return ", ".join(found)


def hog(image: Image, bilinear: bool) -> dict[str, Call]:
    """Values of HOG: VLFeat the same code; scikit-image and OpenCV Dalal–Triggs', with bilinear bins in OpenCV.

    Cells of 8 pixels and 9 orientations; scikit-image and OpenCV overlap blocks of 2 × 2 cells.
    """
    import cv2
    from skimage.feature import hog as skimage_hog

    calls: dict[str, Call] = {}
    with suppress(ModuleNotFoundError):
        from cyvlfeat.hog import hog as vlfeat

        scaled = np.asfortranarray(image * 255, dtype=np.float32)
        calls["VLFeat, value"] = lambda: vlfeat(scaled, 8, bilinear_interpolation=bilinear)
    if not bilinear:
        return {**calls, "scikit-image, value": lambda: skimage_hog(image, 9, (8, 8), (2, 2))}
    height, width = image.shape
    extractor = cv2.HOGDescriptor((width // 8 * 8, height // 8 * 8), (16, 16), (8, 8), (8, 8), 9)
    grey = to_bytes(image)
    return {**calls, "OpenCV, value": lambda: extractor.compute(grey)}


def dsift(image: Image, window: str) -> dict[str, Call]:
    """Values of dense SIFT, bins and steps of 8 pixels; kornia's with its own Gaussian window, with gradient too."""
    calls: dict[str, Call] = {}
    with suppress(ModuleNotFoundError):
        from cyvlfeat.sift import dsift as vlfeat

        scaled = np.asfortranarray(image * 255, dtype=np.float32)
        calls["VLFeat, value"] = lambda: vlfeat(scaled, step=8, size=8, fast=window == "flat", float_descriptors=True)
    if window == "flat":
        return calls
    with suppress(ModuleNotFoundError):
        from kornia.feature import DenseSIFTDescriptor  # pyright: ignore[reportMissingImports]

        described = DenseSIFTDescriptor(num_ang_bins=8, num_spatial_bins=4, spatial_bin_size=8, stride=8)
        x = torch.from_numpy(np.ascontiguousarray(image))[None, None]
        leaf = x.clone().requires_grad_()
        calls["kornia, value"] = torch.no_grad()(lambda: described(x))
        calls["kornia, value and gradient"] = lambda: torch.autograd.grad(described(leaf).sum(), leaf)
    return calls

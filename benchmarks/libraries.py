"""Other libraries' descriptors, where they are installed, on the same image; all on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfeature.io.images import to_bytes

Call = Callable[[], Any]
LIBRARIES = {"cyvlfeat": "cyvlfeat", "skimage": "scikit-image", "cv2": "opencv-python", "kornia": "kornia"}


def installed() -> str:
    """Names and versions of the libraries to compare with."""
    found = []
    for module, package in LIBRARIES.items():
        if find_spec(module) is not None:
            try:
                found.append(f"{package} {version(package)}")
            except PackageNotFoundError:
                found.append(package)
    return ", ".join(found) or "none"


def hog(image: NDArray[np.float32], bilinear: bool) -> dict[str, Call]:
    """Values of HOG: VLFeat the same code; scikit-image and OpenCV Dalal–Triggs', with bilinear bins in OpenCV.

    Cells of 8 pixels and 9 orientations; scikit-image and OpenCV overlap blocks of 2 × 2 cells.
    """
    calls: dict[str, Call] = {}
    if find_spec("cyvlfeat") is not None:
        from cyvlfeat.hog import hog as vlfeat

        scaled = np.asfortranarray(image * 255, dtype=np.float32)
        calls["VLFeat, value"] = lambda: vlfeat(scaled, 8, bilinear_interpolation=bilinear)
    if not bilinear:
        from skimage.feature import hog as skimage_hog

        calls["scikit-image, value"] = lambda: skimage_hog(image, 9, (8, 8), (2, 2))
    elif find_spec("cv2") is not None:
        import cv2

        height, width = image.shape
        extractor = cv2.HOGDescriptor((width // 8 * 8, height // 8 * 8), (16, 16), (8, 8), (8, 8), 9)
        grey = to_bytes(image)
        calls["OpenCV, value"] = lambda: extractor.compute(grey)
    return calls


def dsift(image: NDArray[np.float32], window: str) -> dict[str, Call]:
    """Values of dense SIFT, bins and steps of 8 pixels; kornia's with its own Gaussian window, with gradient too."""
    calls: dict[str, Call] = {}
    if find_spec("cyvlfeat") is not None:
        from cyvlfeat.sift import dsift as vlfeat

        scaled = np.asfortranarray(image * 255, dtype=np.float32)
        calls["VLFeat, value"] = lambda: vlfeat(scaled, step=8, size=8, fast=window == "flat", float_descriptors=True)
    if window == "gaussian" and find_spec("kornia") is not None:
        import torch
        from kornia.feature import DenseSIFTDescriptor  # pyright: ignore[reportMissingImports]

        described = DenseSIFTDescriptor(num_ang_bins=8, num_spatial_bins=4, spatial_bin_size=8, stride=8)
        x = torch.from_numpy(np.ascontiguousarray(image))[None, None]
        leaf = x.clone().requires_grad_()

        def value() -> None:
            with torch.no_grad():
                described(x)

        calls["kornia, value"] = value
        calls["kornia, value and gradient"] = lambda: torch.autograd.grad(described(leaf).sum(), leaf)
    return calls

"""What VLFeat computes for a small image, kept in sift.npz: `python -m tests.golden.sift` writes it anew."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from unfeature.io.images import bundled

PATH = Path(__file__).with_name("sift.npz")

DSIFT_CASES: dict[str, dict[str, Any]] = {
    "gaussian": {"bin_size": 3, "step": 11, "window": "gaussian"},
    "flat": {"bin_size": 4, "step": 10, "window": "flat", "bounds": (2, 5, 40, 50)},
    "geometry": {"bin_size": 5, "step": 9, "window": "gaussian", "window_size": 1.0, "geometry": (2, 3, 6)},
    "dense": {"bin_size": 8, "step": 6, "window": "flat"},
}
PHOW_CASES: dict[str, dict[str, Any]] = {
    "gray": {"sizes": (3, 5), "step": 12},
    "rgb": {"sizes": (4,), "step": 12, "colour": "rgb"},
    "opponent": {"sizes": (4,), "step": 12, "colour": "opponent", "window": "gaussian"},
}


def vlfeat_dsift(image: Any, norm: bool = True, floats: bool = True, **case: Any) -> tuple[Any, Any]:
    """Frames and descriptors of cyvlfeat for a DSIFT case; images are uint8."""
    from cyvlfeat.sift.dsift import dsift

    return dsift(image.astype(np.float32), step=case["step"], size=case["bin_size"], bounds=case.get("bounds"),
                 window_size=case.get("window_size", 2.0), geometry=case.get("geometry", (4, 4, 8)), norm=norm,
                 fast=case["window"] == "flat", float_descriptors=floats)


def vlfeat_phow(image: Any, floats: bool = True, **case: Any) -> tuple[Any, Any]:
    """Frames and descriptors of cyvlfeat for a PHOW case; images are floating point in [0, 1]."""
    from cyvlfeat.sift.phow import phow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return phow(image.astype(np.float32), sizes=case["sizes"], step=case["step"], color=case.get("colour", "gray"),
                    fast=case.get("window", "flat") == "flat", float_descriptors=floats)


def write() -> None:
    """Write the file."""
    colour = np.ascontiguousarray(bundled("astronaut")[60:104, 190:242])
    colour = np.rint(colour * 255).astype(np.uint8) if colour.dtype != np.uint8 else colour
    arrays = {"colour": colour, "grey": colour[..., 1].copy()}
    for name, case in DSIFT_CASES.items():
        arrays[f"dsift-{name}-frames"], arrays[f"dsift-{name}"] = vlfeat_dsift(arrays["grey"], **case)
    for name, case in PHOW_CASES.items():
        image = arrays["grey" if name == "gray" else "colour"] / np.float32(255)
        arrays[f"phow-{name}-frames"], arrays[f"phow-{name}"] = vlfeat_phow(image, **case)
    np.savez_compressed(PATH, **arrays)


if __name__ == "__main__":
    write()

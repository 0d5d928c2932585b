"""Make hog.npz: what VLFeat (through cyvlfeat) and the deformable part models, release 5, compute on small images.

Usage: python tests/golden/hog.py DPM_HOG.npz, the file of the original's inputs and outputs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from cyvlfeat.hog import hog
from skimage.data import astronaut

CASES = [("UoCTTI", 8, 9), ("UoCTTI", 5, 6), ("DalalTriggs", 6, 9), ("DalalTriggs", 4, 5)]
DPM_CASE = 5


def main(dpm_path: str) -> None:
    """Write hog.npz beside this script."""
    image = astronaut()[20:67, 190:243]
    arrays: dict[str, np.ndarray] = {"image": image}
    for variant, cell, orientations in CASES:
        for name, picture in (("colour", image), ("grey", image[..., 1])):
            for bilinear in (False, True):
                key = f"{variant}-{cell}-{orientations}-{name}-{'bilinear' if bilinear else 'hard'}"
                arrays[key] = hog(np.ascontiguousarray(picture, np.float32), cell, n_orientations=orientations,
                                  variant=variant, bilinear_interpolation=bilinear)
    with np.load(dpm_path, allow_pickle=False) as dpm:
        for name in ("image", "feat", "sbin"):
            arrays[f"dpm-{name}"] = dpm[f"{name}_{DPM_CASE}"]
    np.savez_compressed(Path(__file__).with_name("hog.npz"), **arrays)


if __name__ == "__main__":
    main(sys.argv[1])

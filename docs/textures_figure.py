"""Draw docs/textures.png: textures, and others made from their statistics and from their histograms.

Run `python docs/textures_figure.py docs/textures.png`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import skimage

import unfeature as uf
from unfeature.io.images import write_png

NAMES = ("brick",)
SIZE = (256, 256)


def texture(name: str) -> np.ndarray:
    """The corner of one of scikit-image's textures."""
    return uf.read_image(Path(skimage.__file__).parent / "data" / f"{name}.png", grey=True)[:SIZE[0], :SIZE[1]]


def main(path: str) -> None:
    """Write the picture."""
    pictures, labels = [], []
    for name in NAMES:
        image = texture(name)
        pictures.append(image)
        labels.append(name)
        for phi, said in ((uf.PortillaSimoncelli(SIZE), "Portilla and Simoncelli"), (uf.FilterBank(), "filter bank")):
            result = uf.invert(phi, phi(image), size=SIZE)
            pictures.append(result.image)
            labels.append(f"{said}: error {result.error:.2f}")
    write_png(path, uf.to_grey(uf.sheet(pictures, labels, columns=3)))


if __name__ == "__main__":
    main(sys.argv[1])

"""Draw the README's picture: photographs, their HOG, and what the published settings and ours find from it.

HOG keeps no contrast, so that of the images found is stretched for display: the darkest and the brightest 1 % are
clipped. Run `make figure`, or `python docs/figure.py docs/inversion.png`.
"""

from __future__ import annotations

import sys

import numpy as np

import unfeature as uf
from unfeature.io.images import resize_longer, write_png

SIDE = 256
NAMES = ("astronaut", "chelsea")


def row(name: str) -> tuple[list, list[str]]:
    """Pictures of one photograph, and their labels."""
    phi = uf.HOG(cell_size=8)
    photograph = resize_longer(uf.to_grey(uf.bundled(name)), SIDE)
    code = phi(photograph)
    published = uf.invert(phi, code, preset="ijcv2016", size=photograph.shape)
    ours = uf.invert(phi, code, preset="best", size=photograph.shape)
    pictures = [photograph, uf.glyph(phi, code), stretched(published.image), stretched(ours.image)]
    labels = ["photograph", "its HOG, all that is kept"]
    labels += [f"{said}: error {r.error:.2f}" for said, r in (("published, 2016", published), ("unfeature", ours))]
    return pictures, labels


def stretched(image: np.ndarray) -> np.ndarray:
    """The image with its contrast stretched."""
    low, high = np.quantile(image, (0.01, 0.99))
    return np.clip((image - low) / (high - low), 0, 1)


def main(path: str) -> None:
    """Write the picture."""
    rows = [row(name) for name in NAMES]
    pictures, labels = ([one for found in part for one in found] for part in zip(*rows, strict=True))
    write_png(path, uf.to_grey(uf.sheet(pictures, labels, columns=4, side=216)))


if __name__ == "__main__":
    main(sys.argv[1])

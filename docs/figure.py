"""Draw the README's picture: photographs, their HOG, and what the published settings and ours find from it.

HOG keeps no contrast, so that of the images found is stretched for display: the darkest and the brightest 1 % are
clipped. Run `make figure`, or `python docs/figure.py docs/inversion.png`.
"""

from __future__ import annotations

import sys

import numpy as np

import unfeature as uf
from unfeature.io.images import resize_longer, write_png


def stretched(image: np.ndarray) -> np.ndarray:
    """The image with its contrast stretched."""
    low, high = np.quantile(image, (0.01, 0.99))
    return np.clip((image - low) / (high - low), 0, 1)


def main(path: str) -> None:
    """Write the picture."""
    phi = uf.HOG(cell_size=8)
    pictures, labels = [], []
    for name in ("astronaut", "chelsea"):
        photograph = resize_longer(uf.to_grey(uf.bundled(name)), 256)
        code = phi(photograph)
        pictures += [photograph, uf.glyph(phi, code)]
        labels += ["photograph", "its HOG, all that is kept"]
        for preset, said in (("ijcv2016", "published, 2016"), ("best", "unfeature")):
            result = uf.invert(phi, code, preset=preset, size=photograph.shape)
            pictures.append(stretched(result.image))
            labels.append(f"{said}: error {result.error:.2f}")
    write_png(path, uf.to_grey(uf.sheet(pictures, labels, columns=4, side=216)))


if __name__ == "__main__":
    main(sys.argv[1])

"""Draw docs/near.png: two photographs, images between them, and a map of uncertainty.

Run `python docs/near_figure.py docs/near.png`.
"""

from __future__ import annotations

import sys

import unfeature as uf
from unfeature.cli.common import filling
from unfeature.inversion.result import WHITE
from unfeature.io.images import write_png


def main(path: str) -> None:
    """Write the picture."""
    phi = uf.HOG(cell_size=8)
    a, b = (filling(uf.to_grey(uf.bundled(name)), (256, 256)) for name in ("astronaut", "coffee"))
    code = phi(a)
    metamer = uf.metamer(phi, code, like=b)
    adversarial = uf.adversarial(phi, b, code, bound=10 / 255)
    inverse = uf.invert(phi, code, size=a.shape)
    pictures = {
        "a": a, "b": b,
        f"metamer: HOG of a to {metamer.error:.2f}, looks of b": metamer.image,
        f"b changed by 10/255: HOG of a to {adversarial.error:.2f}": adversarial.image,
        f"a from its HOG, error {inverse.error:.2f}": inverse.image,
        "its uncertainty": inverse.uncertainty / WHITE,
    }
    write_png(path, uf.to_grey(uf.sheet(list(pictures.values()), list(pictures), columns=3)))


if __name__ == "__main__":
    main(sys.argv[1])

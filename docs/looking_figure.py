"""Draw docs/looking.png: what responses to a photograph depend on, and what channels ask for.

Run `python docs/looking_figure.py squeezenet1_0.safetensors docs/looking.png`.
"""

from __future__ import annotations

import sys

import numpy as np

import unfeature as uf
from unfeature.io.images import write_png

CHANNELS = [1, 7, 10, 13]
SIDE = 128


def main(weights: str, path: str) -> None:
    """Write the picture."""
    scores = uf.CNN("squeezenet1_0", "pool_final", weights=weights, leak=0.05)
    fire5 = scores.replace(layer="fire5")
    photograph = uf.resize_longer(uf.bundled("chelsea"), 300)[:196, 52:248]
    strongest = int(fire5(photograph).max((0, 1)).argmax())
    pictures = {"photograph": photograph}
    for method in ("gradient", "guided"):
        pictures[f"its label: {method}"] = uf.saliency(scores, photograph, method=method).image
    for method in ("guided", "deconvnet"):
        found = uf.saliency(fire5, photograph, neuron=(strongest,), method=method)
        pictures[f"a neuron of fire5: {method}"] = found.image
    for layer in ("fire3", "fire5", "fire7"):
        found = uf.maximize(scores.replace(layer=layer), channel=CHANNELS, size=(SIDE, SIDE))
        pictures[f"four channels of {layer}"] = in_a_square(found.images)
    write_png(path, uf.sheet(list(pictures.values()), list(pictures), columns=4, side=216))


def in_a_square(images: np.ndarray) -> np.ndarray:
    """Four images in two rows."""
    return np.concatenate([np.concatenate(list(images[i : i + 2]), 1) for i in (0, 2)])


if __name__ == "__main__":
    main(*sys.argv[1:])

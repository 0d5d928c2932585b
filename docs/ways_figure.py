"""Draw docs/ways.png: one class and one channel, looked for in four ways, and noise that the network is sure about.

Run `python docs/ways_figure.py squeezenet1_0.safetensors docs/ways.png`.
"""

from __future__ import annotations

import sys

import unfeature as uf
from unfeature.io.images import write_png

FLAMINGO, CHANNEL = 130, 7
PRESETS = ("best", "maco", "yosinski2015")


def main(weights: str, path: str) -> None:
    """Write the picture."""
    scores = uf.CNN("squeezenet1_0", "pool_final", weights=weights, leak=0.05)
    fire7 = scores.replace(layer="fire7")
    pictures = {f"flamingo: {name}": uf.maximize(scores, class_=FLAMINGO, preset=name).image for name in PRESETS}
    pictures["flamingo: fooling"] = uf.fooling(scores, FLAMINGO).image
    for name in PRESETS:
        found = uf.maximize(fire7, channel=CHANNEL, preset=name, size=(160, 160))
        pictures[f"fire7, channel {CHANNEL}: {name}"] = found.image
    write_png(path, uf.sheet(list(pictures.values()), list(pictures), columns=4, side=216))


if __name__ == "__main__":
    main(*sys.argv[1:])

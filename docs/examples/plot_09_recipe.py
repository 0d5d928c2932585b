"""
A recipe of one's own
=====================

The preset "best" with another prior: sparse gradients in place of the total variation.
"""

from dataclasses import replace

import matplotlib.pyplot as plt

import unfeature as uf
from unfeature.inversion import best
from unfeature.inversion.priors import BoundedRange, HyperLaplacian

photograph = uf.resize_longer(uf.to_grey(uf.bundled("camera")), 128)

phi = uf.HOG(cell_size=8)
code = phi(photograph)
sparse = replace(best(phi), name="sparse", priors=(BoundedRange(), HyperLaplacian(weight=2.0)))
results = [uf.invert(phi, code, preset=preset, steps=150, start="noise") for preset in ("best", sparse)]

plt.figure(figsize=(9, 3.4), layout="constrained")
plt.imshow(uf.show(
    photograph, *(result.image for result in results),
    labels=["photograph", "total variation", "sparse gradients"], columns=3, side=256))
plt.axis("off")
plt.show()

# %%
# The curves of the last run.

results[-1].plot()
plt.show()

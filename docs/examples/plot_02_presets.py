"""
The published settings, and ours
================================

One HOG, inverted with as many gradient evaluations under the settings of 2016 and under ours. Hard orientation bins
give the published descent no direction.
"""

import matplotlib.pyplot as plt

import unfeature as uf

photograph = uf.resize_longer(uf.to_grey(uf.bundled("chelsea")), 144)

phi = uf.HOG(cell_size=8)
code = phi(photograph)
results = {preset: uf.invert(phi, code, preset=preset, steps=150) for preset in ("ijcv2016", "fast", "best")}
labels = [f"{name}: {result.error:.3f}" for name, result in results.items()]

plt.figure(figsize=(11, 3.2), layout="constrained")
plt.imshow(uf.show(
    photograph, *(result.image for result in results.values()),
    labels=["photograph", *labels], columns=4, side=220))
plt.axis("off")
plt.show()

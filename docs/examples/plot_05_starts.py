"""
What a code does not know
=========================

Four inversions from different noise. Where they agree, the code decides; where they differ, it does not know.
"""

import matplotlib.pyplot as plt

import unfeature as uf

photograph = uf.resize_longer(uf.to_grey(uf.bundled("chelsea")), 128)

phi = uf.HOG(cell_size=8)
results = uf.invert(phi, phi(photograph), preset="fast", start="noise", starts=4)
deviation = results.images.std(axis=0)

plt.figure(figsize=(12, 2.6), layout="constrained")
plt.imshow(uf.show(
    photograph, *results.images[:3], deviation / deviation.max(),
    labels=["photograph", "start 1", "start 2", "start 3", "deviation of 4"], columns=5, side=200))
plt.axis("off")
plt.show()

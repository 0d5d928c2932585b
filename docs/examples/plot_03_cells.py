"""
Cells of different sizes
========================

The larger its cells, the less HOG knows of where an edge lies.
"""

import matplotlib.pyplot as plt

import unfeature as uf

photograph = uf.resize_longer(uf.to_grey(uf.bundled("coffee")), 160)

images, labels = [], []
for cell_size in (4, 8, 16):
    phi = uf.HOG(cell_size=cell_size)
    result = uf.invert(phi, phi(photograph), preset="fast")
    images.append(result.image)
    labels.append(f"cells of {cell_size}, error {result.error:.3f}")

plt.figure(figsize=(11, 2.6), layout="constrained")
plt.imshow(uf.show(
    photograph, *images,
    labels=["photograph", *labels], columns=4, side=220))
plt.axis("off")
plt.show()

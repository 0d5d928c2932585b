"""
What HOG keeps of a photograph
==============================

A photograph, its HOG, and an image found from the HOG alone. What the image shows, HOG has kept; contrast and fine
texture it has lost.
"""

import matplotlib.pyplot as plt

import unfeature as uf

photograph = uf.resize_longer(uf.to_grey(uf.bundled("astronaut")), 160)

phi = uf.HOG(cell_size=8)
code = phi(photograph)
result = uf.invert(phi, code, seed=0)

# %%
# The error is that of the code: the image has nearly the HOG of the photograph.

plt.figure(figsize=(9, 3.4), layout="constrained")
plt.imshow(uf.show(
    photograph, uf.glyph(phi, code), result.image,
    labels=["photograph", "its HOG", f"pre-image, error {result.error:.3f}"], columns=3, side=256))
plt.axis("off")
plt.show()

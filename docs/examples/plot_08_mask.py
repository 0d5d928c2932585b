"""
Half of a code
==============

Only the left half of the positions is known. The right half of the image is free, and the priors leave it smooth.
"""

import matplotlib.pyplot as plt
import numpy as np

import unfeature as uf

photograph = uf.resize_longer(uf.to_grey(uf.bundled("coffee")), 144)

phi = uf.HOG(cell_size=8)
code = phi(photograph)
known = np.zeros((*code.shape[:2], 1))
known[:, : code.shape[1] // 2] = 1
result = uf.invert(phi, code, mask=known, preset="fast")

plt.figure(figsize=(9, 2.6), layout="constrained")
plt.imshow(uf.show(
    photograph, uf.glyph(phi, code * known), result.image,
    labels=["photograph", "what is known", "pre-image"], columns=3, side=256))
plt.axis("off")
plt.show()

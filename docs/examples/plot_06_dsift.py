"""
Dense SIFT
==========

Dense SIFT with bins of 8 pixels, as in spatial pyramids, and the image found from it.
"""

import matplotlib.pyplot as plt

import unfeature as uf

photograph = uf.resize_longer(uf.to_grey(uf.bundled("rocket")), 144)

phi = uf.DSIFT(bin_size=8, step=8)
code = phi(photograph)
result = uf.invert(phi, code, preset="fast")

plt.figure(figsize=(9, 2.6), layout="constrained")
plt.imshow(uf.show(
    photograph, uf.glyph(phi, code), result.image,
    labels=["photograph", "its dense SIFT", f"pre-image, error {result.error:.3f}"], columns=3, side=256))
plt.axis("off")
plt.show()

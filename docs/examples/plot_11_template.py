"""
What a linear template responds to
==================================

The difference of two codes as a template on HOG: where it is positive, the first photograph has an edge that the second
has not. ``maximize`` finds the image to which it responds most.
"""

import matplotlib.pyplot as plt

import unfeature as uf

photograph = uf.resize_longer(uf.to_grey(uf.bundled("astronaut")), 128)

phi = uf.HOG(cell_size=8)
template = phi(photograph) - phi(uf.resize_longer(uf.to_grey(uf.bundled("camera")), 128))
result = uf.maximize(phi, direction=template, steps=150)

# %%
# Positive weights on the left, negative ones on the right.

plt.figure(figsize=(9, 4), layout="constrained")
plt.imshow(uf.show(
    uf.glyph(phi, template), result.image,
    labels=["the template", "the image found"], columns=2, side=256))
plt.axis("off")
plt.show()

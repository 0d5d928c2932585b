"""
Visual words
============

A bag of 64 visual words of dense SIFT, with a spatial pyramid: fewer numbers than pixels, and hardly a layout.
"""

import matplotlib.pyplot as plt

import unfeature as uf

photograph = uf.resize_longer(uf.to_grey(uf.bundled("coffee")), 128)

sift = uf.DSIFT(bin_size=4, step=4)
others = [uf.resize_longer(uf.to_grey(uf.bundled(name)), 128) for name in ("astronaut", "camera", "chelsea", "rocket")]
words = uf.Vocabulary.learn(others, sift, 64, seed=0)

# %%
# The finer the pyramid, the more of the layout is kept.

images, labels = [], []
for levels in ((1,), (4,), (8,)):
    phi = uf.BoVW(words, levels=levels)
    result = uf.invert(phi, phi(photograph), size=photograph.shape, preset="fast")
    images.append(result.image)
    labels.append(f"{levels[0]} × {levels[0]} cells of words")

plt.figure(figsize=(11, 2.6), layout="constrained")
plt.imshow(uf.show(
    photograph, *images,
    labels=["photograph", *labels], columns=4, side=220))
plt.axis("off")
plt.show()

"""
The way to an image
===================

Snapshots of a run. It starts from noise, with a soft surrogate of the descriptor that becomes sharper.
"""

import matplotlib.pyplot as plt

import unfeature as uf

photograph = uf.resize_longer(uf.to_grey(uf.bundled("camera")), 128)

phi = uf.HOG(cell_size=8)
result = uf.invert(phi, phi(photograph), preset="fast", start="noise", steps=40, snapshots=8)
labels = [f"after {step}" for step in result.snapshot_steps]

# %%
# ``result.animate("run.gif")`` writes them as a film.

plt.figure(figsize=(9, 5), layout="constrained")
plt.imshow(uf.show(
    *result.snapshots[:, 0],
    labels=labels, columns=4, side=220))
plt.axis("off")
plt.show()

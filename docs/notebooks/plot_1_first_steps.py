# %% [markdown]
"""
First steps
===========

From a photograph to its feature, and back. What the image found shows, the feature has kept.
"""

# %% tags=["parameters"]
side, steps = 160, 300

# %% [markdown]
# An image is an array with values in [0, 1]. ``uf.read_image("photo.jpg", grey=True)`` reads one of yours.

# %%
import matplotlib.pyplot as plt
import numpy as np

import unfeature as uf

photograph = uf.resize_longer(uf.to_grey(uf.bundled("astronaut")), side)
uf.show(photograph)

# %% [markdown]
# A descriptor is made once and then called. Its code has positions first and channels last: here one histogram of 31
# entries for each cell of 8 × 8 pixels. ``uf.glyph`` draws it.

# %%
phi = uf.HOG(cell_size=8)
code = phi(photograph)
print(code.shape)
uf.show(uf.glyph(phi, code))

# %% [markdown]
# Now the way back: among all images, ``uf.invert`` looks for a natural one whose code is the given one. It sees the
# code alone, never the photograph. A notebook shows the result as a picture; ``progress=True`` shows a bar.

# %%
result = uf.invert(phi, code, steps=steps, seed=0)
result

# %% [markdown]
# The relative error compares codes, ‖Φ(x) − Φ₀‖ / ‖Φ₀‖. The measures compare images. An image may have nearly the right
# code and still differ from the photograph: that is what the descriptor has lost.

# %%
print(f"relative error {result.error:.3f}")
print({name: round(value, 3) for name, value in uf.measures(photograph, result.image).items()})

# %% [markdown]
# The curves of the run: the objective, its terms, and the error each time that it was measured.

# %%
result.plot()
plt.show()

# %% [markdown]
# Snapshots show the way there, here from noise. ``result.animate("run.gif")`` makes them a film.

# %%
way = uf.invert(phi, code, preset="fast", start="noise", steps=min(steps, 60), snapshots=5)
uf.show(*way.snapshots[:, 0], labels=[f"after {step}" for step in way.snapshot_steps], columns=5, side=160)

# %% [markdown]
# Any descriptor inverts in the same way. Dense SIFT keeps more: its bins are smaller, and they overlap.

# %%
sift = uf.DSIFT(bin_size=4, step=4)
other = uf.invert(sift, sift(photograph), preset="fast", steps=min(steps, 60))
uf.show(photograph, result.image, other.image, columns=3, labels=["photograph", "from HOG", "from dense SIFT"])

# %% [markdown]
# A result is stored as pictures, exact floats and a page, ``report.html``, and comes back equal. The same from a shell:
# ``unfeature invert photo.jpg --feature hog -o out/``.

# %%
result.save("out")
page = uf.write_report("out")
again = uf.Result.load("out", phi)
print(page, np.array_equal(again.images, result.images))

# %% [markdown]
"""
What HOG forgets
================

A detector that works on HOG never sees the photograph. Here is what it does not see: contrast, which side of an edge is
brighter, where in its cell an edge lies, and most of the shading.
"""

# %% tags=["parameters"]
side, steps = 128, 60

# %%
import numpy as np

import unfeature as uf

photograph = uf.resize_longer(uf.to_grey(uf.bundled("chelsea")), side)
phi = uf.HOG(cell_size=8)
code = phi(photograph)


def distance(phi, image):
    """Relative distance of an image's code from the photograph's."""
    ours, theirs = np.asarray(phi(image)), np.asarray(phi(photograph))
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


# %% [markdown]
# Contrast and brightness
# -----------------------
#
# Each cell is divided by the energy of its neighbourhood. The photograph at a third of its contrast has the same code.
# A gradient of light changes the code far less than turning the photograph upside down does.

# %%
changed = {
    "a third of the contrast": photograph / 3 + 1 / 3,
    "a gradient of light": photograph * np.linspace(0.4, 1, photograph.shape[1], dtype=np.float32),
    "upside down": photograph[::-1].copy(),
}
labels = [f"{name}: {distance(phi, image):.3f}" for name, image in changed.items()]
uf.show(photograph, *changed.values(), labels=["photograph", *labels], columns=4, side=230)

# %% [markdown]
# Light and dark
# --------------
#
# The histograms of Dalal and Triggs have orientations without a sign. A photograph and its negative have one code, and
# no method can tell which of the two it came from. The UoCTTI variant has orientations with a sign as well.

# %%
unsigned = uf.HOG("dalal-triggs", cell_size=8)
print(f"Dalal and Triggs: {distance(unsigned, 1 - photograph):.4f}, UoCTTI: {distance(phi, 1 - photograph):.4f}")
found = [uf.invert(one, one(photograph), preset="fast", start="noise", steps=steps).image for one in (unsigned, phi)]
uf.show(1 - photograph, photograph, *found, columns=4, side=230,
        labels=["negative", "photograph", "from Dalal and Triggs' HOG", "from UoCTTI's"])

# %% [markdown]
# Where an edge lies
# ------------------
#
# A cell knows that it holds an edge, and hardly where. The larger the cells, the less is left.

# %%
images = {}
for cell_size in (4, 8, 16):
    coarse = uf.HOG(cell_size=cell_size)
    images[f"cells of {cell_size} pixels"] = uf.invert(coarse, coarse(photograph), preset="fast", steps=steps).image
uf.show(photograph, *images.values(), labels=["photograph", *images], columns=4, side=230)

# %% [markdown]
# What several images share
# -------------------------
#
# Inversions from different noise all have nearly the same code. Where they agree, the code decides; where they
# differ, it does not. Trust no detail that a single image shows.

# %%
several = uf.invert(phi, code, preset="fast", start="noise", starts=4, steps=steps)
deviation = several.images.std(axis=0)
uf.show(*several.images[:3], deviation / deviation.max(), columns=4, side=230,
        labels=[*(f"start {i + 1}, error {error:.3f}" for i, error in enumerate(several.errors[:3])), "deviation of 4"])

# %% [markdown]
# Starts agree on more than the code tells, for they share their prior. Where a decoder ships for the descriptor, a
# second network predicts how far its image is from the photograph.

# %%
result = uf.invert(phi, code, preset="fast", steps=steps)
uf.show(photograph, result.image, result.uncertainty / result.uncertainty.max(), columns=3,
        labels=["photograph", f"pre-image, error {result.error:.3f}", "expected deviation"])

# %% [markdown]
# Another image with the same code
# --------------------------------
#
# ``uf.metamer`` looks for an image that has the photograph's code and the light of another photograph. To a detector
# the two are one.

# %%
other = uf.resize_longer(uf.to_grey(uf.bundled("coffee")), 2 * side)[: photograph.shape[0], : photograph.shape[1]]
twin = uf.metamer(phi, code, like=other, preset="fast", steps=3 * steps)
uf.show(photograph, other, twin.image, columns=3,
        labels=["photograph", "another", f"code of the first, error {twin.error:.3f}"])

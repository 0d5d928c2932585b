"""
Local binary patterns and BRIEF
===============================

Codes of comparisons: which of two pixels is brighter. Gradients come from smooth surrogates.
"""

import matplotlib.pyplot as plt

import unfeature as uf

photograph = uf.resize_longer(uf.to_grey(uf.bundled("astronaut")), 96)

descriptors = {"LBP": uf.LBP(rotation_invariant=False), "BRIEF": uf.BRIEF(step=8)}
results = {name: uf.invert(phi, phi(photograph), preset="fast") for name, phi in descriptors.items()}
labels = [f"from its {name}, error {result.error:.2f}" for name, result in results.items()]

plt.figure(figsize=(9, 3.4), layout="constrained")
plt.imshow(uf.show(
    photograph, *(result.image for result in results.values()),
    labels=["photograph", *labels], columns=3, side=256))
plt.axis("off")
plt.show()

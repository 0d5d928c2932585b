"""
Measures, and what they see
===========================

Four changes of a photograph, and what correlation, SSIM, PSNR and naturalness say of them.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter

import unfeature as uf

photograph = uf.resize_longer(uf.to_grey(uf.bundled("chelsea")), 160)

noise = np.random.default_rng(0).normal(0, 0.1, photograph.shape).astype(np.float32)
changed = {
    "blur": gaussian_filter(photograph, 2),
    "noise": photograph + noise,
    "half contrast": 0.5 * photograph + 0.25,
    "negative": 1 - photograph,
}
for name, image in changed.items():
    print(name, {measure: round(value, 2) for measure, value in uf.measures(photograph, image).items()})

plt.figure(figsize=(12, 2.4), layout="constrained")
plt.imshow(uf.show(
    photograph, *(np.clip(image, 0, 1) for image in changed.values()),
    labels=["photograph", *changed], columns=5, side=200))
plt.axis("off")
plt.show()

"""
HOG in a pipeline of scikit-learn
=================================

Crops of two photographs, told apart by a linear classifier on HOG.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

import unfeature as uf

rng = np.random.default_rng(0)
crops, names = [], []
for name in ("chelsea", "coffee"):
    photograph = uf.to_grey(uf.bundled(name))
    for _ in range(30):
        top, left = (int(rng.integers(side - 64)) for side in photograph.shape)
        crops.append(photograph[top : top + 64, left : left + 64])
        names.append(name)
model = make_pipeline(uf.Transformer(uf.HOG(cell_size=8), pool="mean"), LinearSVC())
scores = cross_val_score(model, np.stack(crops), names)
print(f"accuracy {scores.mean():.2f}")

plt.figure(figsize=(9, 4.6), layout="constrained")
plt.imshow(uf.show(
    *crops[:4], *crops[30:34],
    labels=names[:4] + names[30:34], columns=4, side=180))
plt.axis("off")
plt.show()

"""
Inverting a small network, as it began
======================================

Networks were inverted long before they were deep: by descent on the input (Williams 1986; Linden & Kindermann 1989),
with many solutions for one output (Lee & Kil 1994; Jensen et al. 1999; Várkonyi-Kóczy 2009), and with bounds on all
solutions from linear programs (Lu, Kita & Nishikawa 1999). Here is each, on a network of two layers that reads the
digits of scikit-learn, 8 × 8 pixels.
"""

from collections import OrderedDict

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.optimize import linprog
from sklearn.datasets import load_digits
from torch import nn

import unfeature as uf
from unfeature.inversion.parameterizations import BoxedPixels
from unfeature.inversion.solvers import LBFGSB

digits = load_digits()
images = (digits.images / 16).astype(np.float32)
train, test = slice(0, 1400), slice(1400, None)

# %%
# The network: 64 inputs, 32 hidden units, 10 outputs, all sigmoids. A fully connected layer is a convolution whose
# filters are as large as the image.

torch.manual_seed(0)
network = nn.Sequential(OrderedDict(
    hidden=nn.Conv2d(1, 32, 8), sigmoid=nn.Sigmoid(), scores=nn.Conv2d(32, 10, 1), output=nn.Sigmoid()))
inputs = torch.from_numpy(images)[:, None] - 0.5
wanted = nn.functional.one_hot(torch.from_numpy(digits.target), 10).float()
optimizer = torch.optim.Adam(network.parameters(), lr=0.02, weight_decay=1e-5)
for _ in range(300):
    optimizer.zero_grad()
    nn.functional.binary_cross_entropy(network(inputs[train]).flatten(1), wanted[train]).backward()
    optimizer.step()
network.requires_grad_(False)
read = network(inputs[test]).flatten(1).argmax(1).numpy()
print(f"{np.mean(read == digits.target[test]):.1%} of the other digits are read correctly")

# %%
# Descent from eight starts
# -------------------------
#
# The code is the output for one digit. L-BFGS-B moves the pixels inside the box [0, 1]. All eight images have the
# digit's output; what they share, parts of a stroke, is all that the output depends on.

phi = uf.CNN(network, "output", mean=[0.5], std=[1.0], input_size=(8, 8))
digit = images[test][np.flatnonzero((read == 3) & (digits.target[test] == 3))[0]]
code = phi(digit)
recipe = uf.Recipe("boxed", BoxedPixels, LBFGSB, priors=(), stages=(uf.Stage(200),), data_weight=1.0)
found = uf.invert(phi, code, preset=recipe, size=(8, 8), starts=8)
print("relative errors", found.errors.round(6))

# %%
# Bounds on all inputs
# --------------------
#
# Images with the same hidden units have the same output. They solve linear equations, W x = W x₀, so that two linear
# programs give the exact smallest and largest value that each pixel takes among all of them in the box. Most pixels of
# a digit are 0, at the bound, which leaves the others little room: the hidden units tell much more than the output.

weights = network.hidden.weight.flatten(1).double().numpy()
one_layer_back = {"A_eq": weights, "b_eq": weights @ digit.ravel().astype(float), "bounds": (0, 1)}
lower, upper = (
    np.array([sign * linprog(sign * row, **one_layer_back).fun for row in np.eye(64)]).reshape(8, 8)
    for sign in (1, -1))
free = upper - lower
spread = np.ptp(found.images, axis=0)
print(f"mean interval of a pixel: {free.mean():.2f} with the same hidden units, at least {spread.mean():.2f} with the "
      "same output")

# %%
# Bounds on the output
# --------------------
#
# The other way round: how far may all pixels be moved, each by itself, so that the output surely changes by less than
# ε = 0.1? Intervals are passed through the layers; bisection finds the largest box.


def output_interval(radius: float) -> tuple[np.ndarray, np.ndarray]:
    """The bounds of the output while each pixel is within a radius of the digit's."""
    centre, half = torch.from_numpy(digit).flatten().double() - 0.5, torch.full((64,), radius, dtype=torch.float64)
    for layer in (network.hidden, network.scores):
        matrix = layer.weight.flatten(1).double()
        centre, half = matrix @ centre + layer.bias, matrix.abs() @ half
        below, above = torch.sigmoid(centre - half), torch.sigmoid(centre + half)
        centre, half = (below + above) / 2, (above - below) / 2
    return below.numpy(), above.numpy()


inside, outside = 0.0, 1.0
for _ in range(30):
    radius = (inside + outside) / 2
    kept = max(np.abs(bound - code.ravel()).max() for bound in output_interval(radius)) <= 0.1
    inside, outside = (radius, outside) if kept else (inside, radius)
noise = np.random.default_rng(0).uniform(-inside, inside, (1000, 8, 8)).astype(np.float32)
moved = network(torch.from_numpy(digit + noise)[:, None] - 0.5).flatten(1).numpy()
print(f"every pixel may move by {inside:.3f}; of 1000 such images the output moves by at most "
      f"{np.abs(moved - code.ravel()).max():.3f}")

# %%
# Eight images with one output, and the bounds of all that share the hidden units.

labels = ["the digit", *(f"start {j + 1}" for j in range(8)), "smallest", "largest", "interval"]
plt.figure(figsize=(10, 4), layout="constrained")
plt.imshow(uf.show(digit, *found.images, lower, upper, free, labels=labels, columns=6, side=160))
plt.axis("off")
plt.show()

# %% [markdown]
"""
A layer of a network
====================

A layer of any torch module is a descriptor like HOG. The deeper the layer, the less of the photograph its code keeps.
"""

# %% tags=["parameters"]
patches, side, steps = 1500, 128, 200

# %% [markdown]
# A small network that learns, here and in a few seconds, which of four photographs a patch is from. Take your own
# network in its place, or a published one, as at the end.

# %%
import numpy as np
import torch
from torch import nn

import unfeature as uf

torch.manual_seed(0)
names = ("chelsea", "coffee", "rocket", "camera")
photographs = [np.atleast_3d(uf.resize_longer(uf.bundled(name), 256)) * np.ones(3, np.float32) for name in names]

network = nn.Sequential()
for i, (inside, outside) in enumerate(((3, 24), (24, 48), (48, 64)), start=1):
    network.add_module(f"conv{i}", nn.Conv2d(inside, outside, 5, stride=2, padding=2))
    network.add_module(f"relu{i}", nn.ReLU())
network.append(nn.AdaptiveAvgPool2d(1)).append(nn.Flatten()).append(nn.Linear(64, len(names)))


def batch(rng, count=16):
    """Patches (N, 3, 48, 48), and the numbers of their photographs."""
    labels = rng.integers(len(names), size=count)
    crops = []
    for label in labels:
        top, left = (rng.integers(length - 48) for length in photographs[label].shape[:2])
        crops.append(photographs[label][top : top + 48, left : left + 48].transpose(2, 0, 1))
    return torch.from_numpy(np.stack(crops)) - 0.5, torch.from_numpy(labels)


rng = np.random.default_rng(0)
optimiser = torch.optim.Adam(network.parameters(), 2e-3)
for _ in range(patches // 16):
    x, labels = batch(rng)
    optimiser.zero_grad()
    nn.functional.cross_entropy(network(x), labels).backward()
    optimiser.step()
with torch.no_grad():
    x, labels = batch(rng, 256)
    print(f"accuracy {(network(x).argmax(1) == labels).float().mean():.2f}")

# %% [markdown]
# ``uf.CNN`` needs the module, the path of a layer, and how the network's input is made: here pixels minus 0.5. Stride
# and receptive field are derived from the modules.

# %%
photograph = uf.resize_longer(uf.bundled("astronaut"), side)
layers = [uf.CNN(network, f"relu{i}", mean=0.5, std=1.0) for i in (1, 2, 3)]
for phi in layers:
    print(phi.layer, phi(photograph).shape, f"receptive field {phi.receptive_field} pixels")

# %% [markdown]
# The same photograph, which the network has never seen, from three depths.

# %%
results = [uf.invert(phi, phi(photograph), steps=steps, seed=0) for phi in layers]
uf.show(photograph, *(result.image for result in results), columns=4, side=230,
        labels=["photograph", *(f"{phi.layer}, error {r.error:.2f}" for phi, r in zip(layers, results, strict=True))])

# %% [markdown]
# What single channels respond to: ``uf.maximize`` finds an image for each. ``leak`` lets a gradient through units that
# are off. These channels have learned colours, for colours alone tell the four photographs apart.

# %%
deep = layers[2].replace(leak=0.05)
channels = np.argsort(-np.asarray(deep(photograph)).mean((0, 1)))[:6].tolist()
responses = uf.maximize(deep, channel=channels, size=(64, 64), steps=steps)
uf.show(*responses.images, columns=6, side=160, labels=[f"channel {channel}" for channel in channels])

# %% [markdown]
# What a layer sees in a photograph, exaggerated: again its colours.

# %%
exaggerated = uf.caricature(layers[1], photograph, octaves=2, steps=steps // 2)
uf.show(photograph, exaggerated.image, labels=["photograph", "caricature of relu2"], columns=2)

# %% [markdown]
# A published network comes by name, with the file of its weights. Nothing is downloaded: without the file, the message
# says where it is published.

# %%
try:
    phi = uf.CNN("squeezenet1_0", "fire5", weights="squeezenet1_0.safetensors")
    print(uf.invert(phi, phi(photograph), steps=steps))
except FileNotFoundError as missing:
    print(missing)

"""Several layers of a network as one code, for objectives on more than one layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .network_code import NetworkCode


class Layers(NetworkCode):
    r"""Several layers of a network, from one forward pass, as one code without positions.

    Φ(x) = (layer₁(x), layer₂(x), …), each flattened; `split` separates them.

    Parameters
    ----------
    network : str or Module
        A published network by name, or a torch module in evaluation mode.
    layers : sequence of str
        Layers by name or module path, each once.
    weights : path, optional
        File of a published network's weights.
    mean, std, scale, order, input_size, leak, precision, sha256 : optional
        Preprocessing and options of the network, as for `CNN`.
    stride, receptive_field : int, optional
        Pixels; by default the largest of the layers.

    Raises
    ------
    ValueError, FileNotFoundError
        As for `CNN`.

    Notes
    -----
    Shape: x (N, 3, H, W) in [0, 1] → (N, D), D the sum of the layers' sizes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """All layers, flattened and concatenated, (N, D)."""
        return torch.cat([code.flatten(1) for code in self.layer_stack.forward(x).values()], 1)

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape (D,) of the code; ValueError for an image that the network cannot take."""
        return (sum(math.prod(shape) for shape in self.layer_stack.output_shapes(height, width).values()),)

    def split(self, code: Tensor, height: int, width: int) -> dict[str, Tensor]:
        """The code (N, D) of height × width images as the layers' codes (N, D, h, w) by name."""
        shapes = self.layer_stack.output_shapes(height, width)
        parts = code.split([math.prod(shape) for shape in shapes.values()], 1)
        return {name: part.unflatten(1, shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}

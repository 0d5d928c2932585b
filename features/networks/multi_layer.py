"""Several layers of a network as one code, for objectives that look at more than one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from .network_code import NetworkCode


class Layers(NetworkCode):
    r"""Several layers of a network, from one forward pass, as one code without positions.

    Φ(x) = (layer₁(x), layer₂(x), …), each flattened; `split` takes it apart again.

    Parameters
    ----------
    network, weights, mean, std, scale, order, input_size, leak, precision
        As for `CNN`.
    layers : sequence of str
        Names or module paths, each once.
    sha256 : str, optional
        The fingerprint that the weights must have.

    Raises
    ------
    ValueError, FileNotFoundError
        As for `CNN`.

    Notes
    -----
    Shape: x (N, 3, H, W) in [0, 1] → (N, D), D the sum of the layers' sizes.
    """

    def __init__(self, network: str | nn.Module, layers: Sequence[str], weights: str | Path | None = None, *,
                 mean: float | Sequence[float] | None = None, std: float | Sequence[float] | None = None,
                 scale: float | None = None, order: str | None = None, input_size: Sequence[int] | None = None,
                 leak: float = 0.0, precision: str | None = None, sha256: str | None = None) -> None:
        super().__init__()
        if isinstance(layers, str) or not layers or len(set(layers)) < len(layers):
            raise ValueError(f"layers is a list of different names, got {layers!r}")
        self.layers = tuple(layers)
        self._load(network, layers, weights, sha256, mean=mean, std=std, scale=scale, order=order,
                   input_size=input_size, leak=leak, precision=precision)
        fields = [self.stack.field(layer) for layer in self.layers]
        self.stride = max(field.stride for field in fields)
        self.receptive_field = int(max(field.size for field in fields))

    def forward(self, x: Tensor) -> Tensor:
        """All layers, flattened, one after the other, (N, D)."""
        return torch.cat([code.flatten(1) for code in self.stack.forward(x).values()], 1)

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape (D,) of the code; ValueError for an image that the network cannot take."""
        return (sum(math.prod(shape) for shape in self.stack.output_shapes(height, width).values()),)

    def split(self, code: Tensor, height: int, width: int) -> dict[str, Tensor]:
        """The layers' codes (N, D, h, w), by name, in a code (N, D) of height × width images."""
        shapes = self.stack.output_shapes(height, width)
        parts = code.split([math.prod(shape) for shape in shapes.values()], 1)
        return {name: part.unflatten(1, shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}

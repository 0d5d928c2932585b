"""Several layers of a network as one code, for objectives that look at more than one."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .base import Representation
from .networks import ALIASES, Network
from .stack import LayerStack


class Layers(Representation):
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

    network: str | nn.Module

    def __init__(self, network: str | nn.Module, layers: Sequence[str], weights: str | Path | None = None, *,
                 mean: float | Sequence[float] | None = None, std: float | Sequence[float] | None = None,
                 scale: float | None = None, order: str | None = None, input_size: Sequence[int] | None = None,
                 leak: float = 0.0, precision: str | None = None, sha256: str | None = None) -> None:
        super().__init__()
        if isinstance(layers, str) or not layers or len(set(layers)) < len(layers):
            raise ValueError(f"layers is a list of different names, got {layers!r}")
        self.__dict__["network"] = network  # a module of the user's, which is no part of this one
        self.layers = tuple(layers)
        self.weights = None if weights is None else str(weights)
        self.mean, self.std, self.scale, self.order = mean, std, scale, order
        self.input_size = input_size
        self.leak = leak
        self.precision = precision
        self.sha256 = sha256
        self.stack = LayerStack(network, layers, weights, mean=mean, std=std, scale=scale, order=order,
                                input_size=input_size, leak=leak, precision=precision)
        if sha256 not in (None, self.stack.fingerprint):
            raise ValueError(f"the weights are not those described: their fingerprint is {self.stack.fingerprint}, "
                             f"expected {sha256}")
        fields = [self.stack.field(layer) for layer in self.layers]
        self.stride = max(field.stride for field in fields)
        self.receptive_field = int(max(field.size for field in fields))
        self.jitter = max(math.floor(self.stride / 4 + 0.5), 1)
        self.usual_size = self.stack.preprocessing.input_size
        channels = len(self.stack.preprocessing.mean)
        self.in_channels = (channels, 1) if channels > 1 else (1,)
        self.centre = self.stack.preprocessing.colour

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

    def to_config(self) -> dict[str, Any]:
        """A JSON-able description, with the fingerprint of the weights in place of their file."""
        colours = self.stack.preprocessing
        config = {"type": type(self).__name__, **self.params(), "network": self._network_name, "weights": None,
                  "mean": colours.mean, "std": colours.std, "scale": colours.scale, "order": colours.order,
                  "input_size": colours.input_size, "sha256": self.stack.fingerprint}
        described: dict[str, Any] = json.loads(json.dumps(config))
        return described

    @property
    def _network_name(self) -> str:
        network = self.network
        if isinstance(network, str):
            return ALIASES.get(network, network)
        return network.name if isinstance(network, Network) else f"{type(network).__module__}.{type(network).__name__}"

    def __repr__(self) -> str:
        network = repr(self.network) if isinstance(self.network, str) else f"<{type(self.network).__name__}>"
        return f"Layers({network}, {list(self.layers)!r}, weights={self.weights!r})"

"""The contract of codes of networks, of one layer or of several."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from torch import nn

from ..base import Representation
from .layer_stack import LayerStack, load_module
from .preprocessing import Order, preprocessing_of
from .zoo import Network

Self = TypeVar("Self", bound="NetworkCode")

OTHER_WEIGHTS = {"network", "layer", "layers", "weights"}


class NetworkCode(Representation):
    """A code that a `LayerStack` computes from images in [0, 1]; parameters and attributes are those of `CNN`."""

    network: str | nn.Module

    def __init__(self, network: str | nn.Module, layers: Sequence[str], weights: str | Path | None = None, *,
                 mean: float | Sequence[float] | None = None, std: float | Sequence[float] | None = None,
                 scale: float | None = None, order: Order | None = None, input_size: tuple[int, int] | None = None,
                 leak: float = 0.0, stride: int | None = None, receptive_field: int | None = None,
                 precision: Literal["bfloat16"] | None = None, sha256: str | None = None) -> None:
        super().__init__()
        module = load_module(network, weights)
        preprocessing = preprocessing_of(module, mean, std, scale, order, input_size)
        self.layer_stack = LayerStack(module, layers, preprocessing=preprocessing, leak=leak, precision=precision)
        self.__dict__["network"] = network  # not registered as a submodule: it belongs to the user
        self.layers, self.weights, self.sha256 = tuple(layers), None if weights is None else str(weights), sha256
        self.mean, self.std, self.scale, self.order = mean, std, scale, order
        self.leak, self.precision = leak, precision
        self._given = {"stride": stride, "receptive_field": receptive_field, "input_size": input_size}
        self.fingerprint, kind = self.layer_stack.fingerprint, type(module)
        self._name = module.name if isinstance(module, Network) else f"{kind.__module__}.{kind.__qualname__}"
        if sha256 not in (None, self.fingerprint):
            raise ValueError(f"the weights of {self._name} are not those described: their fingerprint up to "
                             f"{', '.join(layers)} is {self.fingerprint}, expected {sha256}")
        if stride is None or receptive_field is None:
            fields = [self.layer_stack.field(layer) for layer in layers]
            stride = stride or max(field.stride for field in fields)
            receptive_field = receptive_field or int(max(field.size for field in fields))
        self.stride, self.receptive_field = stride, receptive_field
        channels = len(preprocessing.mean)
        self.in_channels = (channels, 1) if channels > 1 else (1,)
        self.centre = preprocessing.colour
        self.input_size = preprocessing.input_size

    def leaky(self: Self, slope: float) -> Self:
        """A copy with shared weights and leaky ReLU gradients of this slope, or of its own slope if that is larger.

        A network whose ReLUs are not modules is returned unchanged.
        """
        layer_stack = self.layer_stack.leaky(max(self.leak, slope))
        if layer_stack is self.layer_stack:
            return self
        twin = copy.copy(self)
        twin._modules = {**self._modules, "layer_stack": layer_stack}
        twin.leak = layer_stack.leak
        return twin

    def params(self) -> dict[str, Any]:
        """The arguments that rebuild this descriptor."""
        return super().params() | self._given

    def replace(self: Self, **changes: Any) -> Self:
        """A copy with some arguments changed; another layer or network has another fingerprint."""
        if changes.keys() & OTHER_WEIGHTS:
            changes.setdefault("sha256", None)
        return super().replace(**changes)

    def to_config(self) -> dict[str, Any]:
        """A JSON-able description, with the fingerprint of the weights in place of their file.

        `from_config` takes the file, ``weights=…``, or the module, ``network=…``, and checks the fingerprint.
        """
        config = {"type": type(self).__name__, **self.params(), **vars(self.layer_stack.preprocessing),
                  "network": self._name, "weights": None, "sha256": self.fingerprint}
        described: dict[str, Any] = json.loads(json.dumps(config))
        return described

    def __repr__(self) -> str:
        network = repr(self.network) if isinstance(self.network, str) else f"<{self._name}>"
        options = (f"{name}={value!r}" for name, value in self.params().items()
                   if name not in ("network", "sha256") and value not in (None, 0.0))
        return f"{type(self).__name__}({', '.join([network, *options])})"

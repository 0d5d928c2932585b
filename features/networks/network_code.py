"""What codes of networks share, whether of one layer or of several."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from ..base import Representation
from .layer_stack import LayerStack
from .zoo import ALIASES, Network

Self = TypeVar("Self", bound="NetworkCode")

OTHER_WEIGHTS = {"network", "layer", "layers", "weights"}


class NetworkCode(Representation):
    """A code that a network computes, run by a `LayerStack` on images in [0, 1]; its attributes are those of `CNN`."""

    network: str | nn.Module
    stack: LayerStack
    leak: float

    def _load(self, network: str | nn.Module, layers: Sequence[str], weights: str | Path | None, sha256: str | None,
              **options: Any) -> None:
        """Keep the arguments that every code of networks has, and load the network up to its layers."""
        self.__dict__["network"] = network  # a module of the user's, which is no part of this one
        self.weights = None if weights is None else str(weights)
        self.sha256 = sha256
        for name, value in options.items():
            setattr(self, name, value)
        self.stack = LayerStack(network, layers, weights, **options)
        if sha256 not in (None, self.fingerprint):
            raise ValueError(f"the weights of {self._network_name} are not those described: their fingerprint up to "
                             f"{', '.join(layers)} is {self.fingerprint}, expected {sha256}")
        channels = len(self.stack.preprocessing.mean)
        self.in_channels = (channels, 1) if channels > 1 else (1,)
        self.centre = self.stack.preprocessing.colour
        self.usual_size = self.stack.preprocessing.input_size

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights that the code depends on."""
        return self.stack.fingerprint

    @property
    def _network_name(self) -> str:
        if isinstance(self.network, str):
            return ALIASES.get(self.network, self.network)
        if isinstance(self.network, Network):
            return self.network.name
        return f"{type(self.network).__module__}.{type(self.network).__qualname__}"

    def leaky(self: Self, slope: float) -> Self:
        """A copy that shares the weights and whose gradient passes dead ReLUs at this slope, or at its own if larger.

        A network without ReLUs that are modules is returned as it is.
        """
        stack = self.stack.leaky(max(self.leak, slope))
        if stack is self.stack:
            return self
        twin = copy.copy(self)
        twin._modules = {**self._modules, "stack": stack}
        twin.leak = stack.leak
        return twin

    def replace(self: Self, **changes: Any) -> Self:
        """A copy with some arguments changed; another layer or network has another fingerprint."""
        if changes.keys() & OTHER_WEIGHTS:
            changes.setdefault("sha256", None)
        return super().replace(**changes)

    def to_config(self) -> dict[str, Any]:
        """A JSON-able description, with the fingerprint of the weights in place of their file.

        `from_config` takes the file, ``weights=…``, or the module, ``network=…``, and checks the fingerprint.
        """
        preprocessing = self.stack.preprocessing
        config = {"type": type(self).__name__, **self.params(), "network": self._network_name, "weights": None,
                  "mean": preprocessing.mean, "std": preprocessing.std, "scale": preprocessing.scale,
                  "order": preprocessing.order, "input_size": preprocessing.input_size, "sha256": self.fingerprint}
        described: dict[str, Any] = json.loads(json.dumps(config))
        return described

    def __repr__(self) -> str:
        arguments = self.params()
        network = arguments.pop("network")
        shown = [repr(network) if isinstance(network, str) else f"<{self._network_name}>"]
        shown += [repr(arguments.pop(name)) for name in ("layer", "layers") if name in arguments]
        del arguments["sha256"]
        shown += [f"{name}={value!r}" for name, value in arguments.items() if value not in (None, 0.0)]
        return f"{type(self).__name__}({', '.join(shown)})"

"""Any layer of any convolutional network as an image code, and several layers of one network as one code."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..base import Representation
from ..checks import check_count
from .hooks import Rule
from .layer_stack import LayerStack, load_module
from .layouts import Layout
from .preprocessing import Order, preprocessing_of
from .zoo import Network

Self = TypeVar("Self", bound="NetworkCode")

SIDES = [8 * 2**k for k in range(11)]


class NetworkCode(Representation):
    """A code that a `LayerStack` computes from images in [0, 1]; parameters and attributes are those of `CNN`."""

    network: str | nn.Module
    heavy, traceable = True, False

    def __init__(self, network: str | nn.Module, layers: Sequence[str], weights: str | Path | None = None, *,
                 mean: float | Sequence[float] | None = None, std: float | Sequence[float] | None = None,
                 scale: float | None = None, order: Order | None = None, input_size: tuple[int, int] | None = None,
                 leak: float = 0.0, stride: int | None = None, receptive_field: int | None = None,
                 precision: Literal["bfloat16"] | None = None, layout: Layout | None = None,
                 output: str | int | None = None, call: int = 0, sha256: str | None = None) -> None:
        super().__init__()
        module = load_module(network, weights)
        preprocessing = preprocessing_of(module, mean, std, scale, order, input_size)
        self.layer_stack = LayerStack(module, layers, preprocessing=preprocessing, leak=leak, precision=precision,
                                      layout=layout, output=output, call=call)
        self.__dict__["network"] = network if self.layer_stack.network is None else self.layer_stack.network
        self.layout, self.output, self.call = layout, output, call
        self.layers, self.weights, self.sha256 = tuple(layers), None if weights is None else str(weights), sha256
        self.mean, self.std, self.scale, self.order = mean, std, scale, order
        self.leak, self.precision = leak, precision
        stride, receptive_field = (n if n is None else check_count(name, n) for name, n in
                                   (("stride", stride), ("receptive_field", receptive_field)))
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
        self.centre, self.input_size = preprocessing.colour, preprocessing.input_size
        self.in_channels = (len(self.centre), 1) if len(self.centre) > 1 else (1,)

    def leaky(self: Self, slope: float) -> Self:
        """A copy with shared weights and ReLU gradients of at least this slope; itself if no ReLUs are modules."""
        layer_stack = self.layer_stack.leaky(max(self.leak, slope))
        return self if layer_stack is self.layer_stack else self._on(layer_stack)

    def rectifying(self: Self, rule: Rule) -> Self:
        """A copy with shared weights, whose ReLUs pass no negative gradient: "guided" or "deconvnet".

        The code is the same. ValueError if no ReLUs are modules.
        """
        layer_stack = self.layer_stack.rectifying(rule)
        if layer_stack is self.layer_stack:
            raise ValueError(f"{rule} backpropagation changes ReLUs that are modules (torch.nn.ReLU), and there is "
                             f"none up to {', '.join(self.layers)}: take the gradient")
        return self._on(layer_stack)

    def _on(self: Self, layer_stack: LayerStack) -> Self:
        twin = type(self).__new__(type(self))
        twin.__dict__ |= {**vars(self), "_modules": {"layer_stack": layer_stack}, "leak": layer_stack.leak}
        return twin

    def params(self) -> dict[str, Any]:
        """The arguments that rebuild this descriptor."""
        return super().params() | self._given

    def replace(self: Self, **changes: Any) -> Self:
        """A copy with some arguments changed; another layer or network has another fingerprint."""
        if changes.keys() & {"network", "layer", "layers", "weights"}:
            changes.setdefault("sha256", None)
        return super().replace(**changes)

    def to_config(self) -> dict[str, Any]:
        """A JSON-able description, with the fingerprint of the weights in place of their file.

        `from_config` takes the file, ``weights=…``, or the module, ``network=…``, and checks the fingerprint.
        """
        layouts = {self.layer_stack.layout_of(layer) for layer in self.layers} - {None}
        config = {"type": type(self).__name__, **self.params(), **vars(self.layer_stack.preprocessing),
                  "layout": layouts.pop() if len(layouts) == 1 else self.layout,
                  "network": self._name, "weights": None, "sha256": self.fingerprint}
        return dict(json.loads(json.dumps(config)))

    def __repr__(self) -> str:
        network = repr(self.network) if isinstance(self.network, str) else f"<{self._name}>"
        options = (f"{name}={value!r}" for name, value in self.params().items()
                   if name not in ("network", "sha256") and value not in (None, 0.0))
        return f"{type(self).__name__}({', '.join([network, *options])})"


class CNN(NetworkCode):
    r"""One layer of a convolutional network.

    Φ(x) = layer((scale · x[order] − mean) / std). The weights of the published networks come with their preprocessing.
    Grey images are replicated to the network's channels; pre-images have colour.

    Parameters
    ----------
    network : str or Module
        A published network by name, such as alexnet, vgg-m or squeezenet1_0, or a torch module.
        All names are in `unfeature.features.networks.zoo.NETWORKS`; a module takes (N, C, H, W).
    layer : str
        A layer by name (``"conv1"``, ``"fire2"``) or module path (``"features.10"``).
    weights : path, optional
        File of a published network's weights, .mat, .pth or .safetensors: `features.networks.weights.load_network`.
    mean : float or sequence of float, optional
        Mean of the training images, on the network's scale and in its channel order; one value, or one per channel.
    std : float or sequence of float, optional
        Standard deviation of the training images, as mean. Modules other than timm's state neither and require both.
    scale : float, optional
        The network's value of white, 255 or 1; 1 for a module.
    order : {"RGB", "BGR"}, optional
        The network's channel order; RGB for a module.
    input_size : tuple of int, optional
        Height and width that the network was trained with.
    leak : float
        Slope of the leaky ReLU gradient, 0.05 in the papers' activation maximisation; the code does not depend on it.
    stride : int, optional
        Pixels between neighbouring positions; derived from the modules, or measured, by default.
    receptive_field : int, optional
        Pixels, along one axis, that a position depends on; derived or measured by default.
    precision : {"bfloat16"}, optional
        Precision of convolutions and matrix products; that of the images by default.
        bfloat16 is about twice as fast on processors with such instructions, and codes are 0.5 % to 2 % off.
    layout : {"channels_first", "channels_last", "tokens", "class_token"}, optional
        Axes of the layer's output: (N, D, h, w); (N, h, w, D); tokens (N, T, D) of patches; the first token alone.
        Recognised by default: see Notes.
    output : str or int, optional
        Key or index of the output, for a layer that returns several tensors; ``"states.1"`` for one inside another.
    call : int
        Which call counts of a layer that the forward pass runs several times: 0 is the first, −1 the last.
    sha256 : str, optional
        Fingerprint that the weights must have, as `to_config` states it.

    Attributes
    ----------
    fingerprint : str
        SHA-256 of the weights that the layer depends on.
    centre : tuple of float
        The network's mean colour, RGB in [0, 1]; mid-grey if it subtracts none.

    Raises
    ------
    ValueError
        For an unknown network or layer, a module that cannot be copied, missing mean or std, weights that do not fit,
        are not finite or have another fingerprint, or an image size that the network cannot take.
    FileNotFoundError
        For missing weights; the message says where to download published ones.

    Notes
    -----
    Shape: x (N, 3, H, W) or (N, 1, H, W) in [0, 1] → (N, D, h, w), or (N, D) for layers without positions.
    Tokens of patches are laid out in their grid, without those before them (class and register tokens); with
    "class_token" the code is (N, D). Sequences may come first, (T, N, D). A layout is recognised by the modules in the
    layer, the grid of patches, the shape of the image and, if those leave a choice, by the shape for a larger image;
    else the layer is refused.
    Fully connected layers of the published networks are convolutions over the whole map: their codes are (N, D, 1, 1)
    at the size that the network was trained with and have more positions for larger images.
    The module is never changed: a frozen copy in evaluation mode shares its parameters. Do not change those in place
    afterwards. Any number of threads may use one descriptor at the same time.

    References
    ----------
    Mahendran & Vedaldi, "Visualizing Deep Convolutional Neural Networks Using Natural Pre-images", IJCV 120(3), 2016.
    The papers subtract the mean image of the training set; we subtract its spatial mean, as their code does.

    Examples
    --------
    >>> import torch, unfeature as uf
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, stride=2), torch.nn.ReLU())
    >>> phi = uf.CNN(network, "1", mean=0.5, std=1.0)
    >>> phi.stride, phi.receptive_field, phi(uf.resize_longer(uf.bundled("coffee"), 64)).shape
    (2, 5, (20, 30, 8))
    """

    def __init__(self, network: str | nn.Module, layer: str, weights: str | Path | None = None, *,
                 mean: float | Sequence[float] | None = None, std: float | Sequence[float] | None = None,
                 scale: float | None = None, order: Order | None = None, input_size: tuple[int, int] | None = None,
                 leak: float = 0.0, stride: int | None = None, receptive_field: int | None = None,
                 precision: Literal["bfloat16"] | None = None, layout: Layout | None = None,
                 output: str | int | None = None, call: int = 0, sha256: str | None = None) -> None:
        super().__init__(network, [layer], weights, mean=mean, std=std, scale=scale, order=order,
                         input_size=input_size, leak=leak, stride=stride, receptive_field=receptive_field,
                         precision=precision, layout=layout, output=output, call=call, sha256=sha256)
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output, (N, D, h, w) or (N, D)."""
        return self.layer_stack.forward(x)[self.layer]

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape (D, h, w) or (D,) of the code; ValueError for an image that the network cannot take."""
        return self.layer_stack.output_shapes(height, width)[self.layer]

    def position_centres(self, height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows and columns of the centres of the receptive fields, in pixels."""
        shape = self.output_shape(height, width)
        if len(shape) != 3:
            return super().position_centres(height, width)
        first = self.layer_stack.field(self.layer).offset - 1
        rows, columns = (first + self.stride * np.arange(n, dtype=np.float64) for n in shape[1:])
        return rows, columns

    def image_size_for(self, code_shape: tuple[int, ...]) -> tuple[int, int]:
        """The network's training size if its code has this shape, else the smallest such size.

        ValueError if no size up to 8192 pixels has it.
        """
        if self.input_size is not None and self.output_shape(*self.input_size) == tuple(code_shape):
            return self.input_size
        if len(code_shape) != 3:
            return super().image_size_for(code_shape)
        height, width = (self._smallest_side(axis, code_shape[axis]) for axis in (1, 2))
        if (found := self.output_shape(height, width)) != tuple(code_shape):
            raise ValueError(f"no image has a code of shape {tuple(code_shape)} at layer {self.layer}: one of "
                             f"{height}×{width} has {found}")
        return height, width

    def _smallest_side(self, axis: int, positions: int) -> int:
        """The side of the smallest square image whose code has at least this many positions along an axis."""

        def suffices(side: int) -> bool:
            try:
                return self.output_shape(side, side)[axis] >= positions
            except ValueError:
                return False

        upper = next((side for side in SIDES if suffices(side)), None)
        if upper is None:
            raise ValueError(f"no image up to {SIDES[-1]} pixels has {positions} positions along an axis at layer "
                             f"{self.layer}")
        return bisect_left(range(upper), True, key=suffices)


class Layers(NetworkCode):
    r"""Several layers of a network, from one forward pass, as one code without positions.

    Φ(x) = (layer₁(x), layer₂(x), …), each flattened; `split` separates them.

    Parameters
    ----------
    network : str or Module
        A published network by name, or a torch module.
    layers : sequence of str
        Layers by name or module path, each once.
    weights : path, optional
        File of a published network's weights.
    mean, std, scale, order, input_size, leak, precision, layout, output, call, sha256 : optional
        Preprocessing and options of the network, as for `CNN`; layout, output and call hold for every layer.
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

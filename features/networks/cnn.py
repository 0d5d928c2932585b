"""Any layer of any convolutional network as an image code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .network_code import NetworkCode

LARGEST_SIDE = 8192


class CNN(NetworkCode):
    r"""One layer of a convolutional network, run on images in [0, 1].

    Φ(x) = layer((scale · x[order] − mean) / std). Colour order, scale, mean and standard deviation come with the
    weights of the published networks. Grey images are replicated to the network's channels; pre-images have colour.

    Parameters
    ----------
    network : str or Module
        A published network by its name (see `unfeature.features.networks.zoo.NETWORKS`), or any torch module in
        evaluation mode that takes (N, C, H, W).
    layer : str
        A layer's name (``"conv1"``, ``"fire2"``) or module path (``"features.10"``).
    weights : path, optional
        The file of a published network's weights; see `unfeature.features.networks.weights.load_network`.
    mean, std : float or sequence of float, optional
        On the network's own scale and in its own channel order. Needed for modules that do not tell theirs (timm's do).
    scale : float, optional
        The network's white, 255 or 1; 1 for a module.
    order : str, optional
        ``"RGB"`` or ``"BGR"``; RGB for a module.
    input_size : tuple of int, optional
        Height and width that the network was trained with.
    leak : float
        The slope of the gradient through dead ReLUs, 0.05 in the papers' activation maximisation. The code is the same.
    stride, receptive_field : int, optional
        Pixels; derived from the modules, or measured, unless given.
    precision : str, optional
        ``"bfloat16"`` computes convolutions and matrix products in it: about twice as fast on processors that have
        such instructions, with codes that are 0.5 % to 2 % off. By default they have the precision of the images.
    sha256 : str, optional
        The fingerprint that the weights must have, as `to_config` states it.

    Attributes
    ----------
    fingerprint : str
        SHA-256 of the weights that the layer depends on.
    centre : tuple of float
        The network's mean colour, RGB in [0, 1]; mid-grey if it subtracts none.

    Raises
    ------
    ValueError
        For an unknown network or layer, a module in training mode, colours that are not given, weights that do not
        fit, are not finite or have another fingerprint, or an image size that the network cannot take.
    FileNotFoundError
        For missing weights, saying where published ones come from.

    Notes
    -----
    Shape: x (N, 3, H, W) or (N, 1, H, W) in [0, 1] → (N, D, h, w), or (N, D) for layers without positions.
    Fully connected layers of the published networks are convolutions over the whole map, so that theirs is
    (N, D, 1, 1) at the size that the network was trained with and has more positions for larger images.
    The module is never changed: a frozen copy shares its weights. Do not change those in place afterwards.

    References
    ----------
    Mahendran & Vedaldi, "Visualizing Deep Convolutional Neural Networks Using Natural Pre-images", IJCV 120(3), 2016.
    The papers subtract the mean image of the training set; as their code does, the spatial mean of it is used here.
    """

    def __init__(self, network: str | nn.Module, layer: str, weights: str | Path | None = None, *,
                 mean: float | Sequence[float] | None = None, std: float | Sequence[float] | None = None,
                 scale: float | None = None, order: str | None = None, input_size: Sequence[int] | None = None,
                 leak: float = 0.0, stride: int | None = None, receptive_field: int | None = None,
                 precision: str | None = None, sha256: str | None = None) -> None:
        super().__init__()
        self.layer = layer
        self._given = {"stride": stride, "receptive_field": receptive_field}
        self._load(network, [layer], weights, sha256, mean=mean, std=std, scale=scale, order=order,
                   input_size=input_size, leak=leak, precision=precision)
        if stride is None or receptive_field is None:
            field = self.stack.field(layer)
            stride, receptive_field = stride or field.stride, receptive_field or int(field.size)
        self.stride, self.receptive_field = stride, receptive_field

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output, (N, D, h, w) or (N, D)."""
        return self.stack.forward(x)[self.layer]

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape (D, h, w) or (D,) of the code; ValueError for an image that the network cannot take."""
        return self.stack.output_shapes(height, width)[self.layer]

    def image_size_for(self, code_shape: tuple[int, ...]) -> tuple[int, int]:
        """The size that the network was trained with if it gives such a code, else the smallest that does.

        Raises
        ------
        ValueError
            When no size up to 8192 pixels gives a code of that shape.
        """
        nominal = self.stack.preprocessing.input_size
        if nominal is not None and self.output_shape(*nominal) == tuple(code_shape):
            return nominal
        if len(code_shape) != 3:
            return super().image_size_for(code_shape)
        height, width = (self._smallest_side(axis, code_shape[axis]) for axis in (1, 2))
        if self.output_shape(height, width) != tuple(code_shape):
            raise ValueError(f"no image has a code of shape {tuple(code_shape)} at layer {self.layer}: one of "
                             f"{height}×{width} has {self.output_shape(height, width)}")
        return height, width

    def _smallest_side(self, axis: int, positions: int) -> int:
        """The side of the smallest square image whose code has at least so many positions along an axis."""
        low, high = 0, 8
        while self._positions(axis, high) < positions:
            low, high = high, 2 * high
            if high > LARGEST_SIDE:
                raise ValueError(f"no image up to {LARGEST_SIDE} pixels has {positions} positions along an axis at "
                                 f"layer {self.layer}")
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._positions(axis, middle) >= positions else (middle, high)
        return high

    def _positions(self, axis: int, side: int) -> int:
        try:
            shape = self.output_shape(side, side)
        except ValueError:
            return 0
        return shape[axis] if len(shape) == 3 else 1

    def params(self) -> dict[str, Any]:
        """The arguments that rebuild this descriptor."""
        return super().params() | self._given

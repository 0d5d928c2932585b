"""Any layer of any convolutional network as an image code."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from .network_code import NetworkCode
from .preprocessing import Order

SIDES = [8 * 2**k for k in range(11)]


class CNN(NetworkCode):
    r"""One layer of a convolutional network.

    Φ(x) = layer((scale · x[order] − mean) / std). The weights of the published networks come with their preprocessing.
    Grey images are replicated to the network's channels; pre-images have colour.

    Parameters
    ----------
    network : str or Module
        A published network by name, such as alexnet, vgg-m or squeezenet1_0, or a torch module in evaluation mode.
        All names are in `unfeature.features.networks.zoo.NETWORKS`; a module takes (N, C, H, W).
    layer : str
        A layer by name (``"conv1"``, ``"fire2"``) or module path (``"features.10"``).
    weights : path, optional
        File of a published network's weights: .mat, .pth or .safetensors.
        See `unfeature.features.networks.weights.load_network`.
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
        For an unknown network or layer, a module in training mode, missing mean or std, weights that do not fit, are
        not finite or have another fingerprint, or an image size that the network cannot take.
    FileNotFoundError
        For missing weights; the message says where to download published ones.

    Notes
    -----
    Shape: x (N, 3, H, W) or (N, 1, H, W) in [0, 1] → (N, D, h, w), or (N, D) for layers without positions.
    Fully connected layers of the published networks are convolutions over the whole map: their codes are (N, D, 1, 1)
    at the size that the network was trained with and have more positions for larger images.
    The module is never changed: a frozen copy shares its weights. Do not change those in place afterwards.

    References
    ----------
    Mahendran & Vedaldi, "Visualizing Deep Convolutional Neural Networks Using Natural Pre-images", IJCV 120(3), 2016.
    The papers subtract the mean image of the training set; we subtract its spatial mean, as their code does.
    """

    def __init__(self, network: str | nn.Module, layer: str, weights: str | Path | None = None, *,
                 mean: float | Sequence[float] | None = None, std: float | Sequence[float] | None = None,
                 scale: float | None = None, order: Order | None = None, input_size: tuple[int, int] | None = None,
                 leak: float = 0.0, stride: int | None = None, receptive_field: int | None = None,
                 precision: Literal["bfloat16"] | None = None, sha256: str | None = None) -> None:
        super().__init__(network, [layer], weights, mean=mean, std=std, scale=scale, order=order,
                         input_size=input_size, leak=leak, stride=stride, receptive_field=receptive_field,
                         precision=precision, sha256=sha256)
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
        """The size that the network was trained with if its code has this shape, else the smallest such size.

        If no size up to 8192 pixels has a code of this shape, a ValueError.
        """
        nominal = self.layer_stack.preprocessing.input_size
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
        """The side of the smallest square image whose code has at least this many positions along an axis."""

        def suffices(side: int) -> bool:
            try:
                shape = self.output_shape(side, side)
            except ValueError:
                return False
            return (shape[axis] if len(shape) == 3 else 1) >= positions

        upper = next((side for side in SIDES if suffices(side)), None)
        if upper is None:
            raise ValueError(f"no image up to {SIDES[-1]} pixels has {positions} positions along an axis at layer "
                             f"{self.layer}")
        return bisect_left(range(upper), True, key=suffices)

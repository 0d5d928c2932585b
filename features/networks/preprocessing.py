"""How images become the input of a network: channel order, scale, mean and standard deviation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor, nn

from ..device_constants import constant

Order = Literal["RGB", "BGR"]


@dataclass(frozen=True)
class Preprocessing:
    r"""How an RGB image x in [0, 1] becomes a network's input: (scale · x[order] − mean) / std.

    Parameters
    ----------
    mean, std : tuple of float
        One value per channel, in the network's channel order and on its scale.
    scale : float
        The network's value of white: 1 or 255.
    order : {"RGB", "BGR"}
    input_size : tuple of int, optional
        Height and width that the network was trained with.

    Raises
    ------
    ValueError
        For an unknown order, a std or scale that is not positive, values that are not finite, or lengths that differ.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    scale: float = 1.0
    order: Order = "RGB"
    input_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            raise ValueError(f"the order of a network's channels is 'RGB' or 'BGR', got {self.order!r}")
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} values and std {len(self.std)}: give one per channel in each")
        if not all(math.isfinite(v) for v in (*self.mean, *self.std, self.scale)):
            raise ValueError(f"mean {self.mean}, std {self.std} and scale {self.scale} must be finite")
        if min(*self.std, self.scale) <= 0:
            raise ValueError(f"std {self.std} and scale {self.scale} must be positive")

    @property
    def colour(self) -> tuple[float, ...]:
        """The mean colour in RGB, in [0, 1]; mid-grey for a network that subtracts no mean."""
        if not any(self.mean):
            return (0.5,) * len(self.mean)
        return tuple(m / self.scale for m in (self.mean if self.order == "RGB" else self.mean[::-1]))

    def __call__(self, x: Tensor) -> Tensor:
        """The network's input (N, C, H, W) for images (N, C, H, W), RGB in [0, 1]."""
        gain = constant(tuple(self.scale / s for s in self.std), x).view(-1, 1, 1)
        offset = constant(tuple(m / s for m, s in zip(self.mean, self.std, strict=True)), x).view(-1, 1, 1)
        return (x.flip(1) if self.order == "BGR" else x) * gain - offset


def preprocessing_of(module: nn.Module, mean: float | Sequence[float] | None = None,
                     std: float | Sequence[float] | None = None, scale: float | None = None,
                     order: Order | None = None, input_size: tuple[int, int] | None = None) -> Preprocessing:
    """The preprocessing that a published network or a timm module states, with the given values in place of its own.

    Any other module needs mean and std; a single value holds for all channels, of which there are then three.
    """
    own, timm = getattr(module, "preprocessing", None), getattr(module, "pretrained_cfg", None)
    if isinstance(own, Preprocessing):
        base = own
    elif isinstance(timm, Mapping) and "mean" in timm and "std" in timm:
        base = Preprocessing(tuple(timm["mean"]), tuple(timm["std"]), input_size=tuple(timm["input_size"][1:]))
    elif mean is None or std is None:
        raise ValueError(f"{type(module).__name__} does not state its preprocessing: give mean and std on its own "
                         "scale, such as mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225) for torchvision's; "
                         "mean=0, std=1 for a network of images in [0, 1]")
    else:
        channels = next((len(v) for v in (mean, std) if not isinstance(v, (int, float))), 3)
        base = Preprocessing((0.0,) * channels, (1.0,) * channels)
    given: dict[str, Any] = {"scale": scale, "order": order}
    given["input_size"] = None if input_size is None else tuple(int(n) for n in input_size)
    for name, value in (("mean", mean), ("std", std)):
        values = [value] * len(base.mean) if isinstance(value, (int, float)) else value
        given[name] = None if values is None else tuple(float(v) for v in values)
    return dataclasses.replace(base, **{name: value for name, value in given.items() if value is not None})

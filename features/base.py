"""The contract that every descriptor keeps: image → code, with its gradient."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from operator import methodcaller
from typing import Any, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from . import DESCRIPTORS

Self = TypeVar("Self", bound="Representation")

LARGEST_PLAUSIBLE_VALUE = 4.0


class Representation(nn.Module):
    r"""An image code Φ with a gradient.

    Subclasses set the attributes below, implement `forward`, `output_shape` and, where the code tells the size of
    its image, `image_size_for`. They store every argument of ``__init__`` in an attribute of the same name, from
    which `to_config`, ``repr`` and `replace` follow. They hold buffers, never trainable parameters.

    Attributes
    ----------
    stride : int
        Pixels between neighbouring positions of the code.
    receptive_field : int
        Pixels, along one axis, that one position of the code depends on.
    in_channels : tuple of int
        Numbers of channels that images may have; the first is that of a pre-image.
    centre : tuple of float
        Mean colour in [0, 1] of priors and starting noise; one value, or one a channel.
    input_size : tuple of int or None
        Height and width of the images that the code was made for; None for any size.
    contrast_invariant : bool
        Whether the code hardly depends on the image's contrast.
    descriptors_per_position : int
        Local descriptors that the channels of one position hold, one after the other.

    Notes
    -----
    Shape: x (N, C, H, W) in [0, 1] → (N, D, h, w), or (N, D) for codes without positions. The code has the dtype
    and device of x; each sample is encoded by itself. Gradients are finite everywhere, on constant images too.
    """

    stride: int = 1
    receptive_field: int = 1
    in_channels: tuple[int, ...] = (1, 3)
    centre: tuple[float, ...] = (0.5,)
    input_size: tuple[int, int] | None = None
    contrast_invariant: bool = False
    descriptors_per_position: int = 1

    def __init__(self) -> None:
        super().__init__()

    @overload
    def __call__(self, image: Tensor) -> Tensor: ...
    @overload
    def __call__(self, image: NDArray[Any]) -> NDArray[Any]: ...
    def __call__(self, image: Tensor | NDArray[Any]) -> Tensor | NDArray[Any]:
        """Encode a tensor (N, C, H, W), or one NumPy image (H, W) or (H, W, C), with values in [0, 1].

        NumPy images may also be uint8 or uint16, whose full range is mapped to [0, 1]. The code is a tensor
        (N, D, h, w) or (N, D), or an array (h, w, D) or (D,). ValueError for a wrong shape, dtype or range, non-finite
        values, or an image too small for one position.
        """
        if isinstance(image, np.ndarray):
            with torch.no_grad():
                return code_to_numpy(self(self.as_batch(image)))
        self.check_batch(image)
        code: Tensor = super().__call__(image)
        return code

    @torch.inference_mode(False)
    @torch.enable_grad()
    def vjp(self, image: NDArray[Any]) -> tuple[NDArray[Any], Callable[[NDArray[Any]], NDArray[Any]]]:
        """The code of a NumPy image, (H, W) or (H, W, C), and the pullback of its gradient.

        The pullback maps ∂L/∂code to ∂L/∂image, each of its array's shape, with the image in [0, 1]. It may be called
        any number of times.
        """
        x = self.as_batch(image).requires_grad_()
        code = self(x)

        def pullback(cotangent: NDArray[Any]) -> NDArray[Any]:
            v = code_to_tensor(cotangent).to(code)
            if v.shape != code.shape:
                raise ValueError(f"the cotangent has shape {cotangent.shape}; give it the code's, {code_shape(code)}")
            (gradient,) = torch.autograd.grad(code, x, v, retain_graph=True)
            return tensor_to_image(gradient, squeeze=image.ndim == 2)

        return code_to_numpy(code.detach()), pullback

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape (D, h, w) or (D,) of the code of a height × width image; ValueError if the image is too small."""
        raise NotImplementedError

    def image_size_for(self, code_shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of the smallest image whose code has the shape (D, h, w); ValueError if there is none."""
        raise ValueError(f"the code of {type(self).__name__} does not tell the size of its image: "
                         "give it, as size=(height, width)")

    def position_centres(self, height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows (h,) and columns (w,), in pixels from 0, of the centres of the positions of a height × width image.

        By default the grid is centred in the smallest image with such a code or, without `image_size_for`, in the
        image. ValueError if the image is too small, or the code has no positions.
        """
        shape, size = self.output_shape(height, width), (height, width)
        if len(shape) != 3:
            raise ValueError(f"the code of {self!r} has no positions, but shape {shape}")
        with suppress(ValueError):
            size = self.image_size_for(shape)
        rows, columns = ((n - 1) / 2 + self.stride * (np.arange(m, dtype=np.float64) - (m - 1) / 2)
                         for n, m in zip(size, shape[1:], strict=True))
        return rows, columns

    def surrogate(self, softness: float) -> Representation:
        """A smooth surrogate that tends to this descriptor as softness → 0; the descriptor itself if it needs none.

        By default, a descriptor whose `softness` is 0 gets this one. Errors are never measured with a surrogate.
        """
        return self.replace(softness=softness) if getattr(self, "softness", None) == 0 else self

    def leaky(self, slope: float) -> Representation:
        """A copy with the same codes, and ReLUs whose gradient leaks; the descriptor itself if it has no ReLUs."""
        return self

    def flat_pixels(self, code: Tensor, height: int, width: int) -> Tensor | None:
        """Pixels where the code says that the image's gradient is zero, bool (N, H, W); None if it cannot tell.

        A code that normalises contrast hardly changes as a faint region becomes flat: descent does not find these.
        """
        return None

    @property
    def device(self) -> torch.device:
        """Where the buffers are, and NumPy images are taken to; the CPU if there are no buffers."""
        return next((buffer.device for buffer in self.buffers()), torch.device("cpu"))

    def as_batch(self, image: NDArray[Any] | Tensor) -> Tensor:
        """One NumPy image as a batch (1, C, H, W) on the descriptor's device; a tensor as it is."""
        return image_to_tensor(image).to(self.device) if isinstance(image, np.ndarray) else image

    @property
    def exact(self) -> bool:
        """Whether the descriptor's own gradient is informative, so that it needs no surrogate."""
        return self.surrogate(0.5) is self

    def check_batch(self, x: Tensor) -> None:
        """Raise a ValueError unless x is a batch that this descriptor can encode."""
        if not isinstance(x, Tensor):
            raise ValueError(f"expected a torch tensor or a NumPy array, got {type(x).__name__}: "
                             "read files with unfeature.read_image")
        if x.ndim != 4:
            raise ValueError(f"a tensor of images has shape (N, C, H, W), got {tuple(x.shape)}: "
                             "add the missing axes with x[None]")
        if not x.is_floating_point():
            raise ValueError(f"tensors of images are floating point in [0, 1], got {x.dtype}: divide by 255 first")
        if x.shape[1] not in self.in_channels:
            raise ValueError(f"{type(self).__name__} takes images with {' or '.join(map(str, self.in_channels))} "
                             f"channels, got {x.shape[1]} (shape {tuple(x.shape)}; channels come second)")
        self.output_shape(*x.shape[-2:])

    def params(self) -> dict[str, Any]:
        """The arguments that rebuild this descriptor."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def replace(self: Self, **changes: Any) -> Self:
        """A copy with some arguments changed, on the same device."""
        return type(self)(**{**self.params(), **changes}).to(self.device)

    def to_config(self) -> dict[str, Any]:
        """A JSON-able description; two descriptors compute the same code if and only if theirs are equal."""
        described = {"type": type(self).__name__, **self.params()}
        config: dict[str, Any] = json.loads(json.dumps(described, default=methodcaller("to_config")))
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], **resources: Any) -> Representation:
        """Rebuild a descriptor from `to_config`; resources replace what a description cannot hold (weights, words)."""
        kind, names = config.get("type"), DESCRIPTORS.class_names()
        if kind not in names:
            raise ValueError(f"unknown descriptor {kind!r}: one of {', '.join(sorted(names))}; a class of your own is "
                             f'registered with unfeature.features.DESCRIPTORS["my-name"] = {kind}')
        arguments = {k: v for k, v in config.items() if k != "type"} | resources
        nested = {k: cls.from_config(v) if isinstance(v, dict) and "type" in v else v for k, v in arguments.items()}
        return DESCRIPTORS[names[kind]](**nested)

    def _grid_of(self, code_shape: tuple[int, ...], dimensions: int) -> tuple[int, int]:
        """Rows and columns of positions of a code (D, h, w); ValueError for another shape."""
        if len(code_shape) != 3 or code_shape[0] != dimensions or min(code_shape) < 1:
            raise ValueError(f"a code of {self!r} has shape (D, h, w) with D = {dimensions}, got {tuple(code_shape)}")
        return code_shape[1], code_shape[2]

    def __repr__(self) -> str:
        defaults = {n: p.default for n, p in inspect.signature(type(self)).parameters.items()}
        shown = (f"{n}={v!r}" for n, v in self.params().items() if not _same(v, defaults[n]))
        return f"{type(self).__name__}({', '.join(shown)})"


def image_to_tensor(image: NDArray[Any]) -> Tensor:
    """One NumPy image, (H, W) or (H, W, C), as a tensor (1, C, H, W) in [0, 1]; float64 stays float64."""
    a = np.asarray(image)
    if a.ndim not in (2, 3):
        raise ValueError(f"an image has shape (H, W) or (H, W, C), got {a.shape}")
    if a.size == 0:
        raise ValueError(f"the image is empty (shape {a.shape})")
    if a.dtype in (np.uint8, np.uint16):
        a = a.astype(np.float32) / np.iinfo(a.dtype).max
    elif a.dtype == bool:
        a = a.astype(np.float32)
    elif not np.issubdtype(a.dtype, np.floating):
        raise ValueError(f"an image is uint8, or floating point in [0, 1]; got {a.dtype}: convert it first")
    if not np.isfinite(a).all():
        raise ValueError(f"the image has {int((~np.isfinite(a)).sum())} non-finite values (NaN or infinity): "
                         "replace them first, for instance with numpy.nan_to_num")
    if np.abs(a).max() > LARGEST_PLAUSIBLE_VALUE:
        raise ValueError(f"the image's values span {a.min():g} to {a.max():g}, but floats are expected in [0, 1]: "
                         "divide by 255, or pass uint8")
    a = a if a.dtype == np.float64 else a.astype(np.float32)
    a = a[..., None] if a.ndim == 2 else a
    return torch.from_numpy(np.ascontiguousarray(a.transpose(2, 0, 1)[None]))


def tensor_to_image(x: Tensor, squeeze: bool = True) -> NDArray[Any]:
    """One image of a batch (1, C, H, W), as (H, W, C), or (H, W) if it is grey and squeeze is set."""
    a = x.detach().cpu().numpy()[0].transpose(1, 2, 0)
    return np.ascontiguousarray(a[..., 0] if squeeze and a.shape[-1] == 1 else a)


def code_to_tensor(code: NDArray[Any]) -> Tensor:
    """A NumPy code, (h, w, D) or (D,), as a tensor (1, D, h, w) or (1, D)."""
    a = np.asarray(code)
    if a.ndim not in (1, 3) or a.size == 0:
        raise ValueError(f"a code has shape (h, w, D) or (D,), got {a.shape}")
    if not np.issubdtype(a.dtype, np.floating) and not np.issubdtype(a.dtype, np.integer):
        raise ValueError(f"a code is an array of numbers, got dtype {a.dtype}")
    if not np.isfinite(a).all():
        raise ValueError(f"the code has {int((~np.isfinite(a)).sum())} non-finite values (NaN or infinity)")
    a = a if a.dtype == np.float64 else a.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(a.transpose(2, 0, 1) if a.ndim == 3 else a)[None])


def code_to_numpy(code: Tensor) -> NDArray[Any]:
    """One code of a batch, (1, D, h, w) or (1, D), as (h, w, D) or (D,)."""
    a = code.cpu().numpy()[0]
    return np.ascontiguousarray(a.transpose(1, 2, 0) if a.ndim == 3 else a)


def code_shape(code: Tensor) -> tuple[int, ...]:
    """The shape that one code of a batch has in NumPy: (h, w, D) or (D,)."""
    return (*code.shape[2:], code.shape[1])


def differences(config: Mapping[str, Any], other: Mapping[str, Any], ignored: Set[str] = frozenset()) -> str:
    """How two descriptions (`to_config`) differ, as "cell_size 6 instead of 8, …"; the type alone if that differs."""
    names = sorted({*config, *other} - ignored) if config.get("type") == other.get("type") else ["type"]
    pairs = ((name, config.get(name), other.get(name)) for name in names)
    return ", ".join(f"{name} {a!r} instead of {b!r}" for name, a, b in pairs if a != b)


def _same(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except (ValueError, RuntimeError):
        return False

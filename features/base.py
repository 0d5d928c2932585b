"""The contract that every descriptor keeps: image → code, with its gradient."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from operator import methodcaller
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unfeature.io.images import AnyImage, image_of, with_channels

from . import DESCRIPTORS
from .code import Code
from .code import differences as differences
from .threads import limited_torch

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
    heavy : bool
        Whether a pixel costs so many operations that several threads pay for small images too.
    descriptors_per_position : int
        Local descriptors that the channels of one position hold, one after the other.
    traceable : bool
        Whether Dynamo (torch.compile) may trace a call; otherwise that runs as it is, between compiled graphs.

    Notes
    -----
    Shape: x (N, C, H, W) in [0, 1] → (N, D, h, w), or (N, D) for codes without positions. The code has the dtype
    and device of x and is contiguous; each sample is encoded by itself. Gradients are finite everywhere, on constant
    images too. float16 and bfloat16 images are encoded in float32, and `torch.autocast` changes nothing: `forward`
    always receives a checked batch in float32 or float64, of at least one sample, outside autocast.
    """

    stride: int = 1
    receptive_field: int = 1
    in_channels: tuple[int, ...] = (1, 3)
    centre: tuple[float, ...] = (0.5,)
    input_size: tuple[int, int] | None = None
    contrast_invariant: bool = False
    heavy: bool = False
    descriptors_per_position: int = 1
    traceable: bool = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "forward" in vars(cls):
            cls.forward = _on_any_batch(cls.forward)  # type: ignore[method-assign]

    def __init__(self) -> None:
        super().__init__()
        self.training = False

    @overload
    def __call__(self, image: Tensor, *others: Any) -> Tensor: ...
    @overload
    def __call__(self, image: AnyImage, *others: Any) -> NDArray[Any]: ...
    def __call__(self, image: Tensor | AnyImage, *others: Any) -> Tensor | NDArray[Any]:
        """Encode a tensor (N, C, H, W), or one NumPy image (H, W) or (H, W, C), with values in [0, 1].

        NumPy images may also be uint8 or uint16, whose full range is mapped to [0, 1]. A Pillow image, a path or nested
        lists stand for such an image. The code is a tensor (N, D, h, w) or (N, D), or a `Code`: an array (h, w, D) or
        (D,) that remembers the image's size. ValueError for a wrong shape, dtype or range, non-finite values in the
        image or its code, an image too small for one position, or further arguments that no hook has taken away.
        """
        if not isinstance(image, Tensor):
            pixels = image_of(image)
            pixels = pixels if pixels is image else with_channels(pixels, self.in_channels)
            with torch.no_grad():
                found = code_to_numpy(self(self.as_batch(pixels), *others))
                if not np.isfinite(found).all():
                    raise ValueError(f"the code of {self!r} has {int((~np.isfinite(found)).sum())} values that are NaN "
                                     "or infinite: its parameters are too large or too small for this image")
                return Code.of(found, self.to_config(), pixels.shape[:2])
        if torch.compiler.is_dynamo_compiling() and not self.traceable:
            from .untraced import untraced

            return untraced(type(self).__call__, self, image, *others)  # type: ignore[no-any-return]
        self.check_batch(image)
        with self.limited_threads(image.shape):
            code: Tensor = super().__call__(image, *others)
        return code

    def limited_threads(self, shape: Sequence[int]) -> AbstractContextManager[None]:
        """Torch with as many threads as images (N, C, H, W) are worth to this descriptor, see `limited_torch`."""
        if self.heavy or torch.compiler.is_compiling():
            return nullcontext()
        return limited_torch(shape[0], shape[2] * shape[3])

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

    @property
    def has_positions(self) -> bool:
        """Whether codes are maps (D, h, w) rather than one vector (D,)."""
        side = max(64, self.receptive_field + 8 * self.stride)
        return len(self.output_shape(*(self.input_size or (side, side)))) == 3

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

    def centre_like(self, like: Tensor, channels: int | None = None) -> Tensor:
        """The centre (C, 1, 1) of images, by default of `in_channels[0]` channels, as a tensor like another."""
        centre = torch.tensor(self.centre, dtype=like.dtype, device=like.device)
        return centre.view(-1, 1, 1).expand(self.in_channels[0] if channels is None else channels, 1, 1)

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
    def mirrored_channels(self) -> NDArray[np.intp] | None:
        """Order of the channels in the code of the mirror image, left and right exchanged; None if it is not known.

        ``code[:, order].flip(3)`` is that code where the grid of positions lies symmetrically in the image; pixels
        whose direction is on the edge of a hard bin may count in the other one.
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


def _on_any_batch(encode: Callable[[Any, Tensor], Tensor]) -> Callable[..., Tensor]:
    """A `forward` that checks its batch and keeps its dtype, whatever the precision around it; see `Representation`."""

    @functools.wraps(encode)
    def forward(self: Representation, x: Tensor, *others: Any) -> Tensor:
        if others:
            raise ValueError(f"{type(self).__name__} encodes one batch of images, got {len(others)} further arguments "
                             f"({', '.join(type(other).__name__ for other in others)}): pass the batch alone")
        self.check_batch(x)
        if x.shape[0] == 0:
            return x.sum() * x.new_zeros(0, *self.output_shape(*x.shape[-2:]))
        exact = at_least_single(x)
        if torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                code = encode(self, exact)
        else:
            code = encode(self, exact)
        return (code if code.dtype == x.dtype else code.to(x.dtype)).contiguous()

    return forward


def at_least_single(x: Tensor) -> Tensor:
    """A tensor in float32 or, if it is in float64, as it is."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def described(source: str | Path, config: dict[str, Any]) -> Representation:
    """The descriptor that a file describes; a ValueError that names the file if the description is damaged."""
    try:
        return Representation.from_config(config)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, MemoryError) as error:
        raise ValueError(f"{source} describes no descriptor that can be made ({error})") from error


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


def _same(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except (ValueError, RuntimeError):
        return False

"""Several layers of one network from one forward pass, on images in [0, 1]."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..backend import is_traced
from .copies import Copies, frozen
from .hooks import FoldedConv2d, LeakyReLU, RectifyingReLU, Rule, run, swap
from .layouts import Arrangement, Layout, NoCode, unchanged_axis
from .preprocessing import Preprocessing, preprocessing_of
from .receptive_field import Field, derive, measure
from .weights import load_network
from .zoo import Network, resolve


class LayerStack(nn.Module):
    r"""Several layers of one network, from one forward pass.

    The network is copied and frozen, and runs only up to the last of the layers. The original module is never changed.

    Parameters
    ----------
    network, weights, leak, precision, layout, output, call
        As for `CNN`; the last three hold for every layer.
    layers : sequence of str
        Layers by name (``"conv1"``, ``"fire2"``) or module path (``"features.10"``), each once.
    preprocessing : Preprocessing, optional
        By default that of a published network or a timm module; other modules state none.

    Attributes
    ----------
    fingerprint : str
        SHA-256 of the names, shapes and float32 values of the weights that the layers depend on.

    Raises
    ------
    ValueError, FileNotFoundError
        As for `CNN`.
    """

    network: nn.Module | None

    def __init__(self, network: str | nn.Module, layers: Sequence[str], weights: str | Path | None = None, *,
                 preprocessing: Preprocessing | None = None, leak: float = 0.0,
                 precision: Literal["bfloat16"] | None = None, layout: Layout | None = None,
                 output: str | int | None = None, call: int = 0) -> None:
        super().__init__()
        if isinstance(layers, str) or not layers or len(set(layers)) < len(layers):
            raise ValueError(f"layers is a list of different names, got {layers!r}")
        if precision not in (None, "bfloat16"):
            raise ValueError(f"precision is 'bfloat16', or None for that of the images, got {precision!r}")
        if not (math.isfinite(leak) and 0 <= leak <= 1):
            raise ValueError(f"leak is a slope from 0 to 1, got {leak}")
        if not isinstance(call, int):
            raise ValueError(f"call is a whole number, 0 for the first call or -1 for the last, got {call!r}")
        module = load_module(network, weights)
        self.layers, self.precision, self.leak, self.output, self.call = tuple(layers), precision, leak, output, call
        self.paths = [resolve(module, layer) for layer in self.layers]
        self.preprocessing = preprocessing or preprocessing_of(module)
        published = isinstance(module, Network)
        self._arrangement = Arrangement(module, len(self.preprocessing.mean),
                                        layout or ("channels_first" if published else None))
        self._layouts: dict[str, Layout | None] = {}
        self._sequences: list[bool] | None = None
        whole = module if published else frozen(module, own_buffers=True)
        self.__dict__["network"] = None if published else whole  # not registered: the part that runs is
        part = whole if call else _truncated(whole, self.paths)
        self.model = frozen(part, _channels_last, own_buffers=True) if published else frozen(part)
        _check_weights(self.model)
        self.fingerprint = _fingerprint(self.model)
        self._shapes: dict[tuple[int, int], dict[str, tuple[int, ...]]] = {}
        if leak and not _swap_relus(self.model, partial(LeakyReLU, leak)):
            raise ValueError("leak needs ReLUs that are modules (torch.nn.ReLU), and there is none up to "
                             f"{', '.join(self.layers)}: leave it at 0")
        if published:
            swap(self.model, FoldedConv2d.suits, FoldedConv2d)
        self._copies = Copies(self.model)
        self.eval()

    def leaky(self, leak: float) -> LayerStack:
        """A copy with shared weights and another leak; itself if the leak is the same or no ReLUs are modules."""
        if leak == self.leak:
            return self
        twin = self._with_relus(partial(LeakyReLU, leak))
        if twin is not self:
            twin.leak = leak
        return twin

    def rectifying(self, rule: Rule) -> LayerStack:
        """A copy with shared weights, whose ReLUs pass no negative gradient; itself if no ReLUs are modules."""
        return self._with_relus(partial(RectifyingReLU, rule))

    def _with_relus(self, make: Callable[[], nn.Module]) -> LayerStack:
        """A copy with shared weights and other ReLUs; itself if no ReLUs are modules."""
        model = self._copies.new()
        if not _swap_relus(model, make):
            return self
        twin = type(self).__new__(type(self))
        twin.__setstate__({**self.__getstate__(), "_modules": {"model": model}})
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Without the copies for other threads."""
        return {name: value for name, value in vars(self).items() if name != "_copies"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._copies = Copies(self.model)

    def _apply(self, *args: Any, **kwargs: Any) -> LayerStack:
        """Take the copies along to another device or precision."""
        super()._apply(*args, **kwargs)
        self._copies = Copies(self.model)
        return self

    def train(self, mode: bool = True) -> LayerStack:
        """Stay in evaluation mode: the network is frozen."""
        return super().train(False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The code (N, D, h, w) or (N, D) of every layer, by name, for images (N, C, H, W), RGB in [0, 1]."""
        if x.shape[0] == 0:
            shapes = self.output_shapes(*x.shape[2:])
            return {layer: x.new_zeros(0, *shape) + x.sum() for layer, shape in shapes.items()}
        size, tensors = (x.shape[2], x.shape[3]), self._run(x)
        codes = {}
        for layer, path, tensor in zip(self.layers, self.paths, tensors, strict=True):
            if tensor.ndim < 2 or tensor.shape[0] != x.shape[0]:
                raise NoCode(f"layer {layer!r} gives shape {tuple(tensor.shape)} for {x.shape[0]} images, but a code "
                             "has one row for each: choose a layer around it")
            if not tensor.is_floating_point():
                raise NoCode(f"layer {layer!r} gives values of type {tensor.dtype}, but a code is real and has "
                             "gradients: choose a layer before it")
            if x.requires_grad and torch.is_grad_enabled() and not (tensor.requires_grad or is_traced()):
                raise NoCode(f"layer {layer!r} has no gradient: the network computes it under torch.no_grad, detaches "
                             "it, or does not compute it from the image")
            if layer not in self._layouts and tensor.ndim > 2:
                self._layouts[layer] = self._recognise(path, tuple(tensor.shape), size)
            code = self._arrangement.code(tensor, self._layouts.get(layer), layer, size)
            codes[layer] = code.to(x.dtype).contiguous()
        return codes

    def _run(self, x: Tensor) -> list[Tensor]:
        """What the layers give for images; sequences (T, N, D), which one image tells from (N, T, D), as (N, T, D)."""
        if self._sequences is None and x.shape[0] > 1:
            with torch.no_grad():
                self._run(x[:1])
        x = self.preprocessing(x.expand(-1, len(self.preprocessing.mean), -1, -1))
        mixed = torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision is not None)
        with mixed, self._copies.lend(x) as model:
            tensors = run(model, self.paths, x, self.call, self.output)
        if self._sequences is None:
            self._sequences = [t.ndim == 3 and t.shape[0] > 1 == t.shape[1] for t in tensors]
        return [t.transpose(0, 1) if turn else t for t, turn in zip(tensors, self._sequences, strict=True)]

    @torch.no_grad()
    def _recognise(self, path: str, shape: tuple[int, ...], size: tuple[int, int]) -> Layout | None:
        """The layout of a layer, by its shape for an image or, if several suit that, by its shape for a larger one."""
        layout = self._arrangement.recognise(self.model.get_submodule(path), shape, size)
        if layout is None:
            with suppress(Exception):  # a user's network may raise anything for another size
                larger = self._run(self._grey(2 * size[0], 2 * size[1]))[self.paths.index(path)]
                return unchanged_axis(shape[1:], tuple(larger.shape[1:]))
        return layout

    def layout_of(self, layer: str) -> Layout | None:
        """The layout of a layer; None for a code without positions, or one that is not recognised."""
        if layer not in self._layouts:
            with suppress(ValueError):
                self.output_shapes(*self._nominal_size)
        return self._layouts.get(layer, self._arrangement.layout)

    @property
    def _nominal_size(self) -> tuple[int, int]:
        return self.preprocessing.input_size or (224, 224)

    @property
    def _weight(self) -> Tensor:
        """One of the network's weights, for its device and precision."""
        return next((b for b in self.model.buffers() if b.is_floating_point()), torch.zeros(0))

    def output_shapes(self, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """The shape (D, h, w) or (D,) of every layer's code; ValueError for a size that the network cannot take."""
        if min(height, width) < 1:
            raise ValueError(f"an image has at least one pixel, got {height}×{width}")
        if (height, width) not in self._shapes:
            codes = self._probe(self._grey(height, width))
            self._shapes[height, width] = {layer: tuple(code.shape[1:]) for layer, code in codes.items()}
        return dict(self._shapes[height, width])

    def _grey(self, height: int, width: int) -> Tensor:
        return self._weight.new_full((1, len(self.preprocessing.mean), height, width), 0.5)

    @torch.no_grad()
    def _probe(self, image: Tensor) -> dict[str, Tensor]:
        """The codes of an image; a ValueError if the network cannot compute them."""
        try:
            return self.forward(image)
        except NoCode:
            raise
        except Exception as error:  # a user's network may raise anything
            nominal = self.preprocessing.input_size
            advice = (f"its own size is {nominal[0]}×{nominal[1]}" if nominal else
                      "give the size that it was trained with as input_size=(height, width)")
            raise ValueError(f"the network cannot take a {image.shape[2]}×{image.shape[3]} image of {image.shape[1]} "
                             f"channels up to {', '.join(self.layers)}: {advice} ({error})") from error

    @torch.no_grad()
    def field(self, layer: str) -> Field:
        """A layer's receptive fields: derived from its modules if possible, else measured, else the whole image."""
        size = self._nominal_size
        self.output_shapes(*size)
        image = self._grey(*size)
        with self._copies.lend(image) as model:
            field, complete = derive(model, self.paths[self.layers.index(layer)], image, self.call, self.output)
        if not complete:
            field = measure(lambda x: self.forward(x)[layer], image) or Field(math.inf, field.stride, field.offset)
        return field if math.isfinite(field.size) else Field(max(size), field.stride, field.offset)


def _swap_relus(model: nn.Module, make: Callable[[], nn.Module]) -> bool:
    """Replace all ReLUs, in place; whether there are any."""
    return swap(model, lambda m: isinstance(m, (nn.ReLU, LeakyReLU)), lambda m: make()) > 0


def load_module(network: str | nn.Module, weights: str | Path | None) -> nn.Module:
    """A published network with its weights, or the module itself."""
    if isinstance(network, str):
        return load_network(network, weights)
    if not isinstance(network, nn.Module):
        raise ValueError(f"a network is a name or a torch module, got {type(network).__name__}")
    if weights is not None:
        raise ValueError("weights are for networks by name; a module has its own: load them into it first")
    return network


def _truncated(module: nn.Module, paths: Sequence[str]) -> nn.Module:
    """A chain without the layers after the last of the paths; any other module unchanged."""
    if not isinstance(module, nn.Sequential) or type(module).forward is not nn.Sequential.forward:
        return module
    heads = {path.split(".")[0] for path in paths}
    last = max(i for i, name in enumerate(module._modules) if name in heads)
    return nn.Sequential(OrderedDict(list(module._modules.items())[:last + 1]))


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _check_weights(model: nn.Module) -> None:
    for name, tensor in model.named_buffers():
        if tensor.is_meta:
            raise ValueError(f"the weights {name} have no values: load them from a file, with load_network")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"the weights {name} have {int((~tensor.isfinite()).sum())} values that are not finite")


def _fingerprint(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.named_buffers()):
        values = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
        digest.update(f"{name}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values, dtype="<f4").tobytes())
    return digest.hexdigest()

"""Several layers of one network from one forward pass, on images in [0, 1]."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .hooks import FoldedConv2d, LeakyReLU, NoCode, frozen, run, swap
from .receptive_field import Field, derive, measure
from .weights import load_network
from .zoo import Network, Preprocessing, no_such_layer

SIZE_TO_MEASURE_WITH = (224, 224)


class LayerStack(nn.Module):
    r"""Several layers of one network, from one forward pass.

    The network is copied, its weights shared or copied but always frozen, and runs only as far as the last layer asked
    for. The module that was given is not changed, and no hook is ever put on it.

    Parameters
    ----------
    network : str or Module
        A published network by its name (see `unfeature.features.networks.zoo.NETWORKS`), or any torch module in
        evaluation mode that takes (N, C, H, W).
    layers : sequence of str
        Names of layers (``"conv1"``, ``"fire2"``) or module paths (``"features.10"``).
    weights : path, optional
        The file of a published network's weights; see `unfeature.features.networks.weights.load_network`.
    mean, std : float or sequence of float, optional
        The network's input is (scale · x[order] − mean) / std. Published networks bring theirs along, timm's modules
        too; both must be given for any other module, one value a channel (one value alone means three channels).
    scale : float, optional
        The network's white, 255 or 1; 1 for a module.
    order : str, optional
        ``"RGB"`` or ``"BGR"``; RGB for a module.
    input_size : tuple of int, optional
        Height and width that the network was trained with.
    leak : float
        The slope of the gradient through ReLUs that are dead, 0.05 in the papers' activation maximisation; codes are
        the same.
    precision : str, optional
        ``"bfloat16"`` lets convolutions and matrix products round to it; by default they have that of the images.

    Attributes
    ----------
    fingerprint : str
        SHA-256 of the names, shapes and float32 values of the weights that the layers depend on.

    Raises
    ------
    ValueError
        For an unknown network or layer, a module in training mode, colours that are not given, weights that do not
        fit or that are not finite.
    FileNotFoundError
        For missing weights, saying where published ones come from.
    """

    def __init__(self, network: str | nn.Module, layers: Sequence[str], weights: str | Path | None = None, *,
                 mean: float | Sequence[float] | None = None, std: float | Sequence[float] | None = None,
                 scale: float | None = None, order: str | None = None, input_size: Sequence[int] | None = None,
                 leak: float = 0.0, precision: str | None = None) -> None:
        super().__init__()
        if precision not in (None, "bfloat16"):
            raise ValueError(f"precision is 'bfloat16', or None for that of the images, got {precision!r}")
        self.precision = precision
        module = _loaded(network, weights)
        self.layers = tuple(layers)
        self.paths = [_resolve(module, layer) for layer in self.layers]
        self.preprocessing = _preprocessing(module, mean, std, scale, order, input_size)
        ours = isinstance(module, Network)
        model = frozen(_truncated(module, self.paths), _channels_last if ours else Tensor.detach)
        _check_weights(model)
        self.fingerprint = _fingerprint(model)
        self._twins: dict[tuple[str, torch.dtype], nn.Module] = {}
        self._shapes: dict[tuple[int, int], list[tuple[int, ...]]] = {}
        self.model, self.leak = model, leak
        if not (math.isfinite(leak) and 0 <= leak <= 1):
            raise ValueError(f"leak is a slope from 0 to 1, got {leak}")
        if leak and not _made_leaky(model, leak):
            raise ValueError("leak needs ReLUs that are modules (torch.nn.ReLU), and there is none up to "
                             f"{', '.join(self.layers)}: leave it at 0")
        if ours:
            swap(model, FoldedConv2d.suits, FoldedConv2d)
        self.eval()

    def leaky(self, leak: float) -> LayerStack:
        """One of the same weights with another leak; itself if it has that already, or no ReLUs that are modules."""
        if leak == self.leak:
            return self
        model = frozen(self.model)
        if not _made_leaky(model, leak):
            return self
        twin = copy.copy(self)
        twin._modules, twin._twins, twin.leak = {"model": model}, {}, leak
        return twin

    def train(self, mode: bool = True) -> LayerStack:
        """Stay in evaluation mode whatever is asked: the network is frozen."""
        return super().train(False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The code (N, D, h, w), or (N, D), of every layer, by name, for images (N, C, H, W), RGB in [0, 1]."""
        x = self.preprocessing(x.expand(-1, len(self.preprocessing.mean), -1, -1))
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision is not None):
            codes = dict(zip(self.layers, run(self._model_for(x), self.paths, x), strict=True))
        for layer, code in codes.items():
            if not isinstance(code, Tensor) or code.ndim not in (2, 4):
                what = f"shape {tuple(code.shape)}" if isinstance(code, Tensor) else f"a {type(code).__name__}"
                raise NoCode(f"layer {layer!r} gives {what}, but a code has shape (N, D, h, w) or (N, D): "
                             "choose a layer within it")
        return {layer: code.to(x.dtype) for layer, code in codes.items()}

    @property
    def _weight(self) -> Tensor:
        """One of the network's weights, which tells where it is and in what precision."""
        return next((b for b in self.model.buffers() if b.is_floating_point()), torch.zeros(0))

    def _model_for(self, x: Tensor) -> nn.Module:
        """The network on the device and in the precision of x."""
        weight = self._weight
        if (weight.device, weight.dtype) == (x.device, x.dtype):
            return self.model
        key = (str(x.device), x.dtype)
        if key not in self._twins:
            self._twins[key] = frozen(
                self.model, lambda t: t.to(x.device, x.dtype if t.is_floating_point() else t.dtype))
        return self._twins[key]

    def output_shapes(self, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """The shape (D, h, w) or (D,) of every layer's code; ValueError for a size that the network cannot take."""
        if (height, width) not in self._shapes:
            codes = self._probe(self._blank(height, width)).values()
            self._shapes[height, width] = [tuple(code.shape[1:]) for code in codes]
        return dict(zip(self.layers, self._shapes[height, width], strict=True))

    def _blank(self, height: int, width: int) -> Tensor:
        if min(height, width) < 1:
            raise ValueError(f"an image has at least one pixel, got {height}×{width}")
        channels = len(self.preprocessing.mean)
        return torch.full((1, channels, height, width), 0.5, dtype=self._weight.dtype, device=self._weight.device)

    @torch.no_grad()
    def _probe(self, image: Tensor) -> dict[str, Tensor]:
        """The codes of an image, to learn whether there are any."""
        try:
            return self.forward(image)
        except NoCode:
            raise
        except Exception as error:  # a network of the user's may raise anything
            nominal = self.preprocessing.input_size
            advice = (f"its own size is {nominal[0]}×{nominal[1]}" if nominal else
                      "say with input_size=(height, width) what size it was trained with")
            raise ValueError(f"the network cannot take a {image.shape[2]}×{image.shape[3]} image of {image.shape[1]} "
                             f"channels up to {', '.join(self.layers)}: {advice} ({error})") from error

    @torch.no_grad()
    def field(self, layer: str) -> Field:
        """The receptive fields of a layer: derived where its modules tell them, else measured, else a whole image's.

        Raises
        ------
        ValueError
            When the network cannot take the image to measure with.
        """
        size = self.preprocessing.input_size or SIZE_TO_MEASURE_WITH
        self.output_shapes(*size)
        image = self._blank(*size)
        field, complete = derive(self.model, self.paths[self.layers.index(layer)], image)
        if not complete:
            field = measure(lambda x: self.forward(x)[layer], image) or Field(math.inf, field.stride, field.offset)
        return field if math.isfinite(field.size) else Field(max(size), field.stride, field.offset)


def _made_leaky(model: nn.Module, leak: float) -> bool:
    return swap(model, lambda m: isinstance(m, (nn.ReLU, LeakyReLU)), lambda m: LeakyReLU(leak)) > 0


def _loaded(network: str | nn.Module, weights: str | Path | None) -> nn.Module:
    if isinstance(network, str):
        return load_network(network, weights)
    if not isinstance(network, nn.Module):
        raise ValueError(f"a network is a name or a torch module, got {type(network).__name__}")
    if weights is not None:
        raise ValueError("weights go with the name of a network; a module has its own: load them into it first")
    training = next((name or "itself" for name, part in network.named_modules() if part.training), None)
    if training:
        raise ValueError(f"{type(network).__name__} is in training mode ({training}), where dropout and batch "
                         "normalisation change its codes: call network.eval() first")
    return network


def _resolve(module: nn.Module, layer: str) -> str:
    if isinstance(module, Network):
        return module.resolve(layer)
    paths = [name for name, _ in module.named_modules() if name]
    if layer not in paths:
        raise ValueError(no_such_layer(layer, type(module).__name__, paths))
    return layer


def _truncated(module: nn.Module, paths: Sequence[str]) -> nn.Module:
    """A chain, without the layers behind the last one asked for; any other module whole."""
    if not isinstance(module, nn.Sequential) or type(module).forward is not nn.Sequential.forward:
        return module
    heads = {path.split(".")[0] for path in paths}
    last = max(i for i, name in enumerate(module._modules) if name in heads)
    chain = nn.Sequential()
    for name in list(module._modules)[:last + 1]:
        chain.add_module(name, module.get_submodule(name))
    return chain.eval()


def _values(value: float | Sequence[float], channels: int) -> tuple[float, ...]:
    if isinstance(value, (int, float)):
        return (float(value),) * channels
    return tuple(float(v) for v in value)


def _preprocessing(module: nn.Module, mean: float | Sequence[float] | None, std: float | Sequence[float] | None,
                   scale: float | None, order: str | None, input_size: Sequence[int] | None) -> Preprocessing:
    """What the network brings along, with what the user says instead."""
    told = getattr(module, "pretrained_cfg", None)  # timm's
    if isinstance(module, Network):
        base = module.preprocessing
    elif isinstance(told, Mapping) and "mean" in told and "std" in told:
        base = Preprocessing(tuple(told["mean"]), tuple(told["std"]), input_size=tuple(told["input_size"][1:]))
    elif mean is None or std is None:
        raise ValueError(f"{type(module).__name__} does not tell the colours that it expects: give mean and std on its "
                         "own scale, such as mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225) for torchvision's; "
                         "mean=0, std=1 for one that takes [0, 1] as it is")
    else:
        channels = next((len(v) for v in (mean, std) if not isinstance(v, (int, float))), 3)
        base = Preprocessing(_values(mean, channels), _values(std, channels))
    changes: dict[str, Any] = {"scale": scale, "order": order}
    changes |= {n: None if v is None else _values(v, len(base.mean)) for n, v in (("mean", mean), ("std", std))}
    changes["input_size"] = None if input_size is None else tuple(int(n) for n in input_size)
    return dataclasses.replace(base, **{name: value for name, value in changes.items() if value is not None})


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

"""Reader of MatConvNet's SimpleNN networks in MATLAB files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .matfile import read_mat
from .preprocessing import Preprocessing
from .zoo import ClippedAvgPool2d, LocalNorm, Network

Struct = dict[str, Any]
LARGEST_SIDE = 10_000
FOR_TRAINING = ("dropout", "softmaxloss", "loss")


def read_matconvnet(path: str | Path) -> Network:
    """Read a SimpleNN network with its preprocessing from a MATLAB v5 or v7 file.

    Both generations are read, bare or in a variable ``net``: ``meta`` and ``weights`` since beta 17, ``normalization``,
    ``filters`` and ``biases`` before. The network takes RGB on 0–255; the mean image is replaced by its spatial mean,
    and layers that only training uses are left out.

    Pooling whose padding imitates Caffe's rounding, [0 s−1 0 s−1] with s−1 at most k−1, rounds the output size up for
    every image size; files from before beta 17 state the padding for the network's own image size alone.
    """
    path = Path(path)
    variables = _variables(path)
    meta = _struct(variables.get("meta"))
    normalization = _struct(meta.get("normalization", variables.get("normalization")))
    try:
        size = _sides(normalization, "imageSize", None, None)
        layers = _read_layers(variables["layers"], size[2] if len(size) > 2 else None)
        inputs = next((m.in_channels for m in nn.ModuleList(layers.values()).modules() if isinstance(m, nn.Conv2d)), 3)
        preprocessing = Preprocessing(_mean_colour(normalization.get("averageImage"), inputs), (1.0,) * inputs, 255.0,
                                      input_size=(size[0], size[1]) if len(size) > 1 else None)
        return Network(layers, path.stem, preprocessing).eval()
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path.name}: {error}") from error


def _read_layers(structs: Any, channels: int | None) -> dict[str, nn.Module]:
    """The modules, by name, of a cell or struct array of layers; `channels` are the image's, if they are known."""
    layers: dict[str, nn.Module] = {}
    for i, layer in enumerate(map(_struct, np.asarray(structs).reshape(-1)), start=1):
        kind, name = _text(layer.get("type")), (_text(layer.get("name")) or f"layer{i}").replace(".", "_")
        if kind in FOR_TRAINING:
            continue
        if kind not in BUILDERS:
            raise ValueError(f"layer {i}, {name!r}, has the type {kind!r}; known are "
                             f"{', '.join((*BUILDERS, *FOR_TRAINING))}")
        if name in layers:
            raise ValueError(f"two layers are called {name!r}: rename one")
        try:
            module = BUILDERS[kind](layer, channels)
        except (ValueError, IndexError, TypeError, OverflowError, RuntimeError) as error:
            raise ValueError(f"layer {i}, {name!r}, of type {kind}: {error}") from error
        previous = next(reversed(layers.values()), None)
        if isinstance(module, nn.ReLU) and isinstance(previous, nn.Conv2d):
            module.inplace = True
        channels = next((m.out_channels for m in module.modules() if isinstance(m, nn.Conv2d)), channels)
        layers[name] = module
    return layers


def _variables(path: Path) -> Struct:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        variables: Struct = read_mat(path)
    except NotImplementedError as error:
        raise ValueError(f"{path} is a MATLAB 7.3 file: save it with -v7") from error
    except (ValueError, zlib.error, struct.error, MemoryError, OSError) as error:
        raise ValueError(f"{path} is not a whole MATLAB file ({error}): download or copy it again") from error
    variables = _struct(variables["net"]) if "net" in variables else variables
    if "layers" not in variables or "vars" in variables:
        found = ", ".join(name for name in variables if not name.startswith("__"))
        raise ValueError(f"{path} holds no SimpleNN network, which has 'layers' and no 'vars'; its variables: {found}")
    return variables


def _struct(value: Any) -> Struct:
    """The fields of a MATLAB struct by name; empty for anything else."""
    array = np.asarray(value)
    if array.dtype.names is None or array.size != 1:
        return {}
    record = array.reshape(-1)[0]
    return {name: record[name] for name in array.dtype.names}


def _numbers(value: Any) -> NDArray[np.float64]:
    return np.zeros(0) if value is None else np.asarray(value, dtype=np.float64).reshape(-1)


def _text(value: Any) -> str:
    array = np.asarray("" if value is None else value).reshape(-1)
    return str(array[0]) if array.size else ""


def _sides(layer: Struct, field: str, default: int | None, count: int | None, least: int = 1) -> list[int]:
    """A field of `count` numbers, or of one number for all; of any number if there is no count."""
    numbers = [int(n) for n in _numbers(layer.get(field))] or ([] if default is None else [default])
    if not all(least <= n <= LARGEST_SIDE for n in numbers):
        raise ValueError(f"{field} is {numbers[:4]}, expected numbers from {least} to {LARGEST_SIDE}")
    if count is None:
        return numbers
    if len(numbers) not in (1, count):
        raise ValueError(f"{field} has {len(numbers)} numbers, expected 1 or {count}")
    return numbers * count if len(numbers) == 1 else numbers


def _conv(layer: Struct, channels: int | None) -> nn.Module:
    stored = (np.asarray(layer["weights"]).reshape(-1) if "weights" in layer
              else [layer[field] for field in ("filters", "biases") if field in layer])
    tensors = [np.asarray(item, dtype=np.float32) for item in stored]
    if not tensors or not 2 <= tensors[0].ndim <= 4:
        raise ValueError("it has no filter bank of height × width × inputs × outputs")
    bank = tensors[0].reshape(*tensors[0].shape, *(1,) * (4 - tensors[0].ndim))  # MATLAB drops trailing ones
    weight = torch.from_numpy(np.ascontiguousarray(bank.transpose(3, 2, 0, 1)))
    bias = torch.from_numpy(tensors[1].reshape(-1).copy()) if len(tensors) > 1 and tensors[1].size else None
    outputs, inputs, height, width = weight.shape
    channels = inputs if channels is None else channels
    if channels % inputs:
        raise ValueError(f"its filters take {inputs} channels, but {channels} come in")
    if bias is not None and len(bias) != outputs:
        raise ValueError(f"it has {outputs} filters, but {len(bias)} biases")
    for what, tensor in (("filters", weight), ("biases", bias)):
        if tensor is not None and not tensor.isfinite().all():
            raise ValueError(f"its {what} have {int((~tensor.isfinite()).sum())} values that are not finite")
    stride, dilation = _sides(layer, "stride", 1, 2), _sides(layer, "dilate", 1, 2)
    top, bottom, left, right = _sides(layer, "pad", 0, 4, 0)
    even = top == bottom and left == right
    if min(weight.shape) < 1:
        raise ValueError(f"its filter bank is empty, {tuple(bank.shape)}")
    with torch.device("meta"):
        conv = nn.Conv2d(channels, outputs, (height, width), (stride[0], stride[1]), (top, left) if even else 0,
                         (dilation[0], dilation[1]), channels // inputs, bias is not None)
    conv.weight = nn.Parameter(weight)
    conv.bias = None if bias is None else nn.Parameter(bias)
    return conv if even else nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), conv)


def _pool(layer: Struct, channels: int | None) -> nn.Module:
    (height, width), (down, across) = (_sides(layer, f, 1, 2) for f in ("pool", "stride"))
    kernel, stride = (height, width), (down, across)
    top, bottom, left, right = pads = _sides(layer, "pad", 0, 4, 0)
    method = _text(layer.get("method")) or "max"
    if method not in ("max", "avg"):
        raise ValueError(f"the method is {method!r}, expected 'max' or 'avg'")
    if max(top, bottom) >= height or max(left, right) >= width:
        raise ValueError(f"the padding {pads} reaches the size of the window, {kernel}")
    if method == "avg":
        return ClippedAvgPool2d(kernel, stride, (left, right, top, bottom))
    up = pads == [0, down - 1, 0, across - 1] and down <= height and across <= width
    if up or not any(pads):
        return nn.MaxPool2d(kernel, stride, ceil_mode=up)
    return nn.Sequential(nn.ConstantPad2d((left, right, top, bottom), -torch.inf), nn.MaxPool2d(kernel, stride))


def _relu(layer: Struct, channels: int | None) -> nn.Module:
    leak = _numbers(layer.get("leak"))
    if not np.isfinite(leak).all():
        raise ValueError("its leak is not finite")
    return nn.LeakyReLU(float(leak[0])) if leak.any() else nn.ReLU()


def _lrn(layer: Struct, channels: int | None) -> nn.Module:
    window, kappa, alpha, beta = _numbers(layer.get("param")) if "param" in layer else (5, 1, 1e-4 / 5, 0.75)
    if not (np.isfinite([window, kappa, alpha, beta]).all() and 1 <= window <= LARGEST_SIDE):
        raise ValueError(f"its window, κ, α and β are {window}, {kappa}, {alpha} and {beta}")
    return LocalNorm(int(window), float(window * alpha), float(beta), float(kappa))


BUILDERS: dict[str, Callable[[Struct, int | None], nn.Module]] = {
    "conv": _conv, "pool": _pool, "relu": _relu, "lrn": _lrn, "normalize": _lrn,
    "softmax": lambda layer, channels: nn.Softmax(dim=1)}


def _mean_colour(image: Any, channels: int) -> tuple[float, ...]:
    """The spatial mean of a mean image: (H, W, C), a colour of C numbers, or nothing."""
    array = np.asarray(0.0 if image is None else image, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("the file's mean image has values that are not finite")
    if array.size in (0, 1, channels):
        return tuple(float(v) for v in np.broadcast_to(array.reshape(-1) if array.size else 0.0, channels))
    array = array if array.ndim == 3 else array[..., None]
    if array.ndim != 3 or array.shape[2] != channels:
        raise ValueError(f"the file's mean image has shape {array.shape}, but the network takes {channels} channels")
    return tuple(float(v) for v in array.mean(axis=(0, 1)))

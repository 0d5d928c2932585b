"""Weights of the published networks from files: MatConvNet, torch state dicts, safetensors."""

from __future__ import annotations

import dataclasses
import math
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from unfeature.io.files import existing_file, read_json

from ..checks import check_size
from .matconvnet import read_matconvnet
from .preprocessing import Preprocessing
from .zoo import Network, network

MATCONVNET = "https://www.vlfeat.org/matconvnet/pretrained/"
TORCHVISION = "https://download.pytorch.org/models/"
SOURCES = {
    **{name: f"imagenet-{file}.mat from {MATCONVNET}" for name, file in (
        ("alexnet", "caffe-alex"), ("caffenet", "caffe-ref"), ("vgg-f", "vgg-f"), ("vgg-m", "vgg-m"),
        ("vgg-s", "vgg-s"), ("vgg-vd-16", "vgg-verydeep-16"), ("vgg-vd-19", "vgg-verydeep-19"))},
    **{f"torchvision-{file.partition('-')[0]}": f"{TORCHVISION}{file}.pth" for file in (
        "alexnet-owt-7be5be79", "vgg16-397923af", "vgg19-dcbb9e9d", "squeezenet1_0-b66bff10")},
    **{f"overfeat-{kind}": f"net_weight_{i} from https://github.com/sermanet/OverFeat, as safetensors under this "
       "package's names (conv1.weight)" for i, kind in enumerate(("fast", "accurate"))},
    "squeezenet1_0": "https://github.com/songhan/SqueezeNet-Deep-Compression, as safetensors under torchvision's names",
}


def load_network(name: str, weights: str | Path | None = None) -> Network:
    """A published network with its weights and the preprocessing that its file states, in evaluation mode and float32.

    ``.mat`` is a MatConvNet SimpleNN file; the network is built from its layers, which must have the shapes of the
    published ones. ``.safetensors``, ``.pth`` and ``.pt`` hold tensors under this package's names (``conv1.weight``) or
    torchvision's (``features.0.weight``). A JSON file of the same name beside it may state the preprocessing:
    ``{"preprocessing": {"channel_order", "value_range", "scale", "mean", "std", "input_size"}}``. Half precision is
    widened. Nothing is ever downloaded: the FileNotFoundError for missing weights says where published ones are.
    """
    expected = network(name)
    if weights is None or not Path(weights).is_file():
        said = "give weights=… for" if weights is None else f"there is no file {weights} with the weights of"
        raise FileNotFoundError(f"{said} {expected.name}. Published ones: {SOURCES[expected.name]} "
                                "(download the file yourself and give its path)")
    path = Path(weights)
    if path.suffix == ".mat":
        loaded = read_matconvnet(path)
        _compare(loaded.state_dict(), expected.state_dict(), expected.name, path)
        loaded.name, loaded.paths = expected.name, expected.paths
        return loaded
    fill(expected, read_tensors(path), path)
    expected.preprocessing = _stated_preprocessing(path.with_suffix(".json"), expected.preprocessing)
    return expected


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or a torch state dict, by name; other contents of a pickle are never loaded."""
    path = Path(path)
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise ValueError(f"{path}: weights are read from .mat, .safetensors, .pth and .pt files")
    existing_file(path)
    if path.suffix == ".safetensors":
        try:
            return _within(path, load_file(path))
        except (SafetensorError, OSError, ValueError) as error:
            raise ValueError(f"{path} is not a whole safetensors file ({error}): copy it again") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about the pickles that it is about to refuse
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} holds more than tensors, or is no torch file, and is refused because a pickle can "
                         "run any code: save network.state_dict() instead of the network") from error
    except Exception as error:  # a damaged pickle raises errors of any type
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ValueError(f"{path} is not a whole torch file ({reason[0][:200]}): copy it again") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"{path} holds no tensors by name: save network.state_dict() there")
    return _within(path, {str(key).removeprefix("module."): tensor for key, tensor in content.items()})


def _within(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that are plain, and no larger than their file; a ValueError for others."""
    size = path.stat().st_size
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise ValueError(f"{path}: the tensor {name[:60]} is not a plain one on the CPU")
        if tensor.numel() * tensor.element_size() > size:
            raise ValueError(f"{path}: the tensor {name[:60]}, {tuple(tensor.shape)}, is larger than the file")
    return dict(tensors)


def fill(target: Network, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Set a network's weights, under its own names or torchvision's; fully connected layers may be matrices."""
    expected = target.state_dict()
    found = {}
    for key, tensor in tensors.items():
        name = target.translate(key)
        shape = expected[name].shape if name in expected else tensor.shape
        linear = tensor.ndim == 2 and len(shape) == 4 and tensor.shape == (shape[0], math.prod(shape[1:]))
        found[name] = tensor.reshape(shape) if linear else tensor
    _compare(found, expected, target.name, source)
    for name, tensor in found.items():
        owner, _, field = name.rpartition(".")
        setattr(target.get_submodule(owner), field, nn.Parameter(tensor.to(torch.float32)))


def _compare(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str, source: str | Path) -> None:
    troubles = {
        "missing": [key for key in expected if key not in found],
        "unknown": [key for key in found if key not in expected],
        "of another shape": [f"{key} {tuple(found[key].shape)} instead of {tuple(expected[key].shape)}"
                             for key in expected if key in found and found[key].shape != expected[key].shape],
        "not of floating point": [key for key in found if not found[key].is_floating_point()],
        "not finite": [key for key in expected if key in found and found[key].shape == expected[key].shape
                       and found[key].is_floating_point() and not found[key].isfinite().all()],
    }
    said = [f"{len(keys)} {what}: {', '.join(keys[:8])}{', …' if len(keys) > 8 else ''}"
            for what, keys in troubles.items() if keys]
    if said:
        raise ValueError(f"the weights in {source} do not fit {name}; {'; '.join(said)}. "
                         "Choose the network that the file belongs to")


def _stated_preprocessing(path: Path, default: Preprocessing) -> Preprocessing:
    """The preprocessing of the JSON file beside the weights, or the default if there is none."""
    if not path.is_file():
        return default
    try:
        content = read_json(path)
        stated: dict[str, Any] = content.get("preprocessing", {}) if isinstance(content, dict) else {}
        changes: dict[str, Any] = {n: tuple(float(v) for v in stated[n]) for n in ("mean", "std") if n in stated}
        if "value_range" in stated:
            changes["scale"] = float(stated["value_range"][1]) * float(stated.get("scale", 1.0))
        if "channel_order" in stated:
            changes["order"] = stated["channel_order"]
        if "input_size" in stated:
            changes["input_size"] = check_size(stated["input_size"][-2:])
        return dataclasses.replace(default, **changes)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path}, beside the weights, is not JSON that describes their preprocessing ({error}): "
                         "mend it, or move it away") from error

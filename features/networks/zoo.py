"""The published networks as plain torch modules with named layers, each described by a compact table."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfeature.catalogue import suggestion

from .preprocessing import Preprocessing


class Network(nn.Sequential):
    """A chain of named layers and its preprocessing; `paths` maps torchvision's module paths to layers."""

    def __init__(self, layers: Mapping[str, nn.Module], name: str, preprocessing: Preprocessing,
                 paths: Mapping[str, str] | None = None) -> None:
        super().__init__(OrderedDict(layers))
        self.name, self.preprocessing, self.paths = name, preprocessing, dict(paths or {})

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers, in the order in which they run."""
        return tuple(self._modules)

    def translate(self, key: str) -> str:
        """A dotted name in which torchvision's path at the start, if any, is replaced by the layer's name."""
        parts = key.split(".")
        head = ".".join(parts[:2])
        return ".".join([self.paths[head], *parts[2:]]) if head in self.paths else key


def resolve(module: nn.Module, layer: str) -> str:
    """The module path of a layer given by name, path or torchvision's path; a ValueError lists the valid layers."""
    paths = [path for path, _ in module.named_modules() if path]
    network, path, layers = type(module).__name__, layer, paths
    if isinstance(module, Network):
        network, path, layers = module.name, module.translate(layer), list(module.layers)
    if path not in paths:
        raise ValueError(f"{network} has no layer {layer!r}: one of {', '.join(layers)}{suggestion(layer, layers)}")
    return path


class Fire(nn.Module):
    """SqueezeNet's module: a 1×1 convolution, then 1×1 and 3×3 convolutions in parallel (1602.07360)."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, 2 · expanded, h, w), the 1×1 branch first."""
        squeezed = self.squeeze_activation(self.squeeze(x))
        code: Tensor = self.activation(torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], 1))
        return code


class LocalNorm(nn.LocalResponseNorm):
    r"""Response normalisation across channels: y_c = x_c (k + α/N Σ_q x_q²)^(−β), q from c−⌊(N−1)/2⌋ to c+⌈(N−1)/2⌉.

    The window is MatConvNet's. For even N, torch's has its longer half below c instead.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, C, h, w)."""
        squares = F.pad(x.square(), (0, 0, 0, 0, (self.size - 1) // 2, self.size // 2))
        power = squares[:, :x.shape[1]]
        for i in range(1, self.size):
            power = power + squares[:, i:i + x.shape[1]]
        return x * (self.k + self.alpha / self.size * power) ** -self.beta


class ClippedAvgPool2d(nn.Module):
    """Average pooling over the part of each window inside the map, with pads (left, right, top, bottom)."""

    def __init__(self, kernel_size: tuple[int, int], stride: tuple[int, int], pads: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.pads = kernel_size, stride, pads

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, C, h', w')."""
        inside = x.new_ones(1, 1, *x.shape[-2:])
        total, area = (F.avg_pool2d(F.pad(m, self.pads), self.kernel_size, self.stride) for m in (x, inside))
        return total / area


def _very_deep(*depths: int) -> str:
    blocks = ((*(f"conv{block}_{i} {channels} 3 1 1" for i in range(1, depth + 1)), f"pool{block} 2 2")
              for block, (depth, channels) in enumerate(zip(depths, (64, 128, 256, 512, 512), strict=True), start=1))
    return ", ".join([*chain.from_iterable(blocks), "fc6 4096 7, fc7 4096 1, fc8 1000 1"])


_ALEXNET = """conv1 96 11 4, {}, conv2 256 5 1 2 2, {}, conv3 384 3 1 1, conv4 384 3 1 1 2, conv5 256 3 1 1 2,
    pool5 3 2, fc6 4096 6, fc7 4096 1, fc8 1000 1"""
_SQUEEZENET = """conv1 96 7 2, pool1 3 2, fire2 16 64, fire3 16 64, fire4 32 128, pool4 3 2, fire5 32 128,
    fire6 48 192, fire7 48 192, fire8 64 256, pool8 3 2, fire9 64 256, conv_final 1000 1 1 {}, pool_final"""

# conv and fc: channels, kernel, stride = 1, padding = 0, groups = 1, each with a ReLU but for the last fc;
# pool: kernel, stride; fire: squeezed and expanded channels; a softmax comes last
NETWORKS = {
    "alexnet": _ALEXNET.format("norm1, pool1 3 2", "norm2, pool2 3 2"),
    "caffenet": _ALEXNET.format("pool1 3 2, norm1", "pool2 3 2, norm2"),
    "vgg-f": """conv1 64 11 4, norm1, pool1 3 2, conv2 256 5 1 2, norm2, pool2 3 2, conv3 256 3 1 1, conv4 256 3 1 1,
        conv5 256 3 1 1, pool5 3 2, fc6 4096 6, fc7 4096 1, fc8 1000 1""",
    "vgg-m": """conv1 96 7 2, norm1, pool1 3 2, conv2 256 5 2 1, norm2, pool2 3 2, conv3 512 3 1 1, conv4 512 3 1 1,
        conv5 512 3 1 1, pool5 3 2, fc6 4096 6, fc7 4096 1, fc8 1000 1""",
    "vgg-s": """conv1 96 7 2, norm1, pool1 3 3, conv2 256 5, norm2, pool2 2 2, conv3 512 3 1 1, conv4 512 3 1 1,
        conv5 512 3 1 1, pool5 3 3, fc6 4096 6, fc7 4096 1, fc8 1000 1""",
    "overfeat-fast": """conv1 96 11 4, pool1 2 2, conv2 256 5, pool2 2 2, conv3 512 3 1 1, conv4 1024 3 1 1,
        conv5 1024 3 1 1, pool5 2 2, fc6 3072 6, fc7 4096 1, fc8 1000 1""",
    "overfeat-accurate": """conv1 96 7 2, pool1 3 3, conv2 256 7, pool2 2 2, conv3 512 3 1 1, conv4 512 3 1 1,
        conv5 1024 3 1 1, conv6 1024 3 1 1, pool6 3 3, fc7 4096 5, fc8 4096 1, fc9 1000 1""",
    "torchvision-alexnet": """conv1 64 11 4 2, pool1 3 2, conv2 192 5 1 2, pool2 3 2, conv3 384 3 1 1,
        conv4 256 3 1 1, conv5 256 3 1 1, pool5 3 2, fc6 4096 6, fc7 4096 1, fc8 1000 1""",
    **dict.fromkeys(("vgg-vd-16", "torchvision-vgg16"), _very_deep(2, 2, 3, 3, 3)),
    **dict.fromkeys(("vgg-vd-19", "torchvision-vgg19"), _very_deep(2, 2, 4, 4, 4)),
    "squeezenet1_0": _SQUEEZENET.format(1),
    "torchvision-squeezenet1_0": _SQUEEZENET.format(0),
}
ALIASES = {"vgg16": "torchvision-vgg16", "vgg19": "torchvision-vgg19"}


def network(name: str) -> Network:
    """A published network without its weights; the name is one of `NETWORKS` or `ALIASES`, or a ValueError lists them.

    Layers have the published names: conv1, relu1, norm1, pool1, … fc8, prob; for SqueezeNet conv1, pool1,
    fire2 … fire9, conv_final, pool_final. Fully connected layers are convolutions over the whole map, so networks take
    larger images too. OverFeat's fast network ends at fc8, the accurate one at fc9. ``torchvision-…`` are
    torchvision's variants: another AlexNet (one tower, no normalisation) and other pooling and padding at the border;
    they expect RGB in [0, 1]. The network is in evaluation mode, its weights on torch's meta device (shapes without
    memory) until `weights.load_network` or `randomise` fills them.

    Krizhevsky et al., NIPS 2012; Chatfield et al., BMVC 2014 (VGG-F, M, S); Simonyan & Zisserman, ICLR 2015 (VGG-VD);
    Iandola et al., arXiv 1602.07360 (SqueezeNet); Sermanet et al., ICLR 2014 (OverFeat).
    """
    name = ALIASES.get(name, name)
    if name not in NETWORKS:
        known = (*NETWORKS, *ALIASES)
        raise ValueError(f"no network is called {name!r}: one of {', '.join(known)}, or a torch module"
                         f"{suggestion(name, known)}")
    with torch.device("meta"):
        layers = dict(_layers(name))
    return Network(layers, name, _preprocessing(name), _torchvision_paths(name, list(layers))).eval()


def _layers(name: str) -> Iterator[tuple[str, nn.Module]]:
    inputs, rounds_up = 3, not name.startswith(("torchvision", "overfeat")) or "squeezenet" in name
    rows = NETWORKS[name].split(",")
    for row in rows:
        layer, *numbers = row.split()
        values = [int(number) for number in numbers]
        if layer.startswith("norm"):
            caffe = name in ("alexnet", "caffenet")
            yield layer, LocalNorm(5, 1e-4, 0.75, 1.0) if caffe else LocalNorm(5, 5e-4, 0.75, 2.0)
        elif layer == "pool_final":
            yield layer, nn.AdaptiveAvgPool2d(1)
        elif layer.startswith("pool"):
            yield layer, nn.MaxPool2d(values[0], values[1], ceil_mode=rounds_up)
        elif layer.startswith("fire"):
            yield layer, Fire(inputs, *values)
            inputs = 2 * values[1]
        else:
            channels, kernel, stride, padding, groups = values + [1, 0, 1][len(values) - 2:]
            yield layer, nn.Conv2d(inputs, channels, kernel, stride, padding, groups=groups)
            if not (layer.startswith("fc") and row is rows[-1]):
                yield re.sub("conv|fc", "relu", layer), nn.ReLU(inplace=True)
            inputs = channels
    yield "prob", nn.Softmax(dim=1)


def _torchvision_paths(name: str, layers: list[str]) -> dict[str, str]:
    """Torchvision's module paths of the layers, for networks that torchvision has."""
    if not name.startswith(("torchvision", "vgg-vd", "squeezenet")):
        return {}
    first = layers.index("conv_final" if "squeezenet" in name else "fc6")
    indices = (1, 2, 3) if "squeezenet" in name else (1, 2, 4, 5, 6) if "alexnet" in name else (0, 1, 3, 4, 6)
    paths = [*(f"features.{i}" for i in range(first)), *(f"classifier.{i}" for i in indices)]
    return dict(zip(paths, layers[:-1], strict=True))


def _preprocessing(name: str) -> Preprocessing:
    if name.startswith("torchvision"):
        return Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), input_size=(224, 224))
    if name.startswith("overfeat"):
        side = 231 if name == "overfeat-fast" else 221
        return Preprocessing((118.380948,) * 3, (61.896913,) * 3, scale=255.0, input_size=(side, side))
    side = 227 if name in ("alexnet", "caffenet", "squeezenet1_0") else 224
    deep_compression = name == "squeezenet1_0"
    return Preprocessing((104.0, 117.0, 123.0) if deep_compression else (123.68, 116.779, 103.939), scale=255.0,
                         order="BGR" if deep_compression else "RGB", input_size=(side, side))


def randomise(module: nn.Module, seed: int) -> nn.Module:
    """Fill a module's weights, in place, with He's normal draws (variance 2 / fan-in), and its biases with zeros.

    The draws come from the seed, on the CPU: they are the same on every device. From the meta device the module moves
    to the CPU.
    """
    if any(parameter.is_meta for parameter in module.parameters()):
        module.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            std = math.sqrt(2 / math.prod(parameter.shape[1:])) if parameter.ndim > 1 else 0.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
    return module

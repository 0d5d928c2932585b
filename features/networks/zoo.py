"""The published networks as plain torch modules with named layers, each described by a compact table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfeature.catalogue import suggestion

from .preprocessing import Preprocessing

NamedLayers = list[tuple[str, nn.Module]]

IMAGENET_COLOUR = (123.68, 116.779, 103.939)
DEEP_COMPRESSION_COLOUR = (104.0, 117.0, 123.0)


class Network(nn.Sequential):
    """A chain of named layers, in the order in which they run, and its preprocessing.

    `name` is for descriptions and messages, `paths` maps torchvision's module paths to layers, and `classes` names the
    outputs of the last layer.
    """

    def __init__(self, layers: Mapping[str, nn.Module], name: str, preprocessing: Preprocessing,
                 paths: Mapping[str, str] | None = None, classes: Iterable[str] = ()) -> None:
        super().__init__()
        for layer, module in layers.items():
            self.add_module(layer, module)
        self.name = name
        self.preprocessing = preprocessing
        self.paths = dict(paths or {})
        self.classes = tuple(classes)

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
        self.kernel_size = kernel_size
        self.stride = stride
        self.pads = pads

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, C, h', w')."""
        inside = x.new_ones(1, 1, *x.shape[-2:])
        total, area = (F.avg_pool2d(F.pad(m, self.pads), self.kernel_size, self.stride) for m in (x, inside))
        return total / area


class _EightLayers(NamedTuple):
    """A network of Krizhevsky's family: five convolutions and three fully connected layers."""

    convs: tuple[tuple[int, int, int, int, int], ...]  # channels, kernel, stride, pad, groups
    pools: tuple[tuple[int, int], ...]                 # kernel, stride of pool1, pool2, pool5
    lrn: tuple[int, float, float, float] | None        # window, torch's α, β, k
    size: int
    pool_first: bool = False
    ceil: bool = True


_ALEX = ((96, 11, 4, 0, 1), (256, 5, 1, 2, 2), (384, 3, 1, 1, 1), (384, 3, 1, 1, 2), (256, 3, 1, 1, 2))
_FAST = ((64, 11, 4, 0, 1), (256, 5, 1, 2, 1), (256, 3, 1, 1, 1), (256, 3, 1, 1, 1), (256, 3, 1, 1, 1))
_MEDIUM = ((96, 7, 2, 0, 1), (256, 5, 2, 1, 1), (512, 3, 1, 1, 1), (512, 3, 1, 1, 1), (512, 3, 1, 1, 1))
_SLOW = ((96, 7, 2, 0, 1), (256, 5, 1, 0, 1), (512, 3, 1, 1, 1), (512, 3, 1, 1, 1), (512, 3, 1, 1, 1))
_ONE_TOWER = ((64, 11, 4, 2, 1), (192, 5, 1, 2, 1), (384, 3, 1, 1, 1), (256, 3, 1, 1, 1), (256, 3, 1, 1, 1))
_CAFFE_LRN = (5, 1e-4, 0.75, 1.0)
_VGG_LRN = (5, 5e-4, 0.75, 2.0)
_THIRDS = ((3, 2), (3, 2), (3, 2))

_EIGHTS = {
    "alexnet": _EightLayers(_ALEX, _THIRDS, _CAFFE_LRN, 227),
    "caffenet": _EightLayers(_ALEX, _THIRDS, _CAFFE_LRN, 227, pool_first=True),
    "vgg-f": _EightLayers(_FAST, _THIRDS, _VGG_LRN, 224),
    "vgg-m": _EightLayers(_MEDIUM, _THIRDS, _VGG_LRN, 224),
    "vgg-s": _EightLayers(_SLOW, ((3, 3), (2, 2), (3, 3)), _VGG_LRN, 224),
    "torchvision-alexnet": _EightLayers(_ONE_TOWER, _THIRDS, None, 224, ceil=False),
}
_VERY_DEEP = {"vgg-vd-16": (2, 2, 3, 3, 3), "vgg-vd-19": (2, 2, 4, 4, 4),
              "torchvision-vgg16": (2, 2, 3, 3, 3), "torchvision-vgg19": (2, 2, 4, 4, 4)}
_FIRES = {2: (96, 16, 64), 3: (128, 16, 64), 4: (128, 32, 128), 5: (256, 32, 128), 6: (256, 48, 192),
          7: (384, 48, 192), 8: (384, 64, 256), 9: (512, 64, 256)}

NETWORKS = (*_EIGHTS, *_VERY_DEEP, "squeezenet1_0", "torchvision-squeezenet1_0")
ALIASES = {"vgg16": "torchvision-vgg16", "vgg19": "torchvision-vgg19"}


def _conv_relu(name: str, inputs: int, row: tuple[int, int, int, int, int]) -> NamedLayers:
    channels, kernel, stride, pad, groups = row
    conv = nn.Conv2d(inputs, channels, kernel, stride, pad, groups=groups)
    return [(f"conv{name}", conv), (f"relu{name}", nn.ReLU(inplace=True))]


def _classifier(inputs: int, kernel: int) -> NamedLayers:
    relu6, relu7 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
    return [("fc6", nn.Conv2d(inputs, 4096, kernel)), ("relu6", relu6), ("fc7", nn.Conv2d(4096, 4096, 1)),
            ("relu7", relu7), ("fc8", nn.Conv2d(4096, 1000, 1)), ("prob", nn.Softmax(dim=1))]


def _eight_layers(spec: _EightLayers) -> NamedLayers:
    layers: NamedLayers = []
    inputs = 3
    for i, row in enumerate(spec.convs, start=1):
        layers += _conv_relu(str(i), inputs, row)
        inputs = row[0]
        if i in (1, 2, 5):
            kernel, stride = spec.pools[(1, 2, 5).index(i)]
            ends: NamedLayers = [(f"pool{i}", nn.MaxPool2d(kernel, stride, ceil_mode=spec.ceil))]
            if spec.lrn is not None and i != 5:
                size, alpha, beta, k = spec.lrn
                ends.insert(spec.pool_first, (f"norm{i}", LocalNorm(size, alpha, beta, k)))
            layers += ends
    return layers + _classifier(inputs, 6)


def _very_deep_layers(depths: tuple[int, ...], ceil: bool) -> NamedLayers:
    layers: NamedLayers = []
    inputs = 3
    for block, (depth, channels) in enumerate(zip(depths, (64, 128, 256, 512, 512), strict=True), start=1):
        for i in range(1, depth + 1):
            layers += _conv_relu(f"{block}_{i}", inputs, (channels, 3, 1, 1, 1))
            inputs = channels
        layers.append((f"pool{block}", nn.MaxPool2d(2, 2, ceil_mode=ceil)))
    return layers + _classifier(inputs, 7)


def _squeezenet_layers(border: int) -> NamedLayers:
    layers = _conv_relu("1", 3, (96, 7, 2, 0, 1))
    for i, widths in _FIRES.items():
        if i in (2, 5, 9):
            layers.append((f"pool{i - 1}", nn.MaxPool2d(3, 2, ceil_mode=True)))
        layers.append((f"fire{i}", Fire(*widths)))
    return [*layers, ("conv_final", nn.Conv2d(512, 1000, 1, padding=border)), ("relu_final", nn.ReLU(inplace=True)),
            ("pool_final", nn.AdaptiveAvgPool2d(1)), ("prob", nn.Softmax(dim=1))]


def _torchvision_paths(name: str, layers: NamedLayers) -> dict[str, str]:
    """Torchvision's module paths of the layers, for networks that torchvision has."""
    if name in _EIGHTS and name != "torchvision-alexnet":
        return {}
    names = [n for n, _ in layers]
    first = names.index("conv_final" if "squeezenet" in name else "fc6")
    paths = {f"features.{i}": n for i, n in enumerate(names[:first])}
    if "squeezenet" in name:
        return paths | {f"classifier.{i}": n for i, n in enumerate(names[first:-1], start=1)}
    indices = (1, 2, 4, 5, 6) if name == "torchvision-alexnet" else (0, 1, 3, 4, 6)
    return paths | {f"classifier.{i}": n for i, n in zip(indices, names[first:-1], strict=True)}


def network(name: str) -> Network:
    """A published network without its weights.

    Layers have the published names: conv1, relu1, norm1, pool1, … fc8, prob; for SqueezeNet conv1, pool1,
    fire2 … fire9, conv_final, pool_final. Fully connected layers are convolutions over the whole map, so networks take
    larger images too. ``torchvision-…`` are torchvision's variants: another AlexNet (one tower, no normalisation) and
    other pooling and padding at the border; they expect RGB in [0, 1].

    The name is one of `NETWORKS` or `ALIASES`; a ValueError for another lists them. The network is in evaluation mode,
    its weights on torch's meta device (shapes without memory) until `weights.load_network` or `randomise` fills them.

    Krizhevsky et al., NIPS 2012; Chatfield et al., BMVC 2014 (VGG-F, M, S); Simonyan & Zisserman, ICLR 2015 (VGG-VD);
    Iandola et al., arXiv 1602.07360 (SqueezeNet).
    """
    name = ALIASES.get(name, name)
    if name not in NETWORKS:
        known = (*NETWORKS, *ALIASES)
        raise ValueError(f"no network is called {name!r}: one of {', '.join(known)}, or a torch module"
                         f"{suggestion(name, known)}")
    with torch.device("meta"):
        if name in _EIGHTS:
            layers = _eight_layers(_EIGHTS[name])
        elif name in _VERY_DEEP:
            layers = _very_deep_layers(_VERY_DEEP[name], ceil=not name.startswith("torchvision"))
        else:
            layers = _squeezenet_layers(border=0 if name.startswith("torchvision") else 1)
    return Network(dict(layers), name, _preprocessing(name), _torchvision_paths(name, layers)).eval()


def _preprocessing(name: str) -> Preprocessing:
    if name.startswith("torchvision"):
        return Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), input_size=(224, 224))
    if name == "squeezenet1_0":
        return Preprocessing(DEEP_COMPRESSION_COLOUR, scale=255.0, order="BGR", input_size=(227, 227))
    size = _EIGHTS[name].size if name in _EIGHTS else 224
    return Preprocessing(IMAGENET_COLOUR, scale=255.0, input_size=(size, size))


def randomise(module: nn.Module, seed: int) -> nn.Module:
    """Fill a module's weights with He's normal draws, variance 2 / fan-in, and its biases with zeros.

    The draws come from the seed, on the CPU, so they are the same on every device. The module is changed and returned,
    on the CPU if it was on the meta device.
    """
    if any(parameter.is_meta for parameter in module.parameters()):
        module.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = math.prod(parameter.shape[1:])
            std = math.sqrt(2 / fan_in) if parameter.ndim > 1 else 0.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
    return module

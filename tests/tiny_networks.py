"""Small networks with random weights, quick enough for every test."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unfeature.features.networks.preprocessing import Preprocessing
from unfeature.features.networks.zoo import Fire, LocalNorm, Network, randomise

COLOURS = Preprocessing((104.0, 117.0, 123.0), scale=255.0, order="BGR", input_size=(25, 25))


def tiny() -> Network:
    """One layer of every kind that the published networks have."""
    with torch.device("meta"):
        layers = {"conv1": nn.Conv2d(3, 6, 5, stride=2), "relu1": nn.ReLU(inplace=True), "norm1": LocalNorm(3, 1e-3),
                  "pool1": nn.MaxPool2d(3, 2, ceil_mode=True), "conv2": nn.Conv2d(6, 8, 3, padding=1, groups=2),
                  "relu2": nn.ReLU(inplace=True), "fire3": Fire(8, 4, 5), "fc4": nn.Conv2d(10, 7, 3),
                  "prob": nn.Softmax(dim=1)}
    network = Network(layers, "tiny", COLOURS, {"features.0": "conv1", "features.3": "pool1", "features.6": "fire3"})
    randomise(network, seed=0)
    return network.eval()


class Residual(nn.Module):
    """Somebody's own module: functional calls, a shortcut, a classifier on the mean."""

    def __init__(self) -> None:
        super().__init__()
        with torch.device("meta"):
            self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
            self.bn = nn.BatchNorm2d(8)
            self.act = nn.ReLU(inplace=True)
            self.conv = nn.Conv2d(8, 8, 3, padding=1)
            self.down = nn.Conv2d(8, 8, 3, stride=2, padding=1)
            self.idle = nn.Conv2d(8, 8, 1)
            self.fc = nn.Linear(8, 5)
        randomise(self, seed=1)
        self.bn.reset_running_stats()
        nn.init.ones_(self.bn.weight)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn(self.stem(x)))
        x = self.down(torch.relu(x + self.conv(x)))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


class Block(nn.Module):
    """The basic block of a residual network, whose ReLU runs twice."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None if stride == 1 else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        activation: Tensor = self.relu(x + shortcut)
        return activation


class ResNet(nn.Module):
    """A small residual network with torchvision's names, and running statistics as after training."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2 = nn.Sequential(Block(8, 8, 1)), nn.Sequential(Block(8, 16, 2))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 5)
        randomise(self, seed=2)
        for norm in (m for m in self.modules() if isinstance(m, nn.BatchNorm2d)):
            nn.init.ones_(norm.weight)
            norm.running_mean += 0.1
            norm.running_var *= 1.5
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


class Attention(nn.Module):
    """Self-attention of one head over tokens (N, T, D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        mixed: Tensor = self.proj(nn.functional.scaled_dot_product_attention(q, k, v))
        return mixed


class Mixer(nn.Module):
    """A transformer's block, on tokens (N, T, D) or, with windows of w × w, on maps (N, h, w, D)."""

    def __init__(self, width: int, window: int = 0) -> None:
        super().__init__()
        self.norm1, self.norm2, self.attn = nn.LayerNorm(width), nn.LayerNorm(width), Attention(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        x = x + (self._in_windows(self.norm1(x)) if self.window else self.attn(self.norm1(x)))
        mixed: Tensor = x + self.mlp(self.norm2(x))
        return mixed

    def _in_windows(self, x: Tensor) -> Tensor:
        n, h, w, d = x.shape
        side = self.window
        windows = x.view(n, h // side, side, w // side, side, d).transpose(2, 3).reshape(-1, side * side, d)
        parts = self.attn(windows).view(n, h // side, w // side, side, side, d)
        return parts.transpose(2, 3).reshape(n, h, w, d)


class ViT(nn.Module):
    """A vision transformer of 8-pixel patches: a class token and registers, if any, then the patches, row by row."""

    def __init__(self, class_token: bool = True, registers: int = 0, states_prefix: bool = True) -> None:
        super().__init__()
        others = class_token + registers
        if states_prefix:
            self.num_prefix_tokens = others
        self.patch_embed = nn.Conv2d(3, 12, 8, 8)
        self.prefix = nn.Parameter(torch.zeros(others, 12))
        self.blocks = nn.Sequential(Mixer(12), Mixer(12))
        self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 5)
        _fill(self, seed=3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x).flatten(2).mT
        x = torch.cat([self.prefix.expand(x.shape[0], -1, -1), x], 1)
        x = self.norm(self.blocks(x))
        logits: Tensor = self.head(x[:, 0] if len(self.prefix) else x.mean(1))
        return logits


class Merging(nn.Module):
    """Patches of 2 × 2 positions become one, (N, h, w, D) → (N, h/2, w/2, 2D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        merged: Tensor = self.reduction(torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1))
        return merged


class Swin(nn.Module):
    """A hierarchy of maps with the channels last and attention in windows of 4 × 4 positions."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 6, 4, 4)
        self.layers = nn.Sequential(nn.Sequential(Mixer(6, 4)), nn.Sequential(Merging(6), Mixer(12, 4)))
        self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 5)
        _fill(self, seed=4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.layers(self.patch_embed(x).permute(0, 2, 3, 1)))
        logits: Tensor = self.head(x.mean((1, 2)))
        return logits


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution with the channels first, then a norm and a perceptron with the channels last."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_dw, self.norm = nn.Conv2d(width, width, 5, padding=2, groups=width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = x + self.mlp(self.norm(self.conv_dw(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return mixed


class LayerNorm2d(nn.LayerNorm):
    """A norm of channels that come first, as timm's."""

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normed


def convnext() -> nn.Module:
    """A small ConvNeXt."""
    return _fill(nn.Sequential(nn.Conv2d(3, 8, 4, 4), LayerNorm2d(8), ConvNeXtBlock(8), nn.Conv2d(8, 10, 2, 2),
                               ConvNeXtBlock(10)), seed=5)


def _fill(module: nn.Module, seed: int) -> nn.Module:
    """Random weights, and norms that change nothing but mean and variance, in evaluation mode."""
    randomise(module, seed)
    for norm in (m for m in module.modules() if isinstance(m, nn.LayerNorm)):
        nn.init.ones_(norm.weight)
    return module.eval()

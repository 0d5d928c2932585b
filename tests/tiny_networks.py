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

"""Local binary patterns: histograms of how each pixel compares with the circle around it."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, logsigmoid, one_hot, pad

from ..base import Representation
from ..checks import check_count, check_not_negative, check_positive
from ..device_constants import constant
from ..gradients.bins import mirrored_directions

GREY = (0.2989, 0.5870, 0.1140)
CONTRAST = 0.1


class LBP(Representation):
    r"""Histograms of uniform local binary patterns, in cells; rotation-invariant by default.

    Each pixel is compared with P points on the circle of radius R around it, s_p = [x(p) − x(centre) ≥ 0]; points
    between pixels are interpolated bilinearly, and outside the image they are 0. A pattern with at most two changes
    between 0 and 1 around the circle is uniform and is labelled with its number of ones, 0 … P, or has a label of its
    own, P (P − 1) + 2 in all; all others share the last label. The code of a cell is the share of each label among its
    pixels.

    Parameters
    ----------
    points : int
        Points P on the circle, 2–24.
    radius : float
        Radius R of the circle in pixels.
    cell_size : int
        Pixels along one side of a cell. Pixels beyond the last whole cell do not count.
    rotation_invariant : bool
        Uniform patterns that turn into one another share a label. If not, the code keeps directions, and an image
        can be recognised from it.
    softness : float
        Softness of a surrogate; 0 is the descriptor itself. Each comparison becomes the probability
        sigmoid((x(p) − x(centre)) / (0.1 · softness)), comparisons are taken as independent, and the code is the
        expected histogram: smooth in the image, and exact in the limit.

    Raises
    ------
    ValueError
        For impossible arguments; on encoding, for an image smaller than a cell.

    Notes
    -----
    Shape: (N, C, H, W) → (N, D, H // cell_size, W // cell_size), D = P + 2, or P (P − 1) + 3; values in [0, 1],
    summing to 1 in each cell. Colour is made grey with 0.2989 R + 0.5870 G + 0.1140 B. Labels are those of
    ``skimage.feature.local_binary_pattern``, method "uniform" or "nri_uniform", except where a point and the centre
    tie and rounding decides: here flat regions compare as equal exactly.

    References
    ----------
    Ojala, Pietikäinen and Mäenpää, PAMI 2002.

    Examples
    --------
    >>> import unfeature as uf
    >>> photograph = uf.resize_longer(uf.to_grey(uf.bundled("camera")), 64)
    >>> uf.LBP(cell_size=16)(photograph).shape[:2]
    (4, 4)
    """

    taps: Tensor
    arcs: Tensor
    labels: Tensor
    contrast_invariant = True

    def __init__(self, points: int = 8, radius: float = 1.0, cell_size: int = 8,
                 rotation_invariant: bool = True, softness: float = 0.0) -> None:
        super().__init__()
        if not 2 <= points <= 24:
            raise ValueError(f"points on the circle lie between 2 and 24, got {points}")
        self.points, self.radius = points, check_positive("radius", radius, most=1000)
        self.cell_size, self.softness = check_count("cell_size", cell_size), check_not_negative("softness", softness)
        self.rotation_invariant = rotation_invariant
        self.dimensions = points + 2 if rotation_invariant else points * (points - 1) + 3
        self.stride = self.cell_size
        self.reach = int(np.ceil(radius))
        self.receptive_field = cell_size + 2 * self.reach
        self.places, weights = _circle(points, radius)
        self.register_buffer("taps", torch.from_numpy(weights), persistent=False)
        arcs, labels = _uniform_patterns(points, rotation_invariant)
        self.register_buffer("arcs", torch.from_numpy(arcs), persistent=False)
        self.register_buffer("labels", torch.from_numpy(labels), persistent=False)

    def output_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(D, whole cells down, whole cells across)."""
        h, w = height // self.cell_size, width // self.cell_size
        if h < 1 or w < 1:
            raise ValueError(f"an image of {height} × {width} pixels is smaller than one cell of "
                             f"{self.cell_size} × {self.cell_size}")
        if self.reach >= max(height, width):
            raise ValueError(f"a circle of radius {self.radius:g} lies outside an image of {height} × {width} pixels: "
                             "take a smaller radius")
        return (self.dimensions, h, w)

    def image_size_for(self, code_shape: tuple[int, ...]) -> tuple[int, int]:
        """Whole cells × cell_size."""
        h, w = self._grid_of(code_shape, self.dimensions)
        return (h * self.cell_size, w * self.cell_size)

    @property
    def mirrored_channels(self) -> NDArray[np.intp] | None:
        """As `Representation.mirrored_channels`; None for an odd number of points, which has no mirror image."""
        if self.points % 2:
            return None
        turned = self.arcs[:, mirrored_directions(self.points)]
        same = (turned[:, None] == self.arcs).all(2).to(self.labels)
        uniform = (self.labels @ same @ self.labels.T).argmax(1)
        found: NDArray[np.intp] = np.append(uniform.cpu().numpy(), self.dimensions - 1)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Encode a batch: (N, C, H, W) → (N, D, h, w)."""
        differences = self.differences(x)
        labels = self._expected(differences) if self.softness > 0 else self._labels(differences)
        return avg_pool2d(labels, self.cell_size)

    def differences(self, x: Tensor) -> Tensor:
        """x(p) − x(centre) for every pixel and point, (N, C, H, W) → (N, P, H, W): a linear map of the image."""
        image = grey(x)
        height, width = image.shape[-2:]
        around, r = pad(image, (self.reach,) * 4), self.reach
        steps = [around[..., r + i : r + i + height, r + j : r + j + width] - image for i, j in self.places]
        return conv2d(torch.cat(steps, dim=1), self.taps.to(x)[:, :, None, None])

    def _labels(self, differences: Tensor) -> Tensor:
        s = differences >= 0
        before = s.roll(1, dims=1)
        label = s.sum(1)
        if not self.rotation_invariant:
            start = ((s & ~before) * torch.arange(self.points, device=s.device).view(-1, 1, 1)).sum(1)
            label = _oriented_label(label, start, self.points)
        label = torch.where((s != before).sum(1) <= 2, label, self.dimensions - 1)
        return one_hot(label, self.dimensions).permute(0, 3, 1, 2) + 0 * differences[:, :1]

    def _expected(self, differences: Tensor) -> Tensor:
        """Probabilities of the labels: each uniform pattern is a product of comparisons, all others are the rest."""
        z = differences / (CONTRAST * self.softness)
        arcs = self.arcs.to(z)[:, :, None, None]
        probability = (conv2d(logsigmoid(z), arcs) + conv2d(logsigmoid(-z), 1 - arcs)).exp()
        uniform = conv2d(probability, self.labels.to(z)[:, :, None, None])
        return torch.cat([uniform, 1 - uniform.sum(1, keepdim=True)], dim=1)


def grey(x: Tensor) -> Tensor:
    """A batch (N, 1 or 3, H, W) as grey (N, 1, H, W)."""
    if x.shape[1] == 1:
        return x
    return (x * constant(GREY, x)[:, None, None]).sum(1, keepdim=True)


def _circle(points: int, radius: float) -> tuple[list[tuple[int, int]], NDArray[np.float64]]:
    """Pixels near the circle, as (down, across) from its centre, and their bilinear weights (P, K) at its points."""
    angles = 2 * np.pi * np.arange(points) / points
    circle = np.round(np.stack([-radius * np.sin(angles), radius * np.cos(angles)], 1), 5)
    corners = np.floor(circle)[:, None] + np.array([*product((0, 1), repeat=2)])
    pixels = np.unique(corners.reshape(-1, 2), axis=0)
    weights = np.maximum(0, 1 - np.abs(circle[:, None] - pixels)).prod(2)
    used = weights.any(0)
    return [(int(i), int(j)) for i, j in pixels[used]], weights[:, used]


def _oriented_label(ones: Tensor, start: Tensor, points: int) -> Tensor:
    """The label of `ones` consecutive ones from a start: 0 for none, then by number and turn, P (P − 1) + 1 for all."""
    turned = 1 + (ones - 1) * points + (points - start) % points
    return torch.where(ones == 0, 0, torch.where(ones == points, points * (points - 1) + 1, turned))


def _uniform_patterns(points: int, rotation_invariant: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The uniform patterns (M, P) of zeros and ones, and which has each label, (labels, M)."""
    runs = [(0, 0), (points, 0), *product(range(1, points), range(points))]
    patterns = np.array([np.roll(np.arange(points) < ones, start) for ones, start in runs], np.float64)
    ones, starts = torch.tensor(runs).unbind(1)
    label = (ones if rotation_invariant else _oriented_label(ones, starts, points)).numpy()
    return patterns, (label == np.arange(label.max() + 1)[:, None]).astype(np.float64)

"""What is maximised: neurons, channels, classes and templates as directions of the code, each with its scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import Representation, code_to_tensor
from unfeature.features.channel_statistics import Statistics
from unfeature.features.masks import channel_mask
from unfeature.features.masks import neuron as one_hot

from .parameterizations.base import ImageSpec
from .parameterizations.fourier import Fourier

Indices = int | Sequence[int]
Neuron = tuple[int, ...]

NOISE_IMAGES = 8
USUAL_AREA = 1e4
SPACING = 1.1
LEAST_SIDE = 128


class Target(NamedTuple):
    """Directions (N, D, ...), Z of each, (N,), and the size of the image."""

    directions: Tensor
    scale: Tensor
    size: tuple[int, int]


def natural_noise(phi: Representation, size: tuple[int, int], seeds: Sequence[int]) -> Tensor:
    """Images of 1/f noise about the centre, of standard deviation 0.2 before they are clamped to [0, 1], (N, C, H, W).

    They are rendered one at a time, so that each depends on its seed alone.
    """
    noise = Fourier(ImageSpec(*size, phi.centre_like(torch.empty(0, device=phi.device))), power=1.0, init_std=0.2)
    return torch.cat([noise.render(noise.start([seed])).clamp(0, 1) for seed in seeds])


def noise_codes(phi: Representation, size: tuple[int, int]) -> Tensor:
    """The codes of eight fixed images of 1/f noise."""
    with torch.no_grad():
        return torch.cat([phi(x) for x in natural_noise(phi, size, range(NOISE_IMAGES)).split(1)])


def channel_peaks(phi: Representation, size: tuple[int, int], statistics: Statistics | None) -> Tensor:
    """M of every channel, (D,)."""
    if statistics is not None:
        statistics.check(phi)
        peaks = torch.from_numpy(statistics.max).float().to(phi.device)
    else:
        codes = noise_codes(phi, size)
        peaks = codes.max().expand(codes.shape[1])
    strongest = float(peaks.max())
    if not strongest > 0:
        raise ValueError(f"no channel of {phi!r} responds to {'the photographs' if statistics else 'noise'} at all: "
                         f"give {'other statistics' if statistics else 'statistics over photographs'}")
    return peaks.clamp_min(0.1 * strongest)


def target_of(phi: Representation, request: Mapping[str, Any], size: tuple[int, int] | None,
              statistics: Statistics | None) -> Target:
    """What a request such as ``{"channel": [3, 7]}`` asks for; ValueError unless it has exactly one entry."""
    what, value = only_one(request)
    if what == "direction":
        return _template(phi, value, size)
    if what == "mosaic":
        return _mosaic(phi, indices(what, value), size, statistics)
    if size is None:
        size = _covering(phi, (min(phi.receptive_field, max(usual_size(phi))),) * 2) if what == "neuron" else (
            usual_size(phi))
    directions, channels = units(phi, what, value, size)
    return Target(directions, channel_peaks(phi, size, statistics)[channels] * _area(phi, size), size)


def only_one(request: Mapping[str, Any]) -> tuple[str, Any]:
    """The only entry that is not None; ValueError if there is none, or another."""
    given = [(name, value) for name, value in request.items() if value is not None]
    if len(given) != 1:
        *names, last = request
        raise ValueError(f"give one of {', '.join(names)} and {last}, got "
                         f"{', '.join(name for name, _ in given) or 'none'}")
    return given[0]


def units(phi: Representation, what: str, value: Any, size: tuple[int, int]) -> tuple[Tensor, list[int]]:
    """The directions of neurons, channels or classes, (N, D, ...), and the channel of each."""
    shape = phi.output_shape(*size)
    if what == "neuron":
        places = [indices(what, place) for place in (value if len(value) and np.ndim(value[0]) else [value])]
        if not {len(place) for place in places} <= {1, 3}:
            raise ValueError(f"a neuron is (channel,) or (channel, row, column), got {value!r}")
        found = [one_hot(shape, *place) for place in places]
    else:
        places = [[channel] for channel in indices(what, value)]
        found = [channel_mask(shape, place) / math.prod(shape[1:]) for place in places]
    return torch.cat(found).to(phi.device), [place[0] for place in places]


def indices(what: str, value: Any) -> list[int]:
    """One whole number or several as a list; ValueError for anything else."""
    numbers = np.atleast_1d(value)
    if numbers.ndim != 1 or numbers.size == 0 or numbers.dtype.kind not in "iu":
        raise ValueError(f"{what} is a whole number, or several, got {value!r}")
    found: list[int] = numbers.tolist()
    return found


def _template(phi: Representation, value: NDArray[Any] | Tensor, size: tuple[int, int] | None) -> Target:
    given = value.detach()[None] if isinstance(value, Tensor) else code_to_tensor(value).to(phi.device)
    size = size or (usual_size(phi) if given.ndim == 2 else phi.image_size_for(tuple(given.shape[1:])))
    shape = phi.output_shape(*size)
    direction = given.float().view(*given.shape, *[1] * (len(shape) - 1 if given.ndim == 2 else 0))
    if direction.shape[1] != shape[0] or direction[0, 0].numel() not in (1, math.prod(shape[1:])):
        raise ValueError(f"the direction has shape {tuple(value.shape)}, but codes of {size[0]} × {size[1]} pixels "
                         f"have {(*shape[1:], shape[0])}")
    direction = direction.expand(1, *shape)
    norms = torch.linalg.vector_norm(noise_codes(phi, size).flatten(1), dim=1)
    return Target(direction, torch.linalg.vector_norm(direction).view(1) * norms.mean(), size)


def _mosaic(phi: Representation, channels: list[int], size: tuple[int, int] | None,
            statistics: Statistics | None) -> Target:
    """One direction with a one-hot for each channel, in rows from the upper left."""
    columns = math.ceil(math.sqrt(len(channels)))
    rows = math.ceil(len(channels) / columns)
    pitch = SPACING * phi.receptive_field
    size = size or _covering(phi, (round(rows * pitch), round(columns * pitch)))
    shape = phi.output_shape(*size)
    if len(shape) != 3 or min(shape[1] / rows, shape[2] / columns) < 1:
        raise ValueError(f"a code of shape {shape} has no room for {rows} × {columns} filters: "
                         "show fewer, or give a larger size")
    peaks = channel_peaks(phi, phi.input_size or size, statistics)
    direction = torch.zeros(1, *shape)
    for i, channel in enumerate(channels):
        row, column = int((i // columns + 0.5) * shape[1] / rows), int((i % columns + 0.5) * shape[2] / columns)
        direction += one_hot(shape, channel, row, column) / float(peaks[channel])
    scale = torch.full((1,), len(channels) * _area(phi, size), device=phi.device)
    return Target(direction.to(phi.device), scale, size)


def usual_size(phi: Representation) -> tuple[int, int]:
    """The size of images that the code was made for, else one with room for its receptive field."""
    return phi.input_size or (max(LEAST_SIDE, phi.receptive_field),) * 2


def _covering(phi: Representation, size: tuple[int, int]) -> tuple[int, int]:
    """A size, enlarged by strides if the descriptor cannot take so small an image."""
    for _ in range(64):
        try:
            phi.output_shape(*size)
        except ValueError:
            size = (size[0] + phi.stride, size[1] + phi.stride)
        else:
            return size
    raise ValueError(f"{phi!r} takes no image of its receptive field's size: give size=(height, width)")


def _area(phi: Representation, size: tuple[int, int]) -> float:
    """ρ² / 10⁴."""
    return min(phi.receptive_field, max(size)) ** 2 / USUAL_AREA

"""Activation maximisation: images to which neurons, channels, classes or templates respond most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import Representation, code_to_tensor
from unfeature.features.channel_statistics import Statistics
from unfeature.features.masks import channel_mask
from unfeature.features.masks import neuron as one_hot
from unfeature.io.images import AnyImage

from .engine import Report
from .objectives import InnerProduct
from .parameterizations import Fourier, ImageSpec
from .recipes import MAXIMIZATION_PRESETS, Recipe, recipe_for
from .result import Result
from .search import result_of, search, seeds_for

Indices = int | Sequence[int]
Neuron = tuple[int, ...]
Target = tuple[Tensor, Tensor, tuple[int, int]]  # directions (N, D, ...), their Z (N,), and the image's size

NOISE_IMAGES = 8
USUAL_AREA = 1e4
SPACING = 1.1
LEAST_SIDE = 128


@torch.inference_mode(False)
def maximize(
    phi: Representation, *, channel: Indices | None = None, neuron: Neuron | Sequence[Neuron] | None = None,
    class_: Indices | None = None, direction: NDArray[Any] | Tensor | None = None,
    mosaic: Sequence[int] | None = None, size: tuple[int, int] | None = None, statistics: Statistics | None = None,
    preset: str | Recipe = "best", steps: int | None = None, data_weight: float | None = None, starts: int = 1,
    seed: int = 0, start: AnyImage | Tensor | None = None, memory: int | str | None = None,
    progress: Report | bool | None = None, snapshots: int = 0,
) -> Result:
    r"""Find an image to which a part of a code responds most.

    x* = argmin_x −C ⟨Φ(x), Φ₀⟩ / Z + R(x)

    Parameters
    ----------
    phi : Representation
        Φ; a leaky ReLU gradient, ``leak=0.05``, helps networks whose units may start at zero.
    channel, class_ : int or sequence of int, optional
        The mean response of a channel, or of a layer's class score, over all positions; one image for each of several.
    neuron : tuple of int, or sequence of such, optional
        (channel, row, column), or (channel,) for the position in the middle.
    direction : ndarray (h, w, D) or (D,), or Tensor (D, h, w) or (D,), optional
        Φ₀ itself: a linear template, such as a part filter on HOG, or a direction in the space of channels.
    mosaic : sequence of int, optional
        Channels that share one image, each by a neuron of its own, at places 1.1 receptive fields apart.
    size : tuple of int, optional
        Height and width. By default: for a neuron, its receptive field; for a template, the smallest image that has
        such a code; for a mosaic, as large as it needs; for a channel or class, the size that the code was made for.
    statistics : Statistics, optional
        Of phi, over photographs; see Z below.
    preset : {"best", "ijcv2016"} or Recipe
    steps, data_weight, starts, seed, start, memory, progress, snapshots
        As for `invert`.

    Returns
    -------
    Result
        With one image for each request and start, the attempts at one in a row; ``codes`` is None and errors are NaN.
        ``history["data"]`` is −C · response / Z. ``provenance["target"]`` holds the request and Z,
        ``provenance["responses"]`` ⟨Φ(x), Φ₀⟩ of each image.

    Raises
    ------
    ValueError
        Unless exactly one target is given; for parts that a code does not have, or statistics of another descriptor.

    Notes
    -----
    Z = M · n · ρ² / 10⁴, with n the number of filters in the image, ρ the receptive field but no more than the
    image's longer side, and M the largest response of the channel over natural images, so that C means the same in
    every layer; with statistics M is no less than a tenth of the strongest channel's. Without them M is the largest
    response of any channel to eight fixed images of 1/f noise of standard deviation 0.2: deep channels hardly respond
    to noise, but alike. A template has Z = ‖Φ₀‖ times the mean norm of the codes of that noise.
    Source: Mahendran & Vedaldi 2016, §6. Differs: M without statistics.

    Examples
    --------
    >>> import unfeature as uf
    >>> phi = uf.HOG(cell_size=8)
    >>> template = phi(uf.resize_longer(uf.to_grey(uf.bundled("camera")), 48))
    >>> result = uf.maximize(phi, direction=template, steps=3)
    >>> result.image.shape, len(result.provenance["responses"])
    ((48, 48), 1)
    """
    targets: dict[str, Any] = {"channel": channel, "neuron": neuron, "class_": class_, "direction": direction,
                               "mosaic": mosaic}
    given = [name for name, value in targets.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"give one of channel, neuron, class_, direction and mosaic, got {', '.join(given) or 'none'}")
    what, value = given[0], targets[given[0]]
    if what == "direction":
        (directions, scale, size), value = _template(phi, value, size), list(value.shape)
    elif what == "mosaic":
        value = _indices(what, value)
        directions, scale, size = _mosaic(phi, value, size, statistics)
    else:
        directions, scale, size = _units(phi, what, value, size, statistics)
    request = {what: value, "size": size, "scale": scale.tolist()}
    seeds = seeds_for(seed, starts, len(directions))
    recipe = recipe_for(phi, preset, MAXIMIZATION_PRESETS, steps, data_weight)
    directions, scale = (t.repeat_interleave(starts, 0) for t in (directions, scale))
    outcome = search(phi, InnerProduct(directions, scale), recipe, size, seeds, directions, start=start,
                     memory=memory, progress=progress, snapshots=snapshots)
    with torch.no_grad():
        responses = -InnerProduct(directions)(torch.cat([phi(x) for x in outcome.x.split(1)]))
    return result_of(phi, recipe, outcome, seed, starts, responses=responses.tolist(), target=request)


def noise_codes(phi: Representation, size: tuple[int, int]) -> Tensor:
    """The codes of eight fixed images of 1/f noise about the centre, of standard deviation 0.2."""
    channels = phi.in_channels[0]
    centre = torch.tensor(phi.centre, device=phi.device).expand(channels).view(-1, 1, 1)
    noise = Fourier(ImageSpec(*size, centre), power=1.0, init_std=0.2)
    with torch.no_grad():
        return torch.cat([phi(noise.render(noise.start([seed])).clamp(0, 1)) for seed in range(NOISE_IMAGES)])


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


def _units(phi: Representation, what: str, value: Any, size: tuple[int, int] | None,
           statistics: Statistics | None) -> Target:
    if what == "neuron":
        places = [_indices(what, place) for place in (value if len(value) and np.ndim(value[0]) else [value])]
        if not {len(place) for place in places} <= {1, 3}:
            raise ValueError(f"a neuron is (channel,) or (channel, row, column), got {value!r}")
        size = size or _covering(phi, (min(phi.receptive_field, max(_whole(phi))),) * 2)
        directions = torch.cat([one_hot(phi.output_shape(*size), *place) for place in places])
    else:
        places = [[c] for c in _indices(what, value)]
        size = size or _whole(phi)
        shape = phi.output_shape(*size)
        directions = torch.cat([channel_mask(shape, place) for place in places]) / math.prod(shape[1:])
    peaks = channel_peaks(phi, size, statistics)
    scale = torch.stack([peaks[place[0]] for place in places]) * _area(phi, size)
    return directions.to(phi.device), scale, size


def _indices(what: str, value: Any) -> list[int]:
    """One whole number or several as a list; ValueError for anything else."""
    numbers = np.atleast_1d(value)
    if numbers.ndim != 1 or numbers.size == 0 or numbers.dtype.kind not in "iu":
        raise ValueError(f"{what} is a whole number, or several, got {value!r}")
    found: list[int] = numbers.tolist()
    return found


def _template(phi: Representation, value: NDArray[Any] | Tensor, size: tuple[int, int] | None) -> Target:
    given = value.detach()[None] if isinstance(value, Tensor) else code_to_tensor(value).to(phi.device)
    size = size or (_whole(phi) if given.ndim == 2 else phi.image_size_for(tuple(given.shape[1:])))
    shape = phi.output_shape(*size)
    direction = given.float().view(*given.shape, *[1] * (len(shape) - 1 if given.ndim == 2 else 0))
    if direction.shape[1] != shape[0] or direction[0, 0].numel() not in (1, math.prod(shape[1:])):
        raise ValueError(f"the direction has shape {tuple(value.shape)}, but codes of {size[0]} × {size[1]} pixels "
                         f"have {(*shape[1:], shape[0])}")
    direction = direction.expand(1, *shape)
    norms = torch.linalg.vector_norm(noise_codes(phi, size).flatten(1), dim=1)
    return direction, torch.linalg.vector_norm(direction).view(1) * norms.mean(), size


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
    return direction.to(phi.device), scale, size


def _whole(phi: Representation) -> tuple[int, int]:
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

"""Activation maximisation: images to which neurons, channels, classes or templates respond most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import Representation
from unfeature.features.channel_statistics import Statistics
from unfeature.io.images import AnyImage

from .engine import Report
from .objectives import InnerProduct
from .recipes import MAXIMIZATION_PRESETS, Recipe, recipe_for
from .result import Result
from .search import result_of, search, seeds_for
from .targets import Indices, Neuron, only_one, target_of


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
    preset : {"best", "ijcv2016", "yosinski2015", "maco"} or Recipe
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
    wanted = {"channel": channel, "neuron": neuron, "class_": class_, "direction": direction, "mosaic": mosaic}
    directions, scale, size = target_of(phi, wanted, size, statistics)
    what, value = only_one(wanted)
    request = {what: list(value.shape) if what == "direction" else list(value) if isinstance(value, range) else value,
               "size": size, "scale": scale.tolist()}
    seeds = seeds_for(seed, starts, len(directions))
    recipe = recipe_for(phi, preset, MAXIMIZATION_PRESETS, steps, data_weight)
    directions, scale = (t.repeat_interleave(starts, 0) for t in (directions, scale))
    outcome = search(phi, InnerProduct(directions, scale), recipe, size, seeds, directions, start=start,
                     memory=memory, progress=progress, snapshots=snapshots)
    with torch.no_grad():
        responses = -InnerProduct(directions)(torch.cat([phi(x) for x in outcome.x.split(1)]))
    return result_of(phi, recipe, outcome, seed, starts, responses=responses.tolist(), target=request)

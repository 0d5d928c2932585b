"""Saliency: which pixels of an image a response depends on, by its gradient and two rectified forms of it."""

from __future__ import annotations

import math
import time
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import Representation

from .objectives import scores
from .result import Result, images_of, now
from .search import in_channels_of, versions
from .targets import Indices, Neuron, indices, only_one, units

Method = Literal["gradient", "guided", "deconvnet"]

SHOWN = 0.999  # share of the values of a map that its picture shows unclipped


@torch.inference_mode(False)
def saliency(
    phi: Representation, image: NDArray[Any], *, channel: Indices | None = None,
    neuron: Neuron | list[Neuron] | None = None, class_: Indices | None = None, method: Method = "gradient",
) -> Result:
    r"""Show which pixels of an image a part of its code depends on.

    m = ∂r(x) / ∂x,  r(x) = ⟨Φ(x), Φ₀⟩

    Parameters
    ----------
    phi : Representation
        Φ; a layer of a network for the methods other than "gradient".
    image : ndarray (H, W) or (H, W, C)
        x, in [0, 1].
    channel, class_ : int or sequence of int, optional
        The mean response of a channel, or of a layer's class score, over all positions; one map for each of several.
        By default the channel with the largest mean, which is the network's own label on a layer of scores.
    neuron : tuple of int, or list of such, optional
        (channel, row, column), or (channel,) for the position where the channel responds most.
    method : {"gradient", "guided", "deconvnet"}
        How the gradient passes a ReLU on its way back: where the ReLU is active; where it is active and the gradient
        positive; or where the gradient is positive.

    Returns
    -------
    Result
        With one picture of each map, about mid-grey: ``m = (images - 0.5) * 2 * scale``, with the scales, the 99.9th
        percentile of |m|, in ``provenance["saliency"]["scale"]``; ``np.abs(images - 0.5).max(-1)`` is Simonyan et
        al.'s map. ``provenance["responses"]`` holds r. Errors are NaN, ``codes`` is None.

    Raises
    ------
    ValueError
        For more than one target, parts that the code does not have, an unknown method, or one that needs ReLUs.

    Notes
    -----
    Max-pooling passes gradients to the position of the maximum, which are the switches of a deconvnet; convolutions and
    normalisation pass them as they are. Where nothing is left, as often of the mean of a deep layer under "deconvnet",
    the map is zero.
    Sources: Simonyan, Vedaldi & Zisserman 2014 (gradient); Springenberg et al. 2015 (guided backpropagation); Zeiler &
    Fergus 2014 (deconvnet).
    """
    if method not in get_args(Method):
        raise ValueError(f"method is one of {', '.join(get_args(Method))}, got {method!r}")
    clock = time.perf_counter()
    x = in_channels_of(phi, image)
    with torch.no_grad():
        code = phi(x)
    wanted: dict[str, Any] = {"channel": channel, "neuron": neuron, "class_": class_}
    if not any(value is not None for value in wanted.values()):
        wanted["channel"] = int(scores(code)[0].argmax())
    what, value = only_one(wanted)
    if what == "neuron":
        value = [_placed(code, indices(what, place)) for place in (value if np.ndim(value[0]) else [value])]
    directions, channels = units(phi, what, value, (x.shape[2], x.shape[3]))
    maps = torch.cat([_gradient(_passing(phi, method), x, direction) for direction in directions])
    rank = math.ceil(SHOWN * maps[0].numel())
    scale = maps.abs().flatten(1).kthvalue(rank, dim=1).values.clamp_min(1e-12)
    told = list(value) if isinstance(value, range) else value
    facts = {"method": method, what: told, "channels": channels, "scale": scale.tolist()}
    provenance = {
        "method": "saliency", "descriptor": phi.to_config(), "saliency": facts,
        "responses": (code * directions).flatten(1).sum(1).tolist(),
        "seconds": round(time.perf_counter() - clock, 3), "date": now(), "versions": dict(versions())}
    unknown = np.full(len(maps), np.nan)
    return Result(images_of(0.5 + maps / (2 * scale.view(-1, 1, 1, 1))), unknown, unknown, "finished",
                  provenance=provenance)


def _passing(phi: Representation, method: Method) -> Representation:
    """The descriptor whose gradient passes its ReLUs in this way."""
    if method == "gradient":
        return phi
    rectifying = getattr(phi, "rectifying", None)
    if rectifying is None:
        raise ValueError(f"method={method!r} is for layers of networks, {phi!r} is none: take the gradient")
    found: Representation = rectifying(method)
    return found


@torch.enable_grad()
def _gradient(phi: Representation, x: Tensor, direction: Tensor) -> Tensor:
    """The derivative of the response by the image, (1, C, H, W)."""
    leaf = x.detach().clone().requires_grad_()
    return torch.autograd.grad((phi(leaf) * direction).sum(), leaf)[0]


def _placed(code: Tensor, place: list[int]) -> list[int]:
    """A neuron with its position: where its channel responds most if it has none."""
    if len(place) > 1 or code.ndim == 2 or not -code.shape[1] <= place[0] < code.shape[1]:
        return place
    row, column = divmod(int(code[0, place[0]].argmax()), code.shape[3])
    return [place[0], row, column]

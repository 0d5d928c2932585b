"""Inversion: the image of a code."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import Representation, code_shape, code_to_tensor, image_to_tensor

from .engine import Outcome, Progress, Term, descend
from .objectives import Euclidean, squared_norm
from .recipes import Recipe, adjusted, recipe_for
from .result import Result, relative_errors
from .search import in_batches, most_at_once

Code = NDArray[Any] | Tensor | Sequence[NDArray[Any]]


@torch.inference_mode(False)
def invert(
    phi: Representation,
    code: Code,
    *,
    preset: str | Recipe = "best",
    size: tuple[int, int] | None = None,
    mask: NDArray[Any] | Tensor | None = None,
    steps: int | None = None,
    data_weight: float | None = None,
    starts: int = 1,
    seed: int = 0,
    start: NDArray[Any] | Tensor | None = None,
    memory: int | str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Result:
    r"""Find an image whose code is the given one.

    x* = argmin_x C ‖(Φ(x) − Φ₀) ⊙ m‖² / ‖Φ₀ ⊙ m‖² + R(x)

    Parameters
    ----------
    phi : Representation
        Φ.
    code : ndarray (h, w, D) or (D,), a sequence of such, or Tensor (N, D, h, w) or (N, D)
        Φ₀; several codes are inverted side by side, each as it would be alone, on the device of the tensor, or of Φ.
    preset : {"best", "fast", "ijcv2016", "cvpr2015"} or Recipe
    size : tuple of int, optional
        Height and width of the image; by default the smallest image that has such a code.
    mask : ndarray or Tensor, optional
        m, broadcastable to one code, in the code's own layout.
    steps : int, optional
        Gradient evaluations in all; the preset's stages are shortened or lengthened in proportion.
    data_weight : float, optional
        C of the papers, the weight of the data term against the priors; by default the preset's.
    starts : int
        Attempts at each code, from different noise.
    seed : int
        Of the noise; attempt j has seed + j.
    start : ndarray or Tensor, optional
        An image to start from, instead of noise: (H, W), (H, W, C), or a batch (N, C, H, W).
    memory : int or str, optional
        Bytes, or text such as ``"2GB"``, that the images may take while they are sought: as many as fit are sought at
        once, the others after them, with the same outcome. By default all are sought at once.
    progress : callable, optional
        Called with a `Progress` after every gradient evaluation.

    Returns
    -------
    Result
        With N · starts images, the attempts at one code in a row.

    Raises
    ------
    ValueError
        If the code is not one of Φ, is zero under the mask, or the image's size is unknown; if the start has another
        size, C is negative or not finite, or the memory does not hold one image.

    Notes
    -----
    Source: Mahendran & Vedaldi 2016. A keyboard interrupt returns the best image so far; images that memory
    has kept waiting stay where they start.
    """
    if starts < 1:
        raise ValueError(f"starts is at least 1, got {starts}")
    target = as_codes(code) if isinstance(code, Tensor) else as_codes(code).to(phi.device)
    size = check_code(phi, target, size)
    recipe = adjusted(recipe_for(phi, preset), steps, data_weight)
    codes = target.repeat_interleave(starts, 0)
    weights = _as_mask(mask, target, starts)
    seeds = [seed + j for _ in range(len(target)) for j in range(starts)]
    first = None if start is None else as_images(start, len(codes), size).to(codes)

    def find(part: slice, recipe: Recipe) -> Outcome:
        asked = codes[part]
        objective = Euclidean(asked, weights if weights is None or len(weights) == 1 else weights[part])
        flat = phi.flat_pixels(asked, *size) if recipe.levelled and mask is None else None

        def measure(x: Tensor) -> Tensor:
            with torch.no_grad():
                return (squared_norm(phi(x) - asked) / squared_norm(asked)).sqrt()

        begun = None if first is None else first[part]
        return descend([Term(phi, objective)], recipe, size, seeds[part], asked, begun, flat, measure, progress)

    outcome = in_batches(len(codes), most_at_once(phi, recipe, size, codes, memory), recipe, find)
    if recipe.contrast is not None and phi.contrast_invariant and mask is None:
        outcome = replace(outcome, x=with_contrast(outcome.x, recipe.contrast))
    return _result(phi, codes, outcome, recipe, seed, starts)


def with_contrast(x: Tensor, deviation: float) -> Tensor:
    """Images about mid-grey with a standard deviation, or less where more than 1 % of an image would be clipped."""
    centred = x - x.mean((1, 2, 3), keepdim=True)
    spread = centred.square().mean((1, 2, 3)).sqrt()
    extent = torch.stack([_quantile(sample.abs(), 0.99) for sample in centred])
    gain = torch.minimum(deviation / spread.clamp_min(1e-12), 0.5 / extent.clamp_min(1e-12))
    return 0.5 + gain.view(-1, 1, 1, 1) * centred


def _quantile(values: Tensor, share: float) -> Tensor:
    flat = values.flatten()
    return flat.kthvalue(max(1, round(share * flat.numel()))).values


def as_codes(code: Code) -> Tensor:
    """One code, or several, as a batch (N, D, h, w) or (N, D)."""
    if isinstance(code, Tensor):
        if code.ndim not in (2, 4) or not code.is_floating_point():
            raise ValueError(f"tensors of codes are floating point, (N, D, h, w) or (N, D); got {code.dtype} "
                             f"{tuple(code.shape)}")
        if not bool(torch.isfinite(code).all()):
            raise ValueError("the codes have non-finite values (NaN or infinity)")
        if len(code) == 0:
            raise ValueError("there is no code in this batch: give at least one")
        return code.detach().to(torch.promote_types(code.dtype, torch.float32))
    tensors = [code_to_tensor(np.asarray(one)) for one in ([code] if isinstance(code, np.ndarray) else code)]
    if not tensors:
        raise ValueError("there is no code in this sequence: give at least one")
    shapes = {tuple(t.shape) for t in tensors}
    if len(shapes) != 1:
        raise ValueError(f"codes that are inverted together have one shape, got {sorted(shapes)}: invert each shape "
                         "by itself")
    return torch.cat(tensors)


def as_images(image: NDArray[Any] | Tensor, count: int, size: tuple[int, int]) -> Tensor:
    """One image, or a batch of `count`, of a height and width, as a tensor (count, C, H, W)."""
    x = image.detach() if isinstance(image, Tensor) else image_to_tensor(image)
    if x.ndim != 4 or len(x) not in (1, count):
        raise ValueError(f"give one image, or a batch (N, C, H, W) of {count}; got shape {tuple(image.shape)}")
    if tuple(x.shape[2:]) != tuple(size):
        raise ValueError(f"the image to start from has {x.shape[2]} × {x.shape[3]} pixels, but the one to find "
                         f"{size[0]} × {size[1]}: resize it, or give the size that it has")
    return x.expand(count, -1, -1, -1)


def check_code(phi: Representation, target: Tensor, size: tuple[int, int] | None) -> tuple[int, int]:
    """Size of the images whose codes are asked for; ValueError if Φ has no such codes."""
    shape = tuple(target.shape[1:])
    size = phi.image_size_for(shape) if size is None else (int(size[0]), int(size[1]))
    expected = phi.output_shape(*size)
    if expected != shape:
        layout = [(*s[1:], s[0]) for s in (shape, expected)]
        raise ValueError(f"the code has shape {layout[0]}, but {phi!r} gives {layout[1]} for an image of "
                         f"{size[0]} × {size[1]} pixels: check the descriptor's options and the image size")
    return size


def provenance(phi: Representation, recipe: Recipe, outcome: Outcome, seed: int) -> dict[str, Any]:
    """What a result remembers of how it was made."""
    return {
        "method": recipe.name,
        "descriptor": phi.to_config(),
        "recipe": recipe.describe(),
        "seed": seed,
        "evaluations": outcome.evaluations,
        "seconds": round(outcome.seconds, 3),
        "versions": dict(_versions()),
    }


@cache
def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{p: version(p) for p in ("unfeature", "torch", "numpy")}}


def to_arrays(x: Tensor) -> NDArray[np.float32]:
    """Images (N, C, H, W) as (N, H, W, C), or (N, H, W) if they are grey."""
    a = x.permute(0, 2, 3, 1).float().cpu().numpy()
    return np.ascontiguousarray(a[..., 0] if a.shape[-1] == 1 else a)


def _as_mask(mask: NDArray[Any] | Tensor | None, target: Tensor, starts: int) -> Tensor | None:
    """One mask for all samples, (1, ...), or one for each."""
    if mask is None:
        return None
    if isinstance(mask, Tensor):
        weights = mask.detach().to(target, copy=True)
    else:
        array = np.asarray(mask, dtype=np.float64)
        array = array.reshape((1,) * (target.ndim - 1 - array.ndim) + array.shape)
        weights = torch.from_numpy(np.moveaxis(array, -1, 0) if array.ndim == 3 else array).to(target)
    try:
        shape = torch.broadcast_shapes(weights.shape, target.shape)
    except RuntimeError:
        shape = torch.Size()
    if shape != target.shape:
        layout = target.shape[1:] if isinstance(mask, Tensor) else code_shape(target)
        raise ValueError(f"the mask has shape {tuple(np.shape(mask))}, which does not fit codes {tuple(layout)}: "
                         "give one weight for each entry of a code")
    if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()):
        raise ValueError("the mask's weights are finite and not negative")
    weights = weights.view((1,) * (target.ndim - weights.ndim) + weights.shape)
    return weights if len(weights) == 1 else weights.repeat_interleave(starts, 0)


def _result(phi: Representation, codes: Tensor, outcome: Outcome, recipe: Recipe, seed: int, starts: int) -> Result:
    with torch.no_grad():
        found = torch.cat([phi(x) for x in outcome.x.split(1)])
    arrays = [np.moveaxis(t.cpu().numpy(), 1, -1) for t in (found, codes)]
    errors, centred = relative_errors(*arrays)
    return Result(
        images=to_arrays(outcome.x),
        errors=errors,
        errors_centred=centred,
        status=outcome.status,
        codes=np.ascontiguousarray(arrays[1]),
        history=outcome.history,
        starts=starts,
        provenance=provenance(phi, recipe, outcome, seed),
    )

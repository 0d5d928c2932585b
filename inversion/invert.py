"""Inversion: the image of a code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import Representation, code_shape, code_to_tensor
from unfeature.features.checks import check_size
from unfeature.features.code import image_size_of
from unfeature.io.images import AnyImage

from .decoder import DecoderModel
from .engine import Report
from .guidance import Guide, HoldsDecoder, given_decoder, guide_for
from .objectives import Euclidean
from .recipes import Recipe, recipe_for
from .result import Result
from .search import result_of, search, seeds_for

Start = AnyImage | Tensor | DecoderModel | HoldsDecoder | Literal["auto", "noise"]
Code = NDArray[Any] | Tensor | Sequence[NDArray[Any]]


@torch.inference_mode(False)
def invert(
    phi: Representation, code: Code, *, preset: str | Recipe = "best", size: tuple[int, int] | None = None,
    mask: NDArray[Any] | Tensor | None = None, steps: int | None = None, data_weight: float | None = None,
    starts: int = 1, seed: int = 0, start: Start | None = "auto", memory: int | str | None = None,
    progress: Report | bool | None = None, snapshots: int = 0,
) -> Result:
    r"""Find an image whose code is the given one.

    x* = argmin_x C ‖(Φ(x) − Φ₀) ⊙ m‖² / ‖Φ₀ ⊙ m‖² + R(x)

    Parameters
    ----------
    phi : Representation
        Φ.
    code : ndarray (h, w, D) or (D,), a sequence or stack (N, …) of such, or Tensor (N, D, h, w) or (N, D)
        Φ₀; several codes are inverted side by side, each as it would be alone, on the device of the tensor, or of Φ.
    preset : {"best", "fast", "ijcv2016", "cvpr2015"} or Recipe
    size : tuple of int, optional
        Height and width of the image; by default those of the image that Φ made the code from, if the code remembers
        them (`Code`), otherwise the smallest that have such a code.
    mask : ndarray or Tensor, optional
        m, broadcastable to one code, in the code's own layout.
    steps : int, optional
        Gradient evaluations in all; the preset's stages are shortened or lengthened in proportion.
    data_weight : float, optional
        C of the papers, the weight of the data term against the priors; by default the preset's.
    starts, seed : int
        Attempts at each code, from different noise; that of attempt j has seed + j.
    start : {"auto", "noise"}, ndarray, Tensor, Decoder or DecoderModel
        "auto": `best` and `fast` are guided by the decoder that ships for the descriptor, if there is one and no mask;
        else noise, as None is. Or an image to start from, (H, W), (H, W, C) or a batch (N, C, H, W). Or a decoder.
    memory : int or str, optional
        Memory budget in bytes, or text such as ``"2GB"``; the batch is processed in chunks that fit, with the same
        outcome. By default it is one chunk.
    progress : callable or bool, optional
        Called with a `Progress` after every gradient evaluation; True shows a bar of tqdm, in notebooks too.
    snapshots : int
        Number of images of the way to keep, evenly spaced over the evaluations: ``Result.snapshots``.

    Returns
    -------
    Result
        With N · starts images, the attempts at one code in a row; ``uncertainty`` where a decoder predicts it, or of
        several starts.

    Raises
    ------
    ValueError
        If the code is not one of Φ, is zero under the mask, or the image's size is unknown; if the start has another
        size, C is negative or not finite, or the memory does not hold one image.

    Notes
    -----
    Source: Mahendran & Vedaldi 2016. A keyboard interrupt returns the best image so far; images of later chunks stay
    where they start.

    Examples
    --------
    >>> import unfeature as uf
    >>> phi = uf.HOG(cell_size=8)
    >>> photograph = uf.resize_longer(uf.to_grey(uf.bundled("camera")), 48)
    >>> uf.invert(phi, phi(photograph), preset="fast", steps=10)
    <Result: 1 image of 48 × 48 pixels, relative error ...>
    """
    target = as_codes(code) if isinstance(code, Tensor) else as_codes(code).to(phi.device)
    seeds = seeds_for(seed, starts, len(target))
    size = check_code(phi, target, _size_of(phi, code) if size is None else size, isinstance(code, Tensor))
    recipe = recipe_for(phi, preset, steps=steps, data_weight=data_weight)
    if mask is not None:  # what the mask hides may be anything: neither flat, nor of a known contrast
        recipe = replace(recipe, flat_regions=False, contrast=None)
    codes = target.repeat_interleave(starts, 0)
    guide = None
    if mask is None and (model := guide_for(phi, recipe, start)) is not None:
        guide = Guide.of(phi, codes, size, model)
        start, recipe = guide.start(phi, recipe, seeds), guide.recipe(phi, recipe)
    outcome = search(phi, Euclidean(codes, _as_mask(mask, target, starts)), recipe, size, seeds, codes, codes=codes,
                     start=image_of(start), memory=memory, progress=progress, snapshots=snapshots)
    result = result_of(phi, recipe, outcome, seed, starts, codes, **({} if guide is None else guide.facts))
    result = replace(result, status=result.status + _advice(phi, recipe, result))
    return result if guide is None else guide.annotate(result)


def _advice(phi: Representation, recipe: Recipe, result: Result) -> str:
    """What to add to the status if Φ gave the search no gradient, as hard assignment does, and errors tell so."""
    worst = int(np.argmax(result.errors))
    if phi.exact or any(stage.softness for stage in recipe.stages) or not result.errors[worst] >= 1:
        return ""
    code, pullback = phi.vjp(result.images[worst])
    if pullback(np.ones_like(code)).any():
        return ""
    return (f"; the relative error of {result.errors[worst]:.2g} is no better than that of a zero code, 1, because the "
            f"gradient of {type(phi).__name__} is zero: take the preset best, which descends on a surrogate")


def image_of(start: Start | None) -> AnyImage | Tensor | None:
    """The image to start from, None for noise; ValueError for other text."""
    if isinstance(start, str):
        if start not in ("auto", "noise"):
            raise ValueError(f'start is "auto", "noise", an image or a decoder, got {start!r}')
        return None
    return None if start is None or given_decoder(start) is not None else cast(AnyImage | Tensor, start)


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
    tensors = [code_to_tensor(one) for one in _each(code)]
    if not tensors:
        raise ValueError("there is no code in this sequence: give at least one")
    shapes = {tuple(t.shape) for t in tensors}
    if len(shapes) != 1:
        raise ValueError(f"codes that are inverted together have one shape, got {sorted(shapes)}: invert each shape "
                         "by itself")
    return torch.cat(tensors)


def _each(code: NDArray[Any] | Sequence[Any]) -> list[NDArray[Any]]:
    """The codes of an array (h, w, D) or (D,), of a stack of such, or of a sequence."""
    if not isinstance(code, np.ndarray) and any(isinstance(one, Tensor) for one in code):
        raise ValueError("a sequence of codes holds arrays (h, w, D) or (D,): give tensors as one batch, torch.stack")
    if not isinstance(code, np.ndarray) and any(isinstance(one, np.ndarray) for one in code):
        return [np.asarray(one) for one in code]
    try:
        array = np.asarray(code)
    except ValueError:
        raise ValueError("a code that is given as lists has rows of equal lengths; these differ") from None
    return list(array) if array.ndim in (2, 4) else [] if array.shape == (0,) else [array]


def _size_of(phi: Representation, code: Code) -> tuple[int, int] | None:
    """The size of the image that all codes remember."""
    codes = [code] if isinstance(code, (np.ndarray, Tensor)) else code
    sizes = {image_size_of(one, phi) for one in codes}
    return sizes.pop() if len(sizes) == 1 else None


def check_code(phi: Representation, target: Tensor, size: tuple[int, int] | None, in_torch: bool = False
               ) -> tuple[int, int]:
    """Size of the images that have such codes; ValueError, with shapes as the user has them, if Φ has no such codes."""
    shape = tuple(target.shape[1:])
    if not in_torch and len(shape) == 1 and phi.has_positions:
        given = shape if len(target) == 1 else tuple(target.shape)
        raise ValueError(f"a code has shape (h, w, D) or (D,), got {given}, and one of {phi!r} has positions")
    size = phi.image_size_for(shape) if size is None else check_size(size)
    expected = phi.output_shape(*size)
    if expected != shape:
        layout = [s if in_torch else (*s[1:], s[0]) for s in (shape, expected)]
        raise ValueError(f"the code has shape {layout[0]}, but {phi!r} gives {layout[1]} for an image of "
                         f"{size[0]} × {size[1]} pixels: check the descriptor's options and the image size")
    return size


def _as_mask(mask: NDArray[Any] | Tensor | None, target: Tensor, starts: int) -> Tensor | None:
    """One mask for all samples, (1, ...), or one for each."""
    if mask is None:
        return None
    weights = mask.detach() if isinstance(mask, Tensor) else torch.from_numpy(np.asarray(mask, np.float64))
    if not isinstance(mask, Tensor) and target.ndim == 4 and weights.ndim <= 3:
        weights = weights.view((1,) * (3 - weights.ndim) + weights.shape).movedim(-1, 0)
    weights = weights.to(target, copy=True)
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

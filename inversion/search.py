"""The search that all verbs share: seeds × starts, images in chunks that fit the memory, and their result."""

from __future__ import annotations

import platform
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import Representation, image_to_tensor
from unfeature.features.checks import check_count, check_seed
from unfeature.io.images import AnyImage, image_of, with_channels
from unfeature.io.memory import bytes_of

from .engine import Film, Outcome, Report, descend, parameterization_of
from .measures import relative_errors
from .objectives import Objective, squared_norm
from .progress import reporting
from .recipes import Recipe, without_steps
from .result import Result, images_of, now
from .views import centre_crop

VECTORS = 8  # of coordinates that a run holds beside those that its solver keeps


def seeds_for(seed: int, starts: int, count: int = 1) -> list[int]:
    """One seed for each image: `starts` in a row for each of `count` requests; attempt j has seed + j."""
    seed, starts = check_seed(seed), check_count("starts", starts)
    check_seed(seed + starts - 1)
    return [seed + j for _ in range(count) for j in range(starts)]


def search(
    phi: Representation, objective: Objective, recipe: Recipe, size: tuple[int, int], seeds: Sequence[int],
    like: Tensor, *, codes: Tensor | None = None, start: NDArray[Any] | Tensor | None = None,
    memory: int | str | None = None, progress: Report | bool | None = None, snapshots: int = 0,
) -> Outcome:
    """Minimise the objective over one image for each seed, in chunks that fit the memory.

    With target codes (N, ...) errors are measured, and the recipe may keep flat regions flat. Images have the dtype and
    device of `like`. After a keyboard interrupt the images of later chunks stay where they start.
    """
    first = None if start is None else as_images(start, len(seeds), size, phi.in_channels[:1]).to(like)
    chunk = images_at_once(phi, recipe, size, like, memory) or len(seeds)
    if snapshots < 0:
        raise ValueError(f"snapshots is the number of images to keep, 0 for none, got {snapshots}")
    with phi.limited_threads((min(chunk, len(seeds)), phi.in_channels[0], *size)), reporting(progress) as report:
        return _in_chunks(phi, objective, recipe, size, seeds, like, codes, first, chunk, report, snapshots)


def _in_chunks(
    phi: Representation, objective: Objective, recipe: Recipe, size: tuple[int, int], seeds: Sequence[int],
    like: Tensor, codes: Tensor | None, first: Tensor | None, chunk: int,
    progress: Report | None, snapshots: int,
) -> Outcome:
    outcomes: list[Outcome] = []
    for begin in range(0, len(seeds), chunk):
        part = slice(begin, begin + chunk)
        given, target = (None if batch is None else batch[part] for batch in (first, codes))
        flat = None if target is None or not recipe.flat_regions else phi.flat_pixels(target, *size)
        measure = None if target is None else partial(_relative_error, phi, target)
        own = replace(recipe, priors=tuple(prior.of(part) for prior in recipe.priors))
        outcomes.append(descend(phi, objective.of(part), own, size, seeds[part], like, given, flat, measure,
                                progress, snapshots))
        recipe = without_steps(recipe) if outcomes[-1].interrupted else recipe
    return side_by_side(outcomes)


def images_at_once(phi: Representation, recipe: Recipe, size: tuple[int, int], like: Tensor,
                   memory: int | str | None) -> int | None:
    """How many images fit a memory budget, beside what the process holds anyway; None for any number."""
    if memory is None:
        return None
    one = bytes_per_image(phi, recipe, size, like)
    count = bytes_of(memory) // one
    if count < 1:
        raise ValueError(f"memory={memory!r} does not hold one image of {size[0]} × {size[1]} pixels, which takes "
                         f"{one / 1e6:.3g} MB during the search: give more, or a smaller size")
    return count


def bytes_per_image(phi: Representation, recipe: Recipe, size: tuple[int, int], like: Tensor) -> int:
    """Memory of one image during the search: twice what its gradient keeps, and the solvers' vectors.

    What the descriptor keeps is counted on a random image; its surrogates are assumed to keep as much.
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    parameterization = parameterization_of(phi, recipe, size, like)
    z = parameterization.start([0]).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        phi(centre_crop(parameterization.render(z), size))
    for weight in phi.buffers():
        kept.pop(weight.untyped_storage().data_ptr(), None)
    vectors = VECTORS + max(make().vectors for make in recipe.solvers)
    return 2 * sum(kept.values()) + vectors * z.numel() * z.element_size()


def side_by_side(outcomes: Sequence[Outcome]) -> Outcome:
    """Chunks of images as one outcome. A chunk that converged earlier keeps its last values; NaN is not measured."""
    if len(outcomes) == 1:
        return outcomes[0]
    steps = max(outcome.evaluations for outcome in outcomes)
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.history)

    def column(outcome: Outcome, name: str) -> NDArray[np.float64]:
        values = outcome.history.get(name, np.full((1, len(outcome.x)), np.nan))
        return np.pad(values, ((0, steps - len(values)), (0, 0)), mode="edge")

    history = {name: np.concatenate([column(outcome, name) for outcome in outcomes], axis=1) for name in names}
    overall = _overall_outcome(outcomes, torch.cat([outcome.x for outcome in outcomes]), history, steps)
    return replace(overall, film=_joined([outcome.film for outcome in outcomes if outcome.film is not None]))


def _joined(films: Sequence[Film]) -> Film | None:
    """The films of chunks of images as one; a chunk that ended earlier keeps its last images."""
    if not films:
        return None
    steps = sorted({step for film in films for step in film.steps})
    shown = [film.images[[max(bisect_right(film.steps, step) - 1, 0) for step in steps]] for film in films]
    return Film(tuple(steps), torch.cat(shown, dim=1))


def one_after_another(outcomes: Sequence[Outcome]) -> Outcome:
    """Runs that each go on from the last one's images, as one outcome."""
    parts = [outcome.history for outcome in outcomes if outcome.history]
    history = {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}
    return _overall_outcome(outcomes, outcomes[-1].x, history, sum(outcome.evaluations for outcome in outcomes))


def _overall_outcome(outcomes: Sequence[Outcome], x: Tensor, history: dict[str, NDArray[np.float64]],
                     evaluations: int) -> Outcome:
    """With the status of the run that was interrupted, else of the last one."""
    decisive = next((outcome for outcome in outcomes if outcome.interrupted), outcomes[-1])
    return replace(decisive, x=x, history=history, evaluations=evaluations, seconds=sum(o.seconds for o in outcomes))


def as_images(image: AnyImage | Tensor, count: int, size: tuple[int, int], channels: Sequence[int]) -> Tensor:
    """One image, or a batch of `count`, of a height and width, as a tensor (count, C, H, W)."""
    x = image.detach() if isinstance(image, Tensor) else image_to_tensor(with_channels(image_of(image), channels))
    if x.ndim != 4 or len(x) not in (1, count):
        raise ValueError(f"give one image, or a batch (N, C, H, W) of {count}; got shape {tuple(x.shape)}")
    if not x.is_floating_point() or not bool(torch.isfinite(x).all()):
        raise ValueError(f"the image to start from holds finite floating-point numbers, got {x.dtype} with "
                         f"{int((~torch.isfinite(x)).sum())} values that are NaN or infinite")
    if tuple(x.shape[2:]) != tuple(size):
        raise ValueError(f"the image to start from has {x.shape[2]} × {x.shape[3]} pixels, but the one to find "
                         f"{size[0]} × {size[1]}: resize it, or give the size that it has")
    return x.expand(count, -1, -1, -1)


def in_channels_of(phi: Representation, image: AnyImage) -> Tensor:
    """One image as a tensor (1, C, H, W) on Φ's device; a grey one has Φ's first number of channels."""
    x = phi.as_batch(with_channels(image_of(image), (*phi.in_channels, 1))).float()
    return x.expand(-1, phi.in_channels[0], -1, -1) if x.shape[1] == 1 else x


def result_of(phi: Representation, recipe: Recipe, outcome: Outcome, seed: int, starts: int,
              codes: Tensor | None = None, **facts: Any) -> Result:
    """The result of a search; errors are measured if there are target codes (N, ...)."""
    errors = centred = np.full(len(outcome.x), np.nan)
    target = None
    if codes is not None:
        with torch.no_grad():
            found = torch.cat([phi(x) for x in outcome.x.split(1)])
        arrays = [np.moveaxis(t.cpu().numpy(), 1, -1) for t in (found, codes)]
        errors, centred = relative_errors(*arrays)
        target = np.ascontiguousarray(arrays[1])
    provenance = {
        "method": recipe.name, "descriptor": phi.to_config(), "recipe": recipe.describe(), "seed": int(seed),
        "evaluations": outcome.evaluations, "seconds": round(outcome.seconds, 3), "date": now(),
        "versions": dict(versions()),
        **facts}
    measured = facts.get("responses", 0) if codes is None else errors
    if not (bool(torch.isfinite(outcome.x).all()) and np.isfinite(measured).all()):
        raise ValueError(f"the search left the finite numbers ({outcome.status}): take a smaller weight of the data "
                         "term, or another start")
    film, images = outcome.film, images_of(outcome.x)
    snapshots = None if film is None else np.stack([images_of(x) for x in film.images])
    return Result(images, errors, centred, outcome.status, target, outcome.history, int(starts), provenance,
                  uncertainties=_std_of_starts(images, starts), snapshots=snapshots,
                  snapshot_steps=() if film is None else film.steps)


def _std_of_starts(images: NDArray[np.float32], starts: int) -> NDArray[np.float32] | None:
    """Standard deviation of each pixel over the starts at the same code, (N, H, W); None for single starts."""
    if starts == 1:
        return None
    variances = images.reshape(-1, starts, *images.shape[1:3], images[0, 0, 0].size).var(1, ddof=1).mean(-1)
    found: NDArray[np.float32] = np.sqrt(variances).repeat(starts, 0)
    return found


@cache
def versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide a result."""
    return {"python": platform.python_version(), **{p: version(p) for p in ("unfeature", "torch", "numpy")}}


def _relative_error(phi: Representation, codes: Tensor, x: Tensor) -> Tensor:
    with torch.no_grad():
        return (squared_norm(phi(x) - codes) / squared_norm(codes)).sqrt()

"""Many images under a bound on memory: batches one after the other, with the outcome that one batch would have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import Representation
from unfeature.io.memory import bytes_of

from .engine import Outcome, telling
from .recipes import Recipe, without_steps

VECTORS = 8
"""Of coordinates, that a run holds beside the history of L-BFGS."""
COORDINATES = 1.5
"""A pixel, at most: a Fourier canvas has a margin."""


def in_batches(count: int, most: int | None, recipe: Recipe, descend: Callable[[slice, Recipe], Outcome]) -> Outcome:
    """The outcome of `count` samples, of which no more than `most` are sought at once, if that is a number.

    After a keyboard interrupt those that are left stay where they start.
    """
    most = most or count
    outcomes: list[Outcome] = []
    for first in range(0, count, most):
        outcomes.append(descend(slice(first, min(first + most, count)), recipe))
        recipe = without_steps(recipe) if outcomes[-1].interrupted else recipe
    return outcomes[0] if len(outcomes) == 1 else _joined(outcomes)


def most_at_once(
    phi: Representation, recipe: Recipe, size: tuple[int, int], like: Tensor, memory: int | str | None
) -> int | None:
    """How many images can be sought at once within an amount of memory; None for any number.

    Parameters
    ----------
    phi : Representation
    recipe : Recipe
    size : tuple of int
        Height and width of the images.
    like : Tensor
        Its dtype and device are those of the images.
    memory : int or str, optional
        Bytes, or text such as ``"2GB"``, beside what the process holds anyway.

    Raises
    ------
    ValueError
        If it cannot be read, or does not hold one image; the message says how much one takes.
    """
    if memory is None:
        return None
    one = bytes_of_one(phi, recipe, size, like)
    room = bytes_of(memory) // one
    if room < 1:
        raise ValueError(f"memory={memory!r} does not hold one image of {size[0]} × {size[1]} pixels, which takes "
                         f"{one / 1e6:.3g} MB while it is sought: give more, or a smaller size")
    return room


def bytes_of_one(phi: Representation, recipe: Recipe, size: tuple[int, int], like: Tensor) -> int:
    """What one image takes while it is sought: twice what its gradient keeps, and the solvers' vectors.

    What the descriptor keeps is counted on a grey image. Stand-ins of the descriptor are taken to keep as much.
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = like.new_full((1, phi.in_channels[0], *size), 0.5).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        phi(x)
    for weight in phi.buffers():
        kept.pop(weight.untyped_storage().data_ptr(), None)
    makers = (recipe.solver, *(stage.solver for stage in recipe.stages if stage.solver))
    history = max(getattr(make(), "history", 0) for make in makers)
    coordinates = COORDINATES * x.numel() * x.element_size()
    return 2 * sum(kept.values()) + round((VECTORS + 2 * history) * coordinates)


def _joined(outcomes: Sequence[Outcome]) -> Outcome:
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.history)
    steps = max(outcome.evaluations for outcome in outcomes)
    history = {name: np.concatenate([_lengthened(o, name, steps) for o in outcomes], axis=1) for name in names}
    return replace(
        telling(outcomes),
        x=torch.cat([outcome.x for outcome in outcomes]),
        history=history,
        evaluations=steps,
        seconds=sum(outcome.seconds for outcome in outcomes),
    )


def _lengthened(outcome: Outcome, name: str, steps: int) -> NDArray[np.float64]:
    """Values (steps, N); a batch that converged earlier stays at its last, and NaN is what was not measured."""
    values = outcome.history.get(name, np.full((1, len(outcome.x)), np.nan))
    return np.pad(values, ((0, steps - len(values)), (0, 0)), mode="edge")

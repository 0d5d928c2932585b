"""Where the time of an inversion's steps goes, measured within them: descriptor, canvas, and all else."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..features.base import Representation
from ..features.hog import HOG
from ..inversion.canvas import Canvas, Frame
from ..inversion.invert import invert
from ..inversion.presets import Recipe, recipe_for
from . import tables
from .tables import Cell, Metric
from .tasks import Row

NAME = "steps, hog hard"
PRESETS = ("ijcv2016", "fast", "best")
REPEATS, WARM = 5, 1
METRICS = (Metric("whole", "a step, ms", 2, 1e3), Metric("descriptor", "descriptor, %", 0, 100),
           Metric("canvas", "canvas, %", 0, 100), Metric("rest", "all else, %", 0, 100))
NOTE = (
    "Processor time of a step from one evaluation to the next, medians over whole inversions with one thread. "
    "Descriptor and canvas are value and gradient, clocked within the steps; all else is the regularisers, the "
    "solver’s update, the bound, and bookkeeping."
)


@dataclass
class Clock:
    """Adds up processor time between starts and stops."""

    seconds: float = 0.0
    since: float = 0.0

    def start(self, *_: Any) -> None:
        """From now on."""
        self.since = time.process_time()

    def stop(self, *_: Any) -> None:
        """Until now."""
        self.seconds += time.process_time() - self.since

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, clocked."""

        def clocked(*given: Any) -> Any:
            self.start()
            found = function(*given)
            self.stop()
            return found

        return clocked


def measured(image: NDArray[np.float32]) -> dict[str, Any]:
    """Seconds of descriptor, canvas and all of a step, by preset and repeat."""
    phi = HOG(texture=False)
    code = phi(image)
    times: dict[str, list[tuple[float, ...]]] = {preset: [] for preset in PRESETS}
    for repeat in range(-WARM, REPEATS):
        for preset in PRESETS:
            seconds = _steps(phi, code, image.shape, preset)
            if repeat >= 0:
                times[preset].append(seconds)
    return {"times": times}


def _steps(phi: Representation, code: Any, size: tuple[int, ...], preset: str) -> tuple[float, ...]:
    """Mean seconds of a step: descriptor, canvas, whole."""
    descriptor, canvas = Clock(), Clock()
    recipe = _clocked_recipe(recipe_for(phi, preset), canvas)
    marks = []
    invert(_clocked(phi, descriptor), code, preset=recipe, size=(size[0], size[1]),
           progress=lambda _: marks.append((descriptor.seconds, canvas.seconds, time.process_time())))
    first, last = np.array(marks[0]), np.array(marks[-1])
    return tuple(float(mean) for mean in (last - first) / (len(marks) - 1))


def _clocked(phi: Representation, clock: Clock) -> Representation:
    """A copy whose value and gradient, and those of its stand-ins, are clocked."""
    twin, forward, surrogate = copy.copy(phi), clock.around(phi.forward), phi.surrogate

    def watched(x: Any) -> Any:
        code = forward(x)
        if code.requires_grad:
            code.register_hook(clock.start)
            x.register_hook(clock.stop)
        return code

    twin.__dict__["forward"] = watched
    twin.__dict__["surrogate"] = lambda softness: _clocked(surrogate(softness), clock)
    return twin


def _clocked_recipe(recipe: Recipe, clock: Clock) -> Recipe:
    """The recipe with a canvas that is clocked, there and back."""

    def canvas(frame: Frame) -> Canvas:
        made = recipe.canvas(frame)
        made.__dict__.update(render=clock.around(made.render), pull=clock.around(made.pull))
        return made

    return replace(recipe, canvas=canvas)


def table(rows: list[Row]) -> tables.Table:
    """One line for each preset."""
    lines = []
    for row in rows:
        for preset, times in row["times"].items():
            descriptor, canvas, whole = np.median(np.array(times), axis=0)
            numbers = whole, descriptor / whole, canvas / whole, 1 - (descriptor + canvas) / whole
            lines.append((tables.text(preset), Cell(str(row["pixels"]), row["pixels"]),
                          *(tables.number(float(n), metric) for n, metric in zip(numbers, METRICS, strict=True))))
    columns = ("preset", "pixels", *(metric.title for metric in METRICS))
    return tables.Table("shares", "Where a step’s time goes", columns, tuple(lines), NOTE)
